"""The largest excess accuracy gap, of a class that other images name as the one."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import Measure
from recall_distortion.measures.of_networks._counts import half_gaps
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import NUMBER, Column


def largest_gap_crossfit(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the gap [K] on one half of the images of the class whose gap is largest on the other.

    The mean over splits of the test set and both halves; NaN where no class has two images. The
    maximum of noisy gaps lies above the largest true one, this does not.
    """
    first, second = half_gaps(own, dense)
    found = np.stack([_measured(*pair) for pair in ((first, second), (second, first))])
    mean: np.ndarray = found.mean(axis=(0, 1))
    return mean


def _measured(chosen: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Return ``measured`` [S, K, C] of the classes whose ``chosen`` is largest, as [S, K]."""
    worst = np.where(np.isnan(chosen), -np.inf, chosen).argmax(axis=2)
    return np.take_along_axis(measured, worst[:, :, None], axis=2)[:, :, 0]


MEASURE = Measure(
    Column(
        "max_psi_crossfit", NUMBER,
        "The same, the class chosen on one half of the test images and measured on the other.",
        later=True,
    ),
    "largest excess gap, cross-fitted",
    "as the largest excess gap",
    largest_gap_crossfit,
    relative=True,
)  # fmt: skip
