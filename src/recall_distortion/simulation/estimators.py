"""The package's intervals and tests over arrays of studies [S, ...]: the same numbers, faster."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from recall_distortion.inference.questions.pooled import DISTINGUISHABLE
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.inference.statistics.intervals import t_interval
from recall_distortion.simulation import arrays
from recall_distortion.simulation.arrays import Hits, Sums
from recall_distortion.simulation.design import Design

BOOTSTRAP_COLUMNS = 100  # studies whose draws fit into memory at once


def t_ends(values: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the t intervals of the means over axis 1."""
    found = t_interval(values, level, axis=1)
    return found.low, found.high


def one_sample_p(values: np.ndarray, alternative: str) -> np.ndarray:
    """Return the p values of mean 0 over axis 1; a paired test is that of the differences."""
    p: np.ndarray = stats.ttest_1samp(values, 0, axis=1, alternative=alternative).pvalue
    return p


def welch_p(left: np.ndarray, right: np.ndarray, alternative: str) -> np.ndarray:
    """Return the p values of Welch's test over axis 1."""
    found = stats.ttest_ind(left, right, axis=1, alternative=alternative, equal_var=False)
    p: np.ndarray = found.pvalue
    return p


def pooled_interval(sums: Sums, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bootstrap interval of the pooled slope of every study and cell, [S, T]."""
    denominators = np.broadcast_to(sums.denominator[..., None], sums.numerator.shape)
    return _in_columns(bootstrap.ratio, level, sums.numerator, denominators)


def difference_interval(sums: Sums, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bootstrap interval of every cell's pooled slope less the first cell's, [S, T - 1].

    The first cell is the control.
    """
    own = sums.numerator[..., 1:]
    other = np.broadcast_to(sums.numerator[..., :1], own.shape)
    denominators = np.broadcast_to(sums.denominator[..., None], own.shape)
    return _in_columns(bootstrap.difference, level, own, denominators, other, denominators)


def stability(design: Design, hits: Hits, crossfit: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Return where every replicate's denominator, and where their sum, is clearly above zero, [S].

    Only with the first does the package trust slopes per network, and only with the second does it
    give a cross-fitted interval.
    """
    error = arrays.denominator_error(design, hits)
    single = crossfit.denominator > DISTINGUISHABLE * error
    pooled = crossfit.denominator.sum(1) > DISTINGUISHABLE * np.sqrt((error**2).sum(1))
    return np.all(single, axis=1), pooled


def plain_bootstraps(sums: Sums, level: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return percentile and BCa intervals of the pooled slopes of one cell, ends [S] each.

    The package uses neither; they are what its studentized intervals are compared with (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 14).
    """
    numerators, denominators = sums.numerator[..., 0].T, sums.denominator.T  # [K, S]
    n = len(numerators)
    weights, without = bootstrap.draws(n), 1 - np.eye(n)
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    percentile, bca = [], []
    for start in range(0, numerators.shape[1], BOOTSTRAP_COLUMNS):
        part = slice(start, start + BOOTSTRAP_COLUMNS)
        y, x = numerators[:, part], denominators[:, part]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = (weights @ y) / (weights @ x)
        left_out = (without @ y) / (without @ x)
        percentile.append(np.quantile(ratios, tails, axis=0).T)
        apart = left_out.mean(0) - left_out
        acceleration = (apart**3).sum(0) / (6 * (apart**2).sum(0) ** 1.5)
        # Half an extreme draw keeps the bias correction finite.
        below = ((ratios < y.sum(0) / x.sum(0)).sum(0) + 0.5) / (len(ratios) + 1)
        shift = stats.norm.ppf(below)
        for column in range(y.shape[1]):
            z = shift[column] + stats.norm.ppf(tails)
            at = stats.norm.cdf(shift[column] + z / (1 - acceleration[column] * z))
            bca.append(np.quantile(ratios[:, column], at))
    found = {"percentile": np.concatenate(percentile), "BCa": np.array(bca)}
    return {name: (ends[:, 0], ends[:, 1]) for name, ends in found.items()}


def _in_columns(
    function: Callable[..., bootstrap.Bootstrapped], level: float, *arrays: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return intervals [S, T] of arrays [S, K, T], studies and cells as the columns [K, m]."""
    studies, seeds, cells = arrays[0].shape
    columns = [np.moveaxis(array, 1, 0).reshape(seeds, -1) for array in arrays]
    parts = [
        function(*(column[:, start : start + BOOTSTRAP_COLUMNS] for column in columns)).interval(
            level
        )
        for start in range(0, studies * cells, BOOTSTRAP_COLUMNS)
    ]
    low, high = (np.concatenate(ends).reshape(studies, cells) for ends in zip(*parts, strict=True))
    return low, high


def outside(low: np.ndarray, high: np.ndarray, value: float) -> np.ndarray:
    """Return whether intervals exclude ``value``; one of NaN excludes nothing."""
    return (low > value) | (high < value)
