"""Measures of networks by their weights, gradients and units, which jobs of their own compute.

Each is a column of networks.csv where a study asks for it. Its means, its change from the dense
networks and its difference from the control stand in estimates.csv and on the page, as those of the
measures that are taken from predictions do.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from recall_distortion.measures.distortion import reseed_pairs
from recall_distortion.tables.schema import CURVATURE, DEAD_UNITS, Column
from recall_distortion.vocabulary import DENSE, NETWORK, PANEL, RESEED


@dataclass(frozen=True)
class OfWeights:
    """A number of a network's weights: its column, what pages call it, where it is from.

    Neither higher nor lower values are worse: a flat loss is no aim in itself, nor is a unit.
    """

    column: Column
    title: str
    source: str
    worse: str | None = None


_TITLES = {
    "hessian_largest": ("largest Hessian eigenvalue", "here"),
    "hessian_sum": (
        "sum of leading Hessian eigenvalues",
        "Bartoldson et al. 2020, arXiv 1906.03728, there of 100",
    ),
    "gradient_second_moment": (
        "trace of the gradients’ second moment",
        "Bartoldson et al. 2020, arXiv 1906.03728, there called a covariance",
    ),
    "gradient_covariance": ("trace of the gradients’ covariance", "here"),
    "weight_norm": ("weight norm", "here"),
    "train_loss": ("training loss", "here"),
    "test_loss": ("test loss", "here"),
    "dead_units": ("dead units", "Riera et al. 2022, arXiv 2201.12795, there over a batch"),
    "linear_units": ("linear units", "Riera et al. 2022, arXiv 2201.12795, there over a batch"),
    "dead_points": ("dead points", "Riera et al. 2022, arXiv 2201.12795, there of a layer"),
}


def _of(columns: tuple[Column, ...]) -> list[OfWeights]:
    return [
        OfWeights(column, *_TITLES[column.name]) for column in columns if column.name in _TITLES
    ]


#: The measures of curvature and of units, and all, in the order of their columns.
OF_CURVATURE, OF_UNITS = _of(CURVATURE), _of(DEAD_UNITS)
MEASURES = [*OF_CURVATURE, *OF_UNITS]


def with_measured(networks: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return the table of networks with the columns of another, a row of which is a network's.

    A row of ``reseed`` has that of the second network of its pair, which stands in the compressed
    one's place. What was not measured is missing.
    """
    dense = measured[measured["method"] == DENSE]
    pairs = []
    for _, own in dense.groupby(PANEL, sort=False):
        second = {two: one for one, two in reseed_pairs(sorted(own["seed"]))}
        own = own[own["seed"].isin(second)]
        pairs.append(own.assign(method=RESEED, seed=own["seed"].map(second)))
    found = pd.concat([measured, *pairs], ignore_index=True)
    return networks.merge(found.astype({"ratio": float}), on=NETWORK, how="left")
