"""How far apart the classes are in what they lose."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import Measure
from recall_distortion.measures.of_networks._counts import gaps
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import NUMBER, Column


def gap_range(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the largest difference [K] between two classes' losses of recall."""
    span: np.ndarray = np.ptp(gaps(own, dense), axis=1)
    return span


MEASURE = Measure(
    Column(
        "psi_range", NUMBER,
        "The largest less the smallest excess accuracy gap: Psi over pairs of classes.",
        later=True,
    ),
    "range of excess gaps",
    "Psi: Hashemizadeh et al. 2024, arXiv 2310.20673",
    gap_range,
    relative=True,
)  # fmt: skip
