"""The retrained slopes as boxplots, with their means, intervals and verdicts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
    Place,
    axes_of_methods,
    far_out,
    grid_shape,
    legend,
    margins,
    methods_of,
    verdict_handles,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.tables.controls import Controls
from recall_distortion.vocabulary import (
    CONTROL,
    CONTROLS,
    RETRAINED,
    UNCOMPRESSED,
    VERDICTS,
    format_ratio,
)

# Above this, a linear axis would flatten the boxes around 1; the axis turns logarithmic at 2.
LINEAR_TO = 2.0
LOG_FROM = 4.5
BAND = "#e3e6ea"  # of the control's interval
Cell = tuple[str, float]  # method, ratio


def alpha_limits(stats: list[dict[str, Any]], ends: list[float]) -> tuple[float, float]:
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


@dataclass(frozen=True)
class _Content:
    """What is drawn: boxes and intervals (mean, low, high, verdict) by cell, and the order."""

    boxes: dict[Cell, dict[str, Any]]
    intervals: dict[Cell, tuple[float, float, float, str]]
    methods: list[str]
    ratios: list[float]
    controls: Controls

    @classmethod
    def of(cls, networks: pd.DataFrame, slopes: pd.DataFrame) -> _Content:
        methods = methods_of(networks)
        ratios = networks.loc[networks["method"].isin(methods), "ratio"].unique()
        finite = networks[np.isfinite(networks["alpha"])]
        boxes = {
            key: boxplot_stats(group["alpha"].to_numpy(), whis=style.WHISKER)[0]
            for key, group in finite.groupby(["method", "ratio"], sort=False)
        }
        intervals = {
            (row.method, row.ratio): (row.mean, row.low, row.high, row.verdict)
            for row in slopes.itertuples()
        }
        return cls(boxes, intervals, methods, sorted(ratios), Controls.of(networks))

    def control(self, method: str) -> list[Cell]:
        """The cells of a method's control: one, or those of its rounds."""
        cells = dict.fromkeys(self.controls.at(method, ratio) for ratio in self.ratios)
        return [cell for cell in cells if cell in self.boxes]

    def band(self, method: str) -> tuple[float, float] | None:
        """The interval of the mean of a method's control, if it has one."""
        found = self.intervals.get((self.controls.arm(method), UNCOMPRESSED))
        return found[1:3] if found and np.all(np.isfinite(found[1:3])) else None

    @property
    def limits(self) -> tuple[float, float]:
        ends = [end for key in self.boxes if key in self.intervals
                for end in self.intervals[key][1:3]]  # fmt: skip
        return alpha_limits(list(self.boxes.values()), [end for end in ends if math.isfinite(end)])


def alpha_figure(networks: pd.DataFrame, slopes: pd.DataFrame) -> Drawing:
    """Return boxplots of the retrained slopes by ratio, one axes per method, for one panel.

    ``networks`` and ``slopes`` are the panel's rows of that table and that view. Boxes span the
    quartiles, whiskers reach to the last network within 1.5 interquartile ranges, the diamond is
    the mean with its interval. The verdict stands above each box as colour and mark (form of the
    paper's Figures 1 to 4).
    """
    fine = (networks["state"] == RETRAINED) & (networks["failure"] == "")
    networks, slopes = networks[fine], slopes[slopes["state"] == RETRAINED]
    content = _Content.of(networks, slopes)
    low, high = content.limits
    with figure_style():
        rows, columns = grid_shape(len(content.methods), 4 if len(content.methods) > 6 else 3)
        width = WIDTH if columns > 2 else 1.0 + 3.9 * columns
        figure = Figure(figsize=(max(width, 6.4), 0.91 + 2.75 * rows))
        shape = (rows, columns)
        for place in axes_of_methods(figure, content.methods, shape, pad=7, sharey=True):
            _method(place, content)
        logarithmic = high > LOG_FROM
        _vertical(figure.axes[0], low, high, logarithmic)
        margins(figure, left=0.62, right=0.12, top=0.36, bottom=0.84, gap=(0.22, 0.62))
        legend(figure, _handles(content))
    alpha = networks["alpha"]
    drawn = networks["method"].isin([*content.methods, *CONTROLS]) & np.isfinite(alpha)
    outside = drawn & ((alpha < low) | (alpha > high))
    return Drawing(figure, int(outside.sum()), int((~np.isfinite(alpha)).sum()), logarithmic)


