"""The rows of the class-level models: recall balances before and after, by replicate and class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.errors import InferenceError
from recall_distortion.tables import format_ratio, require_columns, require_unique

# What the models need of the recall table.
RECALL_COLUMNS = [
    "dataset",
    "architecture",
    "method",
    "ratio",
    "state",
    "seed",
    "class",
    "normalized_balance",
]
ROW_COLUMNS = [
    "dataset",
    "architecture",
    "method",
    "ratio",
    "cell",
    "seed",
    "seed_cell",
    "class",
    "before",
    "after",
]

NOT_FINITE = "an accuracy of 0 or a class without images"


def design(recall: pd.DataFrame, dataset: str, architecture: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows, one per fine-tuned replicate and class, and notes of what was left out.

    Rows have ``ROW_COLUMNS``. ``before`` and ``after`` are the normalized recall balances of the
    dense and of the fine-tuned model of the same seed and class. ``cell`` is ``method@ratio`` and
    ``seed_cell`` is ``seed:cell``; cells come in table order, ratios ascending. A replicate that
    failed, and so is absent from ``recall``, is absent here. A cell with a balance that is not
    finite is left out whole, because leaving out its broken replicates would pick among outcomes.

    Raises ``InferenceError`` where the panel is not in the table, and where a replicate has no
    dense model or not the same classes as its dense model; ``TableError`` where a row occurs twice.
    """
    require_columns(recall, RECALL_COLUMNS, "the recall table")
    panel = recall[(recall["dataset"] == dataset) & (recall["architecture"] == architecture)]
    where = f"{dataset}/{architecture}"
    if panel.empty:
        raise InferenceError(
            f"the recall table has no model of {where}; check the names, or run the study's "
            "evaluation again"
        )
    require_unique(
        panel, ["method", "ratio", "state", "seed", "class"], f"the recall table of {where}"
    )
    after = panel[panel["state"] == "finetuned"]
    before = panel[panel["state"] == "dense"]
    joined = after.merge(
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
            f"{row['seed']}, class {row['class']} has no dense model of the same seed and class "
            "in the recall table; evaluate the dense models again"
        )
    methods = list(dict.fromkeys(joined["method"]))
    joined = joined.assign(_method=joined["method"].map(methods.index)).sort_values(
        ["_method", "ratio", "seed", "class"], kind="stable"
    )
    cell = [
        f"{method}@{format_ratio(float(ratio))}"
        for method, ratio in zip(joined["method"], joined["ratio"], strict=True)
    ]
    rows = pd.DataFrame(
        {
            "dataset": dataset,
            "architecture": architecture,
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
    classes = before.groupby("seed")["class"].nunique()
    found = rows.groupby("seed_cell", sort=False).agg(seed=("seed", "first"), n=("class", "size"))
    short = found[found["n"].to_numpy() != classes.loc[found["seed"]].to_numpy()]
    if not short.empty:
        raise InferenceError(
            f"{where}: replicate {short.index[0]} has {short['n'].iloc[0]} classes in the recall "
            "table and its dense model has another number; evaluate it again"
        )
    return _finite(rows)


def _finite(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows without the cells that have a balance ``after`` which is not finite."""
    broken = ~np.isfinite(rows["after"])
    replicates = rows["seed"].groupby(rows["cell"], sort=False).nunique()
    counts = rows[broken].groupby("cell", sort=False)["seed"].nunique()
    notes = [
        f"left out {spoken(rows, cell)}: {count} of {replicates[cell]} replicates "
        f"{'has' if count == 1 else 'have'} {NOT_FINITE}"
        for cell, count in counts.items()
    ]
    return rows[~rows["cell"].isin(counts.index)].reset_index(drop=True), notes


def spoken(rows: pd.DataFrame, cell: str) -> str:
    """Return a cell of the rows in words."""
    row = rows[rows["cell"] == cell].iloc[0]
    return f"{row['method']} at ratio {format_ratio(float(row['ratio']))}"
