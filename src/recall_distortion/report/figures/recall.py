"""The change in each class's recall as heatmaps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from recall_distortion.report import style
from recall_distortion.report.figures.drawing import (
    WIDTH,
    Drawing,
    Place,
    axes_of_methods,
    grid_shape,
    margins,
    methods_of,
)
from recall_distortion.report.figures.rendering import figure_style
from recall_distortion.tables.controls import USUAL, Controls
from recall_distortion.vocabulary import CONTROL, CONTROLS, RETRAINED, format_ratio

MOST_CLASSES = 24  # rows of a heatmap that stay readable
LONGEST = 22  # characters of a class's name
COLOURS = "PuOr"


@dataclass(frozen=True)
class _Content:
    """What is drawn: a block [class, column] per method in points, the names of its sides.

    ``cut`` is the row before which classes in the middle are left out, if they are.
    """

    blocks: dict[str, np.ndarray]
    classes: list[str]
    columns: list[str]
    cut: int | None

    @classmethod
    def of(cls, classes: pd.DataFrame, dense: pd.DataFrame, controls: Controls) -> _Content:
        changes = classes[classes["state"] == RETRAINED]
        methods = methods_of(changes)
        ratios = sorted(changes.loc[changes["method"].isin(methods), "ratio"].unique())
        order = dense.sort_values("mean", kind="stable").set_index("class")
        shown, cut = order, None
        if len(order) > MOST_CLASSES:
            cut = MOST_CLASSES // 2
            shown = pd.concat([order[:cut], order[-cut:]])
        of_arms = {
            key: rows.set_index("class")["change"]
            for key, rows in changes[changes["method"].isin(CONTROLS)].groupby(["method", "ratio"])
        }
        blocks = {}
        for method in methods:
            own = changes[changes["method"] == method]
            block = own.pivot(index="class", columns="ratio", values="change")
            block = block.reindex(index=shown.index, columns=ratios)
            if of_arms:
                # That of rounds has a ratio for each of the method's: as many rounds as the last.
                beside = controls.at(method, own["ratio"].max())
                control = of_arms.get(beside, pd.Series(dtype=float))
                block.insert(0, CONTROL, control.reindex(shown.index))
            blocks[method] = 100 * block.to_numpy(dtype=float)
        columns = [CONTROL] if of_arms else []
        columns += [format_ratio(ratio) for ratio in ratios]
        names = [
            f"{style.label(row.class_name, LONGEST)}  {style.number(100 * row.mean, 1)}"
            for row in shown.itertuples()
        ]
        return cls(blocks, names, columns, cut)

    @property
    def limit(self) -> float:
        """The change at which the colours end: nineteen twentieths of all are smaller."""
        every = np.abs(np.concatenate([np.zeros(0), *map(np.ravel, self.blocks.values())]))
        every = every[np.isfinite(every)]
        return max(1.0, float(np.quantile(every, 0.95))) if len(every) else 1.0


def recall_figure(
    classes: pd.DataFrame, dense: pd.DataFrame, controls: Controls = USUAL
) -> Drawing:
    """Return heatmaps of the change in each class's mean recall by ratio, one per method.

    ``classes`` and ``dense`` are a panel's rows of the views ``classes`` and ``dense_classes``.
    Rows are classes from the weakest to the strongest of the dense networks, cells the change in
    percentage points from dense to retrained; the first column is each method's
    control, of rounds that of the largest ratio. Of many
    classes the weakest and strongest are shown.
    """
    content = _Content.of(classes, dense, controls)
    methods, shown = list(content.blocks), len(content.classes)
    norm = Normalize(-content.limit, content.limit)
    with figure_style():
        rows, across = grid_shape(len(methods), 4 if len(methods) > 6 else 3)
        height = 1.5 + rows * 0.245 * shown + (rows - 1) * 0.62
        figure = Figure(figsize=(WIDTH if across > 1 else 6.0, height))
        places = axes_of_methods(figure, methods, (rows, across), pad=7)
        for place in places:
            _heatmap(place, content, norm)
        longest = max((len(name.rpartition("  ")[0]) for name in content.classes), default=1)
        left = 0.95 + 0.075 * longest
        margins(figure, left=left, right=0.12, top=0.36, bottom=1.08, gap=(0.18, 0.62))
        if places:
            _colour_bar(figure, norm)
    return Drawing(figure, classes_of_many=0 if content.cut is None else shown)


def _heatmap(place: Place, content: _Content, norm: Normalize) -> None:
    axes, block = place.axes, content.blocks[place.name]
    axes.pcolormesh(
        np.ma.masked_invalid(block), cmap=COLOURS, norm=norm, edgecolors="white", linewidth=0.8
    )
    _write_changes(axes, block, content.limit)
    if content.cut is not None:
        # Between the weakest and the strongest stand the classes that are not shown.
        axes.axhline(content.cut, color=style.INK, linewidth=1.6)
    axes.set_xticks(np.arange(len(content.columns)) + 0.5, content.columns)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    axes.set_yticks([])
    if place.left:
        axes.set_yticks(np.arange(len(content.classes)) + 0.5, content.classes)
        # Beside the axes it would be cut where the classes are few.
        axes.annotate("class and its\ndense recall, %", (0, 1), (-4, 5), fontsize=8,
                      xycoords="axes fraction", textcoords="offset points", ha="right",
                      linespacing=1.05)  # fmt: skip
    if place.bottom:
        axes.set_xlabel("compression ratio")


def _write_changes(axes: Axes, block: np.ndarray, limit: float) -> None:
    for row, column in np.ndindex(block.shape):
        value = float(block[row, column])
        if math.isfinite(value):
            # Dark ink on pale cells, white on the saturated ends of the colour map.
            ink = "white" if abs(value) > 0.62 * limit else style.INK
            text = style.number(value, 1 if abs(value) < 9.95 else 0)
            axes.text(column + 0.5, row + 0.52, text, ha="center", va="center", fontsize=7.5,
                      color=ink)  # fmt: skip


def _colour_bar(figure: Figure, norm: Normalize) -> None:
    width, height = figure.get_size_inches()
    place = figure.add_axes((0.5 - 1.8 / width, 0.42 / height, 3.6 / width, 0.1 / height))
    colours = ScalarMappable(norm, COLOURS)
    bar = figure.colorbar(colours, cax=place, orientation="horizontal", extend="both")
    bar.set_label("change in recall, percentage points", labelpad=2)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2)
