"""Which classes did compression move further than it moved the network's accuracy?

Hooker et al. (arXiv 1911.05248) test, class by class, whether recall less the population's mean
accuracy is the same in a dense and a compressed population: Welch's test, of independent networks,
without correction for the number of classes. Two things speak for another test here. The accuracy
of the population is a constant, so that what moves a whole network stays in every class's recall;
each network's own takes it out. And a compressed network comes from the dense one of its seed, so
that independent samples waste what the two share: pairs are by seed. A change from the dense
network is retraining's as well, so that the pair that leads is that with the control.

The differences are those of recall less accuracy, the recall balance; with the sign turned they are
the excess accuracy gaps psi of Hashemizadeh et al. (arXiv 2310.20673).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.statistics.adjustment import holm
from recall_distortion.inference.statistics.columns import Tested, paired, welch
from recall_distortion.measures.distortion import reseed_pairs
from recall_distortion.tables.controls import USUAL, Controls
from recall_distortion.tables.files import require_columns
from recall_distortion.tables.study import as_they_end
from recall_distortion.vocabulary import (
    CELL_STATE,
    DENSE,
    NETWORK,
    PANEL,
    REFERENCE_ARMS,
    RESEED,
    RETRAINED,
    UNCOMPRESSED,
    CellState,
    Panel,
)

SIGNIFICANT = 0.05  # as published
#: The tests by the columns that they fill: two of independent networks, two of pairs.
TESTS = ("published", "own", "paired", "control")
_KEYS = [*CELL_STATE, "classes", "class", "class_name"]
_TESTED = ("n", "change", "std_error", "df", "p", "p_adjusted", "verdict")
_COUNT_KEYS = [*CELL_STATE, "expected"]
_COUNTED = ("n", "moved", "adjusted")
LOSES, GAINS, UNKNOWN = "loses", "gains", "inconclusive"


def _columns(names: Sequence[str]) -> list[str]:
    return [f"{test}_{name}" for test in TESTS for name in names]


@dataclass(frozen=True)
class _Cell:
    """Recalls [K, C] and accuracies [K] of networks, by their seeds in rising order."""

    seeds: np.ndarray
    recall: np.ndarray
    accuracy: np.ndarray

    def take(self, seeds: np.ndarray) -> _Cell:
        rows = np.searchsorted(self.seeds, seeds)
        return _Cell(seeds, self.recall[rows], self.accuracy[rows])

    @property
    def balance(self) -> np.ndarray:
        balance: np.ndarray = self.recall - self.accuracy[:, None]
        return balance


def class_tests(
    recall: pd.DataFrame, controls: Controls = USUAL
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tests of every cell, state and class, and the counts of every cell and state.

    ``recall`` is the table of that name, ``controls`` says which arm each method is read against.
    ``<test>_p_adjusted`` is Holm's over the classes of a
    cell. ``<test>_moved`` counts the classes with p of at most 0.05, ``expected`` is how many of
    them chance alone makes where no class moves, and ``<test>_adjusted`` counts those left by Holm.
    Rows of ``reseed`` test dense networks against others, which nothing sets apart: what they
    count is chance.
    """
    require_columns(recall, [*NETWORK, "class", "class_name", "recall", "accuracy"], "the recalls")
    cells = {
        CellState(*key): _cell(group)
        for key, group in recall.sort_values(["seed", "class"], kind="stable").groupby(
            CELL_STATE, sort=False
        )
    }
    # As they stand in the table, whatever the order of their seeds.
    states = recall[CELL_STATE].drop_duplicates().itertuples(index=False, name=None)
    order = [CellState(*key) for key in states]
    last = {*as_they_end(order)}
    found_rows: list[dict[str, Any]] = []
    counts: list[dict[str, Any]] = []
    names = recall.drop_duplicates([*PANEL, "class"]).sort_values("class")
    of_panel = {
        Panel(*key): [
            (str(int(c)), name) for c, name in zip(rows["class"], rows["class_name"], strict=True)
        ]
        for key, rows in names.groupby(PANEL, sort=False)
    }
    for key in order:
        classes = of_panel[key.panel]
        for at, found in _tests(key, cells, controls):
            if not found:
                continue
            found_rows += _rows(at, found, classes) if key in last else []
            counts.append(_counts(at, found, len(classes)))
    return (
        pd.DataFrame(found_rows, columns=[*_KEYS, *(f"{t}_{c}" for t in TESTS for c in _TESTED)]),
        pd.DataFrame(
            counts, columns=[*_COUNT_KEYS, *(f"{t}_{c}" for t in TESTS for c in _COUNTED)]
        ),
    )


