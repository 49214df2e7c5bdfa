"""The rows of the class-level models: recall balances before and after, by replicate and class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.system.errors import InferenceError
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import (
    CELL,
    DENSE,
    NETWORK,
    PANEL,
    RETRAINED,
    Panel,
    format_ratio,
)

# What the models need of the recall table.
RECALL_COLUMNS = [*NETWORK, "class", "normalized_balance"]
ROW_COLUMNS = [*CELL, "cell", "seed", "seed_cell", "class", "before", "after"]

NOT_FINITE = "an accuracy of 0 or a class without images"


def design(recall: pd.DataFrame, panel: Panel) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows, one per retrained replicate and class, and notes of what was left out.

    Rows have ``ROW_COLUMNS``. ``before`` and ``after`` are the normalized recall balances of the
    dense and of the retrained network of the same seed and class. ``cell`` is ``method@ratio`` and
    ``seed_cell`` is ``seed:cell``; cells come in table order, ratios ascending. A replicate that
    failed, and so is absent from ``recall``, is absent here. A cell with a balance that is not
    finite is left out whole, because leaving out its broken replicates would select by outcome.

    Raises ``InferenceError`` where the panel is not in the table, and where a replicate has no
    dense network or not the same classes as its dense network; ``TableError`` where a row occurs
    twice.
    """
    require_columns(recall, RECALL_COLUMNS, "the recall table")
    own = of_panel(recall, panel)
    where = "/".join(panel)
    if own.empty:
        raise InferenceError(
            f"the recall table has no network of {where}; check the names, or run the study's "
            "evaluation again"
        )
    require_unique(
        own, ["method", "ratio", "state", "seed", "class"], f"the recall table of {where}"
    )
    before = own[own["state"] == DENSE]
    rows = _rows(_with_dense(own, before, where))
    classes = before.groupby("seed")["class"].nunique()
    found = rows.groupby("seed_cell", sort=False).agg(seed=("seed", "first"), n=("class", "size"))
    short = found[found["n"].to_numpy() != classes.loc[found["seed"]].to_numpy()]
    if not short.empty:
        raise InferenceError(
            f"{where}: replicate {short.index[0]} has {short['n'].iloc[0]} classes in the recall "
            "table and its dense network has another number; evaluate it again"
        )
    return _finite(rows)


def _with_dense(own: pd.DataFrame, before: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the retrained rows of a panel, in table order, each with its dense balance."""
    joined = own[own["state"] == RETRAINED].merge(
        before[["seed", "class", "normalized_balance"]],
        on=["seed", "class"],
        how="left",
        suffixes=("_after", "_before"),
        indicator=True,
    )
    orphans = joined[joined["_merge"] != "both"]
    if not orphans.empty:
        row = orphans.iloc[0]
        raise InferenceError(
            f"{where}: {row['method']} at ratio {format_ratio(float(row['ratio']))}, seed "
            f"{row['seed']}, class {row['class']} has no dense network of the same seed and class "
            "in the recall table; evaluate the dense networks again"
        )
    methods = list(dict.fromkeys(joined["method"]))
    return joined.assign(_method=joined["method"].map(methods.index)).sort_values(
        ["_method", "ratio", "seed", "class"], kind="stable"
    )


def _rows(joined: pd.DataFrame) -> pd.DataFrame:
    cell = [
        f"{method}@{format_ratio(float(ratio))}"
        for method, ratio in zip(joined["method"], joined["ratio"], strict=True)
    ]
    return pd.DataFrame(
        {
            **{key: joined[key].to_numpy() for key in PANEL},
            "method": joined["method"].to_numpy(),
            "ratio": joined["ratio"].to_numpy(dtype=float),
            "cell": cell,
            "seed": joined["seed"].to_numpy(),
            "seed_cell": [f"{s}:{c}" for s, c in zip(joined["seed"], cell, strict=True)],
            "class": joined["class"].to_numpy(),
            "before": joined["normalized_balance_before"].to_numpy(dtype=float),
            "after": joined["normalized_balance_after"].to_numpy(dtype=float),
        },
        columns=ROW_COLUMNS,
    )


def _finite(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows without the cells that have a balance ``after`` which is not finite."""
    broken = ~np.isfinite(rows["after"])
    replicates = rows["seed"].groupby(rows["cell"], sort=False).nunique()
    counts = rows[broken].groupby("cell", sort=False)["seed"].nunique()
    notes = [
        f"left out {described(rows, cell)}: {count} of {replicates[cell]} replicates "
        f"{'has' if count == 1 else 'have'} {NOT_FINITE}"
        for cell, count in counts.items()
    ]
    return rows[~rows["cell"].isin(counts.index)].reset_index(drop=True), notes


def described(rows: pd.DataFrame, cell: str) -> str:
    """Return a cell of the rows in words."""
    row = rows[rows["cell"] == cell].iloc[0]
    return f"{row['method']} at ratio {format_ratio(float(row['ratio']))}"
