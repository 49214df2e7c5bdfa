"""What the findings say of tickets across data, and of the masks that two methods share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from recall_distortion.vocabulary import RETRAINED

if TYPE_CHECKING:
    from findings import Tables

MASKS, ACCURACIES = "overlaps", "pair_equivalence"


class Transferred:
    """Cells of the study of transfers by data set, method and ratio, and pairs of methods."""

    study = "fashion_mnist_transfer"

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def row(self, name: str, dataset: str, method: str, ratio: float) -> pd.Series:
        """Return the row of a retrained cell of a data set."""
        rows = self.tables.cell(self.study, name, method, ratio, RETRAINED)
        rows = rows[rows["dataset"] == dataset]
        if len(rows) != 1:
            raise ValueError(f"{name} has {len(rows)} rows of {method} at {ratio:g} on {dataset}")
        return rows.iloc[0]

    def said(self, dataset: str, method: str, ratio: float) -> str:
        """Return the accuracy less the control's with its interval as text, in points."""
        row = self.row("tradeoff", dataset, method, ratio)
        names = ("accuracy_over_control", "over_control_low", "over_control_high")
        return _points([row[name] for name in names])

    def verdicts(self, dataset: str, method: str, ratios: Sequence[float]) -> list[str]:
        """Return at each ratio whether a method is as accurate as the other of its pair."""
        return [self.row(ACCURACIES, dataset, method, ratio)["verdict"] for ratio in ratios]

    def difference(self, dataset: str, method: str, ratio: float) -> str:
        """Return a method's accuracy less that of the other of its pair, in points, as text."""
        row = self.row(ACCURACIES, dataset, method, ratio)
        return _points([row[name] for name in ("difference", "low", "high")])

    def masks(self, dataset: str, method: str, ratio: float) -> list[str]:
        """Return in percent what a pair's masks share, by chance and with other seeds."""
        row = self.row(MASKS, dataset, method, ratio)
        return [f"{100 * row[name]:.1f}" for name in ("shared", "shuffled", "seeds")]

    def chance(self, dataset: str, method: str, ratios: Sequence[float]) -> list[str]:
        """Return at each ratio whether a pair's masks share more than masks that are shuffled."""
        return [self.row(MASKS, dataset, method, r)["over_shuffled_verdict"] for r in ratios]

    def start(self, dataset: str, method: str, ratios: Sequence[float]) -> list[str]:
        """Return at each ratio whether a pair's masks share more than those of other seeds."""
        return [self.row(MASKS, dataset, method, r)["over_seeds_verdict"] for r in ratios]

    def data(self, dataset: str, method: str, ratios: Sequence[float]) -> list[str]:
        """Return at each ratio whether masks of other seeds share more than shuffled ones."""
        return [self.row(MASKS, dataset, method, r)["seeds_over_shuffled_verdict"] for r in ratios]


def _points(values: Sequence[float]) -> str:
    return "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * v for v in values)).replace("-", "−")
