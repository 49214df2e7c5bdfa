"""What became of each class: its recall in the dense networks, and what retraining changed."""

from __future__ import annotations

import pandas as pd

from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, interval_row
from recall_distortion.measures.distortion import paired_balances
from recall_distortion.vocabulary import CELL_STATE, DENSE


def dense_classes(recall: pd.DataFrame, level: float = PAPER_LEVEL) -> pd.DataFrame:
    """Return each class's mean recall in the dense networks, with its t interval."""
    dense = recall[recall["method"] == DENSE]
    keys = [*CELL_STATE, "class", "class_name"]
    rows = [
        dict(zip(keys, cell, strict=True)) | interval_row(group["recall"].to_numpy(float), level)
        for cell, group in dense.groupby(keys, sort=False)
    ]
    return pd.DataFrame(rows)


def class_changes(recall: pd.DataFrame, level: float = PAPER_LEVEL) -> pd.DataFrame:
    """Return each class's change in recall from the dense networks, with its paired t interval.

    ``before`` is the mean recall in the dense networks of the same seeds. The intervals are one a
    class and adjusted for nothing.
    """
    pairs = paired_balances(recall)
    pairs = pairs.assign(change=pairs["recall"] - pairs["recall_before"])
    keys = [*CELL_STATE, "class", "class_name"]
    rows = []
    for cell, group in pairs.groupby(keys, sort=False):
        found = interval_row(group["change"].to_numpy(float), level)
        found |= {"change": found.pop("mean"), "before": group["recall_before"].mean()}
        rows.append(dict(zip(keys, cell, strict=True)) | found)
    return pd.DataFrame(rows)
