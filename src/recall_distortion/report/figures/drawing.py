"""What the figures share: the drawing with what its axes leave out, their layout and legends.

Figures are built as objects, never through pyplot, so that nothing is shared between calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from recall_distortion.report import style
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.report.tables import order_methods
from recall_distortion.vocabulary import REFERENCE_ARMS, format_ratio

WIDTH = 11.0  # inches; 1056 CSS pixels, the width of the page's column


@dataclass(frozen=True)
class Drawing:
    """A figure with what its caption has to say about points that the axes leave out."""

    figure: Figure
    outside: int = 0
    nonfinite: int = 0
    logarithmic: bool = False
    classes_of_many: int = 0  # how many classes are shown where there are more
    own_axes: int = 0  # how many cells do not fit the axes of the others


def methods_of(table: pd.DataFrame) -> list[str]:
    """Return the compression methods of a table in the report's order."""
    found = table.loc[~table["method"].isin(REFERENCE_ARMS), "method"].unique()
    return order_methods(list(found))


def grid_shape(count: int, most: int) -> tuple[int, int]:
    """Return rows and columns for ``count`` panels, at most ``most`` abreast, evenly filled."""
    rows = max(1, math.ceil(count / most))
    return rows, max(1, math.ceil(count / rows))


@dataclass(frozen=True)
class Place:
    """One of a figure's small axes: what it is of, whether it stands at the left, at the bottom."""

    axes: Axes
    name: str
    left: bool
    bottom: bool


def axes_of_methods(
    figure: Figure,
    methods: list[str],
    shape: tuple[int, int],
    pad: float = 6,
    *,
    sharex: bool = False,
    sharey: bool = False,
) -> list[Place]:
    """Return one axes per method in a grid of rows and columns, titled, the rest of it hidden."""
    grid = figure.subplots(*shape, squeeze=False, sharex=sharex, sharey=sharey)
    places = []
    for index, axes in enumerate(grid.flat):
        if index >= len(methods):
            axes.set_visible(False)
            continue
        axes.set_title(style.plain(methods[index]), loc="left", fontweight="bold", pad=pad)
        at_left, at_bottom = index % shape[1] == 0, index >= len(methods) - shape[1]
        places.append(Place(axes, methods[index], at_left, at_bottom))
    return places


def margins(
    figure: Figure,
    *,
    left: float,
    right: float,
    top: float,
    bottom: float,
    gap: tuple[float, float],
) -> None:
    """Place the axes by margins and gaps in inches (constrained layout takes seconds)."""
    width, height = figure.get_size_inches()
    grid = figure.axes[0].get_gridspec()
    assert grid is not None  # as of all axes that stand in one
    rows, columns = grid.nrows, grid.ncols
    inner_width, inner_height = width - left - right, height - top - bottom
    one_width = (inner_width - gap[0] * (columns - 1)) / columns
    one_height = (inner_height - gap[1] * (rows - 1)) / rows
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        top=1 - top / height,
        bottom=bottom / height,
        wspace=gap[0] / one_width,
        hspace=gap[1] / one_height,
    )


def legend(figure: Figure, handles: list[Line2D | Patch], y: float = 0.0, **more: object) -> None:
    """Place one legend for the whole figure below its axes."""
    options: dict[str, object] = {"ncols": len(handles), "handletextpad": 0.5, "columnspacing": 1.6}
    options.update(more)
    figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, y), **options)


def verdict_handles(verdicts: Iterable[str], line: float | None = None) -> list[Line2D | Patch]:
    """Return the legend's entries of verdicts against 1; with ``line``, a mark on one that wide."""
    looks = [style.look(verdict) for verdict in verdicts]
    drawn = {"linestyle": ""} if line is None else {"linewidth": line}
    return [
        Line2D([], [], marker=look.marker, color=look.colour, markerfacecolor=look.fill,
               markersize=7 if line is None else 6, label=look.words, **drawn)
        for look in looks
    ]  # fmt: skip


