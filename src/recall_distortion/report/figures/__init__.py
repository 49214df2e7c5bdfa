"""The report's figures: tables in, matplotlib figures out, and figures as pictures.

One module per figure; what they share is in ``drawing``, how they become files in ``rendering``.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from recall_distortion.report.figures.accuracy import accuracy_figure
from recall_distortion.report.figures.alpha import alpha_figure
from recall_distortion.report.figures.balances import balances_figure
from recall_distortion.report.figures.drawing import Drawing
from recall_distortion.report.figures.effects import effects_figure
from recall_distortion.report.figures.recall import recall_figure
from recall_distortion.report.figures.rendering import png_bytes
from recall_distortion.report.figures.sparsity import sparsity_figure
from recall_distortion.report.figures.tradeoff import tradeoff_figure
from recall_distortion.report.pictures import KINDS, SPARSITY, Picture, figure_name
from recall_distortion.report.readings import readings
from recall_distortion.report.tables import StudyTables, of_panel, read_tables

__all__ = [
    "Drawing",
    "accuracy_figure",
    "alpha_figure",
    "balances_figure",
    "draw_all",
    "effects_figure",
    "panel_drawings",
    "recall_figure",
    "sparsity_figure",
    "tradeoff_figure",
]

CSS_PIXELS_PER_INCH = 96


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


def draw_all(tables: Path) -> Iterator[tuple[str, Picture]]:
    """Yield every figure of a folder of tables with its file name (``figure_names``)."""
    data = read_tables(tables)
    table = readings(data)
    drawings = {panel: panel_drawings(data, table, panel) for panel in data.panels}
    for kind in KINDS:
        for panel in data.panels:
            with _collected_after():
                picture = _picture(drawings[panel][kind]())
            yield figure_name(kind, panel), picture
    with _collected_after():
        picture = _picture(sparsity_figure(data.sparsity))
    yield SPARSITY, picture


@contextmanager
def _collected_after() -> Iterator[None]:
    """Let a figure's hundred thousand objects be looked through once, when it is done with.

    Python's collector otherwise goes through them dozens of times, a fifth of the time of drawing.
    """
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()  # what is there already is not looked through at all
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        if enabled:
            gc.enable()


def _picture(drawing: Drawing) -> Picture:
    width, height = (round(CSS_PIXELS_PER_INCH * side) for side in drawing.figure.get_size_inches())
    return Picture(
        png_bytes(drawing.figure),
        width,
        height,
        drawing.outside,
        drawing.nonfinite,
        drawing.logarithmic,
        drawing.classes_of_many,
        drawing.own_axes,
    )
