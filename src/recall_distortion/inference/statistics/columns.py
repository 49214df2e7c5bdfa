"""The t-tests of many quantities of the same networks at once, a column each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from recall_distortion.measures.rounding import DUST


@dataclass(frozen=True)
class Tested:
    """Two-sided tests of C columns: estimate, standard error, degrees of freedom and p, [C] each.

    Where no replicate differs from another and the estimate is 0, p is 1; where the estimate is
    not, there is no error to hold it against, and p is that of exchanged replicates: two of few
    agree by chance, as where a class has few images. Without enough replicates, or with one that is
    not finite, all but the estimate are NaN.
    """

    estimate: np.ndarray
    std_error: np.ndarray
    df: np.ndarray
    p: np.ndarray


def paired(differences: np.ndarray) -> Tested:
    """Test whether the means of differences [K, C] of K pairs are 0."""
    n = len(differences)
    mean, variance = _moments(differences)
    return _tested(mean, variance / n, np.full(len(mean), n - 1.0), 2.0 ** (1 - n))


def welch(left: np.ndarray, right: np.ndarray) -> Tested:
    """Test whether the means of left [K, C] and right [L, C] differ, by Welch's test."""
    (mean, variance), (other, other_variance) = _moments(left), _moments(right)
    own, opposite = variance / len(left), other_variance / len(right)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = (own + opposite) ** 2 / (own**2 / (len(left) - 1) + opposite**2 / (len(right) - 1))
    df = np.where(own + opposite == 0, len(left) + len(right) - 2.0, df)
    arrangements = special.comb(len(left) + len(right), len(left))
    return _tested(mean - other, own + opposite, df, min(1.0, 2 / arrangements))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance over the first axis, without what rounding makes of equal values."""
    if len(values) < 2:
        nothing = np.full(values.shape[1], np.nan)
        return (values[0] if len(values) else nothing), nothing
    values = np.asarray(values, float)
    size = np.maximum(np.abs(values).max(axis=0), 1.0)
    equal = np.ptp(values, axis=0) <= DUST * size
    mean = np.where(equal, values[0], values.mean(axis=0))
    return mean, np.where(equal, 0.0, values.var(axis=0, ddof=1))


def _tested(
    estimate: np.ndarray, squared_error: np.ndarray, df: np.ndarray, of_equal: float
) -> Tested:
    """Return the tests; ``of_equal`` is p where replicates are equal: the share of arrangements.

    Of signs or of the two sides' replicates, those two have so large an estimate.
    """
    estimate = np.where(np.abs(estimate) <= DUST, 0.0, estimate)
    error = np.sqrt(squared_error)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * special.stdtr(df, -np.abs(estimate / error))
    p = np.where(error == 0, np.where(estimate == 0, 1.0, of_equal), p)
    return Tested(estimate, error, np.where(np.isfinite(error), df, np.nan), p)
