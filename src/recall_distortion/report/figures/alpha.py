"""The fine-tuned slopes as boxplots, with their means, intervals and verdicts."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cbook import boxplot_stats
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from recall_distortion.report import style
from recall_distortion.report.figures.drawing import (
    WIDTH,
    Drawing,
    far_out,
    grid_shape,
    legend,
    margins,
    methods_of,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.report.pictures import WHISKER
from recall_distortion.report.summaries import ratio_text
from recall_distortion.report.tables import CONTROL

# Above this, a linear axis would flatten the boxes around 1; the axis turns logarithmic at 2.
LINEAR_TO = 2.0
LOG_FROM = 4.5


def alpha_limits(stats: list[dict], ends: list[float]) -> tuple[float, float]:
    """Return axis limits that show 1, the boxes and what of their whiskers does not flatten them.

    ``stats`` are matplotlib's box statistics, ``ends`` the limits of the intervals. A whisker or
    an interval is cut where it leaves the boxes by three usual ranges, a box only where it lies
    thirty of them away, or far out by itself.
    """
    if not stats:
        return 0.5, 1.5
    lows, highs = (np.array([item[key] for item in stats]) for key in ("whislo", "whishi"))
    first, third = (np.array([item[key] for item in stats]) for key in ("q1", "q3"))
    usual = max(float(np.median(highs) - np.median(lows)), 0.2)
    near = ~far_out(np.where(third - 1 > 1 - first, third, first), 1.0)
    least, most = first[near].min() - 3 * usual, third[near].max() + 3 * usual
    low = max(min([lows.min(), *ends]), least, np.median(lows) - 30 * usual)
    high = min(max([highs.max(), *ends]), most, np.median(highs) + 30 * usual)
    low, high = min(low, 1.0), max(high, 1.0)
    room = 0.06 * max(high - low, 0.2)
    return float(low - room), float(high + room)


def alpha_figure(alpha: pd.DataFrame, intervals: pd.DataFrame) -> Drawing:
    """Return boxplots of the fine-tuned slopes by ratio, one axes per method, for one panel.

    ``alpha`` and ``intervals`` are rows of one dataset and architecture. Boxes span the quartiles,
    whiskers reach to the last model within 1.5 interquartile ranges, the diamond is the mean with
    the interval of ``intervals``. The verdict stands above each box as colour and mark (form of
    the paper's Figures 1 to 4).
    """
    alpha = alpha[alpha["state"] == "finetuned"]
    intervals = intervals[intervals["state"] == "finetuned"]
    methods = methods_of(alpha)
    ratios = sorted(alpha.loc[alpha["method"].isin(methods), "ratio"].unique())
    finite = alpha[np.isfinite(alpha["alpha"])]
    boxes: dict[tuple[str, float], dict] = {
        key: boxplot_stats(group["alpha"].to_numpy(), whis=WHISKER)[0]
        for key, group in finite.groupby(["method", "ratio"], sort=False)
        if key[0] in methods or key[0] == CONTROL
    }
    limits_of = {
        (row.method, row.ratio): (row.mean, row.low, row.high, row.verdict)
        for row in intervals.itertuples()
    }
    control = limits_of.get((CONTROL, 1.0))
    band = control[1:3] if control and np.all(np.isfinite(control[1:3])) else None
    ends = [end for key in boxes if key in limits_of for end in limits_of[key][1:3]]
    low, high = alpha_limits(list(boxes.values()), [end for end in ends if math.isfinite(end)])
    logarithmic = high > LOG_FROM
    with figure_style():
        rows, columns = grid_shape(len(methods), 4 if len(methods) > 6 else 3)
        width = WIDTH if columns > 2 else 1.0 + 3.9 * columns
        figure = Figure(figsize=(max(width, 6.4), 0.91 + 2.75 * rows))
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        has_control = (CONTROL, 1.0) in boxes
        for place, axes in enumerate(grid.flat):
            if place >= len(methods):
                axes.set_visible(False)
                continue
            method = methods[place]
            cells = ([(CONTROL, 1.0)] if has_control else []) + [(method, r) for r in ratios]
            _alpha_axes(axes, cells, boxes, limits_of, band)
            axes.set_title(style.plain(method), loc="left", fontweight="bold", pad=7)
            if place % columns == 0:
                axes.set_ylabel("α, slope of balances")
            else:
                axes.tick_params(axis="y", length=0)
            names = (["control"] if has_control else []) + [ratio_text(r) for r in ratios]
            axes.set_xticks(range(len(names)), names)
            if place >= len(methods) - columns:
                axes.set_xlabel("pruning ratio")
        first = grid.flat[0]
        if logarithmic:
            first.set_yscale("symlog", linthresh=LINEAR_TO, linscale=1.0)
            ticks = [t for t in (-8, -4, -2, 0, 0.5, 1, 1.5, 2, 4, 8, 16, 32) if low <= t <= high]
            first.yaxis.set_major_locator(FixedLocator(ticks))
            first.yaxis.set_major_formatter(FixedFormatter([style.number(t, 1) for t in ticks]))
            first.yaxis.set_minor_locator(NullLocator())
        forward = first.yaxis.get_transform()
        bottom, top = forward.transform(np.array([low, high]))
        # A tenth of the height above the data is the strip of the verdict marks.
        raised = float(forward.inverted().transform(np.array([top + 0.14 * (top - bottom)]))[0])
        first.set_ylim(low, raised)
        drawn = finite.loc[finite["method"].isin([*methods, CONTROL]), "alpha"]
        outside = int(((drawn < low) | (drawn > high)).sum())
        margins(figure, left=0.62, right=0.12, top=0.36, bottom=0.84, gap=(0.22, 0.62))
        handles: list[Line2D | Patch] = [
            Line2D([], [], linestyle="", marker=style.VERDICT_MARKERS[verdict], markersize=7,
                   markerfacecolor="white" if verdict == "inconclusive" else colour,
                   markeredgecolor=colour, label=verdict)
            for verdict, colour in style.VERDICT_COLOURS.items()
        ]  # fmt: skip
        handles.append(
            Line2D([], [], color=style.INK, marker="D", markersize=4, linewidth=1.4,
                   label="mean and interval")
        )  # fmt: skip
        if band:
            handles.append(Patch(facecolor="#e3e6ea", label="interval of the control's mean"))
        legend(figure, handles, y=0.0)
    return Drawing(figure, outside, int((~np.isfinite(alpha["alpha"])).sum()), logarithmic)


def _alpha_axes(
    axes: Axes,
    cells: list[tuple[str, float]],
    boxes: dict[tuple[str, float], dict],
    limits_of: dict[tuple[str, float], tuple[float, float, float, str]],
    band: tuple[float, float] | None,
) -> None:
    axes.grid(axis="y")
    if band:
        axes.axhspan(*band, facecolor="#e3e6ea", edgecolor="none", zorder=0.5)
    axes.axhline(1, color=style.INK, linewidth=1.0, zorder=1)
    axes.set_xlim(-0.6, len(cells) - 0.4)
    axes.tick_params(axis="x", length=0)
    for place, cell in enumerate(cells):
        mean, low, high, verdict = limits_of.get(cell, (math.nan, math.nan, math.nan, ""))
        colour = style.VERDICT_COLOURS.get(verdict, style.MUTED)
        if item := boxes.get(cell):
            faint = cell[0] == CONTROL
            axes.bxp(
                [item], positions=[place], widths=0.56, patch_artist=True, showfliers=True,
                manage_ticks=False,
                boxprops={"facecolor": colour, "alpha": 0.28, "edgecolor": colour,
                          "hatch": "////" if faint else None},
                medianprops={"color": colour, "linewidth": 1.6},
                whiskerprops={"color": colour}, capprops={"color": colour},
                flierprops={"marker": ".", "markersize": 3.5, "markerfacecolor": colour,
                            "markeredgecolor": "none", "alpha": 0.8},
            )  # fmt: skip
        if math.isfinite(mean):
            if math.isfinite(low) and math.isfinite(high):
                axes.vlines(place, low, high, color=style.INK, linewidth=1.4, zorder=4)
            axes.plot(place, mean, "D", color=style.INK, markersize=3.6, zorder=5)
        if verdict in style.VERDICT_MARKERS:
            axes.plot(
                place, 0.945, style.VERDICT_MARKERS[verdict],
                transform=axes.get_xaxis_transform(), markersize=6.5, markeredgecolor=colour,
                markerfacecolor="white" if verdict == "inconclusive" else colour, clip_on=False,
            )  # fmt: skip
