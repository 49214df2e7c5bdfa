"""Does a method distort more than another that costs as much accuracy?

Methods at one ratio are compared at different damage. Here each cell is held against one method of
the panel where that costs as much: between the two of its cells, the control among them, whose mean
accuracies lie on either side, α is taken to be linear in the accuracy. Accuracy and α are those
beyond the control of each method's own retraining, so that methods which are trained differently
compare, too. Nothing is extrapolated.

Slopes are pooled and cross-fitted as in ``effects``, with its bootstrap over seeds, which below
``bootstrap.LEAST_REPLICATES`` seeds gives no interval. The place between the two cells is itself
estimated: each seed's numerator carries, times the slope of the line, how much that seed's
accuracies differ from the means that set the place (the delta method), which leaves the estimate as
it is and widens its interval. What is left out of account is that α may bend between two cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NO_CONTROL, NO_END, joined
from recall_distortion.inference.questions.effects import crossfit_differences
from recall_distortion.inference.questions.equal_sparsity import NO_POOLED, NOT_FINITE, STANDARD
from recall_distortion.inference.questions.pooled import FEW
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, require_level, verdict
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import (
    CELL_STATE,
    NETWORK,
    PANEL,
    REFERENCE_ARMS,
    RETRAINED,
    format_ratio,
)

BETTER = "more accurate beside its control than {} anywhere: no comparison at equal accuracy"
WORSE = "less accurate beside its control than {} anywhere: no comparison at equal accuracy"
NO_SEEDS = "no seed has every network that is compared"
NOT_BETWEEN = "not between {} and {} on the seeds that have all three: no comparison"
BETWEEN = "between {} and {}"

_SUMS = ["crossfit_numerator", "crossfit_denominator"]
_VALUES = [*_SUMS, "accuracy"]
COLUMNS = [
    *CELL_STATE, "reference", "n", "difference", "low", "high", "other", "verdict", "level",
    "family_size", "note",
]  # fmt: skip
_NUMBERS = ["difference", "low", "high", "other"]

Place = tuple[str, float]  # method, ratio


def equal_accuracy(
    networks: pd.DataFrame, pooled: pd.DataFrame, level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return each retrained cell against ``STANDARD`` at the same accuracy beside the controls.

    Where a panel lacks that method, its first one takes the place.

    ``networks`` has the columns of that table, ``pooled`` is the table of that question. The result
    has ``COLUMNS``, a row for each pruned cell of another method than ``reference``:

    - ``n``: the seeds that have every network of the comparison;
    - ``difference``: α beyond the control less the reference's at that accuracy, with its interval;
      ``other`` is the reference's, ``verdict`` what the interval says against 0;
    - ``family_size``: the method's cells that are compared.

    Raises ``TableError`` on a missing column, rows that occur twice, a senseless level.
    """
    require_level(level)
    require_columns(networks, [*NETWORK, *_VALUES], "the networks table")
    require_columns(pooled, [*CELL_STATE, "crossfit_low"], "the table of pooled slopes")
    used = compared(networks).astype({"ratio": float})
    require_unique(used, NETWORK, "the networks table")
    require_unique(pooled, CELL_STATE, "the table of pooled slopes")
    retrained = used[used["state"] == RETRAINED]
    if "bits" in retrained:
        retrained = retrained[retrained["bits"].isna()]
    known = np.isfinite(pooled["crossfit_low"].astype(float))
    told = pooled[(pooled["state"] == RETRAINED) & known]
    controls = Controls.of(networks)
    rows: list[dict[str, Any]] = []
    for panel, group in retrained.groupby(PANEL, sort=False):
        own = told[(told[PANEL] == list(panel)).all(axis=1)].astype({"ratio": float})
        cells = set(own[["method", "ratio"]].itertuples(index=False, name=None))
        place = dict(zip(PANEL, panel, strict=True)) | {"state": RETRAINED}
        rows += [place | row for row in _Panel(group, cells, controls).rows(level)]
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(_NUMBERS, float))


@dataclass(frozen=True)
class _Beside:
    """A cell and its control: a row a seed, of both."""

    values: pd.DataFrame
    places: frozenset[Place]

    @property
    def accuracy(self) -> float:
        """The mean accuracy less the control's."""
        return float((self.values["accuracy"] - self.values["accuracy_control"]).mean())

    def among(self, seeds: pd.Index) -> _Beside:
        """Return the same of those seeds alone; what is compared is of the same seeds."""
        return _Beside(self.values.loc[self.values.index.intersection(seeds)], self.places)


