"""How far the classes' errors turn from one kind to the other."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import Measure
from recall_distortion.measures.of_networks._counts import relative_errors
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import NUMBER, Column


def sde(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the mean distance [K] of the classes' changes from the line dFPR = dFNR."""
    positive, negative = relative_errors(own, dense)
    known = ~np.isnan(positive).any(axis=0)
    if not known.any():
        return np.full(len(positive), np.nan)
    found: np.ndarray = np.abs(positive - negative)[:, known].mean(axis=1) / np.sqrt(2)
    return found


MEASURE = Measure(
    Column(
        "sde", NUMBER,
        "Symmetric distance error: the mean distance of these changes from the line on which both "
        "rates change alike, in fractions.",
        later=True,
    ),
    "symmetric distance error",
    "SDE: Blakeney et al. 2021, arXiv 2106.07849",
    sde,
    relative=True,
    pooled=True,
)  # fmt: skip
