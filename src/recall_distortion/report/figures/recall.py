"""The change in each class's recall as heatmaps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from recall_distortion.report import style
from recall_distortion.report.figures.drawing import (
    WIDTH,
    Drawing,
    grid_shape,
    margins,
    methods_of,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.report.summaries import class_changes, ratio_text
from recall_distortion.report.tables import CONTROL, DENSE

MOST_CLASSES = 24  # rows of a heatmap that stay readable


def recall_figure(recall: pd.DataFrame) -> Drawing:
    """Return heatmaps of the change in each class's mean recall by ratio, one per method.

    Rows are classes from the weakest to the strongest of the dense models, cells the change in
    percentage points from dense to fine-tuned. Of many classes the weakest and strongest are
    shown.
    """
    changes = class_changes(recall)
    changes = changes[changes["state"] == "finetuned"]
    methods = methods_of(changes)
    ratios = sorted(changes.loc[changes["method"].isin(methods), "ratio"].unique())
    dense = recall[recall["method"] == DENSE].groupby("class", sort=True)
    order = dense["recall"].mean().sort_values(kind="stable")
    names = dense["class_name"].first()
    shown = list(order.index)
    if len(shown) > MOST_CLASSES:
        half = MOST_CLASSES // 2
        shown = shown[:half] + shown[-half:]
    control = changes[changes["method"] == CONTROL].set_index("class")["change"]
    columns = (["control"] if len(control) else []) + [ratio_text(ratio) for ratio in ratios]
    blocks = []
    for method in methods:
        table = changes[changes["method"] == method]
        block = table.pivot_table(index="class", columns="ratio", values="change", sort=True)
        block = block.reindex(index=shown, columns=ratios)
        if len(control):
            block.insert(0, 0.0, control.reindex(shown))
        blocks.append(100 * block.to_numpy(dtype=float))
    every = np.abs(np.concatenate([block.ravel() for block in blocks])) if blocks else np.array([])
    every = every[np.isfinite(every)]
    limit = max(1.0, float(np.quantile(every, 0.95))) if len(every) else 1.0
    with figure_style():
        rows, across = grid_shape(len(methods), 4 if len(methods) > 6 else 3)
        high = 0.245 * len(shown)
        figure = Figure(
            figsize=(WIDTH if across > 1 else 6.0, 1.5 + rows * high + (rows - 1) * 0.62)
        )
        grid = figure.subplots(rows, across, squeeze=False)
        norm = Normalize(-limit, limit)
        longest = max((len(style.label(names[index], 22)) for index in shown), default=1)
        mesh = None
        for place, axes in enumerate(grid.flat):
            if place >= len(methods):
                axes.set_visible(False)
                continue
            mesh = axes.pcolormesh(
                np.ma.masked_invalid(blocks[place]), cmap="PuOr", norm=norm,
                edgecolors="white", linewidth=0.8,
            )  # fmt: skip
            _write_changes(axes, blocks[place], limit)
            if len(shown) < len(order):
                # Between the weakest and the strongest stand the classes that are not shown.
                axes.axhline(len(shown) // 2, color=style.INK, linewidth=1.6)
            axes.set_title(style.plain(methods[place]), loc="left", fontweight="bold", pad=7)
            axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.invert_yaxis()
            if place % across == 0:
                labels = [
                    f"{style.label(names[index], 22)}  {style.number(100 * order[index], 1)}"
                    for index in shown
                ]
                axes.set_yticks(np.arange(len(shown)) + 0.5, labels)
                # Beside the axes it would be cut where the classes are few.
                axes.annotate("class and its\ndense recall, %", (0, 1), (-4, 5), fontsize=8,
                              xycoords="axes fraction", textcoords="offset points", ha="right",
                              linespacing=1.05)  # fmt: skip
            else:
                axes.set_yticks([])
            if place >= len(methods) - across:
                axes.set_xlabel("pruning ratio")
        left = 0.95 + 0.075 * longest
        margins(figure, left=left, right=0.12, top=0.36, bottom=1.08, gap=(0.18, 0.62))
        if mesh is not None:
            width, height = figure.get_size_inches()
            place_bar = figure.add_axes(
                (0.5 - 1.8 / width, 0.42 / height, 3.6 / width, 0.1 / height)
            )
            bar = figure.colorbar(mesh, cax=place_bar, orientation="horizontal", extend="both")
            bar.set_label("change in recall, percentage points", labelpad=2)
            bar.outline.set_visible(False)
            bar.ax.tick_params(length=2)
    return Drawing(figure, classes_of_many=len(shown) if len(shown) < len(order) else 0)


def _write_changes(axes: Axes, block: np.ndarray, limit: float) -> None:
    for row, column in np.ndindex(block.shape):
        value = block[row, column]
        if math.isfinite(value):
            # Dark ink on pale cells, white on the saturated ends of the colour map.
            ink = "white" if abs(value) > 0.62 * limit else style.INK
            text = style.number(value, 1 if abs(value) < 9.95 else 0)
            axes.text(column + 0.5, row + 0.52, text, ha="center", va="center", fontsize=7.5,
                      color=ink)  # fmt: skip
