"""What counts as equal: numbers that differ by no more than their rounding.

A verdict must not rest on it: slopes that are all 1 may come out of two sums as 1.0000000000000004,
and their interval, of no width, would lie above 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: Relative to the numbers that are compared. A sum of a million products keeps thirteen digits, and
#: what a study measures moves in steps of one image.
DUST = 1e-12


def differences(left: Any, right: Any, size: float = 1.0) -> np.ndarray:
    """Return left - right, with 0 where they differ by rounding alone; any shapes that fit.

    ``size`` is that of the terms that both are sums of, slopes' and accuracies' 1: a slope of 0 may
    come out of its sums as 4e-17.
    """
    left, right = np.asarray(left, float), np.asarray(right, float)
    with np.errstate(invalid="ignore"):
        found = left - right
        largest = np.maximum(np.maximum(np.abs(left), np.abs(right)), size)
        return np.where(np.isfinite(found) & (np.abs(found) <= DUST * largest), 0.0, found)


def all_equal(values: np.ndarray, size: float = 1.0) -> bool:
    """Return whether values [n] differ by rounding alone; ``size`` as in ``differences``."""
    values = np.asarray(values, float)
    if not values.size or not np.isfinite(values).all():
        return False
    return float(np.ptp(values)) <= DUST * max(float(np.abs(values).max()), size)


def above(value: float, limit: float) -> bool:
    """Return whether a slope, or a difference of slopes, lies above a limit by more than rounding.

    Slopes are of the order of 1, and so is what rounding leaves of their differences. False where
    the value is NaN.
    """
    return value - limit > DUST * max(abs(limit), 1.0)


def below(value: float, limit: float) -> bool:
    """Return whether a slope, or a difference of slopes, lies below a limit; see ``above``."""
    return above(-value, -limit)
