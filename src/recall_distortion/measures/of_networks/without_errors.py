"""How many classes CEV and SDE leave out."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import Measure
from recall_distortion.measures.of_networks._counts import relative_errors
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import COUNT, Column


def without_errors(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the number [K] of classes in which no dense network errs one of the two ways."""
    positive, _ = relative_errors(own, dense)
    return np.full(len(positive), int(np.isnan(positive).any(axis=0).sum()))


MEASURE = Measure(
    Column(
        "cev_left_out", COUNT,
        "Classes that CEV and SDE leave out: no dense network misses an image of theirs, or none "
        "takes another image for theirs.",
        later=True,
    ),
    "classes without errors",
    "here",
    without_errors,
    relative=True,
    pooled=True,
    worse=None,
)  # fmt: skip
