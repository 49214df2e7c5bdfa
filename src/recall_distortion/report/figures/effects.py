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
    axes_of_methods,
    flexible_axis,
    grid_shape,
    legend,
    margins,
    message_figure,
    methods_of,
    usual_limits,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.vocabulary import format_ratio


def effects_figure(cells: pd.DataFrame) -> Drawing:
    """Return the effects of one panel by ratio, one axes per method.

    ``cells`` are the panel's leading rows. A mark is the difference of α from the control's, its
    bar the interval; colour and mark are verdict and reading. A bar that leaves the axis ends in an
    arrow, and ``outside`` counts these cells. Without a control the figure says so.
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
        for place in axes_of_methods(figure, methods, (rows, columns), sharey=True):
            _draw(place.axes, known[known["method"] == place.name], ratios, (low, high))
            place.axes.set_xticks(range(len(ratios)), [format_ratio(ratio) for ratio in ratios])
            place.axes.set_xlim(-0.6, len(ratios) - 0.4)
            if place.left:
                place.axes.set_ylabel("α less the control’s")
            else:
                place.axes.tick_params(axis="y", length=0)
            if place.bottom:
                place.axes.set_xlabel("compression ratio")
        logarithmic = flexible_axis(figure.axes[0], "y", low, high)
        figure.axes[0].set_ylim(low, high)
        margins(figure, left=0.66, right=0.12, top=0.34, bottom=0.84, gap=(0.22, 0.62))
        legend(figure, _handles(known))
    return Drawing(figure, outside, len(cells) - len(known), logarithmic)


def _handles(cells: pd.DataFrame) -> list[Line2D | Patch]:
    found = set(zip(cells["verdict"], cells["reading"], strict=True))
    looks = [style.LOOKS[pair] for pair in style.BESIDE_CONTROL if pair in found]
    return [
        Line2D([], [], color=look.colour, linewidth=1.5, markersize=6.5, marker=look.marker,
               label=look.words, markerfacecolor=look.fill)
        for look in looks
    ]  # fmt: skip


def _draw(
    axes: Axes, cells: pd.DataFrame, ratios: list[float], limits: tuple[float, float]
) -> None:
    axes.grid(axis="y")
    axes.axhline(0, color=style.INK, linewidth=1.0, zorder=1)
    axes.tick_params(axis="x", length=0)
    for row in cells.itertuples():
        place = ratios.index(float(row.ratio))
        look = style.look(row.verdict, row.reading)
        if np.isfinite(row.difference_low) and np.isfinite(row.difference_high):
            axes.vlines(
                place, max(row.difference_low, limits[0]), min(row.difference_high, limits[1]),
                color=look.colour, linewidth=1.6, zorder=3,
            )  # fmt: skip
            for end, beyond, mark in (
                (limits[0], row.difference_low < limits[0], "v"),
                (limits[1], row.difference_high > limits[1], "^"),
            ):
                if beyond:
                    axes.plot(place, end, mark, color=look.colour, markersize=5, clip_on=False,
                              zorder=3)  # fmt: skip
        if limits[0] <= row.difference <= limits[1]:
            axes.plot(
                place, row.difference, look.marker, color=look.colour, markersize=6.5,
                markerfacecolor=look.fill, zorder=4,
            )  # fmt: skip
