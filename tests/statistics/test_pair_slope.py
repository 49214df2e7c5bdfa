"""The slope of one pair of models: against halvings, and what its interval covers."""

from __future__ import annotations

import numpy as np
import pytest

from recall_distortion.inference.statistics.pair_slope import (
    PairCounts,
    pair_slope,
    slope_difference,
)
from recall_distortion.measures.distortion import HalfBalances, crossfit_sums, split_halves


def counts_of(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> PairCounts:
    def count(kind: np.ndarray) -> np.ndarray:
        return np.bincount(labels[kind], minlength=labels.max() + 1)

    return PairCounts(
        count(before & after),
        count(before & ~after),
        count(~before & after),
        count(~before & ~after),
    )


def test_it_is_the_mean_over_all_halvings() -> None:
    """2,000 halvings of the test set, in each of which balances are normalized by its own accuracy.

    That normalization differs from the whole set's by terms of the size of 1 / M, here 1 / 600,
    times squares of balances.
    """
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), 200)
    before = rng.random(600) < np.array([0.95, 0.8, 0.6])[labels]
    after = np.where(rng.random(600) < 0.8, before, rng.random(600) < 0.5)
    halves = split_halves(labels, 2000)
    first, second = (
        HalfBalances.of(labels, correct[None], halves, 3) for correct in (before, after)
    )
    (numerator,), (denominator,) = crossfit_sums(first, second)
    found = pair_slope(counts_of(labels, before, after), 0.95)
    assert found.numerator == pytest.approx(numerator, rel=0.01)
    assert found.denominator == pytest.approx(denominator, rel=0.01)
    # The uncorrected denominator is larger by more than that.
    balance = counts_of(labels, before, after).before / before.mean() - 1
    assert (balance**2).sum() > 1.01 * denominator


def test_a_model_beside_itself_has_slope_one() -> None:
    same = PairCounts(*np.array([[180, 150, 90], [0, 0, 0], [0, 0, 0], [20, 50, 110]]))
    found = pair_slope(same, 0.99)
    assert found.alpha == pytest.approx(1)
    assert 0.9 < found.low < 1 < found.high < 1.1


def test_classes_that_differ_too_little_have_no_interval() -> None:
    even = PairCounts(*np.array([[45, 44, 46], [3, 4, 2], [2, 2, 2], [50, 50, 50]]))
    found = pair_slope(even, 0.99)
    assert np.isnan([found.low, found.high]).all()
    assert found.denominator < 3 * found.denominator_error


@pytest.mark.parametrize(
    "counts",
    [
        [[1, 5], [0, 1], [0, 1], [0, 3]],  # one image in a class
        [[0, 0], [0, 0], [5, 3], [5, 7]],  # nothing recognized before
        [[0, 0], [5, 3], [0, 0], [5, 7]],  # nor after
    ],
)
def test_where_it_is_not_defined_it_is_nan(counts: list[list[int]]) -> None:
    assert np.isnan(pair_slope(PairCounts(*np.array(counts)), 0.99).alpha)


