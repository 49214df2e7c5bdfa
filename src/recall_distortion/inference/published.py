"""The published verdicts and slopes beside those of a study (paper, Figures 1 to 5)."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pandas as pd

from recall_distortion.columns import PUBLISHED_COLUMNS
from recall_distortion.inference.contrasts import STATE
from recall_distortion.tables import read_table, require_columns, require_unique

CELL = ["dataset", "architecture", "method", "ratio"]


def verdicts() -> pd.DataFrame:
    """Return the 75 published verdicts: cell, verdict, source (the paper's figure)."""
    return _facts("verdicts", ["verdict"])


def slopes() -> pd.DataFrame:
    """Return the 20 published pooled slopes: cell, pooled_alpha, r2, mean_accuracy, source."""
    return _facts("slopes", ["pooled_alpha", "r2", "mean_accuracy"])


def published(recall: pd.DataFrame, intervals: pd.DataFrame, pooled: pd.DataFrame) -> pd.DataFrame:
    """Return every published verdict, in published order, beside this study's fine-tuned cell.

    ``recall`` has the columns dataset, architecture, method, ratio, state, seed, accuracy;
    ``intervals`` and ``pooled`` are those modules' tables. Cells are matched by the names of data
    set, architecture and method and by the nominal ratio. The result has ``PUBLISHED_COLUMNS``:
    ``verdict`` and ``agrees`` are empty where this study has no such cell or could not give it an
    interval (one replicate, a slope that is not finite), because a cell without an interval
    agrees with nothing. ``pooled_alpha`` compares with the published slope of Figure 5, and
    ``accuracy`` is the mean over replicates.
    """
    require_columns(intervals, [*CELL, "state", "low", "high", "verdict"], "the intervals table")
    require_columns(pooled, [*CELL, "state", "alpha"], "the table of pooled slopes")
    require_columns(recall, [*CELL, "state", "seed", "accuracy"], "the recall table")
    networks = _finetuned(recall).drop_duplicates([*CELL, "seed"])
    own = [
        _finetuned(intervals)[[*CELL, "low", "high", "verdict"]],
        _finetuned(pooled)[[*CELL, "alpha"]].rename(columns={"alpha": "pooled_alpha"}),
        networks.groupby(CELL, sort=False)["accuracy"].mean().reset_index(),
    ]
    table = verdicts().rename(columns={"verdict": "published_verdict"})
    table = table.merge(
        slopes().rename(
            columns={"pooled_alpha": "published_alpha", "mean_accuracy": "published_accuracy"}
        )[[*CELL, "published_alpha", "published_accuracy"]],
        on=CELL,
        how="left",
    )
    for part, name in zip(own, ("intervals", "pooled slopes", "accuracies"), strict=True):
        require_unique(part, CELL, f"the table of {name}")
        table = table.merge(part, on=CELL, how="left")
    known = np.isfinite(table["low"].astype(float)) & np.isfinite(table["high"].astype(float))
    agrees = (table["verdict"] == table["published_verdict"]).astype(object)
    table["verdict"] = table["verdict"].where(known, "")
    table["agrees"] = agrees.where(known, "")
    return table[PUBLISHED_COLUMNS]


def _facts(name: str, columns: list[str]) -> pd.DataFrame:
    file = resources.files("recall_distortion.inference") / "published_facts" / f"{name}.csv"
    with resources.as_file(file) as path:
        table = read_table(path, [*CELL, *columns, "source"])
    return table.astype({"ratio": float})


def _finetuned(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["state"] == STATE].astype({"ratio": float})