def _cell(rows: pd.DataFrame) -> _Cell:
    seeds = rows["seed"].unique()
    recall = rows["recall"].to_numpy(float).reshape(len(seeds), -1)
    return _Cell(seeds, recall, rows["accuracy"].to_numpy(float).reshape(len(seeds), -1)[:, 0])


def _tests(
    key: CellState, cells: Mapping[CellState, _Cell], controls: Controls
) -> Iterator[tuple[CellState, dict[str, tuple[int, Tested]]]]:
    """Yield a cell's tests with the number of networks or pairs; of the dense one reseed's."""
    own = cells[key]
    dense = cells.get(CellState(*key.panel, DENSE, UNCOMPRESSED, DENSE))
    if key.method == DENSE:
        pairs = np.array(reseed_pairs(own.seeds.tolist()), int).reshape(-1, 2)
        if len(pairs):
            first, second = own.take(pairs[:, 0]), own.take(pairs[:, 1])
            at = key._replace(method=RESEED)
            yield at, _of_two(second, first, second.balance - first.balance)
        return
    if dense is None:
        return
    shared = np.intersect1d(own.seeds, dense.seeds)
    found = _of_two(own, dense, own.take(shared).balance - dense.take(shared).balance)
    control = cells.get(controls.cell(key))
    if control is not None and key.state == RETRAINED and key.method not in REFERENCE_ARMS:
        shared = np.intersect1d(own.seeds, control.seeds)
        if len(shared):
            moved = own.take(shared).balance - control.take(shared).balance
            found["control"] = len(shared), paired(moved)
    yield key, found


def _of_two(own: _Cell, other: _Cell, moved: np.ndarray) -> dict[str, tuple[int, Tested]]:
    """Return the tests of independent networks, and of the pairs where there are any."""
    n = len(own.seeds)
    shifted = own.recall - own.accuracy.mean(), other.recall - other.accuracy.mean()
    found = {"published": (n, welch(*shifted)), "own": (n, welch(own.balance, other.balance))}
    return found | ({"paired": (len(moved), paired(moved))} if len(moved) else {})


def _rows(
    key: CellState,
    found: Mapping[str, tuple[int, Tested]],
    classes: Sequence[tuple[str, str]],
) -> Iterator[dict[str, Any]]:
    shared = key._asdict() | {"classes": len(classes)}
    adjusted = {name: holm(tested.p).tolist() for name, (_, tested) in found.items()}
    for place, (number, class_name) in enumerate(classes):
        row = {**shared, "class": number, "class_name": class_name}
        for name, (n, tested) in found.items():
            row |= {
                f"{name}_n": n,
                f"{name}_change": tested.estimate[place],
                f"{name}_std_error": tested.std_error[place],
                f"{name}_df": tested.df[place],
                f"{name}_p": tested.p[place],
                f"{name}_p_adjusted": adjusted[name][place],
                f"{name}_verdict": _verdict(tested.estimate[place], adjusted[name][place]),
            }
        yield row


def _verdict(change: float, p_adjusted: float) -> str:
    if not np.isfinite(p_adjusted):
        return ""
    if p_adjusted > SIGNIFICANT:
        return UNKNOWN
    return LOSES if change < 0 else GAINS


def _counts(
    key: CellState, found: Mapping[str, tuple[int, Tested]], classes: int
) -> dict[str, Any]:
    row: dict[str, Any] = {**key._asdict(), "expected": SIGNIFICANT * classes}
    for name, (n, tested) in found.items():
        known = np.isfinite(tested.p).all()
        row[f"{name}_n"] = n
        row[f"{name}_moved"] = int((tested.p <= SIGNIFICANT).sum()) if known else np.nan
        row[f"{name}_adjusted"] = int((holm(tested.p) <= SIGNIFICANT).sum()) if known else np.nan
    return row
