"""Accuracy beside distortion: which cells make a network better, more even, or both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NO_CONTROL, joined, lost_pairs
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, require_level, t_interval
from recall_distortion.measures.rounding import above, differences
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import (
    CELL_STATE,
    COMPRESSED,
    CONTROLS,
    DEINTENSIFICATION,
    DENSE,
    NETWORK,
    PANEL,
    RETRAINED,
    CellState,
)

COLUMNS = [
    *CELL_STATE, "n", "accuracy_before", "accuracy_after", "accuracy_change", "accuracy_low",
    "accuracy_high", "std_error", "df", "accuracy_over_control", "over_control_low",
    "over_control_high", "control_accuracy", "control_n", "level", "improves", "variance_before",
    "variance_after", "variance_change", "note",
]  # fmt: skip
# What improves against the dense network, in the column of that name.
BOTH, BALANCE, ACCURACY, NEITHER = "both", "balance", "accuracy", "neither"

APART = "the recalls lie further apart than before, although the slope is below 1"


def tradeoff(
    recall: pd.DataFrame,
    networks: pd.DataFrame,
    slopes: pd.DataFrame,
    level: float = PAPER_LEVEL,
) -> pd.DataFrame:
    """Return what every cell does to accuracy and balance, before and after retraining.

    ``recall`` and ``networks`` are the tables of that name, ``slopes`` is that question's table of
    the same networks. The result has ``COLUMNS``, one row per cell and state in the order of
    ``networks``, the control's too; accuracies are fractions, and means over ``n`` replicates:

    - ``accuracy_change``: after minus before, with its paired t interval at ``level``;
    - ``accuracy_over_control``: after minus the retrained control of the same seed, likewise;
      missing in the control's own rows;
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
    require_columns(recall, [*NETWORK, "class", "balance"], "the recall table")
    require_columns(networks, [*NETWORK, "accuracy_before", "accuracy"], "the networks table")
    require_columns(slopes, [*CELL_STATE, "low", "high", "verdict", "note"], "the table of slopes")
    require_unique(recall, [*NETWORK, "class"], "the recall table")
    used = compared(networks).astype({"ratio": float})
    require_unique(used, NETWORK, "the networks table")
    used = _with_variances(used[used["state"].isin((COMPRESSED, RETRAINED))], recall)
    cells = {CellState(*key): own for key, own in used.groupby(CELL_STATE, sort=False)}
    of_cell, controls = slopes.set_index(CELL_STATE), Controls.of(networks)
    rows = []
    for cell, group in cells.items():
        control = cells.get(controls.cell(cell))
        # Nothing is trained for quantized networks that a control could separate.
        alone = cell.method in CONTROLS or ("bits" in group and group["bits"].notna().all())
        if alone:
            control = None
        rows.append(cell._asdict() | _row(group, of_cell.loc[[cell]].iloc[0], control, level))
        if not alone and control is None:
            rows[-1]["note"] = joined(rows[-1]["note"], NO_CONTROL)
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(
    group: pd.DataFrame, slope: pd.Series, control: pd.DataFrame | None, level: float
) -> dict[str, Any]:
    """Return the numbers of a cell; ``control`` is None for the control itself and without one."""
    moved = t_interval(differences(group["accuracy"], group["accuracy_before"]), level)
    before, after = (
        group[name].mean(skipna=False) for name in ("variance_before", "variance_after")
    )
    if not differences(after, before, size=0):
        after = before
    narrows = slope["verdict"] == DEINTENSIFICATION
    apart = APART if narrows and not after < before else ""
    known = np.isfinite([moved.low, moved.high, slope["low"], slope["high"]]).all()
    over, note = ({}, "") if control is None else _over_control(group, control, level)
    return {
        "n": len(group),
        "accuracy_before": group["accuracy_before"].mean(),
        "accuracy_after": group["accuracy"].mean(),
        "accuracy_change": float(moved.mean),
        "accuracy_low": float(moved.low),
        "accuracy_high": float(moved.high),
        "std_error": float(moved.std_error),
        "df": moved.df if np.isfinite(moved.low) else np.nan,
        "level": level,
        "improves": _improves(above(float(moved.low), 0), narrows and not apart) if known else "",
        "variance_before": before,
        "variance_after": after,
        "variance_change": after - before,
        "note": joined(slope["note"], apart, note),
        **over,
    }


def _with_variances(networks: pd.DataFrame, recall: pd.DataFrame) -> pd.DataFrame:
    """Return the networks with the mean squared balance of their classes, before and after."""
    squares = recall.assign(square=recall["balance"] ** 2)
    variance = squares.groupby(NETWORK, sort=False)["square"].mean()
    dense = variance[variance.index.get_level_values("state") == DENSE]
    dense = dense.droplevel(["method", "ratio", "state"])
    return networks.join(variance.rename("variance_after"), on=NETWORK).join(
        dense.rename("variance_before"), on=[*PANEL, "seed"]
    )


def _over_control(
    group: pd.DataFrame, control: pd.DataFrame, level: float
) -> tuple[dict[str, Any], str]:
    own, other = (table.set_index("seed")["accuracy"] for table in (group, control))
    pairs = pd.concat([own, other], axis=1, join="inner").to_numpy(float)
    lost = lost_pairs(len(pairs), len(own.index.union(other.index)))
    found = t_interval(differences(pairs[:, 0], pairs[:, 1]), level)
    row = {
        "accuracy_over_control": float(found.mean),
        "over_control_low": float(found.low),
        "over_control_high": float(found.high),
        "control_accuracy": float(pairs[:, 1].mean()) if len(pairs) else np.nan,
        "control_n": len(pairs),
    }
    return row, f"against the control, {lost}" if lost else ""


def _improves(accuracy: bool, balance: bool) -> str:
    if balance:
        return BOTH if accuracy else BALANCE
    return ACCURACY if accuracy else NEITHER
