"""What ``findings.md`` says of forgotten images, of classes and of quantized networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from recall_distortion.tables.study import as_they_end
from recall_distortion.vocabulary import CELL_STATE, CONTROLS, RESEED, CellState

if TYPE_CHECKING:
    from findings import Tables

BITS = 32  # of a number that is kept as it is


class Forgotten:
    """What the template may ask of studies of one network; every method returns text or cells."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def pies(self, study: str) -> list[list[str]]:
        """Return a row a cell as its networks end: PIEs, the control's, p, how hard they are."""
        found = []
        for row in self._ended(study, "populations").itertuples():
            compared = row.over_control == row.over_control
            found.append(
                [
                    _name(row),
                    f"{row.n:g}",
                    f"{row.pies:g}",
                    f"{row.control:g}" if compared else "",
                    _p(row.p_adjusted) if compared else "",
                    _percent(row.dense_on_pies),
                    _percent(row.own_on_pies),
                    _percent(row.own_mode_right),
                ]
            )
        return found

    def pie(self, study: str, method: str, ratio: float, column: str, state: str = "") -> Any:
        """Return one value of a cell as its networks end, for a sentence's comparison."""
        return self._value(study, "populations", method, ratio, column, state)

    def count(self, study: str, method: str, ratio: float, column: str = "pies") -> str:
        """Return a number of images of a cell."""
        return f"{self.pie(study, method, ratio, column):,.0f}"

    def over(self, study: str, method: str, ratio: float) -> str:
        """Return how many PIEs a cell has more than its control."""
        return self.count(study, method, ratio, "over_control")

    def readings(self, study: str, method: str, ratios: Sequence[float], reading: str) -> bool:
        """Return whether a method's PIEs are read so at all of these ratios."""
        return all(self.pie(study, method, ratio, "reading") == reading for ratio in ratios)

    def shown_p(self, study: str, method: str, ratio: float) -> str:
        return _p(self.pie(study, method, ratio, "p_adjusted"))

    def share(self, study: str, method: str, ratio: float, column: str) -> str:
        """Return a share of ``pie`` in percent."""
        return _percent(self.pie(study, method, ratio, column))

    def images(self, study: str) -> str:
        """Return how many test images a study has."""
        recall = self._tables(study, "recall")
        one = recall.drop_duplicates("class")
        return f"{int(one['support'].sum()):,}"

    def class_tests(self, study: str) -> list[list[str]]:
        """Return a row a cell as its networks end: classes that moved by each test."""
        found = []
        for row in self._ended(study, "class_counts").itertuples():
            kinds = ("published", "own", "paired", "control")
            counts = [(getattr(row, f"{k}_moved"), getattr(row, f"{k}_adjusted")) for k in kinds]
            found.append(
                [_name(row), *("" if m != m else f"{m:g} ({adjusted:g})" for m, adjusted in counts)]
            )
        return found

    def moved(self, study: str, method: str, ratio: float, test: str) -> float:
        """Return how many classes of a cell a test, adjusted, says have moved."""
        return float(self._value(study, "class_counts", method, ratio, f"{test}_adjusted"))

    def moved_words(self, study: str, method: str, ratio: float) -> str:
        """Return how many classes moved by the published test and by pairs, in words."""
        counts = {
            test: (
                self._value(study, "class_counts", method, ratio, f"{test}_moved"),
                self.moved(study, method, ratio, test),
            )
            for test in ("published", "control")
        }
        (published, own), (paired, adjusted) = counts.values()
        return (
            f"it counts {published:g} of ten and, adjusted, {own:g}, and pairs with the control "
            f"{paired:g} and {adjusted:g}"
        )

    def sizes(self, study: str) -> list[list[str]]:
        """Return a row a cell: its size, nominal and with positions, and what it does."""
        found = []
        for row in self._ended(study, "sparsity").itertuples():
            cell = (study, row.method, row.ratio)
            found.append(
                [
                    _name(row),
                    f"{row.mean_ratio:.1f}",
                    f"{self.stored(*cell):.1f}",
                    f"{self.pie(*cell, 'pies'):g}",
                    self._moved_by(cell, "accuracy", 100),
                    self._moved_by(cell, "worst recall", 100),
                    f"{self._slope(cell):.2f}",
                ]
            )
        return found

    def stored(self, study: str, method: str, ratio: float) -> float:
        """Return by what a cell is smaller in store, a bit a prunable weight for which are there.

        A quantized network has all its weights; its realised ratio is that of its bytes.
        """
        row = self._row(study, "sparsity", method, ratio)
        if row["bits"] == row["bits"]:
            return float(row["mean_ratio"])
        left = row["total"] - (row["prunable"] - row["kept_prunable"])
        return float(BITS * row["total"] / (BITS * left + row["prunable"]))

    def times(self, study: str, method: str, ratio: float) -> str:
        """Return by what a cell is smaller in store, in text."""
        return f"{self.stored(study, method, ratio):.1f}"

    def lost(self, study: str, method: str, ratio: float, measure: str) -> float:
        """Return by how much a measure of a cell changed from the dense networks."""
        return self._change((study, method, ratio), measure)

    def rare(self, study: str) -> list[list[str]]:
        """Return a row a retrained cell: how recall falls by training images, by dense recall."""
        found = []
        for row in self._ended(study, "frequency").itertuples():
            numbers = [
                _span(100, row, name, ends)
                for name, ends in (("images", "images"), ("images_over_control", "images_over"),
                                   ("dense_recall_over_control", "dense_recall_over"))
            ]  # fmt: skip
            found.append([_name(row), *numbers])
        return found

    def rarer(self, study: str, method: str, ratio: float, column: str) -> float:
        return float(self._value(study, "frequency", method, ratio, column))

    def _ended(self, study: str, name: str) -> pd.DataFrame:
        """Return the rows of networks as they end, those between dense networks among them."""
        table = self._tables(study, name)
        states = [CellState(*key) for key in table[CELL_STATE].itertuples(index=False, name=None)]
        last = set(as_they_end(states))
        known = [key in last and key.method != "dense" for key in states]
        return table[pd.Series(known, index=table.index, dtype=bool)]

    def _row(self, study: str, name: str, method: str, ratio: float, state: str = "") -> pd.Series:
        table = self._ended(study, name) if not state else self._tables(study, name)
        rows = table[table["method"].eq(method) & table["ratio"].eq(ratio)]
        rows = rows[rows["state"].eq(state)] if state else rows
        if len(rows) != 1:
            raise ValueError(f"{study}: {name} has {len(rows)} rows of {method} at {ratio:g}")
        return rows.iloc[0]

    def _value(
        self, study: str, name: str, method: str, ratio: float, column: str, state: str = ""
    ) -> Any:
        return self._row(study, name, method, ratio, state)[column]

    def _slope(self, cell: tuple[str, str, float]) -> float:
        study, method, ratio = cell
        return float(self._row(study, "pooled", method, ratio)["alpha_crossfit"])

    def _moved_by(self, cell: tuple[str, str, float], measure: str, unit: float) -> str:
        return _signed(unit * self._change(cell, measure))

    def _change(self, cell: tuple[str, str, float], measure: str) -> float:
        study, method, ratio = cell
        if measure == "accuracy":
            return float(self._row(study, "tradeoff", method, ratio)["accuracy_change"])
        table = self._ended(study, "measures")
        rows = table["method"].eq(method) & table["ratio"].eq(ratio) & table["measure"].eq(measure)
        return float(table.loc[rows, "change"].iloc[0])


def _name(row: Any) -> str:
    if row.method == RESEED:
        return "two halves of the dense networks"
    return row.method if row.method in CONTROLS else f"{row.method}, {row.ratio:g}"


def _p(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if value == value else ""


def _signed(value: float) -> str:
    text = f"{value:+.2f}".replace("-", "−")
    return "0.00" if float(f"{value:.2f}") == 0 else text


def _span(unit: float, row: Any, name: str, ends: str) -> str:
    values = [getattr(row, name), getattr(row, f"{ends}_low"), getattr(row, f"{ends}_high")]
    if values[0] != values[0]:
        return ""
    mean, low, high = (f"{unit * value:.2f}".replace("-", "−") for value in values)
    return f"{mean} ({low}..{high})"