def _handles(content: _Content) -> list[Line2D | Patch]:
    handles = verdict_handles(VERDICTS)
    handles.append(
        Line2D([], [], color=style.INK, marker="D", markersize=4, linewidth=1.4,
               label="mean and interval")
    )  # fmt: skip
    if any(map(content.band, content.methods)):
        handles.append(Patch(facecolor=BAND, label="interval of the control’s mean"))
    return handles


def _vertical(axes: Axes, low: float, high: float, logarithmic: bool) -> None:
    """Set the vertical axis, with room for the verdicts' marks above the data."""
    if logarithmic:
        axes.set_yscale("symlog", linthresh=LINEAR_TO, linscale=1.0)
        ticks = [t for t in (-8, -4, -2, 0, 0.5, 1, 1.5, 2, 4, 8, 16, 32) if low <= t <= high]
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_major_formatter(FixedFormatter([style.number(t, 1) for t in ticks]))
        axes.yaxis.set_minor_locator(NullLocator())
    forward = axes.yaxis.get_transform()
    bottom, top = forward.transform(np.array([low, high]))
    raised = float(forward.inverted().transform(np.array([top + 0.14 * (top - bottom)]))[0])
    axes.set_ylim(low, raised)


def _method(place: Place, content: _Content) -> None:
    axes = place.axes
    control, band = content.control(place.name), content.band(place.name)
    own = [(place.name, ratio) for ratio in content.ratios]
    # The control of rounds stands before each of its ratios, any other before all of them.
    cells = [*control, *own] if len(control) == 1 else []
    cells = cells or [cell for ratio, end in zip(content.ratios, own, strict=True)
                      for cell in (*[c for c in control if c[1] == ratio], end)]  # fmt: skip
    axes.grid(axis="y")
    if band:
        axes.axhspan(*band, facecolor=BAND, edgecolor="none", zorder=0.5)
    axes.axhline(1, color=style.INK, linewidth=1.0, zorder=1)
    axes.set_xlim(-0.6, len(cells) - 0.4)
    for position, cell in enumerate(cells):
        _cell(axes, position, cell, content)
    axes.tick_params(axis="x", length=0)
    names = [
        (CONTROL if len(control) == 1 else "") if cell in control else format_ratio(cell[1])
        for cell in cells
    ]
    axes.set_xticks(range(len(names)), names)
    if place.left:
        axes.set_ylabel("α, slope of balances")
    else:
        axes.tick_params(axis="y", length=0)
    if place.bottom:
        axes.set_xlabel("compression ratio")


def _cell(axes: Axes, position: int, cell: Cell, content: _Content) -> None:
    mean, low, high, verdict = content.intervals.get(cell, (math.nan, math.nan, math.nan, ""))
    look = style.look(verdict)
    if item := content.boxes.get(cell):
        axes.bxp(
            [item], positions=[position], widths=0.56, patch_artist=True, showfliers=True,
            manage_ticks=False,
            boxprops={"facecolor": look.colour, "alpha": 0.28, "edgecolor": look.colour,
                      "hatch": "////" if cell[0] in CONTROLS else None},
            medianprops={"color": look.colour, "linewidth": 1.6},
            whiskerprops={"color": look.colour}, capprops={"color": look.colour},
            flierprops={"marker": ".", "markersize": 3.5, "markerfacecolor": look.colour,
                        "markeredgecolor": "none", "alpha": 0.8},
        )  # fmt: skip
    if math.isfinite(mean):
        if math.isfinite(low) and math.isfinite(high):
            axes.vlines(position, low, high, color=style.INK, linewidth=1.4, zorder=4)
        axes.plot(position, mean, "D", color=style.INK, markersize=3.6, zorder=5)
    if look.words:
        axes.plot(
            position, 0.945, look.marker, transform=axes.get_xaxis_transform(), markersize=6.5,
            markeredgecolor=look.colour, markerfacecolor=look.fill, clip_on=False,
        )  # fmt: skip
