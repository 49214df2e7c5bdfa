"""The columns of a study's tables.

This imports nothing, because those who only write a table's head need no pandas.
"""

from __future__ import annotations

RECALL_COLUMNS = [
    "dataset",
    "architecture",
    "method",
    "ratio",
    "state",
    "seed",
    "class",
    "class_name",
    "support",
    "correct",
    "predicted",
    "recall",
    "precision",
    "accuracy",
    "balance",
    "normalized_balance",
]
ALPHA_COLUMNS = [
    "dataset",
    "architecture",
    "method",
    "ratio",
    "state",
    "seed",
    "alpha",
    "alpha_crossfit",
    "r2",
    "denominator",
    "accuracy_before",
    "accuracy_after",
]
SPARSITY_COLUMNS = [
    "dataset",
    "architecture",
    "method",
    "ratio",
    "seed",
    "realised_ratio",
    "kept_fraction",
    "kept_prunable",
    "prunable",
    "total",
]
FAILURE_COLUMNS = ["dataset", "architecture", "method", "ratio", "stage", "seed", "reason"]
INTERCEPT_COLUMNS = [
    "dataset",
    "architecture",
    "method",
    "ratio",
    "state",
    "balanced",
    "n",
    "slope",
    "slope_with_intercept",
    "intercept",
    "intercept_low",
    "intercept_high",
]
INTERVAL_COLUMNS = [
    "dataset",
    "architecture",
    "method",
    "ratio",
    "state",
    "n",
    "mean",
    "low",
    "high",
    "level",
    "family_size",
    "verdict",
]
TEST_COLUMNS = [
    "question",
    "dataset",
    "architecture",
    "method",
    "ratio",
    "left",
    "right",
    "alternative",
    "paired",
    "n_left",
    "n_right",
    "estimate",
    "t",
    "df",
    "p",
    "p_adjusted",
    "adjustment",
]
# mixed_models.csv
COEFFICIENT_COLUMNS = [
    "model",
    "engine",
    "dataset",
    "architecture",
    "method",
    "ratio",
    "term",
    "estimate",
    "std_error",
    "df",
    "low",
    "high",
    "p_intensification",
    "p_deintensification",
    "p_intensification_adjusted",
    "p_deintensification_adjusted",
    "verdict",
]
# mixed_model_fits.csv
FIT_COLUMNS = [
    "model",
    "engine",
    "formula",
    "rows",
    "groups",
    "loglik",
    "singular",
    "converged",
    "message",
    "seconds",
]

# Columns that hold words, even where one looks like a number or like a missing value ("1", "NA").
TEXT_COLUMNS = frozenset(
    {
        "dataset",
        "architecture",
        "method",
        "state",
        "class_name",
        "stage",
        "reason",
        "verdict",
        "question",
        "left",
        "right",
        "alternative",
        "adjustment",
        "model",
        "engine",
        "term",
        "formula",
        "groups",
        "message",
        "published_verdict",
    }
)
