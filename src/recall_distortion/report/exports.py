"""The numbers of a study for other programs: the metrics and the plot data of DVC."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.report.tables import REQUIRED, ReportTables, read_tables
from recall_distortion.system.files import replacing
from recall_distortion.vocabulary import CELL_STATE, PANEL, RETRAINED, Panel

PLOT_COLUMNS = [
    "dataset", "architecture", "recipe", "panel", "method", "ratio", "alpha", "low", "high",
    "accuracy", "difference", "difference_low", "difference_high", "basis", "reading",
]  # fmt: skip
_MEASURES = ("dense_accuracy", "control_alpha")  # of the metrics; the others are counts


def metrics(tables: Path) -> dict[str, Any]:
    """Return the few numbers of a study that ``dvc metrics show`` prints: finite numbers only.

    dataset → architecture (→ recipe, where a network has several) → dense_accuracy, control_alpha,
    cells (how many per verdict against 1), effects (how many per reading against the control; only
    where there is one) and failures. They stand in the section "metrics" of summary.csv; the cells'
    slopes are ``plot_data``.
    """
    data = read_tables(tables, (*REQUIRED, "summary"))
    found: dict[str, Any] = {}
    for panel in data.panels:
        of_panel = found
        for name in panel if data.several_recipes else panel[:2]:
            of_panel = of_panel.setdefault(name, {})
        numbers = data.numbers.get(panel, {}).get("metrics", {})
        for item, value in numbers.items():
            if math.isfinite(value):
                *branch, name = item.split("/")
                place = of_panel.setdefault(branch[0], {}) if branch else of_panel
                place[name] = float(value) if name in _MEASURES else int(value)
    return found


def plot_data(data: ReportTables) -> pd.DataFrame:
    """Return one row per cell after retraining: what leads there, as on the page, and accuracy.

    The difference from the control, on the slope's basis, stands at the end; it is NaN without a
    control. Every number is one of estimates.csv.
    """
    led, accuracy = data.leading, data.view("accuracy")
    table = led[led["state"] == RETRAINED].rename(
        columns={"alpha_low": "low", "alpha_high": "high"}
    )
    accuracy = accuracy[[*CELL_STATE, "mean"]].rename(columns={"mean": "accuracy"})
    table = table.merge(accuracy, on=CELL_STATE, how="left")
    panels = table[PANEL].itertuples(index=False, name=None)
    table["panel"] = [data.title(Panel(*panel)) for panel in panels]
    whole = bool(np.all(np.mod(table["ratio"], 1) == 0))
    return table[PLOT_COLUMNS].astype({"ratio": int} if whole else {})


def write_plot_data(tables: Path, path: Path) -> None:
    """Write ``plot_data`` of the tables to ``path`` as CSV, for ``dvc plots``."""
    table = plot_data(read_tables(tables))
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
