"""The class-level mixed model of one data set and architecture, its rows and what it takes.

One model per data set and architecture explains each class's normalized recall balance after
pruning and fine-tuning by the same replicate's balance before, with a slope per cell (method and
ratio; the control is a cell like the others) and no intercept. In lme4's words::

    after ~ 0 + before:cell + (0 + before | seed) + (0 + before | seed_cell) + (0 + before | class)

A slope above 1 is intensification, below 1 de-intensification, as for alpha. The random slopes
say which rows belong together: replicates differ (seed), one pruned network's classes move
together (seed within cell), and a class may react alike everywhere (class). Without the second,
the contrasts between methods would rest on the thousands of rows instead of on the replicates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from recall_distortion.errors import InferenceError
from recall_distortion.tables import format_ratio, require_columns, require_unique

FORMULA = (
    "after ~ 0 + before:cell"
    " + (0 + before | seed) + (0 + before | seed_cell) + (0 + before | class)"
)

# What the model needs of the recall table.
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

# Terms of the random effects, and the column of the rows whose levels each one belongs to.
RANDOM_TERMS = {"sd(seed)": "seed", "sd(seed:cell)": "seed_cell", "sd(class)": "class"}
RESIDUAL = "sd(residual)"

# A random effect whose standard deviation is below this many residual standard deviations counts
# as zero: lme4's own tolerance in isSingular.
SINGULAR = 1e-4

# A residual below this fraction of the balances is rounding. The likelihood then has no maximum,
# and engines stop wherever they happen to.
EXACT = 1e-9


@dataclass(frozen=True)
class EngineFit:
    """What an engine found: slopes in the order of the rows' cells, and facts about the fit.

    ``slopes``, ``std_errors``, ``df``: [cells]; ``deviations``: standard deviation per term of
    ``RANDOM_TERMS`` and of the residual; ``loglik``: the REML log-likelihood.
    """

    slopes: np.ndarray
    std_errors: np.ndarray
    df: np.ndarray
    deviations: dict[str, float]
    loglik: float
    singular: bool
    converged: bool
    message: str


def design(recall: pd.DataFrame, dataset: str, architecture: str) -> pd.DataFrame:
    """Return the model's rows, one per fine-tuned replicate and class, with ``ROW_COLUMNS``.

    ``before`` and ``after`` are the normalized recall balances of the dense and of the fine-tuned
    model of the same seed and class. ``cell`` is ``method@ratio`` and ``seed_cell`` is
    ``seed:cell``; cells come in table order, ratios ascending. A replicate that failed, and so is
    absent from ``recall``, is absent here.

    Raises ``InferenceError`` where the panel is not in the table, where a replicate has no dense
    model or not the same classes as its dense model, and where a balance is not finite (a class
    without test images, or an accuracy of 0), and ``TableError`` where a row occurs twice.
    """
    require_columns(recall, RECALL_COLUMNS, "the recall table")
    panel = recall[(recall["dataset"] == dataset) & (recall["architecture"] == architecture)]
    where = f"{dataset}/{architecture}"
    require_unique(
        panel, ["method", "ratio", "state", "seed", "class"], f"the recall table of {where}"
    )
    after = panel[panel["state"] == "finetuned"]
    before = panel[panel["state"] == "dense"]
    for rows, what in ((after, "fine-tuned"), (before, "dense")):
        if rows.empty:
            raise InferenceError(
                f"the recall table has no {what} model of {where}, and the mixed model needs some; "
                "check the names, or run the study's evaluation again"
            )
    joined = after.merge(
        before[["seed", "class", "normalized_balance"]],
        on=["seed", "class"],
        how="left",
        suffixes=("_after", "_before"),
        indicator=True,
    )
    orphans = joined[joined["_merge"] != "both"]
    if not orphans.empty:
        raise InferenceError(
            f"{where}: {_replicate(orphans.iloc[0])} has no dense model of the same seed and class "
            "in the recall table; evaluate the dense models again"
        )
    for state in ("before", "after"):
        broken = joined[~np.isfinite(joined[f"normalized_balance_{state}"].to_numpy(dtype=float))]
        if not broken.empty:
            raise InferenceError(
                f"{where}: the normalized recall balance {state} pruning of "
                f"{_replicate(broken.iloc[0])} is not finite ({len(broken)} such rows); the class "
                "has no test images or the model's accuracy is 0. Remove the class from the test "
                "set, or the failed replicate from the study"
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
    return rows


def _replicate(row: pd.Series) -> str:
    ratio = format_ratio(float(row["ratio"]))
    return f"{row['method']} at ratio {ratio}, seed {row['seed']}, class {row['class']}"


def inestimable(rows: pd.DataFrame) -> str:
    """Return why these rows cannot bear the model, in words, or an empty string."""
    reasons = []
    seeds, cells, classes = (rows[name].nunique() for name in ("seed", "cell", "class"))
    if seeds < 2:
        reasons.append("one seed: how replicates differ cannot be estimated")
    if cells < 2:
        reasons.append("one cell: the slopes by seed and by seed within cell are the same")
    elif rows.groupby("seed")["cell"].nunique().max() < 2:
        reasons.append("no seed has two cells: the slopes by seed and by seed within cell coincide")
    if classes < 2:
        reasons.append("one class: there is no recall balance")
    flat = rows.groupby("cell", sort=False)["before"].apply(
        lambda before: bool((before == 0).all())
    )
    if flat.any():
        reasons.append(
            f"every class is recalled equally before pruning in {', '.join(flat.index[flat])}: "
            "there is no balance to intensify"
        )
    if not reasons and _exact(rows):
        reasons.append("the slopes of replicates and classes explain every row without residual")
    return "; ".join(reasons)


def _exact(rows: pd.DataFrame) -> bool:
    """Return whether nothing is left after slopes by class and by replicate, but for rounding."""
    after, before = rows["after"], rows["before"]
    # A class's slope and a seed's are the same in all cells of the seed, and cancel here.
    centred = after - after.groupby([rows["seed"], rows["class"]]).transform("mean")
    sums = (centred * before).groupby(rows["seed_cell"]).transform("sum")
    squares = (before**2).groupby(rows["seed_cell"]).transform("sum")
    left = centred - before * (sums / squares.where(squares > 0)).fillna(0.0)
    return bool((left**2).sum() <= EXACT**2 * (after**2).sum())


def not_estimated(rows: pd.DataFrame, message: str) -> EngineFit:
    """Return a fit without numbers, and why in ``message``."""
    nothing = np.full(rows["cell"].nunique(), np.nan)
    return EngineFit(
        slopes=nothing,
        std_errors=nothing,
        df=nothing,
        deviations={},
        loglik=np.nan,
        singular=False,
        converged=False,
        message=message,
    )


def not_fitted(rows: pd.DataFrame, engine: str, error: Exception) -> EngineFit:
    """Return the fit of an engine that gave up: no numbers, and its complaint as the message."""
    complaint = " ".join(str(error).split()) or type(error).__name__
    return not_estimated(rows, f"{engine} gave up: {complaint}")
