"""The recall of a network's weakest class, whichever class that is."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import LOWER, Measure
from recall_distortion.measures.of_networks._counts import counts
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import SHARE, Column


def worst_recall(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the least recall [K] over the classes of K networks."""
    found = counts(own)
    least: np.ndarray = (found.correct / found.support).min(axis=1)
    return least


MEASURE = Measure(
    Column(
        "worst_recall", SHARE,
        "The least recall of any class; test-set noise lowers it, in dense networks too.",
        later=True,
    ),
    "worst recall",
    "Sagawa et al. 2020",
    worst_recall,
    worse=LOWER,
)  # fmt: skip
