"""Which class a verdict hangs on: each cell's mean slope with one class left out at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.columns import INFLUENCE_COLUMNS
from recall_distortion.inference.contrasts import STATE
from recall_distortion.inference.intervals import (
    CELL,
    PAPER_LEVEL,
    interval,
    require_level,
    verdict,
)
from recall_distortion.tables import require_columns, require_unique

DENSE = ("dense", 1.0, "dense")  # method, ratio, state


def slopes_without(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return each network's slope without each class, [n, C], from balances [n, C].

    The class's term is dropped from both sums of the no-intercept slope; accuracies and the other
    classes' balances stay what they are. NaN where no other class differs from the accuracy
    before pruning.
    """
    # Sums over the others, not the total less one: where one class dominates, that would cancel.
    others = 1 - np.eye(before.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((before * after) @ others) / (before**2 @ others)


def influence(
    recall: pd.DataFrame, intervals: pd.DataFrame, level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return the mean slope of every fine-tuned cell without each of its classes.

    ``recall`` has the columns dataset, architecture, method, ratio, state, seed, class,
    class_name, predicted, normalized_balance; ``intervals`` is what ``intervals`` makes of the
    slopes of the same networks. The result has ``INFLUENCE_COLUMNS``, one row per cell (the
    control among them) and class left out, in the order of ``recall``: mean over replicates, t
    interval at ``level`` and verdict without the class, and ``mean_all`` and ``verdict_all`` with
    all. ``n`` counts the finite slopes without the class; with any that is not finite there is no
    mean. ``changes`` tells whether the two verdicts differ; it is empty where either interval is
    missing, because nothing is known to change. ``share`` is the class's share of the slope's
    denominator, the squared balances of the cell's dense networks, and ``unnamed`` counts those of
    them that never name the class. Networks without their dense network are not compared.

    Raises ``TableError`` on a missing column, a class that occurs twice, a senseless level.
    """
    require_level(level)
    columns = [*CELL, "seed", "class", "class_name", "predicted", "normalized_balance"]
    require_columns(recall, columns, "the recall table")
    require_columns(intervals, [*CELL, "mean", "low", "high", "verdict"], "the intervals table")
    require_unique(recall, [*CELL, "seed", "class"], "the recall table")
    of_interval = intervals.set_index(CELL)[["mean", "low", "high", "verdict"]]
    rows: list[dict[str, Any]] = []
    for panel, networks in recall.groupby(CELL[:2], sort=False):
        names = networks.drop_duplicates("class").set_index("class")["class_name"].sort_index()
        for cell, dense, slopes in _without(networks):
            named = dict(zip(CELL, (*panel, *cell), strict=True))
            if tuple(named.values()) not in of_interval.index:
                continue
            whole = of_interval.loc[[tuple(named.values())]].iloc[0]
            squares = (dense["normalized_balance"] ** 2).sum(skipna=False)
            unnamed = (dense["predicted"] == 0).sum()
            for (label, name), values in zip(names.items(), slopes.T, strict=True):
                mean, low, high = interval(values, level)
                found = verdict(low, high)
                known = np.isfinite([low, high, whole["low"], whole["high"]]).all()
                rows.append(
                    {
                        **named,
                        "class": label,
                        "class_name": name,
                        "share": squares[label] / squares.sum() if squares.any() else np.nan,
                        "unnamed": int(unnamed[label]),
                        "n": int(np.isfinite(values).sum()),
                        "mean": mean,
                        "low": low,
                        "high": high,
                        "level": level,
                        "verdict": found,
                        "mean_all": whole["mean"],
                        "verdict_all": whole["verdict"],
                        "changes": bool(found != whole["verdict"]) if known else "",
                    }
                )
    return pd.DataFrame(rows, columns=INFLUENCE_COLUMNS)


def _without(networks: pd.DataFrame) -> Iterator[tuple[tuple, pd.DataFrame, np.ndarray]]:
    """Yield each fine-tuned cell of a panel, its dense networks, and its slopes without each class.

    The dense networks' balances and predictions have a row a seed; the slopes are [n, C].
    """
    keys = [*CELL[2:], "seed"]
    wide = networks.pivot(index=keys, columns="class", values=["normalized_balance", "predicted"])
    cells = networks.loc[networks["state"] == STATE, CELL[2:]].drop_duplicates()
    if not any(key[:3] == DENSE for key in wide.index):
        return
    dense = wide.loc[DENSE]
    for cell in cells.itertuples(index=False, name=None):
        own = wide.loc[cell]
        seeds = own.index.intersection(dense.index)
        before, after = (
            table.loc[seeds, "normalized_balance"].to_numpy() for table in (dense, own)
        )
        yield cell, dense.loc[seeds], slopes_without(before, after)
