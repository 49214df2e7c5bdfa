"""By how much more than all images the class loses that loses most."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import Measure
from recall_distortion.measures.of_networks._counts import gaps
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import NUMBER, Column


def largest_gap(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the largest excess accuracy gap [K] of any class."""
    largest: np.ndarray = gaps(own, dense).max(axis=1)
    return largest


MEASURE = Measure(
    Column(
        "max_psi", NUMBER,
        "The largest excess accuracy gap psi of any class: the recall it lost against the dense "
        "network, less the accuracy lost. Noise of the test set raises it.",
        later=True,
    ),
    "largest excess gap",
    "max psi: Hashemizadeh et al. 2024, arXiv 2310.20673",
    largest_gap,
    relative=True,
)  # fmt: skip
