"""How often a network is not sure of its answer."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.measure import Measure
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import SHARE, Column

SURE = 0.9


def uncertainty(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the share [K] of test images whose label has a probability below 0.9.

    NaN where nobody wrote the probabilities, or a network has none.
    """
    if own.probability is None:
        return np.full(len(own.seeds), np.nan)
    unknown = np.isnan(own.probability).any(axis=1)
    # 0.9 itself is not a number of half precision, in which a study's probabilities are.
    share = (own.probability < own.probability.dtype.type(SURE)).mean(axis=1)
    return np.where(unknown, np.nan, share)


MEASURE = Measure(
    Column(
        "uncertainty", SHARE,
        "The share of test images whose label the network gives a probability below 0.9.",
        later=True,
    ),
    "uncertainty",
    "after Iofinova et al. 2023, arXiv 2304.12622, for one label of many",
    uncertainty,
)  # fmt: skip
