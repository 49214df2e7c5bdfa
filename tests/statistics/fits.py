"""What tests ask of fits by both fitters."""

from __future__ import annotations

import pandas as pd

from recall_distortion.inference.mixed.comparison import DISAGREE

Tables = tuple[pd.DataFrame, pd.DataFrame]


def agreed(combined: Tables) -> Tables:
    """Return the tables that ``combine`` gives, after asserting that no fitters disagree."""
    assert [said for said in combined[1]["message"].fillna("") if DISAGREE in said] == []
    return combined
