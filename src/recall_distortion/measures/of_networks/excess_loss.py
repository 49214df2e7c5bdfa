"""How far apart the classes are in what their loss gains."""

from __future__ import annotations

import numpy as np

from recall_distortion.measures.distortion import class_means
from recall_distortion.measures.measure import Measure
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import NUMBER, Column


def excess_loss_range(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the largest difference [K] between two classes' changes in mean loss.

    NaN where nobody wrote the losses, or a network has none.
    """
    classes = len(own.class_names)
    after, before = (class_means(own.labels, part.loss, classes) for part in (own, dense))
    if after is None or before is None:
        return np.full(len(own.seeds), np.nan)
    span: np.ndarray = np.ptp(after - before, axis=1)
    return span


MEASURE = Measure(
    Column(
        "excess_loss_range", NUMBER,
        "The largest difference between two classes in how much their mean loss grew.",
        later=True,
    ),
    "spread of excess loss",
    "Tran et al. 2022, arXiv 2205.13574",
    excess_loss_range,
    relative=True,
)  # fmt: skip
