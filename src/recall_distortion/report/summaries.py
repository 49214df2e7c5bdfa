"""What the report says in numbers: pure functions from tables to smaller tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from recall_distortion.files import replacing
from recall_distortion.report.tables import (
    CELL,
    CONTROL,
    DENSE,
    VERDICTS,
    StudyTables,
    read_table,
    read_tables,
)

POOLED_COLUMNS = [*CELL, "state", "models", "points", "dropped", "slope", "r2", "accuracy"]
ACCURACY_LEVEL = 0.95
PLOT_COLUMNS = [
    "dataset", "architecture", "panel", "method", "ratio", "mean_alpha", "low", "high", "accuracy",
]  # fmt: skip


def pair_balances(recall: pd.DataFrame) -> pd.DataFrame:
    """Return the class balances of each compressed model beside those of its dense model.

    One row per cell, state, seed and class with ``before`` (dense) and ``after`` (normalized
    recall balances), the ``recall_before`` and the columns of ``recall``. Models whose dense model
    is not in the table have no row.
    """
    keys = ["dataset", "architecture", "seed", "class"]
    dense = recall.loc[recall["method"] == DENSE, [*keys, "normalized_balance", "recall"]]
    dense = dense.rename(columns={"normalized_balance": "before", "recall": "recall_before"})
    compressed = recall[recall["method"] != DENSE].rename(columns={"normalized_balance": "after"})
    return compressed.merge(dense, on=keys, how="inner", validate="many_to_one")


def pooled_slopes(recall: pd.DataFrame) -> pd.DataFrame:
    """Return slope, r² and mean accuracy of each cell with the classes of all models together.

    The slope is the no-intercept least-squares slope of the normalized recall balances after on
    those before, and r² is uncentred, 1 - SSE / sum of squares after (paper, Figure 5). Points
    that are not finite cannot enter a sum; they are counted in ``dropped``. Slope and r² are NaN
    where their denominators are 0. ``accuracy`` is the mean over models after compression.
    """
    pairs = pair_balances(recall)
    if pairs.empty:
        return pd.DataFrame(columns=POOLED_COLUMNS)
    finite = np.isfinite(pairs["before"]) & np.isfinite(pairs["after"])
    before, after = pairs["before"].where(finite, 0.0), pairs["after"].where(finite, 0.0)
    pairs = pairs.assign(
        xx=before * before, xy=before * after, yy=after * after, finite=finite, rows=1
    )
    group = [*CELL, "state"]
    sums = pairs.groupby(group, sort=False)[["xx", "xy", "yy", "finite", "rows"]].sum()
    models = pairs.drop_duplicates([*group, "seed"]).groupby(group, sort=False)["accuracy"]
    slope = sums["xy"] / sums["xx"].where(sums["xx"] > 0)
    # SSE = sum of (y - slope x)², written out in the sums.
    error = sums["yy"] - 2 * slope * sums["xy"] + slope**2 * sums["xx"]
    table = pd.DataFrame(
        {
            "models": models.size(),
            "points": sums["finite"].astype(int),
            "dropped": (sums["rows"] - sums["finite"]).astype(int),
            "slope": slope,
            "r2": 1 - error / sums["yy"].where(sums["yy"] > 0),
            "accuracy": models.mean(),
        }
    )
    return table.reset_index()[POOLED_COLUMNS]


def residual_scatter(recall: pd.DataFrame) -> pd.Series:
    """Return each fine-tuned cell's standard deviation of balances about its pooled slope."""
    pairs = pair_balances(recall)
    pairs = pairs[pairs["state"] == "finetuned"].dropna(subset=["before", "after"])

    def deviation(cell: pd.DataFrame) -> float:
        before, after = cell["before"].to_numpy(), cell["after"].to_numpy()
        squares = float((before**2).sum())
        slope = float((before * after).sum()) / squares if squares > 0 else 0.0
        return float(np.sqrt(((after - slope * before) ** 2).mean()))

    found = pairs.groupby(CELL, sort=False)[["before", "after"]].apply(deviation)
    return found[found > 0] if len(found) else pd.Series(dtype=float)


