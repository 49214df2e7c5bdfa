"""The realised compression ratio against the one that was asked for."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recall_distortion.report import style
from recall_distortion.report.figures.drawing import (
    WIDTH,
    Drawing,
    dodge,
    grid_shape,
    legend,
    margins,
    method_handles,
    methods_of,
    ratio_axis,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.tables.study import have_several_recipes, of_panel, panels_of
from recall_distortion.vocabulary import CELL


def sparsity_figure(sparsity: pd.DataFrame) -> Drawing:
    """Return realised over nominal ratio by method, one axes per panel.

    ``sparsity`` is that view. 1 is a method that removes as many weights as asked; bars span the
    least and the largest value of any network.
    """
    cells = sparsity.drop_duplicates(CELL)  # a network is as sparse retrained as before
    methods = methods_of(cells)
    panels = panels_of(cells)
    named = 3 if have_several_recipes(panels) else 2
    with figure_style():
        rows, columns = grid_shape(max(1, len(panels)), 3 if len(panels) > 4 else 2)
        lines = math.ceil(len(methods) / 4)
        width = 6.6 if columns == 1 else WIDTH
        figure = Figure(figsize=(width, 1.0 + 0.24 * lines + 2.5 * rows + 0.6 * (rows - 1)))
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for place, axes in enumerate(grid.flat):
            if place >= len(panels):
                axes.set_visible(False)
                continue
            _draw(axes, of_panel(cells, panels[place]), methods)
            title = " / ".join(style.label(name, 24) for name in panels[place][:named])
            axes.set_title(title, loc="left", fontweight="bold", pad=7)
            if place % columns == 0:
                axes.set_ylabel("realised ÷ nominal ratio")
        reach = cells["max_ratio"] / cells["ratio"]
        grid.flat[0].set_ylim(0, 1.12 * max(1.0, float(reach.max()) if len(reach) else 1.0))
        margins(figure, left=0.62, right=0.12, top=0.36, bottom=0.62 + 0.24 * lines,
                 gap=(0.3, 0.85))  # fmt: skip
        handles = method_handles(methods)
        if handles:
            legend(figure, handles, ncols=min(4, len(handles)))
    return Drawing(figure)


def _draw(axes: Axes, cells: pd.DataFrame, methods: list[str]) -> None:
    axes.grid(axis="y")
    axes.axhline(1, color=style.INK, linewidth=1.0, zorder=1)
    for index, method in enumerate(methods):
        rows = cells[cells["method"] == method].sort_values("ratio")
        colour, marker, line = style.method_look(method, methods)
        least, mean, most = (
            (rows[name] / rows["ratio"]).to_numpy()
            for name in ("min_ratio", "mean_ratio", "max_ratio")
        )
        axes.errorbar(
            rows["ratio"] * dodge(index, len(methods)), mean,
            yerr=np.abs(np.stack([mean - least, most - mean])), color=colour, marker=marker,
            linestyle=line, linewidth=1.2, markersize=6, capsize=2, elinewidth=1.0,
            markeredgecolor="white", markeredgewidth=0.5,
        )  # fmt: skip
    ratio_axis(axes, sorted(float(ratio) for ratio in cells["ratio"].unique()))
    axes.set_xlabel("nominal compression ratio (log scale)")
