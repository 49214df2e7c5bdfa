"""How many answers a network changes, right or wrong."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import Measure
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import SHARE, Column


def flip_rate(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the share [K] of test images that a network labels differently from its dense one."""
    share: np.ndarray = (own.predicted != dense.predicted).mean(axis=1)
    return share


MEASURE = Measure(
    Column(
        "flip_rate", SHARE,
        "The share of test images that the network and its dense one label differently.",
        later=True,
    ),
    "flip rate",
    "Churn: Milani Fard et al. 2016",
    flip_rate,
    relative=True,
)  # fmt: skip
