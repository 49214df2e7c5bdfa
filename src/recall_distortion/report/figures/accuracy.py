"""The mean accuracy by ratio and method, after retraining beside before it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

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
    dodge,
    legend,
    margins,
    method_handles,
    methods_of,
    ratio_axis,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.vocabulary import (
    COMPRESSED,
    CONTROL,
    CONTROL_EVENTS,
    CONTROL_GRADUAL,
    CONTROL_ITERATIVE,
    CONTROL_ITERATIVE_RATE,
    CONTROL_REINIT,
    CONTROL_REWIND,
    CONTROL_REWIND_RATE,
    CONTROL_TRANSFER,
    DENSE,
    OF_ROUNDS,
    RETRAINED,
)

if TYPE_CHECKING:
    from matplotlib.typing import LineStyleType

TITLES = {RETRAINED: "after retraining", COMPRESSED: "before retraining"}
_LINES: dict[str, tuple[str, LineStyleType]] = {
    DENSE: (style.INK, "-"),
    CONTROL: (style.CONTROL_COLOUR, (0, (5, 2))),
    CONTROL_GRADUAL: (style.CONTROL_COLOUR, (0, (1, 1.5))),
    CONTROL_EVENTS: (style.CONTROL_COLOUR, (0, (1, 3))),
    CONTROL_REWIND: (style.CONTROL_COLOUR, (0, (7, 2, 1, 2))),
    CONTROL_REWIND_RATE: (style.CONTROL_COLOUR, (0, (3, 1))),
    CONTROL_REINIT: (style.CONTROL_COLOUR, (0, (2, 3))),
    CONTROL_TRANSFER: (style.CONTROL_COLOUR, (0, (5, 2, 1, 2, 1, 2))),
    CONTROL_ITERATIVE: (style.CONTROL_COLOUR, (0, (9, 2))),
    CONTROL_ITERATIVE_RATE: (style.CONTROL_COLOUR, (0, (9, 2, 3, 2))),
}


def accuracy_figure(accuracy: pd.DataFrame) -> Drawing:
    """Return mean accuracy by ratio and method for one panel, retrained beside pruned only.

    ``accuracy`` are the panel's rows of that view. Bars are t intervals of the mean over networks,
    cut at 0 and 100 %; dense and controls are lines with their intervals as bands, horizontal
    but for controls of rounds, which have a value at each ratio.
    """
    methods = methods_of(accuracy)
    cells = accuracy[accuracy["method"].isin(methods)]
    ratios = sorted(float(ratio) for ratio in cells["ratio"].unique())
    states = [state for state in TITLES if (cells["state"] == state).any()] or [RETRAINED]
    with figure_style():
        lines = math.ceil((len(methods) + 2) / 5)
        figure = Figure(figsize=(WIDTH if len(states) > 1 else 7.0, 3.85 + 0.24 * lines))
        grid = figure.subplots(1, len(states), squeeze=False)
        for axes, state in zip(grid.flat, states, strict=True):
            axes.grid(axis="y")
            _references(axes, accuracy)
            _methods(axes, cells[cells["state"] == state], methods)
            if ratios:
                ratio_axis(axes, ratios)
            axes.set_title(TITLES[state], loc="left", fontweight="bold", pad=7)
            axes.set_xlabel("compression ratio (log scale)")
        grid[0, 0].set_ylabel("test accuracy, %")
        margins(figure, left=0.62, right=0.12, top=0.36, bottom=0.62 + 0.24 * lines, gap=(0.6, 0))
        handles: list[Line2D | Patch] = [
            Line2D([], [], color=colour, linewidth=1.3, linestyle=dashes, label=name)
            for name, (colour, dashes) in _LINES.items()
            if name == DENSE or (accuracy["method"] == name).any()
        ]
        handles += method_handles(methods)
        legend(figure, handles, ncols=min(5, len(handles)))
    return Drawing(figure)


def _references(axes: Axes, accuracy: pd.DataFrame) -> None:
    for name, (colour, dashes) in _LINES.items():
        rows = accuracy[accuracy["method"] == name]
        if name in OF_ROUNDS and len(rows):
            rows = rows.sort_values("ratio")
            axes.plot(
                rows["ratio"], 100 * rows["mean"], color=colour, linewidth=1.3, linestyle=dashes
            )
            low, high = rows["low"].clip(lower=0), rows["high"].clip(upper=1)
            axes.fill_between(
                rows["ratio"], 100 * low, 100 * high, facecolor=colour, alpha=0.13, edgecolor="none"
            )
            continue
        for row in rows.itertuples():
            axes.axhline(100 * row.mean, color=colour, linewidth=1.3, linestyle=dashes)
            if math.isfinite(row.low):
                low, high = max(row.low, 0.0), min(row.high, 1.0)
                axes.axhspan(100 * low, 100 * high, facecolor=colour, alpha=0.13, edgecolor="none")


def _methods(axes: Axes, cells: pd.DataFrame, methods: list[str]) -> None:
    for place, method in enumerate(methods):
        rows = cells[cells["method"] == method].sort_values("ratio")
        colour, marker, line = style.method_look(method, methods)
        # A t interval of few replicates can reach beyond what an accuracy can be.
        below = 100 * (rows["mean"] - rows["low"].clip(lower=0)).fillna(0).to_numpy()
        above = 100 * (rows["high"].clip(upper=1) - rows["mean"]).fillna(0).to_numpy()
        axes.errorbar(
            rows["ratio"].to_numpy() * dodge(place, len(methods)), 100 * rows["mean"].to_numpy(),
            yerr=np.stack([below, above]), color=colour, marker=marker, linestyle=line,
            markersize=5.5, linewidth=1.5, elinewidth=1.1, capsize=2, markeredgecolor="white",
            markeredgewidth=0.5,
        )  # fmt: skip
