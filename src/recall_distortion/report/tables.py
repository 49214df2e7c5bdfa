"""Reading a study's tables: checked columns, plain types, names kept as the user wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from recall_distortion import columns, tables
from recall_distortion.errors import TableError

CELL = ["dataset", "architecture", "method", "ratio"]
DENSE = "dense"
CONTROL = "control"
# What stands beside the pruning methods for comparison and is no pruning itself.
REFERENCES = (DENSE, CONTROL, "reseed")
METHOD_ORDER = (
    "magnitude",
    "layerwise_magnitude",
    "gradient",
    "regularized_gradient",
    "undecayed",
    "undecayed_signed",
    "random",
)
VERDICTS = ("intensification", "de-intensification", "inconclusive")

COLUMNS: dict[str, Sequence[str]] = {
    "recall": (
        *CELL, "state", "seed", "class", "class_name", "support", "recall", "accuracy",
        "normalized_balance",
    ),
    "alpha": (*CELL, "state", "seed", "alpha", "alpha_crossfit", "accuracy_before",
              "accuracy_after"),
    "intervals": columns.INTERVAL_COLUMNS,
    "sparsity": columns.SPARSITY_COLUMNS,
    "tests": columns.TEST_COLUMNS,
    "mixed_models": columns.COEFFICIENT_COLUMNS,
    "mixed_model_fits": columns.FIT_COLUMNS,
    "failures": columns.FAILURE_COLUMNS,
    "intercepts": columns.INTERCEPT_COLUMNS,
    "engines": columns.ENGINE_COLUMNS,
    "published": columns.PUBLISHED_COLUMNS,
    "effects": columns.EFFECT_COLUMNS,
    "pooled": columns.POOLED_COLUMNS,
    "equal_sparsity": columns.EQUAL_SPARSITY_COLUMNS,
    "seeds_needed": columns.SEEDS_NEEDED_COLUMNS,
    "tradeoff": columns.TRADEOFF_COLUMNS,
    "influence": columns.INFLUENCE_COLUMNS,
}  # fmt: skip
REQUIRED = ("recall", "alpha", "intervals")
# Columns that tables of the first release do not have; they are read as empty.
LATER = {
    "intervals": ("note",),
    "tests": ("family", "note"),
    "mixed_model_fits": ("spread", "believe"),
    "pooled": (
        "effective_classes",
        "median_effective_classes",
        "leading_class",
        "leading_share",
        "unnamed",
        "narrow",
    ),
    "influence": ("share", "unnamed"),
}


@dataclass(frozen=True)
class StudyTables:
    """The tables of one study; an optional table that does not exist is empty, with its columns.

    ``panels`` are the (dataset, architecture) pairs in the order of recall.csv, ``methods`` the
    pruning methods (references left out), ``ratios`` the pruning ratios in rising order.
    """

    recall: pd.DataFrame
    alpha: pd.DataFrame
    intervals: pd.DataFrame
    sparsity: pd.DataFrame
    tests: pd.DataFrame
    mixed_models: pd.DataFrame
    mixed_model_fits: pd.DataFrame
    failures: pd.DataFrame
    intercepts: pd.DataFrame
    engines: pd.DataFrame
    published: pd.DataFrame
    effects: pd.DataFrame
    pooled: pd.DataFrame
    equal_sparsity: pd.DataFrame
    seeds_needed: pd.DataFrame
    tradeoff: pd.DataFrame
    influence: pd.DataFrame
    panels: list[tuple[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Return one table with text, truth and number columns typed as such.

    A class called "NA" or "None" stays that text: only number columns have missing values.
    Raises ``TableError`` when a required file or a column is missing or a number is not one.
    """
    path = Path(folder) / f"{name}.csv"
    wanted = COLUMNS[name]
    if not path.is_file():
        if name in REQUIRED:
            raise TableError(
                f"{path} does not exist; the report needs {', '.join(REQUIRED)}.csv in one folder"
            )
        table = pd.DataFrame({column: pd.Series(dtype=str) for column in wanted})
    else:
        later = LATER.get(name, ())
        table = tables.read_table(path, [column for column in wanted if column not in later])
        for column in later:
            words = table[column] if column in table else pd.Series("", index=table.index)
            table[column] = words if column in columns.TEXT_COLUMNS else words.replace("", "nan")
    for column in table.columns:
        if column in columns.TRUTH_COLUMNS:
            words = table[column].astype(str).str.strip().str.lower()
            table[column] = words.isin(("true", "1", "1.0"))
        elif column in wanted and column not in columns.TEXT_COLUMNS:
            try:
                table[column] = table[column].astype(float)
            except ValueError as error:
                raise TableError(f"{path}, column {column}: {error}") from error
    return table


def order_methods(names: list[str]) -> list[str]:
    """Return method names in the published order, unknown ones after them as they came."""
    return order_as(names, METHOD_ORDER)


def order_as(names: Sequence[str], order: Sequence[str]) -> list[str]:
    """Return names in the given order, those that it does not have after them as they came."""
    known = [name for name in order if name in names]
    return known + [name for name in names if name not in known]


def read_tables(folder: Path) -> StudyTables:
    """Return all tables of a study from a folder of CSV files."""
    found = {name: read_table(Path(folder), name) for name in COLUMNS}
    recall = found["recall"]
    if recall.empty:
        raise TableError(f"{Path(folder) / 'recall.csv'} has no rows: nothing was evaluated")
    pairs = recall[["dataset", "architecture"]].drop_duplicates()
    pruned = recall[~recall["method"].isin(REFERENCES)]
    return StudyTables(
        **found,
        panels=list(pairs.itertuples(index=False, name=None)),
        methods=order_methods(list(pruned["method"].unique())),
        ratios=sorted(float(ratio) for ratio in pruned["ratio"].dropna().unique()),
    )


def of_panel(table: pd.DataFrame, panel: tuple[str, str]) -> pd.DataFrame:
    """Return the rows of one (dataset, architecture)."""
    return table[(table["dataset"] == panel[0]) & (table["architecture"] == panel[1])]
