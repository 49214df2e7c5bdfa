"""The report's figures: tables in, matplotlib figures out, and figures as files.

One module per figure; what they share is in ``drawing``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from recall_distortion.files import replacing
from recall_distortion.report import style
from recall_distortion.report.figures.accuracy import accuracy_figure
from recall_distortion.report.figures.alpha import WHISKER, alpha_figure
from recall_distortion.report.figures.balances import balances_figure
from recall_distortion.report.figures.drawing import Drawing
from recall_distortion.report.figures.effects import effects_figure
from recall_distortion.report.figures.recall import recall_figure
from recall_distortion.report.figures.sparsity import sparsity_figure
from recall_distortion.report.figures.tradeoff import tradeoff_figure
from recall_distortion.report.readings import readings
from recall_distortion.report.tables import StudyTables, of_panel, read_tables

__all__ = [
    "WHISKER",
    "Drawing",
    "accuracy_figure",
    "alpha_figure",
    "balances_figure",
    "effects_figure",
    "figure_names",
    "panel_drawings",
    "recall_figure",
    "sparsity_figure",
    "tradeoff_figure",
    "write_figures",
]

KINDS = ("effects", "alpha", "tradeoff", "balances", "accuracy", "recall")


def _slug(*names: str) -> str:
    """Return names as part of a file name, without anything that a path would read."""
    return "-".join(
        re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".") or "unnamed" for name in names
    )


def figure_names(panels: list[tuple[str, str]]) -> list[str]:
    """Return the names of the files that ``write_figures`` writes for these panels.

    Each kind has one file per dataset and architecture, as alpha-digits-cnn.png; sparsity.png
    shows all panels.
    """
    names = [f"{kind}-{_slug(*panel)}.png" for kind in KINDS for panel in panels]
    return [*names, "sparsity.png"]


def panel_drawings(
    data: StudyTables, table: pd.DataFrame, panel: tuple[str, str]
) -> dict[str, Callable[[], Drawing]]:
    """Return for one panel what draws each kind of figure; ``table`` is the data's ``readings``."""
    recall = of_panel(data.recall, panel)
    alpha, intervals = of_panel(data.alpha, panel), of_panel(data.intervals, panel)
    return {
        "effects": lambda: effects_figure(of_panel(table, panel)),
        "alpha": lambda: alpha_figure(alpha, intervals),
        "tradeoff": lambda: tradeoff_figure(of_panel(data.tradeoff, panel), intervals),
        "balances": lambda: balances_figure(recall),
        "accuracy": lambda: accuracy_figure(recall),
        "recall": lambda: recall_figure(recall),
    }


def write_figures(tables: Path, folder: Path) -> list[Path]:
    """Write every figure of the tables into ``folder`` as PNG and return the paths.

    Names are those of ``figure_names``; the same tables give the same bytes.
    """
    data = read_tables(tables)
    table = readings(data)
    drawings = {panel: panel_drawings(data, table, panel) for panel in data.panels}
    draw: list[Callable[[], Drawing]] = [
        drawings[panel][kind] for kind in KINDS for panel in data.panels
    ]
    draw.append(lambda: sparsity_figure(data.sparsity))
    paths = [Path(folder) / name for name in figure_names(data.panels)]
    for path, drawing in zip(paths, draw, strict=True):
        with replacing(path) as temporary:
            temporary.write_bytes(style.png_bytes(drawing().figure))
    return paths