def method_handles(methods: list[str]) -> list[Line2D | Patch]:
    """Return the legend's entries of the methods."""
    handles: list[Line2D | Patch] = []
    for method in methods:
        colour, marker, line = style.method_look(method, methods)
        handles.append(
            Line2D([], [], color=colour, marker=marker, linestyle=line, markersize=5.5,
                   markeredgecolor="white", markeredgewidth=0.5, label=style.plain(method))
        )  # fmt: skip
    return handles


def ratio_axis(axes: Axes, ratios: list[float]) -> None:
    """Make the x axis logarithmic, with a tick at each of the ratios."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(ratios))
    axes.xaxis.set_major_formatter(FixedFormatter([format_ratio(ratio) for ratio in ratios]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(ratios) / 1.35, max(ratios) * 1.35)


def dodge(place: int, count: int) -> float:
    """Return the factor that sets the ``place``-th of ``count`` methods apart on a log axis."""
    factor: float = 2.0 ** (0.055 * (place - (count - 1) / 2))
    return factor


def far_out(values: np.ndarray, middle: float) -> np.ndarray:
    """Return which values lie three times as far from ``middle`` as nine tenths of them do."""
    away = np.abs(np.asarray(values, dtype=float) - middle)
    return away > 3 * np.quantile(away, 0.9) if away.size else np.zeros(0, dtype=bool)


def usual_limits(
    values: pd.Series, lows: pd.Series, highs: pd.Series, least: tuple[float, float] = (-0.5, 0.5)
) -> tuple[float, float]:
    """Return axis limits that hold ``least``, the values, and intervals of usual width.

    An interval is cut where it reaches beyond the values by more than three times the width that
    half of all intervals keep to, so that one cell about which little is known does not flatten
    the others; a value beyond thirty such widths, or far out by itself, is left out too. Widths
    count as no smaller than a quarter of ``least`` for the former, than ``least`` for the latter.
    """
    values, widths = values[np.isfinite(values)], (highs - lows)[np.isfinite(highs - lows)]
    width = float(widths.median()) if len(widths) else 0.0
    usual, beyond = max(width, least[1] - least[0]), 3 * max(width, (least[1] - least[0]) / 4)
    middle = float(values.median()) if len(values) else 0.0
    near = values[((values - middle).abs() <= 30 * usual) & ~far_out(values.to_numpy(), middle)]
    ends = pd.concat([near, lows[np.isfinite(lows)], highs[np.isfinite(highs)]])
    low = max(float(ends.min()), float(near.min()) - beyond) if len(near) else least[0]
    high = min(float(ends.max()), float(near.max()) + beyond) if len(near) else least[1]
    low, high = min(low, least[0]), max(high, least[1])
    room = 0.05 * (high - low)
    return low - room, high + room


def flexible_axis(axes: Axes, which: str, low: float, high: float, linear: float = 2.0) -> bool:
    """Make axis "x" or "y" logarithmic beyond ±``linear`` if it reaches far; return whether."""
    if max(abs(low), abs(high)) <= 3 * linear:
        return False
    set_scale = axes.set_xscale if which == "x" else axes.set_yscale
    set_scale("symlog", linthresh=linear, linscale=1.0)
    axis = axes.xaxis if which == "x" else axes.yaxis
    powers = [linear * 2.0**power for power in range(0, 12, 2)]
    ticks = [-power for power in reversed(powers)] + [0.0, linear / 2, -linear / 2] + powers
    ticks = sorted(tick for tick in ticks if low <= tick <= high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([f"{tick:g}".replace("-", "−") for tick in ticks]))
    axis.set_minor_locator(NullLocator())
    return True


def message_figure(message: str) -> Figure:
    """Return a figure that only says why there is nothing to draw."""
    with figure_style():
        figure = Figure(figsize=(6.4, 1.2))
        figure.text(0.5, 0.5, message, ha="center", va="center", color=style.MUTED)
    return figure
