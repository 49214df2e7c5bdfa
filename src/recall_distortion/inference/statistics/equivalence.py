"""Two one-sided t-tests of a mean within a margin of 0 (TOST)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from recall_distortion.inference.statistics.intervals import t_interval
from recall_distortion.measures.rounding import above, below
from recall_distortion.vocabulary import INCONCLUSIVE

EQUIVALENT, NOT_EQUIVALENT = "equivalent", "not equivalent"


class Equivalence(NamedTuple):
    """A mean with its interval, the p value of the two tests, and what they say."""

    mean: float
    low: float
    high: float
    std_error: float
    df: float
    p: float
    verdict: str


def equivalence(values: np.ndarray, margin: float, level: float) -> Equivalence:
    """Return whether the mean of ``values`` [n] lies within ``margin`` of 0 (Schuirmann 1987).

    ``p`` is the larger of the p values of two one-sided t-tests, that the mean is at most -margin
    and that it is at least margin. The two-sided t interval at ``level`` lies within the margin
    where both reject at (1 - level) / 2: "equivalent". It lies outside altogether: "not
    equivalent"; otherwise "inconclusive". Without an interval (``t_interval``), p is NaN and the
    verdict "".
    """
    found = t_interval(np.asarray(values, float), level)
    mean, low, high, error = map(float, found[:4])
    if not np.isfinite(low):
        return Equivalence(mean, low, high, error, np.nan, np.nan, "")
    if error > 0:
        p = float(special.stdtr(found.df, (abs(mean) - margin) / error))
    else:
        p = float(abs(mean) >= margin)  # equal values leave no doubt
    said = INCONCLUSIVE
    if below(high, margin) and above(low, -margin):
        said = EQUIVALENT
    elif above(low, margin) or below(high, -margin):
        said = NOT_EQUIVALENT
    return Equivalence(mean, low, high, error, float(found.df), p, said)
