"""What the test set's size does to each kind of slope: attenuation, and cross-fitting's cure."""

from __future__ import annotations

import numpy as np

from recall_distortion.simulation import arrays
from recall_distortion.simulation.design import Cell, Design
from recall_distortion.simulation.rows import Row, mean, settings

FAMILY = "slopes"


def slopes(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """Return the means over studies of every kind of slope of the design's only cell.

    Per study: the mean of the replicates' slopes, the pooled slope, both again cross-fitted, and
    the median of the replicates' cross-fitted slopes; and the reliability, which is the pooled
    cross-fitted denominator over the naive one.
    """
    found: dict[str, list[np.ndarray]] = {}
    theory: dict[str, list[np.ndarray]] = {"naive slope, pooled": [], "reliability": []}
    clipped = []
    for size in arrays.chunks(design, studies):
        truth = arrays.draw(design, size, rng)
        hits = arrays.observe(design, truth, rng)
        naive, crossfit = arrays.naive(design, hits), arrays.crossfit(design, hits, rng)
        pooled, reliability = arrays.expected(design, truth)
        theory["naive slope, pooled"].append(pooled[:, 0])
        theory["reliability"].append(reliability)
        clipped.append((size, truth.clipped))
        total = naive.denominator.sum(1)
        for name, values in (
            ("naive slope, mean", naive.slopes[..., 0].mean(1)),
            ("naive slope, pooled", naive.pooled[:, 0]),
            ("cross-fitted slope, pooled", crossfit.pooled[:, 0]),
            ("cross-fitted slope, median", np.median(crossfit.slopes[..., 0], axis=1)),
            ("cross-fitted slope, mean", crossfit.slopes[..., 0].mean(1)),
            ("reliability", crossfit.denominator.sum(1) / total),
        ):
            found.setdefault(name, []).append(values)
    truth_of = {name: design.cells[0].alpha for name in found} | {"reliability": 1.0}
    columns = settings(design, family=FAMILY)
    rows = [
        mean(
            name,
            np.concatenate(parts),
            **columns,
            nominal=truth_of[name],
            theory=float(np.mean(np.concatenate(theory[name]))) if name in theory else np.nan,
        )
        for name, parts in found.items()
    ]
    outside = np.average([share for _, share in clipped], weights=[size for size, _ in clipped])
    rows.append(
        {
            **columns,
            "quantity": "recalls clipped to [0, 1]",
            "nominal": 0.0,
            "value": float(outside),
            "studies": studies,
        }
    )
    return rows


def design(
    images: int | tuple[int, ...],
    alpha: float,
    agreement: float,
    *,
    large: bool = False,
    deviation: float = 0.01,
) -> Design:
    """Return a design with one cell; ``large``: classes that differ much, of a weak network."""
    after = 0.5 if large else 0.8
    cell = Cell(
        "magnitude",
        10.0,
        alpha,
        accuracy=after,
        agreement=agreement,
        deviation=deviation,
    )
    if large:
        return Design((cell,), images=images, accuracy=0.6, balance_sd=0.2)
    return Design((cell,), images=images)