def write_pooled_slopes(tables: Path, path: Path) -> None:
    """Write ``pooled_slopes`` of the recall.csv in ``tables`` to ``path`` as CSV."""
    table = pooled_slopes(read_table(tables, "recall"))
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def mean_interval(values: Iterable[float], level: float) -> tuple[float, float, float]:
    """Return mean and two-sided t interval; the limits are NaN for fewer than two values."""
    array = np.asarray(list(values), dtype=float)
    if not len(array):
        return math.nan, math.nan, math.nan
    mean = float(array.mean())
    if len(array) < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf(0.5 + level / 2, len(array) - 1) * array.std(ddof=1))
    half /= math.sqrt(len(array))
    return mean, mean - half, mean + half


def accuracy_summary(recall: pd.DataFrame, level: float = ACCURACY_LEVEL) -> pd.DataFrame:
    """Return n, mean accuracy and its t interval over models for each cell and state."""
    models = recall.drop_duplicates([*CELL, "state", "seed"])
    rows = [
        (*key, len(group), *mean_interval(group["accuracy"].dropna(), level), level)
        for key, group in models.groupby([*CELL, "state"], sort=False)
    ]
    return pd.DataFrame(rows, columns=[*CELL, "state", "n", "mean", "low", "high", "level"])


def class_changes(recall: pd.DataFrame) -> pd.DataFrame:
    """Return each class's mean recall before and after, over the models that have both.

    Columns: cell, state, class, class_name, support, n, before, after, change (after - before).
    """
    pairs = pair_balances(recall)
    grouped = pairs.groupby([*CELL, "state", "class"], sort=False)
    table = grouped.agg(
        class_name=("class_name", "first"),
        support=("support", "first"),
        n=("seed", "size"),
        before=("recall_before", "mean"),
        after=("recall", "mean"),
    )
    table["change"] = table["after"] - table["before"]
    return table.reset_index()


def sparsity_summary(sparsity: pd.DataFrame) -> pd.DataFrame:
    """Return nominal and realised sparsity of each cell over its models."""
    columns = ["n", "mean_ratio", "min_ratio", "max_ratio", "kept_fraction", "kept_prunable"]
    columns += ["prunable", "total"]
    if sparsity.empty:
        return pd.DataFrame(columns=[*CELL, *columns])
    table = sparsity.groupby(CELL, sort=False).agg(
        n=("seed", "size"),
        mean_ratio=("realised_ratio", "mean"),
        min_ratio=("realised_ratio", "min"),
        max_ratio=("realised_ratio", "max"),
        kept_fraction=("kept_fraction", "mean"),
        kept_prunable=("kept_prunable", "mean"),
        prunable=("prunable", "first"),
        total=("total", "first"),
    )
    return table.reset_index()[[*CELL, *columns]]


def alpha_summary(alpha: pd.DataFrame) -> pd.DataFrame:
    """Return mean naive and median cross-fitted slope per cell and state, and what is not finite.

    Both are over the finite slopes only; ``nonfinite`` tells how many models had none. A single
    cross-fitted slope can be arbitrarily large where its denominator is near zero, so that their
    mean says nothing and the median stands for them.
    """
    marked = alpha.assign(
        alpha=alpha["alpha"].where(np.isfinite(alpha["alpha"])),
        alpha_crossfit=alpha["alpha_crossfit"].where(np.isfinite(alpha["alpha_crossfit"])),
        nonfinite=~np.isfinite(alpha["alpha"]),
    )
    table = marked.groupby([*CELL, "state"], sort=False).agg(
        models=("seed", "size"),
        nonfinite=("nonfinite", "sum"),
        alpha=("alpha", "mean"),
        alpha_crossfit=("alpha_crossfit", "median"),
    )
    return table.reset_index()


def against_control(intervals: pd.DataFrame) -> pd.Series:
    """Return for each row whether its interval lies above, below or across the control's.

    "above", "below" or "overlaps"; "" where there is no control or a limit is missing.
    """
    control = intervals[(intervals["method"] == CONTROL) & (intervals["state"] == "finetuned")]
    limits = control.drop_duplicates(["dataset", "architecture"])
    merged = intervals[["dataset", "architecture", "low", "high"]].merge(
        limits[["dataset", "architecture", "low", "high"]],
        on=["dataset", "architecture"],
        how="left",
        suffixes=("", "_control"),
    )
    known = merged[["low", "high", "low_control", "high_control"]].notna().all(axis=1)
    relation = np.select(
        [
            ~known,
            merged["low"] > merged["high_control"],
            merged["high"] < merged["low_control"],
        ],
        ["", "above", "below"],
        "overlaps",
    )
    return pd.Series(relation, index=intervals.index, dtype=str)


