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
    "dataset", "architecture", "recipe", "panel", "method", "ratio", "mean_alpha", "low", "high",
    "accuracy", "difference", "difference_low", "difference_high", "basis", "reading",
]  # fmt: skip
_MEASURES = ("dense_accuracy", "control_alpha")  # of the metrics; the others are counts


def metrics(tables: Path) -> dict[str, Any]:
    """Return the few numbers of a study that ``dvc metrics show`` prints: finite numbers only.

    dataset → architecture (→ recipe, where a network has several) → dense_accuracy, control_alpha,
    cells (how many per verdict against 1), effects (how many per reading against the control; only
    where there is one) and failures.
    They stand in the section "metrics" of summary.csv. The cells' mean slopes are plot data
    (``plot_data``).
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
    """Return one row per cell after fine-tuning: mean slope, its interval, mean accuracy.

    The difference from the control, on its basis, stands at the end; it is NaN without a control.
    """
    slopes, accuracy = data.view("slopes"), data.view("accuracy")
    table = slopes[slopes["state"] == RETRAINED].rename(columns={"mean": "mean_alpha"})
    accuracy = accuracy[[*CELL_STATE, "mean"]].rename(columns={"mean": "accuracy"})
    effects = data.leading[[*CELL_STATE, *PLOT_COLUMNS[-5:]]]
    for part in (accuracy, effects):
        table = table.merge(part, on=CELL_STATE, how="left")
    panels = table[PANEL].itertuples(index=False, name=None)
    table["panel"] = [data.title(Panel(*panel)) for panel in panels]
    whole = bool(np.all(np.mod(table["ratio"], 1) == 0))
    return table[PLOT_COLUMNS].astype({"ratio": int} if whole else {})


def write_plot_data(tables: Path, path: Path) -> None:
    """Write ``plot_data`` of the tables to ``path`` as CSV, for ``dvc plots``."""
    table = plot_data(read_tables(tables))
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