class _Panel:
    """The retrained networks of a panel, each beside its control."""

    def __init__(self, networks: pd.DataFrame, told: set[Place], controls: Controls) -> None:
        self.cells: dict[Place, pd.DataFrame] = {
            place: group.set_index("seed")[_VALUES].sort_index()
            for place, group in networks.groupby(["method", "ratio"], sort=False)
        }
        self.told, self.controls = told, controls
        methods = dict.fromkeys(name for name, _ in self.cells if name not in REFERENCE_ARMS)
        self.methods = list(methods)
        self.reference = STANDARD if STANDARD in methods else next(iter(methods), "")

    def rows(self, level: float) -> list[dict[str, Any]]:
        """Return the panel's rows, without data set, architecture and recipe."""
        found = list(self._compared())
        pairs = {i: pair for i, (_, pair, _) in enumerate(found) if pair is not None}
        differences = crossfit_differences(pairs, level)
        return [
            _row(row, pairs.get(i), differences.get(i), told, level)
            for i, (row, _, told) in enumerate(found)
        ]

    def _compared(self) -> Iterator[tuple[dict[str, Any], pd.DataFrame | None, bool]]:
        """Yield each row as far as it is known, what is compared, whether it has intervals."""
        curve = [self._beside(place) for place in self.cells if place[0] == self.reference]
        points = [point for point in curve if point is not None]
        for method in self.methods:
            places = [place for place in self.cells if place[0] == method]
            if method == self.reference:
                continue
            for place in places:
                row = {
                    "method": method, "ratio": place[1], "reference": self.reference,
                    "n": 0, "family_size": len(places), "note": "",
                }  # fmt: skip
                own = self._beside(place)
                if own is None or not points:
                    yield row | {"note": NO_CONTROL}, None, False
                    continue
                near = [point.among(own.values.index) for point in points]
                near = [point for point in near if not point.values.empty]
                if not near:
                    yield row | {"note": NO_SEEDS}, None, False
                    continue
                around = _around(own.accuracy, near)
                if isinstance(around, str):
                    yield row | {"note": around.format(self.reference)}, None, False
                    continue
                pair = _pair(own, *around)
                if pair.empty:
                    yield row | {"note": NO_SEEDS}, None, False
                    continue
                names = [self._name(one) for one in around]
                if not _between(own, around, pair.index):
                    yield row | {"note": NOT_BETWEEN.format(*names)}, None, False
                    continue
                used = own.places.union(*(one.places for one in around if one is not None))
                note = BETWEEN.format(*names)
                yield row | {"n": len(pair), "note": note}, pair, used <= self.told

    def _beside(self, place: Place) -> _Beside | None:
        """Return a cell beside its control, or None where no seed has both."""
        arm = self.controls.at(*place)
        if arm not in self.cells:
            return None
        values = self.cells[place].join(self.cells[arm].add_suffix("_control"), how="inner")
        if values.empty:
            return None
        return _Beside(values, frozenset({place, arm}))

    def _name(self, one: _Beside | None) -> str:
        if one is None:
            return "the control"
        ((_, ratio),) = [place for place in one.places if place[0] == self.reference]
        return f"{self.reference} at {format_ratio(ratio)}"


def _around(accuracy: float, points: list[_Beside]) -> tuple[_Beside | None, _Beside | None] | str:
    """Return the points on either side of an accuracy; None is the control, which lies at 0.

    Where there is none on one side, a note says so.
    """
    above: list[tuple[float, _Beside | None]] = []
    below: list[tuple[float, _Beside | None]] = []
    for at, point in ((0.0, None), *((point.accuracy, point) for point in points)):
        (above if at >= accuracy else below).append((at, point))
    if not above:
        return BETTER
    if not below:
        # On the lowest point itself both sides are that point.
        at, point = min(above, key=lambda item: item[0])
        return (point, point) if at == accuracy else WORSE
    return min(above, key=lambda item: item[0])[1], max(below, key=lambda item: item[0])[1]


def _between(own: _Beside, around: tuple[_Beside | None, _Beside | None], seeds: pd.Index) -> bool:
    """Return whether a cell lies between both sides on these seeds, which may be fewer."""
    above, below = (0.0 if one is None else one.among(seeds).accuracy for one in around)
    return below <= own.among(seeds).accuracy <= above


def _pair(own: _Beside, above: _Beside | None, below: _Beside | None) -> pd.DataFrame:
    """Return both sides' cross-fitted sums by seed, in the form of ``crossfit_differences``.

    The denominators of a seed are the dense network's, the same in all its cells, so that sums
    interpolate as slopes do.
    """
    tables = [own.values, *(side.values for side in (above, below) if side is not None)]
    seeds = tables[0].index
    for table in tables[1:]:
        seeds = seeds.intersection(table.index)
    moved, cost, size = _apart(own, seeds)
    sides = [_apart(side, seeds)[:2] if side is not None else (0 * moved, 0 * cost)
             for side in (above, below)]  # fmt: skip
    (moved_above, cost_above), (moved_below, cost_below) = sides
    reach = float((cost_below - cost_above).mean())
    share = float((cost - cost_above).mean()) / reach if reach else 0.0
    other = (1 - share) * moved_above + share * moved_below
    off = cost - (1 - share) * cost_above - share * cost_below
    steepness = float((moved_below - moved_above).mean()) / reach if reach else 0.0
    return pd.DataFrame(
        {
            "crossfit_numerator": moved - steepness * (off - off.mean()),
            "crossfit_denominator": size,
            "crossfit_numerator_other": other,
            "crossfit_denominator_other": size,
        }
    )


def _apart(side: _Beside, seeds: pd.Index) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Return numerator and accuracy less the control's, and the denominator, by seed."""
    table = side.values.loc[seeds]
    moved = table["crossfit_numerator"] - table["crossfit_numerator_control"]
    return moved, table["accuracy"] - table["accuracy_control"], table["crossfit_denominator"]


def _row(
    row: dict[str, Any],
    pair: pd.DataFrame | None,
    found: tuple[float, ...] | None,
    told: bool,
    level: float,
) -> dict[str, Any]:
    """Return a row with its difference, interval, verdict and whole note."""
    difference = low = high = other = np.nan
    notes = []
    if pair is not None and found is not None:
        difference, low, high, other = found
        lost = int((~np.isfinite(pair).all(axis=1)).sum())
        if lost:
            notes.append(NOT_FINITE.format(lost, row["n"]))
        if row["n"] < bootstrap.LEAST_REPLICATES:
            notes.append(FEW)
        elif not told:
            # Denominators not distinguishable from zero have no trustworthy bootstrap.
            low = high = np.nan
            notes.append("" if lost else NO_POOLED)
        elif not (lost or np.isfinite([low, high]).all()):
            notes.append(NO_END.format(""))
    return row | {
        "difference": difference, "low": low, "high": high, "other": other,
        "verdict": verdict(low, high, null=0.0), "level": level,
        "note": joined(row["note"], *notes),
    }  # fmt: skip