def engine_agreement(mixed: pd.DataFrame) -> pd.DataFrame:
    """Return the mixed-model rows with pymer4 and statsmodels side by side.

    One row per model, cell and term; columns ``<quantity>_<engine>`` for estimate, std_error, df,
    low, high, the adjusted p values and the verdict, and ``difference`` of the two estimates. A
    row that only one engine has is kept.
    """
    keys = ["model", *CELL, "term"]
    quantities = ["estimate", "std_error", "df", "low", "high"]
    quantities += ["p_intensification_adjusted", "p_deintensification_adjusted", "verdict"]
    sides = [
        mixed.loc[mixed["engine"] == engine, [*keys, *quantities]]
        .drop_duplicates(keys)
        .rename(columns={name: f"{name}_{engine}" for name in quantities})
        for engine in ("pymer4", "statsmodels")
    ]
    order = mixed[keys].drop_duplicates()
    table = order.merge(sides[0], on=keys, how="left").merge(sides[1], on=keys, how="left")
    table["difference"] = table["estimate_statsmodels"] - table["estimate_pymer4"]
    return table


def ratio_text(ratio: float) -> str:
    """Return a ratio as the tables write it: 2, 10, 2.5."""
    return f"{ratio:g}"


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Return the nested dictionary without values that JSON cannot hold and empty branches."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            if inner := _finite(value):
                kept[key] = inner
        elif math.isfinite(value):
            kept[key] = value
    return kept


def metrics(tables: Path) -> dict[str, Any]:
    """Return the few numbers of a study that ``dvc metrics show`` prints: finite numbers only.

    dataset → architecture → dense_accuracy, control_alpha, cells (how many per verdict) and
    failures. The cells' mean slopes are plot data (``plot_data``).
    """
    data = read_tables(tables)
    accuracies = accuracy_summary(data.recall)
    found: dict[str, Any] = {}
    for dataset, architecture in data.panels:
        dense = _select(accuracies, dataset, architecture, DENSE)
        fine = _select(data.intervals, dataset, architecture, None)
        fine = fine[fine["state"] == "finetuned"]
        pruning = fine[fine["method"].isin(data.methods)]
        failed = _select(data.failures, dataset, architecture, None)
        control = fine[fine["method"] == CONTROL]
        found.setdefault(dataset, {})[architecture] = {
            "dense_accuracy": float(dense["mean"].iloc[0]) if len(dense) else math.nan,
            "control_alpha": float(control["mean"].iloc[0]) if len(control) else math.nan,
            "cells": {verdict: int((pruning["verdict"] == verdict).sum()) for verdict in VERDICTS},
            "failures": len(failed),
        }
    return _finite(found)


def _select(
    table: pd.DataFrame, dataset: str, architecture: str, method: str | None
) -> pd.DataFrame:
    rows = (table["dataset"] == dataset) & (table["architecture"] == architecture)
    return table[rows if method is None else rows & (table["method"] == method)]


def plot_data(data: StudyTables) -> pd.DataFrame:
    """Return one row per cell after fine-tuning: mean slope, its interval, mean accuracy."""
    fine = data.intervals[data.intervals["state"] == "finetuned"]
    accuracies = accuracy_summary(data.recall)
    accuracies = accuracies.loc[accuracies["state"] == "finetuned", [*CELL, "mean"]]
    table = fine.rename(columns={"mean": "mean_alpha"}).merge(
        accuracies.rename(columns={"mean": "accuracy"}), on=CELL, how="left"
    )
    table["panel"] = table["dataset"] + " / " + table["architecture"]
    whole = bool(np.all(np.mod(table["ratio"], 1) == 0))
    return table[PLOT_COLUMNS].astype({"ratio": int} if whole else {})


def write_plot_data(tables: Path, path: Path) -> None:
    """Write ``plot_data`` of the tables to ``path`` as CSV, for ``dvc plots``."""
    table = plot_data(read_tables(tables))
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
