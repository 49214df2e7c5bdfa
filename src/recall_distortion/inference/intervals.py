"""Student t intervals of the mean slope of each cell (paper, section 6.2)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from recall_distortion.columns import INTERVAL_COLUMNS
from recall_distortion.errors import TableError
from recall_distortion.rounding import above, all_equal, below
from recall_distortion.tables import require_columns, require_unique

INTENSIFICATION = "intensification"
DEINTENSIFICATION = "de-intensification"
INCONCLUSIVE = "inconclusive"
CONCLUSIVE = (INTENSIFICATION, DEINTENSIFICATION)

CELL = ["dataset", "architecture", "method", "ratio", "state"]

# The paper's level of one interval: over its 5 ratios, Bonferroni makes that 95 % family-wise.
PAPER_LEVEL = 0.99


def require_level(level: float) -> None:
    """Raise ``TableError`` unless ``level`` is a confidence level strictly between 0 and 1."""
    if not 0 < level < 1:
        raise TableError(f"a confidence level lies between 0 and 1, such as 0.99, not {level!r}")


def interval(values: np.ndarray, level: float = PAPER_LEVEL) -> tuple[float, float, float]:
    """Return mean, lower and upper end of the t interval of the mean of ``values`` [n].

    A mean of one value has no interval: its ends are NaN. Values that are equal but for rounding
    have an interval of width zero. Of any non-finite value, all three are NaN.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0 or not np.isfinite(values).all():
        return np.nan, np.nan, np.nan
    mean = float(values.mean())
    if values.size < 2:
        return mean, np.nan, np.nan
    if all_equal(values):
        # The rounding of the mean must not open a gap between equal values and their interval.
        return float(values[0]), float(values[0]), float(values[0])
    half_width = float(
        special.stdtrit(values.size - 1, (1 + level) / 2)
        * values.std(ddof=1)
        / np.sqrt(values.size)
    )
    return mean, mean - half_width, mean + half_width


def verdict(low: float, high: float, null: float = 1.0) -> str:
    """Return what an interval of E[alpha] says; "" where it has no two finite ends.

    ``null`` is 1 for a slope and 0 for a difference of slopes. An end that differs from it by
    rounding alone does not exclude it.
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    if above(low, null):
        return INTENSIFICATION
    if below(high, null):
        return DEINTENSIFICATION
    return INCONCLUSIVE


def intervals(alpha: pd.DataFrame, level: float = PAPER_LEVEL) -> pd.DataFrame:
    """Return the t interval of E[alpha] of every cell and state, one row each, in table order.

    ``alpha`` has the columns dataset, architecture, method, ratio, state, seed, alpha. The result
    has ``INTERVAL_COLUMNS``. ``n`` counts the finite slopes; if any slope of the cell is not
    finite, mean, low and high are NaN and the verdict is inconclusive, because dropping the
    replicates whose slope cannot be computed would pick among the outcomes. ``family_size`` is
    the number of ratios of that data set, architecture, method and state: by Bonferroni, the
    intervals of a family hold together with a confidence of at least
    1 - family_size * (1 - level). ``note`` says why an interval is missing.

    Raises ``TableError`` on a missing column, a replicate that occurs twice, a senseless level.
    """
    require_level(level)
    require_columns(alpha, [*CELL, "seed", "alpha"], "the alpha table")
    require_unique(alpha, [*CELL, "seed"], "the alpha table")
    family = [key for key in CELL if key != "ratio"]
    family_sizes = alpha.groupby(family, sort=False)["ratio"].nunique()
    rows = []
    for cell, group in alpha.groupby(CELL, sort=False):
        values = group["alpha"].to_numpy(dtype=float)
        mean, low, high = interval(values, level)
        named = dict(zip(CELL, cell, strict=True))
        rows.append(
            {
                **named,
                "n": int(np.isfinite(values).sum()),
                "mean": mean,
                "low": low,
                "high": high,
                "level": level,
                "family_size": int(family_sizes[tuple(named[key] for key in family)]),
                "verdict": verdict(low, high),
                "note": missing_interval(values),
            }
        )
    return pd.DataFrame(rows, columns=INTERVAL_COLUMNS)


def missing_interval(slopes: np.ndarray) -> str:
    """Return why the mean of ``slopes`` [n] has no t interval; empty where it has one."""
    lost = int((~np.isfinite(slopes)).sum())
    if lost:
        return (
            f"{lost} of {len(slopes)} slopes {'is' if lost == 1 else 'are'} not finite "
            "(an accuracy of 0, or equal recalls before pruning)"
        )
    return "" if len(slopes) > 1 else "one replicate: an interval needs two"
