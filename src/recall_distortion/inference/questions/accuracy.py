"""How accurate is each cell, and how far apart are the recalls of its classes?"""

from __future__ import annotations

import pandas as pd

from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    interval_row,
    require_level,
)
from recall_distortion.tables.files import require_columns
from recall_distortion.vocabulary import CELL_STATE, NETWORK


def accuracy(recall: pd.DataFrame, level: float = PAPER_LEVEL) -> pd.DataFrame:
    """Return the mean accuracy of each cell and state with its t interval, and the variance.

    ``variance`` is the mean over replicates of the mean over classes of the squared recall balance
    B^2 = (R - A)^2, not normalized.
    """
    require_level(level)
    require_columns(recall, [*NETWORK, "accuracy", "balance"], "the recall table")
    squares = recall.assign(square=recall["balance"] ** 2)
    networks = squares.groupby(NETWORK, sort=False).agg(
        accuracy=("accuracy", "first"), variance=("square", "mean")
    )
    rows = []
    for cell, group in networks.groupby(CELL_STATE, sort=False):
        known = group["accuracy"].dropna().to_numpy(float)
        found = interval_row(known, level) | {"variance": group["variance"].mean(skipna=False)}
        rows.append(dict(zip(CELL_STATE, cell, strict=True)) | found | {"n": len(group)})
    return pd.DataFrame(rows)
