"""The normalized balances after against before, a cell per method and ratio."""

from __future__ import annotations

import math
import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from recall_distortion.report import style
from recall_distortion.report.figures.drawing import WIDTH, Drawing, legend, margins, methods_of
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.report.summaries import pair_balances, pooled_slopes, ratio_text
from recall_distortion.report.tables import CONTROL

# A cell that reaches this many times as far as its column's middle one has an axis of its own.
_FAR = 3.0


def balances_figure(recall: pd.DataFrame) -> Drawing:
    """Return the scatterplot matrix of normalized balances before and after, for one panel.

    Rows are methods, columns ratios; a point is a class of a model, all models together, with the
    identity and the pooled no-intercept slope (form of the paper's Figure 5). A column shares its
    vertical axis, but for cells that reach far beyond the others: their numbers are orange. The
    control's cell stands first in a row of its own.
    """
    pairs = pair_balances(recall)
    pairs = pairs[pairs["state"] == "finetuned"]
    usable = pairs[np.isfinite(pairs["before"]) & np.isfinite(pairs["after"])]
    slopes = {
        (row.method, row.ratio): row
        for row in pooled_slopes(recall).itertuples()
        if row.state == "finetuned"
    }
    methods = methods_of(pairs)
    ratios = sorted(pairs.loc[pairs["method"].isin(methods), "ratio"].unique())
    control = bool((pairs["method"] == CONTROL).any())
    layout = [[(method, ratio) for ratio in ratios] for method in methods]
    if control:
        layout.append([(CONTROL, 1.0)] + [("", 0.0)] * (len(ratios) - 1))
    x_limit = _symmetric(usable["before"], 0.998)
    after = usable.groupby(["method", "ratio"])["after"]
    own_limits = {cell: _symmetric(values, 0.985) for cell, values in after}
    y_limits = {
        ratio: max(
            _shared([own for cell, own in own_limits.items() if cell[1] == ratio]), 0.6 * x_limit
        )
        for ratio in [*ratios, 1.0]
    }
    outside = own_axes = 0
    with figure_style():
        rows, columns = max(1, len(layout)), max(1, len(ratios))
        width = min(WIDTH, 1.3 + 2.15 * max(columns, 2))
        beside = control and columns > 2
        bottom = 0.58 if beside else 0.85
        figure = Figure(figsize=(width, 0.2 + bottom + 1.72 * rows))
        grid = figure.subplots(rows, columns, squeeze=False)
        for row, cells in enumerate(layout):
            for column, (method, ratio) in enumerate(cells):
                axes = grid[row, column]
                if not method:
                    axes.set_visible(False)
                    continue
                points = usable[(usable["method"] == method) & (usable["ratio"] == ratio)]
                y_limit = y_limits[ratio]
                if own_limits.get((method, ratio), 0.0) > y_limit:
                    y_limit = own_limits[method, ratio]
                    own_axes += 1
                    axes.tick_params(axis="y", labelcolor=style.VERMILLION)
                _balance_axes(axes, points, slopes.get((method, ratio)), x_limit, y_limit)
                outside += int(
                    ((points["before"].abs() > x_limit) | (points["after"].abs() > y_limit)).sum()
                )
                last = row == len(layout) - 1 or not layout[row + 1][column][0]
                axes.tick_params(labelbottom=last)
                if column == 0:
                    axes.annotate(
                        textwrap.fill(style.plain(method), 16), (0, 0.5), (-41, 0),
                        xycoords="axes fraction", textcoords="offset points", rotation=90,
                        ha="center", va="center", fontweight="bold", fontsize=9.5,
                    )  # fmt: skip
                if row == 0 and method != CONTROL:
                    axes.annotate(
                        f"ratio {ratio_text(ratio)}", (0.5, 1), (0, 31), ha="center",
                        xycoords="axes fraction", textcoords="offset points", fontweight="bold",
                        fontsize=10,
                    )  # fmt: skip
        margins(figure, left=1.12, right=0.1, top=0.7, bottom=bottom, gap=(0.42, 0.5))
        figure.text(0.02, 0.5, "normalized recall balance after compression and fine-tuning",
                    rotation=90, ha="center", va="center", fontsize=9.5)  # fmt: skip
        handles: list[Line2D | Patch] = [
            Line2D([], [], linestyle="", marker="o", markersize=4, color=style.BLUE, alpha=0.6,
                   label="one class of one model"),
            Line2D([], [], color=style.VERMILLION, linewidth=1.8, label="pooled slope"),
            Line2D([], [], color=style.INK, linewidth=1, linestyle=(0, (4, 3)),
                   label="identity, slope 1"),
        ]  # fmt: skip
        height = figure.get_size_inches()[1]
        figure.text(0.5, (0.12 if beside else 0.36) / height, "normalized recall balance of the "
                    "dense model", ha="center", fontsize=9.5)  # fmt: skip
        if beside:
            # The control leaves its row all but empty; the legend fills it.
            figure.legend(handles=handles, loc="center left", fontsize=10,
                          bbox_to_anchor=(0.95 / width + 1 / columns, 1.15 / height))  # fmt: skip
        else:
            legend(figure, handles)
    return Drawing(figure, outside, len(pairs) - len(usable), own_axes=own_axes)


def _shared(limits: list[float]) -> float:
    """Return the limit of the cells that lie within ``_FAR`` times the middle one of a column.

    One method that ruins its networks would otherwise flatten all others' points to a line.
    """
    middle = sorted(limits)[(len(limits) - 1) // 2] if limits else 0.1
    return max((limit for limit in limits if limit <= _FAR * middle), default=middle)


def _symmetric(values: pd.Series, share: float) -> float:
    """Return the limit that holds ``share`` of the magnitudes, with a little room."""
    return max(0.02, 1.15 * float(np.quantile(values.abs(), share))) if len(values) else 0.1


def _balance_axes(
    axes: Axes, points: pd.DataFrame, fit: tuple | None, x_limit: float, y_limit: float
) -> None:
    axes.axhline(0, color=style.RULE, linewidth=0.8, zorder=0.5)
    axes.axvline(0, color=style.RULE, linewidth=0.8, zorder=0.5)
    faintness = float(np.clip(60 / max(1, len(points)), 0.06, 0.6))
    axes.plot(
        points["before"], points["after"], "o", markersize=2.6, color=style.BLUE,
        markeredgecolor="none", alpha=max(faintness, 0.32), rasterized=True,
    )  # fmt: skip
    ends = np.array([-x_limit, x_limit])
    axes.plot(ends, ends, color=style.INK, linewidth=0.9, linestyle=(0, (4, 3)))
    heading = "no usable point"
    if fit is not None:
        if math.isfinite(fit.slope):
            axes.plot(ends, fit.slope * ends, color=style.VERMILLION, linewidth=1.6)
        heading = f"slope {style.number(fit.slope)}   r² {style.number(fit.r2)}"
        heading += f"\naccuracy {style.percent(fit.accuracy)}"
    axes.set_title(heading, fontsize=8, pad=3, linespacing=1.15)
    axes.set_xlim(-x_limit, x_limit)
    axes.set_ylim(-y_limit, y_limit)
    axes.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    axes.tick_params(labelsize=7.5, pad=2, length=2.5)
