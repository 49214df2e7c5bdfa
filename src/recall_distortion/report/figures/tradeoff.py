"""What a cell costs in accuracy beside what it does to the balance of the classes."""

from __future__ import annotations

from typing import Any

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
    axes_of_methods,
    flexible_axis,
    grid_shape,
    legend,
    margins,
    message_figure,
    methods_of,
    usual_limits,
    verdict_handles,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.tables.controls import USUAL, Controls
from recall_distortion.vocabulary import (
    CELL_STATE,
    CONTROL,
    CONTROLS,
    RETRAINED,
    VERDICTS,
    format_ratio,
)

BETTER = "#e3f3ec"  # the quadrant in which both improve
_CONTROL = style.Look(CONTROL, "", "X", style.CONTROL_COLOUR)
Limits = tuple[float, float]


def tradeoff_figure(
    tradeoff: pd.DataFrame, slopes: pd.DataFrame, controls: Controls = USUAL
) -> Drawing:
    """Return α against the change in accuracy for one panel, one axes per method.

    ``tradeoff`` and ``slopes`` are the panel's rows of these views; cells after retraining are
    drawn with the intervals of both means and their ratio written beside them, the method's control
    as a grey cross. The quadrant of more accuracy and α below 1 is shaded.
    """
    cells = _cells(tradeoff, slopes)
    usable = cells[np.isfinite(cells["change"]) & np.isfinite(cells["alpha"])]
    methods = methods_of(cells)
    drawn = usable[usable["method"].isin(methods)]
    if drawn.empty:
        return Drawing(message_figure("No cell of this panel has both an accuracy and a slope"))
    control = usable[usable["method"].isin(CONTROLS)]
    shown = pd.concat([drawn, control])
    x = usual_limits(shown["change"], shown["change_low"], shown["change_high"], least=(-1.0, 1.0))
    y = usual_limits(shown["alpha"], shown["low"], shown["high"], least=(0.5, 1.5))
    inside = drawn["change"].between(*x) & drawn["alpha"].between(*y)
    with figure_style():
        rows, columns = grid_shape(len(methods), 4)
        width = WIDTH if columns > 2 else max(6.4, 1.0 + 3.9 * columns)
        figure = Figure(figsize=(width, 1.0 + 2.1 * rows))
        for place in axes_of_methods(figure, methods, (rows, columns), sharex=True, sharey=True):
            arm = control[control["method"] == controls.arm(place.name)]
            _draw(place.axes, drawn[drawn["method"] == place.name], arm, (x, y))
            if place.left:
                place.axes.set_ylabel("mean α")
            place.axes.tick_params(labelbottom=place.bottom)
            if place.bottom:
                place.axes.set_xlabel("change in accuracy, points")
        first = figure.axes[0]
        logarithmic = flexible_axis(first, "x", *x)
        logarithmic |= flexible_axis(first, "y", *y)
        first.set_xlim(*x)
        first.set_ylim(*y)
        margins(figure, left=0.66, right=0.12, top=0.34, bottom=0.9, gap=(0.22, 0.62))
        legend(figure, _handles(drawn, control))
    return Drawing(figure, int((~inside).sum()), len(cells) - len(usable), logarithmic)


def _cells(tradeoff: pd.DataFrame, slopes: pd.DataFrame) -> pd.DataFrame:
    """Return the retrained cells: ``change`` of accuracy in points and α with their intervals."""
    cells = tradeoff.loc[tradeoff["state"] == RETRAINED, CELL_STATE]
    for name, column in (
        ("change", "accuracy_change"), ("change_low", "accuracy_low"),
        ("change_high", "accuracy_high"),
    ):  # fmt: skip
        cells[name] = 100 * tradeoff[column]
    alpha = slopes[[*CELL_STATE, "mean", "low", "high", "verdict"]]
    return cells.merge(alpha.rename(columns={"mean": "alpha"}), on=CELL_STATE, how="left")


def _handles(cells: pd.DataFrame, control: pd.DataFrame) -> list[Line2D | Patch]:
    found = set(cells["verdict"])
    handles = verdict_handles((verdict for verdict in VERDICTS if verdict in found), line=1.2)
    if len(control):
        handles.append(Line2D([], [], color=style.CONTROL_COLOUR, marker="X", linewidth=1.2,
                              markersize=6.5, label=CONTROL))  # fmt: skip
    return [*handles, Patch(facecolor=BETTER, label="both improve")]


def _draw(
    axes: Axes, cells: pd.DataFrame, control: pd.DataFrame, limits: tuple[Limits, Limits]
) -> None:
    x, y = limits
    axes.add_patch(Rectangle((0, y[0]), x[1], 1 - y[0], facecolor=BETTER, edgecolor="none",
                             zorder=0.2))  # fmt: skip
    axes.axhline(1, color=style.INK, linewidth=0.9, zorder=1)
    axes.axvline(0, color=style.INK, linewidth=0.9, zorder=1)
    for row in control.itertuples():
        _point(axes, row, _CONTROL)
    for row in cells.itertuples():
        _point(axes, row, style.look(row.verdict))
        if x[0] <= row.change <= x[1] and y[0] <= row.alpha <= y[1]:
            axes.annotate(
                format_ratio(row.ratio), (row.change, row.alpha), (4, 3),
                textcoords="offset points", fontsize=7.5, color=style.INK, zorder=6,
            )  # fmt: skip


def _point(axes: Axes, row: Any, look: style.Look) -> None:
    if np.isfinite(row.change_low) and np.isfinite(row.change_high):
        axes.hlines(row.alpha, row.change_low, row.change_high, color=look.colour, linewidth=1.2,
                    zorder=3)  # fmt: skip
    if np.isfinite(row.low) and np.isfinite(row.high):
        axes.vlines(row.change, row.low, row.high, color=look.colour, linewidth=1.2, zorder=3)
    axes.plot(row.change, row.alpha, look.marker, color=look.colour, markersize=5.5,
              markerfacecolor=look.fill, zorder=4)  # fmt: skip
