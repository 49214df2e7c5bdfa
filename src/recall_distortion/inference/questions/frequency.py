"""Do rare classes lose more, or difficult ones?

Compressed networks are said to forget the long tail. Where the training set is unbalanced, each
network's changes of class recall are regressed on the logarithm of the classes' training images, on
their recall in the dense networks, and on both together: rare classes are difficult ones, and what
frequency adds shows beside that alone. The control says what retraining does, and also what part of
the slope on dense recall is the return of chance to the mean. Dense recall is the mean over dense
networks of other seeds, so that a network's own luck is not on both sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import joined, lost_pairs
from recall_distortion.inference.statistics.columns import paired
from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    require_level,
    t_interval,
)
from recall_distortion.measures.rounding import differences
from recall_distortion.tables.controls import USUAL, Controls
from recall_distortion.tables.files import require_columns
from recall_distortion.tables.forgetting import FREQUENCY_SLOPES
from recall_distortion.vocabulary import (
    CELL_STATE,
    DENSE,
    NETWORK,
    PANEL,
    REFERENCE_ARMS,
    RETRAINED,
    UNCOMPRESSED,
    CellState,
    Panel,
)

UNBALANCED = 2.0  # from this ratio of training images of the largest to the smallest class
LEAST_CLASSES = 4  # two slopes and an intercept leave one class to err by
_OF_SLOPE = ("", "_low", "_high", "_control", "_over_control", "_over_low", "_over_high", "_p",
             "_p_adjusted")  # fmt: skip
COLUMNS = [
    *CELL_STATE, "n", "control_n", "level", "family_size", "note",
    *(f"{name}{of}" for name in FREQUENCY_SLOPES for of in _OF_SLOPE),
]  # fmt: skip


def frequency(
    recall: pd.DataFrame,
    frequencies: pd.DataFrame | None,
    level: float = PAPER_LEVEL,
    controls: Controls = USUAL,
) -> pd.DataFrame:
    """Return the slopes of recall change of every cell and state of an unbalanced data set.

    ``recall`` is the table of that name; ``frequencies`` has dataset, class and fit, the images of
    a class that networks were trained on. ``images`` and ``dense_recall`` are the slopes of simple
    regressions over classes, of the change in recall per tenfold images and per unit of dense
    recall, ``images_beside`` and ``dense_recall_beside`` those of the regression on both; means
    over networks with t intervals at ``level``, and the mean paired difference from the control
    with p, adjusted over a method's ratios (Bonferroni). Data sets in which the largest class has
    less than twice the images of the smallest have no rows, nor have fewer than four classes.
    """
    require_level(level)
    require_columns(recall, [*NETWORK, "class", "recall"], "the recall table")
    rows: list[dict[str, Any]] = []
    if frequencies is not None:
        for panel, own in recall.groupby(PANEL, sort=False):
            images = frequencies[frequencies["dataset"] == panel[0]].sort_values("class")["fit"]
            counts = images.to_numpy(float)
            if len(counts) >= LEAST_CLASSES and counts.max() >= UNBALANCED * counts.min():
                rows += _of_panel(Panel(*panel), own, np.log10(counts), controls, level)
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_panel(
    panel: Panel, recall: pd.DataFrame, tens: np.ndarray, controls: Controls, level: float
) -> list[dict[str, Any]]:
    recalls = {
        CellState(*key): group.pivot(index="seed", columns="class", values="recall")
        for key, group in recall.groupby(CELL_STATE, sort=False)
    }
    dense = recalls.get(CellState(*panel, DENSE, UNCOMPRESSED, DENSE))
    if dense is None or len(dense) < 2:
        return []
    found = {}
    for key, own in recalls.items():
        seeds = own.index.intersection(dense.index)
        if key.method != DENSE and len(seeds):
            found[key] = _slopes(own.loc[seeds], dense, tens)
    families: dict[tuple[str, str], int] = {}
    for key in found:
        families[key.method, key.state] = families.get((key.method, key.state), 0) + 1
    rows = []
    for key, slopes in found.items():
        row: dict[str, Any] = {**key._asdict(), "n": len(slopes), "level": level}
        mean = t_interval(slopes.to_numpy(float), level, axis=0)
        row |= _named("", mean.mean) | _named("_low", mean.low) | _named("_high", mean.high)
        control = found.get(controls.cell(key))
        if control is not None and key.state == RETRAINED and key.method not in REFERENCE_ARMS:
            row |= _over_control(slopes, control, families[key.method, key.state], level)
        rows.append(row)
    return rows


def _slopes(own: pd.DataFrame, dense: pd.DataFrame, tens: np.ndarray) -> pd.DataFrame:
    """Return the four slopes of each network, by seed."""
    total = dense.to_numpy(float).sum(axis=0)
    rows = []
    for seed, recalls in zip(own.index, own.to_numpy(float), strict=True):
        before = dense.loc[seed].to_numpy(float)
        others = (total - before) / (len(dense) - 1)
        change = recalls - before
        both = _regressed(change, tens, others)
        rows.append([*_regressed(change, tens), *_regressed(change, others), *both])
    return pd.DataFrame(rows, index=own.index, columns=list(FREQUENCY_SLOPES))


def _regressed(change: np.ndarray, *on: np.ndarray) -> np.ndarray:
    """Return the slopes of a fit with intercept by least squares; NaN where not determined."""
    design = np.column_stack([np.ones(len(change)), *on])
    found, _, rank, _ = np.linalg.lstsq(design, change, rcond=1e-10)
    slopes: np.ndarray = found[1:] if rank == design.shape[1] else np.full(len(on), np.nan)
    return slopes


def _over_control(
    own: pd.DataFrame, control: pd.DataFrame, family: int, level: float
) -> dict[str, Any]:
    seeds = own.index.intersection(control.index)
    row: dict[str, Any] = {
        "control_n": len(seeds),
        "family_size": family,
        "note": joined(lost_pairs(len(seeds), len(own.index.union(control.index)))),
    }
    if not len(seeds):
        return row
    left, right = own.loc[seeds].to_numpy(float), control.loc[seeds].to_numpy(float)
    moved = differences(left, right)
    over = t_interval(moved, level, axis=0)
    p = paired(moved).p
    return {
        **row, **_named("_control", right.mean(axis=0)), **_named("_over_control", over.mean),
        **_named("_over_low", over.low), **_named("_over_high", over.high), **_named("_p", p),
        **_named("_p_adjusted", np.minimum(1.0, p * family)),
    }  # fmt: skip


def _named(of: str, values: np.ndarray) -> dict[str, float]:
    return {f"{name}{of}": float(v) for name, v in zip(FREQUENCY_SLOPES, values, strict=True)}
