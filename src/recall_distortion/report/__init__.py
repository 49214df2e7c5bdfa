"""Tables of a study → figures and one self-contained HTML page.

Needs neither torch nor R: the tables may come from anywhere. Importing this package imports no
drawing library; ``report.figures``, which writes the figures, does.
"""

from __future__ import annotations

from recall_distortion.report.brought import without_weights
from recall_distortion.report.exports import metrics, write_plot_data
from recall_distortion.report.page import build_report
from recall_distortion.report.pictures import figure_names

__all__ = [
    "build_report",
    "figure_names",
    "metrics",
    "without_weights",
    "write_plot_data",
]
