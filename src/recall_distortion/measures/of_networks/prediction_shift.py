"""How far a network's labels are from naming each class as often as it occurs."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import Measure
from recall_distortion.measures.of_networks._counts import counts
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import SHARE, Column


def prediction_shift(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return half the summed differences [K] of shares predicted and true, over the classes."""
    found = counts(own)
    images = found.support.sum()
    # Images that are given none of the classes are named otherwise, too.
    elsewhere = images - found.predicted.sum(axis=1)
    moved = np.abs(found.predicted - found.support).sum(axis=1) + elsewhere
    shift: np.ndarray = moved / (2 * images)
    return shift


MEASURE = Measure(
    Column(
        "prediction_shift", SHARE,
        "The share of test images that would have to be named otherwise for each class to be "
        "named as often as it occurs.",
        later=True,
    ),
    "prediction shift",
    "here, after the bias amplification of Iofinova et al. 2023, arXiv 2304.12622",
    prediction_shift,
)  # fmt: skip
