"""The difference of each cell's slope from the control's, with its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

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
from recall_distortion.report.readings import NOT_TOLD
from recall_distortion.report.summaries import ratio_text


def effects_figure(cells: pd.DataFrame) -> Drawing:
    """Return the effects of one panel by ratio, one axes per method.

    ``cells`` are the panel's rows of ``readings``. A mark is the difference of α from the
    control's, its bar the interval; colour and mark are the reading. A bar that leaves the axis
    ends in an arrow, and ``outside`` counts these cells. Without a control the figure says so.
    """
    methods = methods_of(cells)
    cells = cells[cells["method"].isin(methods)]
    known = cells[np.isfinite(cells["difference"])]
    if known.empty:
        return Drawing(
            message_figure("No difference from a control can be estimated in this panel")
        )
    ratios = sorted(float(ratio) for ratio in cells["ratio"].unique())
    low, high = usual_limits(known["difference"], known["difference_low"], known["difference_high"])
    outside = int(((known["difference_low"] < low) | (known["difference_high"] > high)).sum())
    with figure_style():
        rows, columns = grid_shape(len(methods), 4)
        width = WIDTH if columns > 2 else max(6.4, 1.0 + 3.9 * columns)
        figure = Figure(figsize=(width, 0.91 + 1.95 * rows))
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(methods):
                axes.set_visible(False)
                continue
            _draw(axes, known[known["method"] == methods[place]], ratios, (low, high))
            axes.set_title(style.plain(methods[place]), loc="left", fontweight="bold", pad=6)
            axes.set_xticks(range(len(ratios)), [ratio_text(ratio) for ratio in ratios])
            axes.set_xlim(-0.6, len(ratios) - 0.4)
            if place % columns == 0:
                axes.set_ylabel("α less the control’s")
            else:
                axes.tick_params(axis="y", length=0)
            if place >= len(methods) - columns:
                axes.set_xlabel("pruning ratio")
        logarithmic = flexible_axis(grid.flat[0], "y", low, high)
        grid.flat[0].set_ylim(low, high)
        margins(figure, left=0.66, right=0.12, top=0.34, bottom=0.84, gap=(0.22, 0.62))
        handles: list[Line2D | Patch] = [
            Line2D([], [], color=style.READING_COLOURS[reading], linewidth=1.5, markersize=6.5,
                   marker=style.READING_MARKERS[reading], label=reading,
                   markerfacecolor=_fill(reading))
            for reading in style.READING_COLOURS
            if (known["reading"] == reading).any()
        ]  # fmt: skip
        legend(figure, handles)
    return Drawing(figure, outside, len(cells) - len(known), logarithmic)


def _fill(reading: str) -> str:
    return "white" if reading == NOT_TOLD else style.READING_COLOURS.get(reading, style.MUTED)


def _draw(
    axes: Axes, cells: pd.DataFrame, ratios: list[float], limits: tuple[float, float]
) -> None:
    axes.grid(axis="y")
    axes.axhline(0, color=style.INK, linewidth=1.0, zorder=1)
    axes.tick_params(axis="x", length=0)
    for row in cells.itertuples():
        place = ratios.index(float(row.ratio))
        colour = style.READING_COLOURS.get(row.reading, style.MUTED)
        if np.isfinite(row.difference_low) and np.isfinite(row.difference_high):
            axes.vlines(
                place, max(row.difference_low, limits[0]), min(row.difference_high, limits[1]),
                color=colour, linewidth=1.6, zorder=3,
            )  # fmt: skip
            for end, beyond, mark in (
                (limits[0], row.difference_low < limits[0], "v"),
                (limits[1], row.difference_high > limits[1], "^"),
            ):
                if beyond:
                    axes.plot(place, end, mark, color=colour, markersize=5, clip_on=False, zorder=3)
        if limits[0] <= row.difference <= limits[1]:
            axes.plot(
                place, row.difference, style.READING_MARKERS.get(row.reading, "o"), color=colour,
                markersize=6.5, markerfacecolor=_fill(row.reading), zorder=4,
            )  # fmt: skip
