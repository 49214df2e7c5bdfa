"""Student t intervals of means over replicates, and what an interval says (paper, section 6.2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from recall_distortion.measures.rounding import DUST, above, below
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import DEINTENSIFICATION, INCONCLUSIVE, INTENSIFICATION

# The paper's level of one interval: over its 5 ratios, Bonferroni makes that 95 % family-wise.
PAPER_LEVEL = 0.99


class TInterval(NamedTuple):
    """Means with the ends of their t intervals, standard errors and degrees of freedom."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    std_error: np.ndarray
    df: int


def require_level(level: float) -> None:
    """Raise ``TableError`` unless ``level`` is a confidence level strictly between 0 and 1."""
    if not 0 < level < 1:
        raise TableError(f"a confidence level lies between 0 and 1, such as 0.99, not {level!r}")


def t_interval(values: np.ndarray, level: float, axis: int = -1) -> TInterval:
    """Return the t intervals of the means over one axis of ``values`` [..., n].

    A mean of one value has no interval: its ends are NaN. Values that are equal but for rounding
    have an interval of width zero. Of any non-finite value, everything is NaN.
    """
    # In memory as one vector after another, so that a mean is the same whatever stands beside it.
    values = np.ascontiguousarray(np.moveaxis(np.asarray(values, float), axis, -1))
    n = values.shape[-1]
    nothing = np.full(values.shape[:-1], np.nan)
    if n == 0:
        return TInterval(nothing, nothing, nothing, nothing, 0)
    finite = np.isfinite(values).all(-1)
    usable = np.where(finite[..., None], values, 0.0)
    mean, spread = usable.mean(-1), nothing
    if n > 1:
        spread = usable.std(-1, ddof=1)
        # The rounding of the mean must not open a gap between equal values and their interval.
        size = np.maximum(np.abs(usable).max(-1), 1.0)
        equal = np.ptp(usable, axis=-1) <= DUST * size
        mean, spread = np.where(equal, usable[..., 0], mean), np.where(equal, 0.0, spread)
    mean, spread = np.where(finite, mean, np.nan), np.where(finite, spread, np.nan)
    half = special.stdtrit(max(n - 1, 1), (1 + level) / 2) * spread / np.sqrt(n)
    return TInterval(mean, mean - half, mean + half, spread / np.sqrt(n), n - 1)


def interval(values: np.ndarray, level: float = PAPER_LEVEL) -> tuple[float, float, float]:
    """Return mean, lower and upper end of the t interval of ``values`` [n]; see ``t_interval``."""
    found = t_interval(np.asarray(values, float).ravel(), level)
    return float(found.mean), float(found.low), float(found.high)


def interval_row(values: np.ndarray, level: float) -> dict[str, Any]:
    """Return mean, interval, standard error and degrees of freedom of values [n] as a row."""
    found = t_interval(values, level)
    return {
        "n": len(values),
        "mean": float(found.mean),
        "low": float(found.low),
        "high": float(found.high),
        "std_error": float(found.std_error),
        "df": found.df if np.isfinite(found.low) else np.nan,
        "level": level,
    }


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
