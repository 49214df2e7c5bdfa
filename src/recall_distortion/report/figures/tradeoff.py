"""What a cell costs in accuracy beside what it does to the balance of the classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from recall_distortion.report import style
from recall_distortion.report.figures.drawing import (
    WIDTH,
    Drawing,
    flexible_axis,
    grid_shape,
    legend,
    margins,
    message_figure,
    methods_of,
    usual_limits,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.report.summaries import ratio_text
from recall_distortion.report.tables import CONTROL

BETTER = "#e3f3ec"  # the quadrant in which both improve


def tradeoff_figure(tradeoff: pd.DataFrame, intervals: pd.DataFrame) -> Drawing:
    """Return α against the change in accuracy for one panel, one axes per method.

    ``tradeoff`` and ``intervals`` are the panel's rows of these tables; cells after fine-tuning
    are drawn with the intervals of both means and their ratio written beside them, the control as
    a grey cross. The quadrant of more accuracy and α below 1 is shaded.
    """
    keys = ["method", "ratio"]
    fine = tradeoff[tradeoff["state"] == "finetuned"]
    slopes = intervals.loc[intervals["state"] == "finetuned", [*keys, "low", "high"]]
    cells = fine.merge(slopes, on=keys, how="left")
    for name in ("accuracy_change", "accuracy_low", "accuracy_high"):
        cells[name] = 100 * cells[name]
    usable = cells[np.isfinite(cells["accuracy_change"]) & np.isfinite(cells["alpha"])]
    methods = methods_of(cells)
    drawn = usable[usable["method"].isin(methods)]
    if drawn.empty:
        return Drawing(message_figure("No cell of this panel has both an accuracy and a slope"))
    shown = usable[usable["method"].isin([*methods, CONTROL])]
    x = usual_limits(
        shown["accuracy_change"], shown["accuracy_low"], shown["accuracy_high"], least=(-1.0, 1.0)
    )
    y = usual_limits(shown["alpha"], shown["low"], shown["high"], least=(0.5, 1.5))
    inside = drawn["accuracy_change"].between(*x) & drawn["alpha"].between(*y)
    with figure_style():
        rows, columns = grid_shape(len(methods), 4)
        width = WIDTH if columns > 2 else max(6.4, 1.0 + 3.9 * columns)
        figure = Figure(figsize=(width, 1.0 + 2.1 * rows))
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        control = usable[usable["method"] == CONTROL]
        for place, axes in enumerate(grid.flat):
            if place >= len(methods):
                axes.set_visible(False)
                continue
            rows_here = drawn[drawn["method"] == methods[place]]
            _draw(axes, rows_here, control, (x, y))
            axes.set_title(style.plain(methods[place]), loc="left", fontweight="bold", pad=6)
            if place % columns == 0:
                axes.set_ylabel("mean α")
            last = place >= len(methods) - columns
            axes.tick_params(labelbottom=last)
            if last:
                axes.set_xlabel("change in accuracy, points")
        logarithmic = flexible_axis(grid.flat[0], "x", *x)
        logarithmic |= flexible_axis(grid.flat[0], "y", *y)
        grid.flat[0].set_xlim(*x)
        grid.flat[0].set_ylim(*y)
        margins(figure, left=0.66, right=0.12, top=0.34, bottom=0.9, gap=(0.22, 0.62))
        handles: list[Line2D | Patch] = [
            Line2D([], [], color=colour, marker=style.VERDICT_MARKERS[verdict], linewidth=1.2,
                   markersize=6, label=verdict,
                   markerfacecolor="white" if verdict == "inconclusive" else colour)
            for verdict, colour in style.VERDICT_COLOURS.items()
            if (drawn["alpha_verdict"] == verdict).any()
        ]  # fmt: skip
        if len(control):
            handles.append(Line2D([], [], color=style.CONTROL_COLOUR, marker="X", linewidth=1.2,
                                  markersize=6.5, label="control"))  # fmt: skip
        handles.append(Patch(facecolor=BETTER, label="both improve"))
        legend(figure, handles)
    return Drawing(figure, int((~inside).sum()), len(cells) - len(usable), logarithmic)


def _draw(
    axes: Axes,
    cells: pd.DataFrame,
    control: pd.DataFrame,
    limits: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    x, y = limits
    axes.add_patch(Rectangle((0, y[0]), x[1], 1 - y[0], facecolor=BETTER, edgecolor="none",
                             zorder=0.2))  # fmt: skip
    axes.axhline(1, color=style.INK, linewidth=0.9, zorder=1)
    axes.axvline(0, color=style.INK, linewidth=0.9, zorder=1)
    for row in control.itertuples():
        _point(axes, row, "X", style.CONTROL_COLOUR, style.CONTROL_COLOUR)
    for row in cells.itertuples():
        colour = style.VERDICT_COLOURS.get(row.alpha_verdict, style.MUTED)
        fill = "white" if row.alpha_verdict == "inconclusive" else colour
        _point(axes, row, style.VERDICT_MARKERS.get(row.alpha_verdict, "o"), colour, fill)
        if x[0] <= row.accuracy_change <= x[1] and y[0] <= row.alpha <= y[1]:
            axes.annotate(
                ratio_text(row.ratio), (row.accuracy_change, row.alpha), (4, 3),
                textcoords="offset points", fontsize=7.5, color=style.INK, zorder=6,
            )  # fmt: skip


def _point(axes: Axes, row: tuple, marker: str, colour: str, fill: str) -> None:
    if np.isfinite(row.accuracy_low) and np.isfinite(row.accuracy_high):
        axes.hlines(row.alpha, row.accuracy_low, row.accuracy_high, color=colour, linewidth=1.2,
                    zorder=3)  # fmt: skip
    if np.isfinite(row.low) and np.isfinite(row.high):
        axes.vlines(row.accuracy_change, row.low, row.high, color=colour, linewidth=1.2, zorder=3)
    axes.plot(row.accuracy_change, row.alpha, marker, color=colour, markersize=5.5,
              markerfacecolor=fill, zorder=4)  # fmt: skip
