"""What the findings say of studies with many ways to prune, of one network of a study each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from recall_distortion.tables.controls import Controls
from recall_distortion.vocabulary import RETRAINED

if TYPE_CHECKING:
    from findings import Tables


class Ways:
    """Accuracies of methods and their differences from each one's own control."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def row(self, place: tuple[str, str], name: str, method: str, ratio: float) -> pd.Series:
        """Return the row of a retrained cell of a (study, architecture)."""
        study, architecture = place
        rows = self.tables.cell(study, name, method, ratio, RETRAINED)
        rows = rows[rows["architecture"] == architecture]
        if len(rows) != 1:
            raise ValueError(f"{place}: {name} has {len(rows)} rows of {method} at {ratio:g}")
        return rows.iloc[0]

    def over(self, place: tuple[str, str], method: str, ratio: float) -> list[float]:
        """Return the accuracy less the control's with its interval's ends, in points."""
        row = self.row(place, "tradeoff", method, ratio)
        names = ("accuracy_over_control", "over_control_low", "over_control_high")
        return [100 * row[name] for name in names]

    def said(self, place: tuple[str, str], method: str, ratio: float) -> str:
        """Return the accuracy less the control's with its interval as text."""
        return "{:+.2f} [{:+.2f}, {:+.2f}]".format(*self.over(place, method, ratio)).replace(
            "-", "−"
        )

    def cells(
        self, place: tuple[str, str], method: str, ratios: Sequence[float], own: str = "over"
    ) -> list[str]:
        """Return at each ratio a method’s points over the control, or its difference of α."""
        found = []
        for ratio in ratios:
            if own == "over":
                found.append(f"{self.over(place, method, ratio)[0]:+.2f}".replace("-", "−"))
            else:
                row = self.row(place, "effects", method, ratio)
                found.append(f"{row['crossfit_difference']:+.2f}".replace("-", "−"))
        return found

    def accuracies(self, place: tuple[str, str], method: str, ratios: Sequence[float]) -> list[str]:
        """Return a method's mean accuracies in percent."""
        rows = [self.row(place, "accuracy", method, ratio) for ratio in ratios]
        return [f"{100 * row['mean']:.2f}" for row in rows]

    def multiply_adds(self, place: tuple[str, str], method: str, ratio: float) -> float:
        """Return the share of the dense network's multiply-adds that a cell's networks keep."""
        study, architecture = place
        networks = self.tables(study, "networks")
        of = (networks["architecture"] == architecture) & (networks["state"] == RETRAINED)
        cell = networks[of & (networks["method"] == method) & (networks["ratio"] == ratio)]
        dense = self.tables(study, "networks").loc[of & (networks["ratio"] == 1), "multiply_adds"]
        return float(cell["multiply_adds"].mean() / dense.mean())

    def structure(self, place: tuple[str, str], method: str, ratio: float) -> list[str]:
        """Return what a cell keeps, its accuracy and slope beyond the control's, with intervals."""
        effect = self.row(place, "effects", method, ratio)
        ends = [
            f"{effect[name]:+.2f}"
            for name in ("crossfit_difference", "crossfit_low", "crossfit_high")
        ]
        share = f"{100 * self.multiply_adds(place, method, ratio):.0f}"
        beyond = "{} [{}, {}]".format(*ends).replace("-", "−")
        return [share, self.said(place, method, ratio), beyond]

    def control(self, study: str, method: str) -> str:
        """Return the control that a method is read against."""
        return Controls.of(self.tables(study, "networks")).arm(method)
