"""What the report says in numbers: pure functions from tables to smaller tables."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import special

from recall_distortion.report.tables import CELL, DENSE

POOLED_COLUMNS = [*CELL, "state", "models", "points", "dropped", "slope", "r2", "accuracy"]
ACCURACY_LEVEL = 0.95
ENGINES = ("pymer4", "statsmodels", "bootstrap")


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


def mean_interval(values: Iterable[float], level: float) -> tuple[float, float, float]:
    """Return mean and two-sided t interval; the limits are NaN for fewer than two values."""
    array = np.asarray(list(values), dtype=float)
    if not len(array):
        return math.nan, math.nan, math.nan
    mean = float(array.mean())
    if len(array) < 2:
        return mean, math.nan, math.nan
    half = float(special.stdtrit(len(array) - 1, 0.5 + level / 2) * array.std(ddof=1))
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


def engine_agreement(mixed: pd.DataFrame, fits: pd.DataFrame) -> pd.DataFrame:
    """Return the mixed-model rows with pymer4, statsmodels and the bootstrap side by side.

    One row per model, cell and term; columns ``<quantity>_<engine>`` for estimate, std_error, df,
    low, high, the adjusted p values and the verdict, ``difference`` of the estimates of pymer4 and
    statsmodels, and ``believe``, which the model's fits say. A row that only one engine has is
    kept.
    """
    keys = ["model", *CELL, "term"]
    quantities = ["estimate", "std_error", "df", "low", "high"]
    quantities += ["p_intensification_adjusted", "p_deintensification_adjusted", "verdict"]
    table = mixed[keys].drop_duplicates()
    for engine in ENGINES:
        side = mixed.loc[mixed["engine"] == engine, [*keys, *quantities]].drop_duplicates(keys)
        names = {name: f"{name}_{engine}" for name in quantities}
        table = table.merge(side.rename(columns=names), on=keys, how="left")
    table["difference"] = table["estimate_statsmodels"] - table["estimate_pymer4"]
    said = fits.loc[fits["believe"] != ""].drop_duplicates("model")
    believe = dict(zip(said["model"], said["believe"], strict=True))
    table["believe"] = [believe.get(model, "") for model in table["model"]]
    return table


def ratio_text(ratio: float) -> str:
    """Return a ratio as the tables write it: 2, 10, 2.5."""
    return f"{ratio:g}"
