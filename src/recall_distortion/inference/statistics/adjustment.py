"""Several p values at once."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Return Holm's step-down adjustment of ``p`` [m]; a NaN stays NaN and counts as a test."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")  # NaN sorts last
    adjusted = np.full(p.size, np.nan)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    capped: np.ndarray = np.minimum(adjusted, 1)
    return capped
