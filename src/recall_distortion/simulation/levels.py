"""Error rates where nothing is to be found, and power where something is."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from scipy import stats

from recall_distortion.inference.statistics.intervals import PAPER_LEVEL
from recall_distortion.simulation import arrays, estimators
from recall_distortion.simulation.arrays import Sums
from recall_distortion.simulation.design import RATIOS, Cell, Design, sweep
from recall_distortion.simulation.rows import Row, settings, share
from recall_distortion.vocabulary import CONTROL

LEVEL_FAMILY = "error rates"
POWER_FAMILY = "power"

FAMILYWISE = 0.05  # of Bonferroni-adjusted p values
SINGLE = (0.05, 0.01)  # levels at which single tests are checked
NETWORKS = 5  # of the architecture question, as in the paper
# The row of the share of studies in which every dense denominator is usable by itself.
DISTINGUISHABLE = "every denominator distinguishable from zero"


def sweep_errors(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """Return how often a sweep of slopes of 1, with a control of 1, yields a finding.

    The findings are the package's: the verdicts of the t intervals, the control question (paired
    t-tests, Bonferroni over the ratios), the ratio question (paired, one-sided, Bonferroni over
    neighbours).
    """
    found: dict[str, list[np.ndarray]] = {}
    for size in arrays.chunks(design, studies):
        hits = arrays.observe(design, arrays.draw(design, size, rng), rng)
        for name, events in _sweep_findings(arrays.naive(design, hits).slopes).items():
            found.setdefault(name, []).append(events)
    return _error_rows(design, found)


def _sweep_findings(slopes: np.ndarray) -> dict[str, np.ndarray]:
    control, cells = slopes[..., :1], slopes[..., 1:]
    verdicts = estimators.outside(*estimators.t_ends(cells, PAPER_LEVEL), 1.0)
    against_control = estimators.one_sample_p(cells - control, "two-sided")
    neighbours = estimators.one_sample_p(cells[..., :-1] - cells[..., 1:], "less")
    return {
        "any interval verdict over the ratios": np.any(verdicts, axis=1),
        "any finding of the control question": _any_adjusted(against_control),
        "any finding of the ratio question": _any_adjusted(neighbours),
        **_single("t interval against 1", estimators.one_sample_p(cells[..., 0] - 1, "two-sided")),
        **_single("control question", against_control[:, 0]),
        **_single("ratio question", neighbours[:, 0]),
    }


def crossfit_errors(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """As ``sweep_errors``, of the pooled cross-fitted slopes against 1 and against the control.

    The latter are the verdicts of ``effects``. Further rows are the paired t intervals of the
    replicates' own slopes, and in how many studies every dense denominator can be distinguished
    from zero.
    """
    found: dict[str, list[np.ndarray]] = {}
    for size in arrays.chunks(design, studies):
        hits = arrays.observe(design, arrays.draw(design, size, rng), rng)
        sums = arrays.crossfit(design, hits, rng)
        per_network, usable = estimators.stability(design, hits, sums)
        own = Sums(sums.numerator[..., 1:], sums.denominator)
        against_one = estimators.outside(*estimators.pooled_interval(own, PAPER_LEVEL), 1.0)
        differs = estimators.outside(*estimators.difference_interval(sums, PAPER_LEVEL), 0.0)
        differs = differs & usable[:, None]
        slopes = arrays.naive(design, hits).slopes
        paired = estimators.t_ends(slopes[..., 1:] - slopes[..., :1], PAPER_LEVEL)
        own_slopes = np.any(estimators.outside(*paired, 0.0), axis=1)
        for name, events in (
            ("any cross-fitted verdict over the ratios", np.any(against_one, axis=1) & usable),
            ("any cross-fitted difference from the control", np.any(differs, axis=1)),
            ("any paired difference of the replicates' own slopes", own_slopes),
            (DISTINGUISHABLE, per_network),
        ):
            found.setdefault(name, []).append(events)
    return _error_rows(design, found)


def method_errors(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """Return how often methods of equal slopes are found to differ: all pairs, Bonferroni."""
    found: dict[str, list[np.ndarray]] = {}
    for size in arrays.chunks(design, studies):
        hits = arrays.observe(design, arrays.draw(design, size, rng), rng)
        slopes = arrays.naive(design, hits).slopes
        pairs = itertools.combinations(range(len(design.cells)), 2)
        p = np.stack(
            [
                estimators.one_sample_p(slopes[..., left] - slopes[..., right], "two-sided")
                for left, right in pairs
            ],
            axis=1,
        )
        events = {
            "any finding of the method question": _any_adjusted(p),
            **_single("method question", p[:, 0]),
        }
        for name, values in events.items():
            found.setdefault(name, []).append(values)
    return _error_rows(design, found)


def network_errors(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """Return how often networks of equal slopes are found to differ: neighbours, Welch, Bonferroni.

    Their slopes vary more from network to network: the cells of ``design`` are five networks, each
    with its own dense networks. The question of data sets is the same test.
    """
    found: dict[str, list[np.ndarray]] = {}
    for size in arrays.chunks(design, studies):
        slopes = []
        for cell in design.cells:
            one = Design((cell,), seeds=design.seeds, images=design.images, skew=design.skew)
            hits = arrays.observe(one, arrays.draw(one, size, rng), rng)
            slopes.append(arrays.naive(one, hits).slopes[..., 0])
        pairs = itertools.pairwise(slopes)
        p = np.stack([estimators.welch_p(*pair, "greater") for pair in pairs], axis=1)
        events = {
            "any finding of the architecture question": _any_adjusted(p),
            **_single("architecture question", p[:, 0]),
        }
        for name, values in events.items():
            found.setdefault(name, []).append(values)
    return _error_rows(design, found)


def _any_adjusted(p: np.ndarray) -> np.ndarray:
    found: np.ndarray = (p * p.shape[1] < FAMILYWISE).any(1)
    return found


def _single(test: str, p: np.ndarray) -> dict[str, np.ndarray]:
    return {f"one test at {level:.0%}: {test}": p < level for level in SINGLE}


def _error_rows(design: Design, found: dict[str, list[np.ndarray]]) -> list[Row]:
    first, last = design.cells[0], design.cells[-1]
    notes = []
    if last.sd > first.sd and first.method == CONTROL:
        notes.append(f"sd growing from {first.sd:g} to {last.sd:g}")
    if first.agreement != last.agreement:
        notes.append(f"control agreement {first.agreement:g}")
    columns = settings(design, family=LEVEL_FAMILY, effect=0.0, note="; ".join(notes))
    rows = []
    for name, parts in found.items():
        nominal = next((x for x in SINGLE if f"test at {x:.0%}:" in name), FAMILYWISE)
        if not name.startswith(("any", "one")):
            nominal = np.nan
        rows.append(share(name, np.concatenate(parts), **columns, nominal=nominal))
    return rows


def power(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """Return how often the first ratio's effect is found: against 1, and against the control.

    The control's true slope is 1. One test of five at a family-wise 5 % is one at 1 %; theory is
    the noncentral t distribution with the slopes' true standard deviations.
    """
    against_one, against_control = [], []
    cell = design.cells[1]
    for size in arrays.chunks(design, studies):
        hits = arrays.observe(design, arrays.draw(design, size, rng), rng)
        slopes = arrays.naive(design, hits).slopes
        ends = estimators.t_ends(slopes[..., 1], PAPER_LEVEL)
        against_one.append(estimators.outside(*ends, 1.0))
        p = estimators.one_sample_p(slopes[..., 1] - slopes[..., 0], "two-sided")
        against_control.append(p * len(RATIOS) < FAMILYWISE)
    effect = cell.alpha - 1
    alone = float(np.hypot(design.seed_sd, cell.sd))
    paired = float(np.hypot(design.cells[0].sd, cell.sd))
    columns = settings(design, family=POWER_FAMILY, effect=effect)
    return [
        share(
            name,
            np.concatenate(events),
            **{**columns, "note": f"sd {sd:.4f}"},
            theory=t_power(effect / sd, design.seeds, 1 - PAPER_LEVEL),
        )
        for name, events, sd in (
            ("found by the interval against 1", against_one, alone),
            ("found by the control question", against_control, paired),
        )
    ]


def t_power(standardized: float, n: int, significance: float) -> float:
    """Return the power of a two-sided one-sample t-test at an effect in standard deviations."""
    critical = stats.t.ppf(1 - significance / 2, n - 1)
    shift = standardized * np.sqrt(n)
    # The tail on the wrong side underflows to NaN where the power is 1 but for rounding.
    wrong_side = np.nan_to_num(stats.nct.cdf(-critical, n - 1, abs(shift)))
    return float(stats.nct.sf(critical, n - 1, abs(shift)) + wrong_side)


def null_sweep(
    seeds: int,
    images: int | None,
    skew: float = 0.0,
    *,
    growing: bool = False,
    agreeing_control: bool = False,
) -> Design:
    """Return a control and five ratios, all of slope 1.

    ``growing``: the slopes vary more at each ratio, from 0.05 to 0.8. ``agreeing_control``: the
    control is right on the images that its dense network is right on (agreement 0.8) more than
    the compressed networks are (0.3); otherwise all agree alike (0.5).
    """
    sds = (0.05, 0.1, 0.2, 0.4, 0.8) if growing else 0.05
    agreement = 0.3 if agreeing_control else 0.5
    control, *cells = sweep([1.0] * len(RATIOS), sds=sds, deviation=0.0, agreement=agreement)
    if agreeing_control:
        control = replace(control, agreement=0.8)
    return Design((control, *cells), seeds=seeds, images=images, skew=skew)


def null_methods(seeds: int, images: int | None, skew: float = 0.0) -> Design:
    """Return three methods at one ratio, all of slope 1."""
    names = ("magnitude", "gradient", "undecayed")
    cells = tuple(Cell(name, 10.0, 1.0, sd=0.1, deviation=0.0, agreement=0.5) for name in names)
    return Design(cells, seeds=seeds, images=images, skew=skew)


def null_networks(seeds: int, images: int | None, skew: float = 0.0) -> Design:
    """Return five networks of slope 1, whose slopes vary 1 to 3 times as much."""
    cells = tuple(
        Cell("magnitude", 10.0 + i, 1.0, sd=0.05 * (1 + i / 2), deviation=0.0)
        for i in range(NETWORKS)
    )
    return Design(cells, seeds=seeds, images=images, skew=skew)


def effect_design(seeds: int, effect: float) -> Design:
    """Return a control of slope 1 and a cell of slope 1 + ``effect``, recalls known exactly."""
    cells = sweep([1.0 + effect], sds=0.04, deviation=0.0)
    return Design(cells, seeds=seeds, images=None)
