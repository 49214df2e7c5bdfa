"""The two t-tests of slopes, paired by seed and Welch's, with what they can and cannot say."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from recall_distortion.inference.notes import NOT_FINITE, ONE_PAIR, joined, lost_pairs
from recall_distortion.measures.rounding import all_equal, differences

Row = dict[str, Any]


def paired_test(left: pd.Series, right: pd.Series, alternative: str) -> Row:
    """Return the paired t-test of two series of slopes that are indexed by seed.

    Seeds that only one side has make no pair, and ``note`` counts them. With fewer than two pairs,
    or a pair that is not finite, t, df and p are NaN and ``note`` says so; n counts the finite
    pairs. ``alternative`` is scipy's word for what mean(left) - mean(right) is tested to be.
    """
    pairs = pd.concat([left, right], axis=1, join="inner").to_numpy(dtype=float)
    finite = np.isfinite(pairs).all(axis=1)
    count = int(finite.sum())
    lost = lost_pairs(len(pairs), len(left.index.union(right.index)))
    found: Row = {"alternative": alternative, "paired": True, "n_left": count, "n_right": count}
    if not finite.all() or len(pairs) < 2:
        why = ONE_PAIR if finite.all() else NOT_FINITE
        return {**found, **_nothing(pairs[:, 0], pairs[:, 1]), "note": joined(why, lost)}
    # Differences that are rounding alone are none, and so is a spread of differences.
    a, b = pairs.T
    moved = differences(a, b)
    if all_equal(moved, max(np.abs(pairs).max(), 1)):
        tested = _without_spread(float(moved[0]), len(moved) - 1, alternative)
        return {**found, **tested, "note": joined("the pairs' differences are all equal", lost)}
    tested = _tested(stats.ttest_rel, a, np.where(moved == 0, a, b), alternative)
    return {**found, **tested, "note": lost}


def independent_test(left: pd.Series, right: pd.Series, alternative: str) -> Row:
    """Return Welch's t-test of two series of slopes.

    With fewer than two slopes on a side, or one that is not finite, t, df and p are NaN and
    ``note`` says so; n counts the finite slopes.
    """
    a, b = left.to_numpy(dtype=float), right.to_numpy(dtype=float)
    finite_a, finite_b = np.isfinite(a), np.isfinite(b)
    n_left, n_right = int(finite_a.sum()), int(finite_b.sum())
    found: Row = {"alternative": alternative, "paired": False, "n_left": n_left, "n_right": n_right}
    finite = bool(finite_a.all() and finite_b.all())
    if not finite or min(n_left, n_right) < 2:
        why = "fewer than two slopes on a side" if finite else NOT_FINITE
        return {**found, **_nothing(a, b), "note": why}
    if all_equal(a) and all_equal(b):
        moved = float(differences(a[0], b[0]))
        tested = _without_spread(moved, n_left + n_right - 2, alternative)
        return {**found, **tested, "note": "the slopes of either side are all equal"}
    tested = _tested(stats.ttest_ind, a, b, alternative, equal_var=False)
    return {**found, **tested, "note": ""}


def _without_spread(difference: float, df: int, alternative: str) -> Row:
    """Return the test of a difference that all replicates share: no doubt, and none of zero.

    scipy's own numbers there hang on whether the mean of equal numbers rounds.
    """
    if difference == 0:
        return {"estimate": 0.0, "t": np.nan, "df": float(df), "p": np.nan}
    as_asked = {"two-sided": True, "less": difference < 0, "greater": difference > 0}[alternative]
    t = float(np.copysign(np.inf, difference))
    return {"estimate": difference, "t": t, "df": float(df), "p": 0.0 if as_asked else 1.0}


def _nothing(left: np.ndarray, right: np.ndarray) -> Row:
    known = left.size > 0 and right.size > 0
    finite = known and np.isfinite(left).all() and np.isfinite(right).all()
    estimate = float(left.mean() - right.mean()) if finite else np.nan
    return {"estimate": estimate, "t": np.nan, "df": np.nan, "p": np.nan}


def _tested(
    test: Any, left: np.ndarray, right: np.ndarray, alternative: str, **options: bool
) -> Row:
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # Nearly or exactly equal samples: the infinite or NaN t that follows is in the table.
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        result = test(left, right, alternative=alternative, **options)
    return {
        "estimate": float(left.mean() - right.mean()),
        "t": float(result.statistic),
        "df": float(result.df),
        "p": float(result.pvalue),
    }
