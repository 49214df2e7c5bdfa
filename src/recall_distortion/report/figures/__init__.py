"""The report's figures: tables in, matplotlib figures out, and figures as pictures and files.

One module per figure; what they share is in ``drawing``, how they become pixels in ``rendering``.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recall_distortion.report.figures.accuracy import accuracy_figure
from recall_distortion.report.figures.alpha import alpha_figure
from recall_distortion.report.figures.balances import balances_figure
from recall_distortion.report.figures.drawing import Drawing
from recall_distortion.report.figures.effects import effects_figure
from recall_distortion.report.figures.recall import recall_figure
from recall_distortion.report.figures.rendering import png_bytes
from recall_distortion.report.figures.sparsity import sparsity_figure
from recall_distortion.report.figures.together import together_figure
from recall_distortion.report.figures.tradeoff import tradeoff_figure
from recall_distortion.report.pictures import CAPTIONS, KINDS, SPARSITY, Picture, figure_name
from recall_distortion.report.tables import ReportTables, pruned, read_tables
from recall_distortion.system.files import replacing, write_json
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import Panel

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
    "together_figure",
    "tradeoff_figure",
    "write_figures",
]

CSS_PIXELS_PER_INCH = 96


def panel_drawings(data: ReportTables, panel: Panel) -> dict[str, Callable[[], Drawing]]:
    """Return for one panel what draws each kind of figure."""
    recall, networks, led = (
        of_panel(pruned(table, data), panel) for table in (data.recall, data.networks, data.leading)
    )
    slopes, pooled, accuracy, tradeoff, sparsity, classes, dense = (
        of_panel(pruned(data.view(name), data), panel)
        for name in (
            "slopes", "pooled", "accuracy", "tradeoff", "sparsity", "classes", "dense_classes",
        )
    )  # fmt: skip
    controls = Controls.of(data.networks)
    return {
        "effects": lambda: effects_figure(led),
        "alpha": lambda: alpha_figure(networks, slopes),
        "tradeoff": lambda: tradeoff_figure(tradeoff, slopes, controls),
        "together": lambda: together_figure(tradeoff, led, sparsity, controls),
        "balances": lambda: balances_figure(recall, pooled, accuracy),
        "accuracy": lambda: accuracy_figure(accuracy),
        "recall": lambda: recall_figure(classes, dense, controls),
    }


def draw_all(tables: Path) -> Iterator[tuple[str, Picture]]:
    """Yield every figure of a folder of tables with its file name (``figure_names``)."""
    data = read_tables(tables)
    drawings = {panel: panel_drawings(data, panel) for panel in data.panels}
    for kind in KINDS:
        for panel in data.panels:
            with _collected_after():
                picture = _picture(drawings[panel][kind]())
            yield figure_name(kind, panel), picture
    with _collected_after():
        picture = _picture(sparsity_figure(pruned(data.view("sparsity"), data)))
    yield SPARSITY, picture


def write_figures(tables: Path, folder: Path) -> list[Path]:
    """Write every figure of the tables into ``folder`` as PNG and return the paths.

    Names are those of ``figure_names``; the same tables give the same bytes. ``CAPTIONS`` beside
    them holds what ``build_report`` needs in order to place them.
    """
    captions = {}
    paths = []
    for name, picture in draw_all(tables):
        paths.append(Path(folder) / name)
        with replacing(paths[-1]) as temporary:
            temporary.write_bytes(picture.png)
        captions[name] = {
            field.name: getattr(picture, field.name)
            for field in dataclasses.fields(Picture)
            if field.name != "png"
        }
    write_json(Path(folder) / CAPTIONS, captions)
    return paths


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
