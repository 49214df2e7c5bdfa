"""Whether a network is right as often as it says."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.calibration import BINS, calibration_error
from recall_distortion.measures.measure import Measure
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import SHARE, Column


def error(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the expected calibration error [K]; NaN without probabilities."""
    if own.probability is None:
        return np.full(len(own.seeds), np.nan)
    return calibration_error(own.labels, own.predicted, own.probability)


MEASURE = Measure(
    Column(
        "calibration_error", SHARE,
        f"Expected calibration error of the label given, in {BINS} bins of equal width of its "
        "probability; few images in a bin raise it.",
        later=True,
    ),
    "calibration error",
    "after Iofinova et al. 2023, arXiv 2304.12622, for one label of many",
    error,
)  # fmt: skip
