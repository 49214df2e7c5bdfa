"""Is E[alpha] above or below 1? The t interval of each cell's mean slope (paper, section 6.2)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import missing_interval
from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    require_level,
    t_interval,
    verdict,
)
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import CELL_STATE, DENSE, NETWORK


def compared(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks that have a dense network to be compared with, failures apart."""
    used = succeeded(networks)
    return used[used["method"] != DENSE]


def succeeded(networks: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks that could be trained, or of which nothing says otherwise."""
    return networks[networks["failure"].fillna("") == ""] if "failure" in networks else networks


def slopes(networks: pd.DataFrame, level: float = PAPER_LEVEL) -> pd.DataFrame:
    """Return the t interval of E[alpha] of every cell and state, one row each, in table order.

    ``networks`` has the columns of ``NETWORK``, alpha and, if there, alpha_crossfit. ``n`` counts
    the finite slopes; if any slope of the cell is not finite, mean and interval are NaN and there
    is no verdict, because dropping the replicates whose slope cannot be computed would pick among
    the outcomes. ``family_size`` is the number of ratios of that data set, architecture, method and
    state: by Bonferroni, the intervals of a family hold together with a confidence of at least
    1 - family_size * (1 - level). ``note`` says why an interval is missing. ``alpha_crossfit`` is
    the median of the networks' own cross-fitted slopes, of which one can be arbitrarily large where
    its denominator is near zero, and ``nonfinite`` counts the networks without a slope.

    Raises ``TableError`` on a missing column, a replicate that occurs twice, a senseless level.
    """
    require_level(level)
    require_columns(networks, [*NETWORK, "alpha"], "the networks table")
    used = compared(networks)
    require_unique(used, NETWORK, "the networks table")
    family = [key for key in CELL_STATE if key != "ratio"]
    sizes = used.groupby(family, sort=False)["ratio"].nunique()
    rows = []
    for cell, group in used.groupby(CELL_STATE, sort=False):
        values = group["alpha"].to_numpy(dtype=float)
        found = t_interval(values, level)
        low, high = float(found.low), float(found.high)
        named = dict(zip(CELL_STATE, cell, strict=True))
        rows.append(
            {
                **named,
                "n": int(np.isfinite(values).sum()),
                "mean": float(found.mean),
                "low": low,
                "high": high,
                "std_error": float(found.std_error),
                "df": found.df if np.isfinite(found.std_error) else np.nan,
                "level": level,
                "family_size": int(sizes[tuple(named[key] for key in family)]),
                "verdict": verdict(low, high),
                "note": missing_interval(values),
                "alpha_crossfit": _median(group),
                "nonfinite": int((~np.isfinite(values)).sum()),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = [
    *CELL_STATE, "n", "mean", "low", "high", "std_error", "df", "level", "family_size", "verdict",
    "note", "alpha_crossfit", "nonfinite",
]  # fmt: skip


def _median(group: pd.DataFrame) -> float:
    if "alpha_crossfit" not in group:
        return np.nan
    values = group["alpha_crossfit"].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else np.nan
