"""Inference from files to files, for the workflow and for whoever has tables of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recall_distortion.columns import (
    COEFFICIENT_COLUMNS,
    FIT_COLUMNS,
    INTERVAL_COLUMNS,
    TEST_COLUMNS,
)
from recall_distortion.errors import InferenceError
from recall_distortion.inference import contrasts, mixed_models, model
from recall_distortion.inference.intervals import CELL, PAPER_LEVEL, intervals
from recall_distortion.inference.r_stack import check_r_stack
from recall_distortion.tables import read_table, write_table

_FITTERS: dict[str, Callable[[pd.DataFrame], tuple[pd.DataFrame, dict[str, Any]]]] = {
    "pymer4": mixed_models.fit_pymer4,
    "statsmodels": mixed_models.fit_statsmodels,
}


def write_tests(
    recall_csv: str | Path,
    alpha_csv: str | Path,
    intervals_csv: str | Path,
    tests_csv: str | Path,
    level: float = PAPER_LEVEL,
) -> None:
    """Write the intervals of the mean slopes, at ``level`` each, and the paper's t-tests."""
    recall = read_table(recall_csv, ["dataset", "architecture", "state", "seed", "accuracy"])
    alpha = read_table(alpha_csv, [*CELL, "seed", "alpha"])
    write_table(intervals_csv, [intervals(alpha, level)], INTERVAL_COLUMNS)
    write_table(tests_csv, [contrasts.tests(alpha, recall)], TEST_COLUMNS)


def write_fit(
    recall_csv: str | Path,
    dataset: str,
    architecture: str,
    engine: str,
    coefficients_csv: str | Path,
    fit_csv: str | Path,
) -> None:
    """Fit one panel's mixed model with one engine; write its coefficients and its one fit row.

    ``engine`` is ``pymer4`` or ``statsmodels``. Raises ``SetupError`` before anything is read when
    the engine needs a program that is not installed.
    """
    if engine not in _FITTERS:
        raise InferenceError(f"unknown engine {engine!r}; known are {', '.join(_FITTERS)}")
    if engine == "pymer4":
        check_r_stack()
    recall = read_table(recall_csv, model.RECALL_COLUMNS)
    coefficients, facts = _FITTERS[engine](model.design(recall, dataset, architecture))
    write_table(coefficients_csv, [coefficients], COEFFICIENT_COLUMNS)
    write_table(fit_csv, [pd.DataFrame([facts])], FIT_COLUMNS)


def write_mixed_models(
    coefficients_paths: Sequence[str | Path],
    fit_paths: Sequence[str | Path],
    mixed_models_csv: str | Path,
    mixed_model_fits_csv: str | Path,
) -> None:
    """Compare the engines and write the tables of all panels; raises ``InferenceError``."""
    coefficients, fits = mixed_models.combine(
        [read_table(path, COEFFICIENT_COLUMNS) for path in coefficients_paths],
        [read_table(path, FIT_COLUMNS) for path in fit_paths],
    )
    write_table(mixed_models_csv, [coefficients], COEFFICIENT_COLUMNS)
    write_table(mixed_model_fits_csv, [fits], FIT_COLUMNS)
