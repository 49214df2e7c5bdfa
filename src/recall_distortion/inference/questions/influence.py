"""Which class a verdict hangs on: each cell's mean slope with one class left out at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    require_level,
    t_interval,
    verdict,
)
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import CELL_STATE, DENSE, NETWORK, PANEL, RETRAINED, UNCOMPRESSED

_Cell = tuple[str, float, str]  # of a panel: method, ratio, state
_DENSE: _Cell = (DENSE, UNCOMPRESSED, DENSE)
CHANGES, KEEPS = "the verdict changes", "the verdict stays"
COLUMNS = [
    *CELL_STATE, "class", "class_name", "share", "unnamed", "n", "mean", "low", "high", "std_error",
    "df", "level", "verdict", "changes",
]  # fmt: skip


def slopes_without(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return each network's slope without each class, [n, C], from balances [n, C].

    The class's term is dropped from both sums of the no-intercept slope; accuracies and the other
    classes' balances stay what they are. NaN where no other class differs from the accuracy
    before pruning.
    """
    # Sums over the others, not the total less one: where one class dominates, that would cancel.
    others = 1 - np.eye(before.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        without: np.ndarray = ((before * after) @ others) / (before**2 @ others)
    return without


def influence(
    recall: pd.DataFrame, slopes: pd.DataFrame, level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return the mean slope of every retrained cell without each of its classes.

    ``recall`` has the columns of ``NETWORK``, class, class_name, predicted, normalized_balance;
    ``slopes`` is that question's table of the same networks. The result has ``COLUMNS``, one row
    per cell (the control among them) and class left out, in the order of ``recall``: mean over
    replicates, t interval at ``level`` and verdict without the class. ``n`` counts the finite
    slopes without the class; with any that is not finite there is no mean. ``changes`` says whether
    the verdict changes; it is empty where either interval is missing, because nothing is known to
    change. ``share`` is the class's share of the slope's denominator, the squared balances of the
    cell's dense networks, and ``unnamed`` counts those of them that never name the class. Networks
    without their dense network are not compared.

    Raises ``TableError`` on a missing column, a class that occurs twice, a senseless level.
    """
    require_level(level)
    columns = [*NETWORK, "class", "class_name", "predicted", "normalized_balance"]
    require_columns(recall, columns, "the recall table")
    require_columns(slopes, [*CELL_STATE, "low", "high", "verdict"], "the table of slopes")
    require_unique(recall, [*NETWORK, "class"], "the recall table")
    of_cell = slopes.set_index(CELL_STATE)[["low", "high", "verdict"]]
    rows: list[dict[str, Any]] = []
    for panel, networks in recall.groupby(PANEL, sort=False):
        names = networks.drop_duplicates("class").set_index("class")["class_name"].sort_index()
        for cell, dense, values in _without(networks):
            key = (*panel, *cell)
            if key in of_cell.index:
                named = dict(zip(CELL_STATE, key, strict=True))
                found = _rows(of_cell.loc[[key]].iloc[0], dense, values, names, level)
                rows += [named | row for row in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    whole: pd.Series, dense: pd.DataFrame, values: np.ndarray, names: pd.Series, level: float
) -> Iterator[dict[str, Any]]:
    """Yield a cell's numbers without each of its classes; ``values`` are [n, C]."""
    squares = (dense["normalized_balance"] ** 2).sum(skipna=False)
    unnamed = (dense["predicted"] == 0).sum()
    found = t_interval(values, level, axis=0)
    for i, (label, name) in enumerate(names.items()):
        low, high = float(found.low[i]), float(found.high[i])
        without = verdict(low, high)
        known = np.isfinite([low, high, whole["low"], whole["high"]]).all()
        changes = CHANGES if without != whole["verdict"] else KEEPS
        yield {
            "class": label,
            "class_name": name,
            "share": squares[label] / squares.sum() if squares.any() else np.nan,
            "unnamed": int(unnamed[label]),
            "n": int(np.isfinite(values[:, i]).sum()),
            "mean": float(found.mean[i]),
            "low": low,
            "high": high,
            "std_error": float(found.std_error[i]),
            "df": found.df if np.isfinite(low) else np.nan,
            "level": level,
            "verdict": without,
            "changes": changes if known else "",
        }


def _without(networks: pd.DataFrame) -> Iterator[tuple[_Cell, pd.DataFrame, np.ndarray]]:
    """Yield each retrained cell of a panel, its dense networks, and its slopes without each class.

    The dense networks' balances and predictions have a row a seed; the slopes are [n, C].
    """
    keys = NETWORK[len(PANEL) :]
    wide = networks.pivot(index=keys, columns="class", values=["normalized_balance", "predicted"])
    cells = networks.loc[networks["state"] == RETRAINED, CELL_STATE[len(PANEL) :]].drop_duplicates()
    if not any(key[:3] == _DENSE for key in wide.index):
        return
    dense = wide.loc[_DENSE]
    for cell in cells.itertuples(index=False, name=None):
        own = wide.loc[cell]
        seeds = own.index.intersection(dense.index)
        before, after = (
            table.loc[seeds, "normalized_balance"].to_numpy() for table in (dense, own)
        )
        yield cell, dense.loc[seeds], slopes_without(before, after)
