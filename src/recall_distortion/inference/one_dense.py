"""What holds where all seeds begin with one dense network: no replicates of it, no reseed.

Seeds then vary by retraining alone. Intervals of slopes and effects are of that, and say nothing of
other dense networks; of the dense network itself there is one, so that its numbers have none.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import joined
from recall_distortion.vocabulary import DENSE, ONE_BROUGHT, PANEL, RESEED

_ALONE = "one dense network for all seeds: it has no interval"
_RETRAINED = "one dense network for all seeds: the interval is of retraining alone"
_OF_MANY = ["std_error", "df", "low", "high", "p", "p_adjusted"]


def panels(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the panels of which all seeds begin with one dense network, a row each."""
    brought = networks["engine"] == ONE_BROUGHT if "engine" in networks else np.False_
    return networks.loc[brought & (networks["method"] == DENSE), PANEL].drop_duplicates()


def without_replicates(estimates: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """Return estimates without what one dense network cannot say, with a note on what it means.

    ``estimates`` and ``networks`` are the tables of these names.
    """
    one = panels(networks)
    if one.empty:
        return estimates
    found = estimates.copy()
    here = pd.MultiIndex.from_frame(found[PANEL]).isin(pd.MultiIndex.from_frame(one))
    dense = here & (found["method"] == DENSE).to_numpy()
    spread = found[["std_error", "low", "high"]].notna().any(axis=1).to_numpy()
    found.loc[dense, _OF_MANY] = np.nan
    found.loc[dense & found["n"].notna().to_numpy(), "n"] = 1
    for rows, note in ((dense & spread, _ALONE), (here & ~dense & spread, _RETRAINED)):
        found.loc[rows, "note"] = [joined(own, note) for own in found.loc[rows, "note"].fillna("")]
    kept = ~(here & (found["method"] == RESEED).to_numpy())
    return found[kept].reset_index(drop=True)
