"""The normalized balances after against before, a cell per method and ratio."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from recall_distortion.measures.distortion import paired_balances
from recall_distortion.report import style
from recall_distortion.report.figures.drawing import WIDTH, Drawing, legend, margins, methods_of
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.vocabulary import (
    CELL_STATE,
    CONTROLS,
    OF_ROUNDS,
    RETRAINED,
    UNCOMPRESSED,
    format_ratio,
)

# A cell that reaches this many times as far as its column's middle one has an axis of its own.
_FAR = 3.0
Cell = tuple[str, float]  # method, ratio


def balances_figure(recall: pd.DataFrame, pooled: pd.DataFrame, accuracy: pd.DataFrame) -> Drawing:
    """Return the scatterplot matrix of normalized balances before and after, for one panel.

    ``recall``, ``pooled`` and ``accuracy`` are the panel's rows of that table and these views. Rows
    are methods, columns ratios; a point is a class of a network, all networks together, with the
    identity and the pooled no-intercept slope (form of the paper's Figure 5). A column shares its
    vertical axis, but for cells that reach far beyond the others: their numbers are orange. The
    control's cell stands first in a row of its own.
    """
    pairs = paired_balances(recall)
    pairs = pairs[pairs["state"] == RETRAINED]
    usable = pairs[np.isfinite(pairs["before"]) & np.isfinite(pairs["after"])]
    layout = _layout(pairs)
    limits = _Limits.of(usable)
    points = dict(iter(usable.groupby(["method", "ratio"])))
    headings = _headings(pooled, accuracy)
    outside = own_axes = 0
    with figure_style():
        rows, columns = len(layout), max(map(len, layout))
        width = min(WIDTH, 1.3 + 2.15 * max(columns, 2))
        # The control leaves its row all but empty; the legend fills it.
        beside = columns > 2 and layout[-1][0][0] in CONTROLS
        bottom = 0.58 if beside else 0.85
        figure = Figure(figsize=(width, 0.2 + bottom + 1.72 * rows))
        grid = figure.subplots(rows, columns, squeeze=False)
        for (row, column), axes in np.ndenumerate(grid):
            cell = layout[row][column]
            if not cell[0]:
                axes.set_visible(False)
                continue
            own = points.get(cell, usable.iloc[:0])
            across, up = limits.across, limits.of_cell(cell)
            if up > limits.shared(cell):
                own_axes += 1
                axes.tick_params(axis="y", labelcolor=style.VERMILLION)
            _draw(axes, own, headings.get(cell), across, up)
            outside += int(((own["before"].abs() > across) | (own["after"].abs() > up)).sum())
            last = row == rows - 1 or not layout[row + 1][column][0]
            axes.tick_params(labelbottom=last)
            _name(axes, cell, row, column)
        margins(figure, left=1.12, right=0.1, top=0.7, bottom=bottom, gap=(0.42, 0.5))
        _words(figure, columns, beside)
    return Drawing(figure, outside, len(pairs) - len(usable), own_axes=own_axes)


def _layout(pairs: pd.DataFrame) -> list[list[Cell]]:
    """Return the cells in rows and columns; one without a method is empty."""
    methods = methods_of(pairs)
    ratios = sorted(pairs.loc[pairs["method"].isin(methods), "ratio"].unique())
    layout = [[(method, ratio) for ratio in ratios] for method in methods]
    for arm in CONTROLS:
        if (pairs["method"] == arm).any():
            own = ratios if arm in OF_ROUNDS else [UNCOMPRESSED]
            empty = [("", 0.0)] * (len(ratios) - len(own))
            layout.append([*((arm, ratio) for ratio in own), *empty])
    return layout or [[("", 0.0)]]


@dataclass(frozen=True)
class _Limits:
    """How far the axes reach: all ``across``, each cell by itself in ``own``."""

    across: float
    own: dict[Cell, float]

    @classmethod
    def of(cls, points: pd.DataFrame) -> _Limits:
        after = points.groupby(["method", "ratio"])["after"]
        own = {cell: _symmetric(values, 0.985) for cell, values in after}
        return cls(_symmetric(points["before"], 0.998), own)

    def shared(self, cell: Cell) -> float:
        """Return the limit of a column: of its cells within ``_FAR`` times the middle one.

        One method that ruins its networks would otherwise flatten all others' points to a line.
        """
        limits = [own for other, own in self.own.items() if other[1] == cell[1]]
        middle = sorted(limits)[(len(limits) - 1) // 2] if limits else 0.1
        most = max((limit for limit in limits if limit <= _FAR * middle), default=middle)
        return max(most, 0.6 * self.across)

    def of_cell(self, cell: Cell) -> float:
        """Return the limit of a cell: its column's, or its own if it reaches further."""
        return max(self.shared(cell), self.own.get(cell, 0.0))


def _symmetric(values: pd.Series, share: float) -> float:
    """Return the limit that holds ``share`` of the magnitudes, with a little room."""
    return max(0.02, 1.15 * float(np.quantile(values.abs(), share))) if len(values) else 0.1


def _headings(pooled: pd.DataFrame, accuracy: pd.DataFrame) -> dict[Cell, tuple[float, str]]:
    """Return each retrained cell's pooled slope, and its words above the axes."""
    cells = pooled.merge(accuracy[[*CELL_STATE, "mean"]], on=CELL_STATE, how="left")
    return {
        (row.method, row.ratio): (
            row.alpha,
            f"slope {style.number(row.alpha)}   r² {style.number(row.r2)}\n"
            f"accuracy {style.percent(row.mean)}",
        )
        for row in cells[cells["state"] == RETRAINED].itertuples()
    }


def _draw(
    axes: Axes, points: pd.DataFrame, heading: tuple[float, str] | None, across: float, up: float
) -> None:
    axes.axhline(0, color=style.RULE, linewidth=0.8, zorder=0.5)
    axes.axvline(0, color=style.RULE, linewidth=0.8, zorder=0.5)
    faintness = float(np.clip(60 / max(1, len(points)), 0.06, 0.6))
    axes.plot(
        points["before"], points["after"], "o", markersize=2.6, color=style.BLUE,
        markeredgecolor="none", alpha=max(faintness, 0.32), rasterized=True,
    )  # fmt: skip
    ends = np.array([-across, across])
    axes.plot(ends, ends, color=style.INK, linewidth=0.9, linestyle=(0, (4, 3)))
    slope, words = heading or (math.nan, "no usable point")
    if math.isfinite(slope):
        axes.plot(ends, slope * ends, color=style.VERMILLION, linewidth=1.6)
    axes.set_title(words, fontsize=8, pad=3, linespacing=1.15)
    axes.set_xlim(-across, across)
    axes.set_ylim(-up, up)
    axes.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    axes.tick_params(labelsize=7.5, pad=2, length=2.5)


def _name(axes: Axes, cell: Cell, row: int, column: int) -> None:
    """Write the method beside the first axes of a row, the ratio above those of the first row."""
    if column == 0:
        axes.annotate(
            textwrap.fill(style.plain(cell[0]), 16), (0, 0.5), (-41, 0),
            xycoords="axes fraction", textcoords="offset points", rotation=90,
            ha="center", va="center", fontweight="bold", fontsize=9.5,
        )  # fmt: skip
    if row == 0 and cell[0] not in CONTROLS:
        axes.annotate(
            f"ratio {format_ratio(cell[1])}", (0.5, 1), (0, 31), ha="center",
            xycoords="axes fraction", textcoords="offset points", fontweight="bold",
            fontsize=10,
        )  # fmt: skip


def _words(figure: Figure, columns: int, beside: bool) -> None:
    """Write the figure's axes and its legend, ``beside`` the last row's first cell or below."""
    width, height = figure.get_size_inches()
    figure.text(0.02, 0.5, "normalized recall balance after compression and retraining",
                rotation=90, ha="center", va="center", fontsize=9.5)  # fmt: skip
    figure.text(0.5, (0.12 if beside else 0.36) / height, "normalized recall balance of the "
                "dense network", ha="center", fontsize=9.5)  # fmt: skip
    handles: list[Line2D | Patch] = [
        Line2D([], [], linestyle="", marker="o", markersize=4, color=style.BLUE, alpha=0.6,
               label="one class of one network"),
        Line2D([], [], color=style.VERMILLION, linewidth=1.8, label="pooled slope"),
        Line2D([], [], color=style.INK, linewidth=1, linestyle=(0, (4, 3)),
               label="identity, slope 1"),
    ]  # fmt: skip
    if beside:
        figure.legend(handles=handles, loc="center left", fontsize=10,
                      bbox_to_anchor=(0.95 / width + 1 / columns, 1.15 / height))  # fmt: skip
    else:
        legend(figure, handles)
