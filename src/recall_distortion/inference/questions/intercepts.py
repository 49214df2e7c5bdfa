"""Would a fit with an intercept tell another slope?"""

from __future__ import annotations

import pandas as pd

from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, interval_row
from recall_distortion.vocabulary import CELL_STATE, RESEED


def intercepts(networks: pd.DataFrame, level: float = PAPER_LEVEL) -> pd.DataFrame:
    """Return the mean intercept of each cell's fits that have one, with its t interval.

    Where the test set is balanced it is zero by construction; elsewhere the no-intercept slope is
    trustworthy as far as the intercept is near zero.
    """
    used = compared(networks)
    rows = []
    for cell, group in used[used["method"] != RESEED].groupby(CELL_STATE, sort=False):
        found = interval_row(group["intercept"].to_numpy(float), level)
        found["intercept"] = found.pop("mean")
        found |= {f"intercept_{end}": found.pop(end) for end in ("low", "high")}
        found["slope_with_intercept"] = group["slope_with_intercept"].mean(skipna=False)
        rows.append(dict(zip(CELL_STATE, cell, strict=True)) | found)
    return pd.DataFrame(rows)