EVEN, RARE = (1000,) * 10, (3000, 1500, 900, 600, 300, 180, 120, 75, 60, 30)
SETTINGS = {
    "large classes": (EVEN, 0.9, 0.06, 1.3, 0.9),
    "no change in expectation": (EVEN, 0.9, 0.06, 1.0, 0.99),
    "small classes": ((100,) * 10, 0.8, 0.1, 1.5, 0.8),
    "many classes": ((50,) * 200, 0.75, 0.15, 1.1, 0.85),
    "1:100": (RARE, 0.85, 0.08, 1.3, 0.9),
    "two classes": ((800, 800), 0.8, 0.1, 0.8, 0.9),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_the_interval_covers_the_true_slope(setting: str, level: float) -> None:
    """Where slopes have no two ends nothing is stated; intervals err as seldom as they say."""
    images, accuracy, spread, scale, agreement = SETTINGS[setting]
    studies = 400
    rng = np.random.default_rng(len(setting))
    n = np.array(images)
    shares, truth = population(n, accuracy, spread, scale, agreement, rng)
    drawn = np.stack([rng.multinomial(m, p, studies) for m, p in zip(n, shares, strict=True)], 1)
    found = [pair_slope(PairCounts(*counts.T), level) for counts in drawn]
    wrong = sum(one.low > truth or one.high < truth for one in found)
    stated = sum(np.isfinite(one.low) for one in found)
    allowed = (1 - level) * stated
    assert wrong <= allowed + 3 * np.sqrt(max(allowed, 1))
    alphas = [one.alpha for one in found]
    assert np.median(alphas) == pytest.approx(truth, rel=0.1)


def population(
    n: np.ndarray,
    accuracy: float,
    spread: float,
    scale: float,
    agreement: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Return the shares [C, 4] of images in the order of ``PairCounts``, and the true slope.

    Recalls spread about an accuracy, and after the change ``scale`` times as far; ``agreement``
    says how nearly both models recognize the same images: 1 is as nearly as recalls allow.
    """
    first = np.clip(accuracy + spread * rng.standard_normal(len(n)), 0.02, 0.98)
    second = np.clip(accuracy - 0.02 + scale * (first - accuracy), 0.01, 0.99)
    least, most = np.maximum(0, first + second - 1), np.minimum(first, second)
    both = least + agreement * (most - least)
    shares = np.stack([both, first - both, second - both, 1 - first - second + both], 1).clip(0)
    shares /= shares.sum(1, keepdims=True)
    balances = [part / ((n * part).sum() / n.sum()) - 1 for part in (first, second)]
    return shares, float((balances[0] * balances[1]).sum() / (balances[0] ** 2).sum())


def test_a_difference_of_slopes_is_that_of_both_and_none_of_a_model_beside_itself() -> None:
    rng = np.random.default_rng(5)
    kinds = rng.integers(20, 400, (6, 2, 2, 2))
    found = slope_difference(kinds, 0.95)
    one, other = (
        pair_slope(PairCounts(p[:, 1, 1], p[:, 1, 0], p[:, 0, 1], p[:, 0, 0]), 0.95).alpha
        for p in (kinds.sum(3), kinds.sum(2))
    )
    if np.isfinite(found[0]):
        assert found[0] == pytest.approx(one - other)
    same = np.zeros((3, 2, 2, 2), int)
    same[:, 1, 1, 1], same[:, 1, 0, 0], same[:, 0, 0, 0] = [900, 700, 500], 50, [50, 250, 450]
    difference, low, high = slope_difference(same, 0.95)
    assert difference == 0
    assert low < 0 < high


@pytest.mark.parametrize("setting", ["large classes", "many classes", "1:100"])
def test_the_interval_of_a_difference_covers_it(setting: str) -> None:
    """Two changed models of one model before, which err on the same images in part."""
    images, accuracy, spread, scale, agreement = SETTINGS[setting]
    rng = np.random.default_rng(11)
    n, studies = np.array(images), 400
    # The same recalls before, by the same seed; the model after has gaps of its own.
    one, truth = population(n, accuracy, spread, scale, agreement, np.random.default_rng(4))
    other, other_truth = population(n, accuracy, spread, 1.0, agreement, np.random.default_rng(4))
    after = [_given_before(shares) for shares in (one, other)]
    before = one[:, 0] + one[:, 1]
    shares = np.empty((len(n), 2, 2, 2))
    for first in (0, 1):
        of_before = before if first else 1 - before
        for second in (0, 1):
            for third in (0, 1):
                chances = [
                    part[:, first] if which else 1 - part[:, first]
                    for part, which in zip(after, (second, third), strict=True)
                ]
                shares[:, first, second, third] = of_before * chances[0] * chances[1]
    flat = shares.reshape(len(n), 8)
    flat = flat / flat.sum(1, keepdims=True)
    drawn = np.stack([rng.multinomial(m, p, studies) for m, p in zip(n, flat, strict=True)], 1)
    found = [slope_difference(counts.reshape(-1, 2, 2, 2), 0.95) for counts in drawn]
    stated = [(low, high) for _, low, high in found if np.isfinite(low)]
    wrong = sum(not low <= truth - other_truth <= high for low, high in stated)
    allowed = 0.05 * len(stated)
    assert len(stated) > 100
    assert wrong <= allowed + 3 * np.sqrt(max(allowed, 1))


def _given_before(shares: np.ndarray) -> np.ndarray:
    """Return how often [C, 2] images are recognized after, if they were not (0) or were (1)."""
    both, lost, gained, neither = shares.T
    return np.stack([gained / (gained + neither), both / (both + lost)], 1)
