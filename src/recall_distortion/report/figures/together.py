"""Accuracy and α beyond the control, all methods of a panel in one picture."""

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
    legend,
    margins,
    message_figure,
    method_handles,
    methods_of,
    ratio_axis,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.tables.controls import USUAL, Controls
from recall_distortion.vocabulary import CELL_STATE, RETRAINED

ACCURACY = "accuracy less the control’s, points"
ALPHA = "α less the control’s"
Limits = tuple[float, float]


def together_figure(
    tradeoff: pd.DataFrame,
    leading: pd.DataFrame,
    sparsity: pd.DataFrame,
    controls: Controls = USUAL,
) -> Drawing:
    """Return three axes for one panel: accuracy and α by realised ratio, α against accuracy.

    Both are differences from the control of the method's own retraining, so that methods which are
    trained differently compare. ``tradeoff`` and ``sparsity`` are the panel's rows of these views,
    ``leading`` its leading rows. A line is a method from its smallest ratio to its largest, a mark
    the mean of a retrained cell; bars are the intervals, in the third axes left out.
    """
    cells = _cells(tradeoff, leading, sparsity)
    usable = cells[np.isfinite(cells[["accuracy", "alpha", "ratio"]]).all(axis=1)]
    methods = methods_of(cells)
    if usable.empty:
        return Drawing(
            message_figure("No cell of this panel has an accuracy and a slope beside its control’s")
        )
    x, y = _reach(usable["accuracy"]), _reach(usable["alpha"])
    groups = _groups(methods, controls)
    lines = max(len(group) for group in groups.values()) + 1
    with figure_style():
        figure = Figure(figsize=(WIDTH, 3.5 + 0.24 * lines))
        grid = figure.subplots(1, 3)
        by_ratio = (("accuracy", ACCURACY, x), ("alpha", ALPHA, y))
        for axes, (name, label, limits) in zip(grid, by_ratio, strict=False):
            axes.axhline(0, color=style.INK, linewidth=0.9, zorder=1)
            for method in methods:
                _line(axes, usable, method, methods, ("ratio", name), limits)
            ratio_axis(axes, sorted(usable["asked"].unique()))
            axes.set_xlabel("realised compression ratio (log scale)")
            axes.set_ylabel(label)
            logarithmic = flexible_axis(axes, "y", *limits)
            axes.set_ylim(*limits)
        beside = grid[2]
        beside.axhline(0, color=style.INK, linewidth=0.9, zorder=1)
        beside.axvline(0, color=style.INK, linewidth=0.9, zorder=1)
        for method in methods:
            _line(beside, usable, method, methods, ("accuracy", "alpha"), None)
        logarithmic |= flexible_axis(beside, "x", *x) | flexible_axis(beside, "y", *y)
        beside.set_xlim(*reversed(x))  # damage grows to the right, as the ratio does
        beside.set_ylim(*y)
        beside.set_xlabel(ACCURACY)
        beside.set_ylabel(ALPHA)
        margins(figure, left=0.62, right=0.12, top=0.14, bottom=0.5 + 0.24 * lines,
                gap=(0.66, 0))  # fmt: skip
        legend(figure, _handles(groups, methods, lines), ncols=len(groups), handletextpad=0.6)
    return Drawing(figure, 0, len(cells) - len(usable), logarithmic)


def _cells(tradeoff: pd.DataFrame, leading: pd.DataFrame, sparsity: pd.DataFrame) -> pd.DataFrame:
    """Return the retrained cells: accuracy in points and α beyond the control, realised ratio."""
    retrained = tradeoff[tradeoff["state"] == RETRAINED]
    cells = retrained[CELL_STATE].assign(
        accuracy=100 * retrained["accuracy_over_control"],
        accuracy_low=100 * retrained["over_control_low"],
        accuracy_high=100 * retrained["over_control_high"],
    )
    effects = leading[[*CELL_STATE, "difference", "difference_low", "difference_high"]]
    effects = effects.rename(columns=lambda name: name.replace("difference", "alpha"))
    realised = sparsity[[*CELL_STATE, "mean_ratio"]]
    cells = cells.merge(effects, on=CELL_STATE, how="left").merge(
        realised, on=CELL_STATE, how="left"
    )
    asked = cells["ratio"].astype(float)
    cells = cells.assign(asked=asked, ratio=cells.pop("mean_ratio").astype(float))
    return cells[cells["method"].isin(methods_of(cells))]


def _reach(values: pd.Series) -> Limits:
    """Return limits that hold all values and half a unit about 0; bars may be cut there."""
    low, high = min(float(values.min()), -0.5), max(float(values.max()), 0.5)
    return low - 0.06 * abs(low), high + 0.06 * abs(high)


def _groups(methods: list[str], controls: Controls) -> dict[str, list[str]]:
    """Return the methods by the control that they are read against."""
    groups: dict[str, list[str]] = {}
    for method in methods:
        groups.setdefault(controls.arm(method), []).append(method)
    return groups


def _line(
    axes: Axes,
    cells: pd.DataFrame,
    method: str,
    methods: list[str],
    names: tuple[str, str],
    limits: Limits | None,
) -> None:
    rows = cells[cells["method"] == method].sort_values("asked")
    colour, marker, dashes = style.method_look(method, methods)
    x, y = (rows[name].to_numpy() for name in names)
    axes.plot(x, y, color=colour, marker=marker, linestyle=dashes, linewidth=1.2, markersize=5,
              markeredgecolor="white", markeredgewidth=0.5, zorder=3)  # fmt: skip
    if limits is None:
        return
    low, high = (rows[f"{names[1]}_{end}"].to_numpy() for end in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    axes.vlines(x[known], np.maximum(low[known], limits[0]), np.minimum(high[known], limits[1]),
                color=colour, linewidth=1.0, alpha=0.5, zorder=2)  # fmt: skip


def _handles(groups: dict[str, list[str]], methods: list[str], lines: int) -> list[Line2D | Patch]:
    """Return the legend's entries, a column for each control: its name, its methods, blanks."""
    of_method = dict(zip(methods, method_handles(methods), strict=True))
    handles: list[Line2D | Patch] = []
    for arm, members in groups.items():
        column = [_text(f"beside {style.plain(arm)}"), *(of_method[name] for name in members)]
        handles += column + [_text("") for _ in range(lines - len(column))]
    return handles


def _text(words: str) -> Line2D:
    return Line2D([], [], linestyle="", label=words or " ")
