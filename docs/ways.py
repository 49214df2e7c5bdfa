"""What the findings say of studies with many ways to prune, of one network of a study each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from recall_distortion.tables.controls import Controls
from recall_distortion.vocabulary import CONTROL, RETRAINED

if TYPE_CHECKING:
    from findings import Tables

#: What estimates.csv calls what is asked of the loss.
SHARPNESS = "sum of leading Hessian eigenvalues"
COVARIANCE = "trace of the gradients’ covariance"
LOSS = "training loss"


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

    def instability(self, place: tuple[str, str], method: str, ratio: float) -> float:
        """Return the mean share of the accuracy that a cell's events cost at once."""
        networks = self.tables(place[0], "networks")
        of = (networks["architecture"] == place[1]) & (networks["state"] == RETRAINED)
        cell = networks[of & (networks["method"] == method) & (networks["ratio"] == ratio)]
        return float(cell["instability"].mean())

    def unstable(self, place: tuple[str, str], method: str, ratio: float) -> list[str]:
        """Return an arm's instability, accuracy, and both differences from its control."""
        _, *differences = self.structure(place, method, ratio)
        share = self.instability(place, method, ratio)
        return [
            "–" if share != share else f"{share:.2f}",
            *self.accuracies(place, method, [ratio]),
            *differences,
        ]

    def below(self, place: tuple[str, str], methods: Sequence[str], ratio: float) -> bool:
        """Return whether every method's accuracy is below its control's, the whole interval."""
        return all(self.over(place, method, ratio)[2] < 0 for method in methods)

    def beyond(self, place: tuple[str, str], method: str, ratio: float) -> list[float]:
        """Return the cross-fitted slope beyond the control's with its interval's ends."""
        effect = self.row(place, "effects", method, ratio)
        return [effect[f"crossfit_{name}"] for name in ("difference", "low", "high")]

    def further(self, place: tuple[str, str], method: str, ratio: float, name: str) -> list[float]:
        """Return a further measure less the control's of the same seed, with its interval's ends.

        ``name`` is what estimates.csv calls it.
        """
        rows = self.tables.cell(place[0], "estimates", method, ratio, RETRAINED)
        of = (rows["quantity"] == name) & (rows["against"] == CONTROL)
        (row,) = rows[of & (rows["architecture"] == place[1])].to_dict("records")
        return [row[end] for end in ("estimate", "low", "high")]

    def flatness(self, place: tuple[str, str], method: str, ratio: float) -> list[str]:
        """Return by how much sharper a cell is than its control, and both training losses."""
        found = [
            "{:+.0f} [{:+.0f}, {:+.0f}]".format(*self.further(place, method, ratio, name))
            for name in (SHARPNESS, COVARIANCE)
        ]
        found += ["{:+.2f} [{:+.2f}, {:+.2f}]".format(*self.further(place, method, ratio, LOSS))]
        return [text.replace("-", "−") for text in found]

    def sharpness(self, place: tuple[str, str], method: str, ratio: float) -> list[float]:
        """Return the sum of leading eigenvalues less the control's, with its interval's ends."""
        return self.further(place, method, ratio, SHARPNESS)

    def sharper(self, place: tuple[str, str], methods: Sequence[str], ratio: float) -> bool:
        """Return whether methods are sharper than their control, each more than the one before."""
        found = [self.sharpness(place, method, ratio) for method in methods]
        means = [mean for mean, _, _ in found]
        return min(low for _, low, _ in found) > 0 and means == sorted(means)

    def dead(self, place: tuple[str, str], method: str, ratio: float) -> float:
        """Return the mean share of a cell's units that are dead."""
        networks = self.tables(place[0], "networks")
        of = (networks["architecture"] == place[1]) & (networks["state"] == RETRAINED)
        cell = networks[of & (networks["method"] == method) & (networks["ratio"] == ratio)]
        return float(cell["dead_units"].mean())

    def between(self, study: str, ratio: float, outcome: str) -> list[float]:
        """Return the slope of arms' outcomes on their instability with its interval's ends."""
        rows = self.tables(study, "instability")
        (row,) = rows[rows["ratio"] == ratio].to_dict("records")
        return [row[f"{outcome}_between{end}"] for end in ("", "_low", "_high")]

    def tau(self, place: tuple[str, str], ratio: float, outcome: str) -> float:
        """Return Kendall's tau of networks' outcomes with their instability."""
        rows = self.tables(place[0], "instability")
        chosen = (rows["architecture"] == place[1]) & (rows["ratio"] == ratio)
        (row,) = rows[chosen].to_dict("records")
        return float(row[f"{outcome}_tau"])

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
