"""The mean accuracy by ratio and method, after fine-tuning beside before it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
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
from recall_distortion.report.summaries import accuracy_summary
from recall_distortion.report.tables import CONTROL, DENSE


def accuracy_figure(recall: pd.DataFrame) -> Drawing:
    """Return mean accuracy by ratio and method for one panel, fine-tuned beside pruned only.

    Bars are t intervals of the mean over models, cut at 0 and 100 %; dense and control are
    horizontal lines with their intervals as bands.
    """
    summary = accuracy_summary(recall)
    methods = methods_of(summary)
    ratios = sorted(
        float(r) for r in summary.loc[summary["method"].isin(methods), "ratio"].unique()
    )
    states = [
        (state, title)
        for state, title in (("finetuned", "after fine-tuning"), ("pruned", "before fine-tuning"))
        if ((summary["state"] == state) & summary["method"].isin(methods)).any()
    ] or [("finetuned", "after fine-tuning")]
    with figure_style():
        lines = math.ceil((len(methods) + 2) / 5)
        figure = Figure(figsize=(WIDTH if len(states) > 1 else 7.0, 3.85 + 0.24 * lines))
        grid = figure.subplots(1, len(states), squeeze=False)
        for axes, (state, title) in zip(grid.flat, states, strict=True):
            axes.grid(axis="y")
            for name, colour, dashes in (
                (DENSE, style.INK, "-"), (CONTROL, style.CONTROL_COLOUR, (0, (5, 2)))
            ):  # fmt: skip
                for row in summary[summary["method"] == name].itertuples():
                    axes.axhline(100 * row.mean, color=colour, linewidth=1.3, linestyle=dashes)
                    if math.isfinite(row.low):
                        axes.axhspan(
                            100 * max(row.low, 0.0), 100 * min(row.high, 1.0), facecolor=colour,
                            alpha=0.13, edgecolor="none",
                        )  # fmt: skip
            for place, method in enumerate(methods):
                rows = summary[(summary["method"] == method) & (summary["state"] == state)]
                rows = rows.sort_values("ratio")
                colour, marker, line = style.method_look(method, methods)
                x = rows["ratio"].to_numpy() * dodge(place, len(methods))
                mean = 100 * rows["mean"].to_numpy()
                # A t interval of few replicates can reach beyond what an accuracy can be.
                below = 100 * (rows["mean"] - rows["low"].clip(lower=0)).fillna(0).to_numpy()
                above = 100 * (rows["high"].clip(upper=1) - rows["mean"]).fillna(0).to_numpy()
                axes.errorbar(
                    x, mean, yerr=np.stack([below, above]), color=colour, marker=marker,
                    linestyle=line, markersize=5.5, linewidth=1.5, elinewidth=1.1, capsize=2,
                    markeredgecolor="white", markeredgewidth=0.5,
                )  # fmt: skip
            if ratios:
                ratio_axis(axes, ratios)
            axes.set_title(title, loc="left", fontweight="bold", pad=7)
            axes.set_xlabel("pruning ratio (log scale)")
        grid[0, 0].set_ylabel("test accuracy, %")
        margins(figure, left=0.62, right=0.12, top=0.36, bottom=0.62 + 0.24 * lines, gap=(0.6, 0))
        handles: list[Line2D | Patch] = [
            Line2D([], [], color=style.INK, linewidth=1.3, label="dense"),
        ]
        if (summary["method"] == CONTROL).any():
            handles.append(Line2D([], [], color=style.CONTROL_COLOUR, linewidth=1.3,
                                  linestyle=(0, (5, 2)), label="control"))  # fmt: skip
        handles += method_handles(methods)
        legend(figure, handles, ncols=min(5, len(handles)))
    return Drawing(figure)
