"""The numbers of a study for other programs: the metrics and the plot data of DVC."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.files import replacing
from recall_distortion.report.readings import (
    READINGS,
    pruning_cells,
    reading_counts,
    readings,
    reference,
)
from recall_distortion.report.summaries import accuracy_summary
from recall_distortion.report.tables import (
    CELL,
    CONTROL,
    DENSE,
    VERDICTS,
    StudyTables,
    of_panel,
    read_tables,
)

PLOT_COLUMNS = [
    "dataset", "architecture", "panel", "method", "ratio", "mean_alpha", "low", "high", "accuracy",
    "difference", "difference_low", "difference_high", "basis", "reading",
]  # fmt: skip


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

    dataset → architecture → dense_accuracy, control_alpha, cells (how many per verdict against
    1), effects (how many per reading against the control; only where there is one) and failures.
    Slopes and verdicts are those that the page reads (``readings``).
    The cells' mean slopes are plot data (``plot_data``).
    """
    data = read_tables(tables)
    accuracies = accuracy_summary(data.recall)
    read = readings(data)
    cells = pruning_cells(read, data)
    found: dict[str, Any] = {}
    for dataset, architecture in data.panels:
        panel = (dataset, architecture)
        dense = of_panel(accuracies, panel)
        dense = dense[dense["method"] == DENSE]
        pruning = of_panel(cells, panel)
        control = reference(read, panel, CONTROL)
        effects = reading_counts(pruning)
        compared = bool((of_panel(data.effects, panel)["basis"] != "").any())
        found.setdefault(dataset, {})[architecture] = {
            "dense_accuracy": float(dense["mean"].iloc[0]) if len(dense) else math.nan,
            "control_alpha": math.nan if control is None else float(control["alpha"]),
            "cells": {name: int((pruning["alpha_verdict"] == name).sum()) for name in VERDICTS},
            "effects": {READINGS[name]: effects[name] for name in READINGS} if compared else {},
            "failures": len(of_panel(data.failures, panel)),
        }
    return _finite(found)


def plot_data(data: StudyTables) -> pd.DataFrame:
    """Return one row per cell after fine-tuning: mean slope, its interval, mean accuracy.

    The difference from the control, on its basis, stands at the end; it is NaN without a control.
    """
    fine = data.intervals[data.intervals["state"] == "finetuned"]
    accuracies = accuracy_summary(data.recall)
    accuracies = accuracies.loc[accuracies["state"] == "finetuned", [*CELL, "mean"]]
    table = fine.rename(columns={"mean": "mean_alpha"}).merge(
        accuracies.rename(columns={"mean": "accuracy"}), on=CELL, how="left"
    )
    effects = readings(data)[[*CELL, *PLOT_COLUMNS[-5:]]]
    table = table.merge(effects, on=CELL, how="left")
    table["panel"] = table["dataset"] + " / " + table["architecture"]
    whole = bool(np.all(np.mod(table["ratio"], 1) == 0))
    return table[PLOT_COLUMNS].astype({"ratio": int} if whole else {})


def write_plot_data(tables: Path, path: Path) -> None:
    """Write ``plot_data`` of the tables to ``path`` as CSV, for ``dvc plots``."""
    table = plot_data(read_tables(tables))
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
