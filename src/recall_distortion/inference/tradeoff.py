"""Accuracy beside distortion: which cells make a network better, more even, or both."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.columns import TRADEOFF_COLUMNS
from recall_distortion.inference.contrasts import CONTROL
from recall_distortion.inference.intervals import (
    CELL,
    DEINTENSIFICATION,
    PAPER_LEVEL,
    interval,
    require_level,
)
from recall_distortion.inference.notes import NO_CONTROL, joined, lost_pairs
from recall_distortion.rounding import above, differences
from recall_distortion.tables import require_columns, require_unique

STATES = ("pruned", "finetuned")

APART = "the recalls lie further apart than before, although the slope is below 1"


def tradeoff(
    recall: pd.DataFrame,
    alpha: pd.DataFrame,
    intervals: pd.DataFrame,
    level: float = PAPER_LEVEL,
) -> pd.DataFrame:
    """Return accuracy and slope of every cell before and after fine-tuning, the control's too.

    ``recall`` and ``alpha`` are the tables of that name, ``intervals`` what ``intervals`` makes of
    ``alpha``. The result has ``TRADEOFF_COLUMNS``, one row per cell and state in the order of
    ``alpha``; accuracies are fractions, and means over ``n`` replicates:

    - ``accuracy_change``: after minus before, with its paired t interval at ``level``;
    - ``accuracy_over_control``: after minus the fine-tuned control of the same seed, likewise;
      missing in the control's own rows;
    - ``alpha`` and ``alpha_verdict`` from ``intervals``;
    - ``improves``: ``both`` where the accuracy rises (``accuracy_low`` > 0) and the balance
      improves, which takes de-intensification and a smaller variance; ``accuracy`` or ``balance``
      where only one of them holds, ``neither``; empty where the accuracy or the slope has no
      interval;
    - ``variance_before``, ``variance_after``: the mean over classes of the squared recall balance
      B^2 = (R - A)^2, not normalized, dense and after.

    A slope below 1 does not make the recalls more even by itself: the classes may be far apart in
    another order, as in networks that collapse when pruned, whose slopes are far below -1. The two
    variances tell; where a cell de-intensifies and the mean variance does not fall, it improves no
    balance and ``note`` says so. It also says what is missing and why.

    Raises ``TableError`` on a missing column, a replicate that occurs twice, a senseless level.
    """
    require_level(level)
    require_columns(recall, [*CELL, "seed", "class", "balance"], "the recall table")
    require_columns(alpha, [*CELL, "seed", "accuracy_before", "accuracy_after"], "the alpha table")
    require_columns(
        intervals, [*CELL, "mean", "low", "high", "verdict", "note"], "the intervals table"
    )
    require_unique(recall, [*CELL, "seed", "class"], "the recall table")
    require_unique(alpha, [*CELL, "seed"], "the alpha table")
    recall, alpha = (table.astype({"ratio": float}) for table in (recall, alpha))
    networks = _with_variances(alpha[alpha["state"].isin(STATES)], recall)
    cells = dict(iter(networks.groupby(CELL, sort=False)))
    of_interval = intervals.set_index(CELL)[["mean", "low", "high", "verdict", "note"]]
    rows = []
    for cell, group in cells.items():
        named = dict(zip(CELL, cell, strict=True))
        slope = of_interval.loc[[cell]].iloc[0]
        moved = differences(group["accuracy_after"], group["accuracy_before"])
        change, low, high = interval(moved, level)
        over, note = _over_control(group, cells.get((*cell[:2], CONTROL, 1, "finetuned")), level)
        if named["method"] == CONTROL:
            over, note = (np.nan,) * 3, ""
        before, after = (
            group[name].mean(skipna=False) for name in ("variance_before", "variance_after")
        )
        if not differences(after, before, size=0):
            after = before
        narrows = slope["verdict"] == DEINTENSIFICATION
        apart = APART if narrows and not after < before else ""
        known = np.isfinite([low, high, slope["low"], slope["high"]]).all()
        rows.append(
            {
                **named,
                "n": len(group),
                "accuracy_before": group["accuracy_before"].mean(),
                "accuracy_after": group["accuracy_after"].mean(),
                "accuracy_change": change,
                "accuracy_low": low,
                "accuracy_high": high,
                "accuracy_over_control": over[0],
                "over_control_low": over[1],
                "over_control_high": over[2],
                "level": level,
                "alpha": slope["mean"],
                "alpha_verdict": slope["verdict"],
                "improves": _improves(above(low, 0), narrows and not apart) if known else "",
                "variance_before": before,
                "variance_after": after,
                "note": joined(slope["note"], apart, note),
            }
        )
    return pd.DataFrame(rows, columns=TRADEOFF_COLUMNS)


def _with_variances(networks: pd.DataFrame, recall: pd.DataFrame) -> pd.DataFrame:
    """Return the networks with the mean squared balance of their classes, before and after."""
    squares = recall.assign(square=recall["balance"] ** 2)
    variance = squares.groupby([*CELL, "seed"], sort=False)["square"].mean()
    dense = variance[variance.index.get_level_values("state") == "dense"]
    dense = dense.droplevel(["method", "ratio", "state"])
    return networks.join(variance.rename("variance_after"), on=[*CELL, "seed"]).join(
        dense.rename("variance_before"), on=["dataset", "architecture", "seed"]
    )


def _over_control(
    group: pd.DataFrame, control: pd.DataFrame | None, level: float
) -> tuple[tuple[float, float, float], str]:
    if control is None:
        return (np.nan, np.nan, np.nan), NO_CONTROL
    own, other = (table.set_index("seed")["accuracy_after"] for table in (group, control))
    pairs = pd.concat([own, other], axis=1, join="inner").to_numpy(float)
    lost = lost_pairs(len(pairs), len(own.index.union(other.index)))
    found = interval(differences(pairs[:, 0], pairs[:, 1]), level)
    return found, f"against the control {lost}" if lost else ""


def _improves(accuracy: bool, balance: bool) -> str:
    if balance:
        return "both" if accuracy else "balance"
    return "accuracy" if accuracy else "neither"
