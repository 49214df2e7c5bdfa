"""How differently the classes' error rates change."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import Measure
from recall_distortion.measures.of_networks._counts import relative_errors
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import NUMBER, Column


def cev(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the mean squared distance [K] of the classes' changes from their centroid.

    A class's change is the vector of the relative changes of its false positive and false negative
    rates, as fractions; the squared distance is the sum over both.
    """
    changes = np.stack(relative_errors(own, dense), axis=2)
    known = ~np.isnan(changes).any(axis=(0, 2))
    if not known.any():
        return np.full(len(changes), np.nan)
    changes = changes[:, known]
    centroid = changes.mean(axis=1, keepdims=True)
    found: np.ndarray = ((changes - centroid) ** 2).sum(axis=2).mean(axis=1)
    return found


MEASURE = Measure(
    Column(
        "cev", NUMBER,
        "Combined error variance: the mean squared distance of the classes' relative changes of "
        "FPR and FNR from their mean, in fractions, the rates divided by the dense networks' mean.",
        later=True,
    ),
    "combined error variance",
    "CEV: Blakeney et al. 2021, arXiv 2106.07849",
    cev,
    relative=True,
    pooled=True,
)  # fmt: skip
