"""How often intervals hold the true mean slope."""

from __future__ import annotations

import numpy as np

from recall_distortion.inference.statistics.intervals import PAPER_LEVEL
from recall_distortion.simulation import arrays, estimators
from recall_distortion.simulation.design import Cell, Design
from recall_distortion.simulation.rows import Row, mean, settings, share
from recall_distortion.vocabulary import CONTROL, UNCOMPRESSED

T_FAMILY = "t intervals"
BOOTSTRAP_FAMILY = "bootstrap intervals"

LEVEL_NOTE = "99 %"


def t_intervals(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """Return the coverage of the t interval of E[alpha] of the design's only cell."""
    low, high, average = [], [], []
    for size in arrays.chunks(design, studies):
        hits = arrays.observe(design, arrays.draw(design, size, rng), rng)
        slopes = arrays.naive(design, hits).slopes[..., 0]
        ends = estimators.t_ends(slopes, PAPER_LEVEL)
        low.append(ends[0])
        high.append(ends[1])
        average.append(slopes.mean(1))
    columns = settings(design, family=T_FAMILY, note=LEVEL_NOTE)
    missed = estimators.outside(np.concatenate(low), np.concatenate(high), design.cells[0].alpha)
    return [
        share("coverage of the t interval", ~missed, **columns, nominal=PAPER_LEVEL),
        mean("mean slope", np.concatenate(average), **columns, nominal=design.cells[0].alpha),
    ]


def bootstrap_intervals(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """Return coverage of the bootstrap of cross-fitted slopes: one cell, and less its control.

    The design's cells are a control and another. Where the pooled denominator cannot be
    distinguished from zero the package gives no cross-fitted interval, so coverage is that of the
    intervals given, whose share has a row of its own. Further rows are percentile and BCa
    intervals, and two intervals of naive slopes: the bootstrap's of the pooled one, and the paired
    t interval.
    """
    control, cell = (of.alpha for of in design.cells)
    covered: dict[str, list[np.ndarray]] = {}
    given = []
    for size in arrays.chunks(design, studies):
        hits = arrays.observe(design, arrays.draw(design, size, rng), rng)
        naive, crossfit = arrays.naive(design, hits), arrays.crossfit(design, hits, rng)
        own = arrays.Sums(crossfit.numerator[..., 1:], crossfit.denominator)
        own_naive = arrays.Sums(naive.numerator[..., 1:], naive.denominator)
        usable = estimators.stability(design, hits, crossfit)[1]
        given.append(usable)
        intervals = {
            "cross-fitted slope": (estimators.pooled_interval(own, PAPER_LEVEL), cell),
            "cross-fitted difference from the control": (
                estimators.difference_interval(crossfit, PAPER_LEVEL),
                cell - control,
            ),
        }
        for name, ends in estimators.plain_bootstraps(own, PAPER_LEVEL).items():
            intervals[f"cross-fitted slope, {name} bootstrap"] = ends, cell
        for name, ((low, high), truth) in intervals.items():
            within = ((low.ravel() <= truth) & (truth <= high.ravel()))[usable]
            covered.setdefault(name, []).append(within)
        slopes = naive.slopes
        intervals = {
            "naive pooled slope": (estimators.pooled_interval(own_naive, PAPER_LEVEL), cell),
            "naive difference from the control, t interval": (
                estimators.t_ends(slopes[..., 1] - slopes[..., 0], PAPER_LEVEL),
                cell - control,
            ),
        }
        for name, ((low, high), truth) in intervals.items():
            within = (low.ravel() <= truth) & (truth <= high.ravel())
            covered.setdefault(name, []).append(within)
    columns = settings(design, family=BOOTSTRAP_FAMILY, note=LEVEL_NOTE, effect=cell - control)
    rows = [
        share(f"coverage: {name}", np.concatenate(events), **columns, nominal=PAPER_LEVEL)
        for name, events in covered.items()
    ]
    return [*rows, share("cross-fitted intervals given", np.concatenate(given), **columns)]


def t_design(seeds: int, images: int | None, skew: float = 0.0) -> Design:
    """Return a design in which only the slopes vary; without image noise they are normal or skewed.

    Where they are skewed, a replicate has no normal effect in addition.
    """
    cell = Cell("magnitude", 10.0, 1.0, sd=0.2 if skew else 0.04, deviation=0.0)
    seed_sd = 0.0 if skew else 0.03
    return Design((cell,), seeds=seeds, images=images, skew=skew, seed_sd=seed_sd)


def bootstrap_design(seeds: int, images: int | None, skew: float = 0.0) -> Design:
    """Return a design of a control at 0.95 and a cell at 1.1 whose slopes vary more."""
    cells = (
        Cell(CONTROL, UNCOMPRESSED, 0.95, sd=0.05, agreement=0.5),
        Cell("magnitude", 10.0, 1.1, sd=0.2, agreement=0.3),
    )
    return Design(cells, seeds=seeds, images=images, skew=skew)
