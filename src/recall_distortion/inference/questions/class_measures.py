"""What became of each class besides its recall: how often it is named, how well calibrated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    require_level,
    t_interval,
)
from recall_distortion.measures.distortion import reseed_pairs
from recall_distortion.measures.rounding import differences
from recall_distortion.tables.controls import USUAL, Controls
from recall_distortion.tables.files import require_columns
from recall_distortion.tables.forgetting import CLASS_MEASURES
from recall_distortion.tables.study import as_they_end
from recall_distortion.vocabulary import (
    CELL_STATE,
    DENSE,
    NETWORK,
    REFERENCE_ARMS,
    RESEED,
    RETRAINED,
    UNCOMPRESSED,
    CellState,
)

_OF_MEAN = ("mean", "low", "high")
_COMPARED = [f"{against}{end}" for against in ("change", "over_control")
             for end in ("_n", "_reference", "", "_low", "_high")]  # fmt: skip
COLUMNS = [
    *CELL_STATE, "class", "class_name", "n", "level",
    *(f"{name}_{of}" for name in CLASS_MEASURES for of in (*_OF_MEAN, *_COMPARED)),
]  # fmt: skip


def class_measures(
    recall: pd.DataFrame, level: float = PAPER_LEVEL, controls: Controls = USUAL
) -> pd.DataFrame:
    """Return means of every class of networks as they end, their change from dense and control.

    ``recall`` is the table of that name. The share of test images named as a class is divided by
    the true one; the calibration error is over the images so named. ``change`` is from the dense
    network of the same seed, of ``reseed`` between two dense networks, ``over_control`` of
    retrained cells from the retrained control that ``controls`` names, each with its paired t
    interval at ``level``. Where a network has no value, as of the calibration of a class that it
    never names, its class has no number in that cell.
    """
    require_level(level)
    require_columns(recall, [*NETWORK, "class", "class_name", "predicted", "support"], "recalls")
    values = recall.assign(named_share=recall["predicted"] / recall["support"])
    values = values.sort_values(["seed", "class"], kind="stable")
    every = [CellState(*key) for key in recall[CELL_STATE].drop_duplicates().to_numpy().tolist()]
    order = as_they_end(every)
    groups = list(values.groupby(CELL_STATE, sort=False))
    rows: dict[tuple[CellState, str], dict[str, Any]] = {}
    for column in CLASS_MEASURES:
        if column in values and values[column].notna().any():
            cells = {CellState(*key): _Values.of(group, column) for key, group in groups}
            for key in order:
                for at, number, row in _rows(key, cells, controls, column, level):
                    rows.setdefault((at, number), {}).update(row)
    return pd.DataFrame(list(rows.values()), columns=COLUMNS)


@dataclass(frozen=True)
class _Values:
    """One quantity [K, C] of the networks of a cell, by their seeds in rising order."""

    seeds: np.ndarray
    values: np.ndarray
    classes: list[tuple[str, str]]

    @classmethod
    def of(cls, rows: pd.DataFrame, column: str) -> _Values:
        seeds = rows["seed"].unique()
        values = rows[column].to_numpy(float).reshape(len(seeds), -1)
        first = rows.iloc[: values.shape[1]]
        named = zip(first["class"], first["class_name"], strict=True)
        return cls(seeds, values, [(str(int(number)), name) for number, name in named])

    def take(self, seeds: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.values[np.searchsorted(self.seeds, seeds)]
        return found


def _rows(
    key: CellState,
    cells: Mapping[CellState, _Values],
    controls: Controls,
    name: str,
    level: float,
) -> Iterator[tuple[CellState, str, dict[str, Any]]]:
    """Yield a cell's rows, a class each; behind the dense networks' those of reseed."""
    own = cells[key]
    mean = t_interval(own.values, level, axis=0)
    columns = {"n": len(own.seeds), f"{name}_mean": mean.mean, f"{name}_low": mean.low,
               f"{name}_high": mean.high}  # fmt: skip
    if key.method == DENSE:
        yield from _by_class(key, own, level, columns)
        pairs = np.array(reseed_pairs(own.seeds.tolist()), int).reshape(-1, 2)
        first, second = pairs.T
        columns = _compared(own.take(second), own.take(first), level, f"{name}_change")
        yield from _by_class(key._replace(method=RESEED), own, level, columns)
        return
    dense = cells.get(CellState(*key.panel, DENSE, UNCOMPRESSED, DENSE))
    control = cells.get(controls.cell(key))
    if key.state != RETRAINED or key.method in REFERENCE_ARMS:
        control = None
    for other, against in ((dense, "change"), (control, "over_control")):
        if other is not None:
            seeds = np.intersect1d(own.seeds, other.seeds)
            columns |= _compared(own.take(seeds), other.take(seeds), level, f"{name}_{against}")
    yield from _by_class(key, own, level, columns)


def _compared(own: np.ndarray, other: np.ndarray, level: float, name: str) -> dict[str, Any]:
    """Return the mean paired difference by class with its interval, and the other side's mean."""
    if not len(own):
        return {}
    moved = t_interval(differences(own, other), level, axis=0)
    return {
        f"{name}_n": len(own), f"{name}_reference": other.mean(axis=0), name: moved.mean,
        f"{name}_low": moved.low, f"{name}_high": moved.high,
    }  # fmt: skip


def _by_class(
    key: CellState, own: _Values, level: float, columns: Mapping[str, Any]
) -> Iterator[tuple[CellState, str, dict[str, Any]]]:
    if not columns:
        return
    shared = key._asdict() | {"level": level}
    for place, (number, class_name) in enumerate(own.classes):
        row: dict[str, Any] = {**shared, "class": number, "class_name": class_name}
        for name, values in columns.items():
            row[name] = float(values[place]) if np.ndim(values) else values
        yield key, number, row
