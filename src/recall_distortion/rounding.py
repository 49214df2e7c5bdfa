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


def differences(left: Any, right: Any) -> np.ndarray:
    """Return left - right, with 0 where they differ by rounding alone; any shapes that fit."""
    left, right = np.asarray(left, float), np.asarray(right, float)
    with np.errstate(invalid="ignore"):
        found = left - right
        size = np.maximum(np.abs(left), np.abs(right))
        return np.where(np.isfinite(found) & (np.abs(found) <= DUST * size), 0.0, found)


def all_equal(values: np.ndarray, size: float = 0.0) -> bool:
    """Return whether values [n] differ by rounding alone: theirs, or that of numbers of a size.

    Values that are themselves differences have the ``size`` of what they are differences of.
    """
    values = np.asarray(values, float)
    if not values.size or not np.isfinite(values).all():
        return False
    largest = max(float(np.abs(values).max()), size)
    return float(np.ptp(values)) <= DUST * largest


def above(value: float, limit: float) -> bool:
    """Return whether a slope, or a difference of slopes, lies above a limit by more than rounding.

    Slopes are of the order of 1, and so is what rounding leaves of their differences. False where
    the value is NaN.
    """
    return value - limit > DUST * max(abs(limit), 1.0)


def below(value: float, limit: float) -> bool:
    """Return whether a slope, or a difference of slopes, lies below a limit; see ``above``."""
    return above(-value, -limit)
