"""What tests ask of fits by both engines."""

from __future__ import annotations

import pandas as pd

from recall_distortion.inference.mixed_models import DISAGREE

Tables = tuple[pd.DataFrame, pd.DataFrame]


def agreed(combined: Tables) -> Tables:
    """Return the tables that ``combine`` gives, after asserting that no engines disagree."""
    assert [said for said in combined[1]["message"].fillna("") if DISAGREE in said] == []
    return combined
