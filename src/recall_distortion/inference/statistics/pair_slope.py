"""The cross-fitted slope of one pair of models, with an interval over test images.

A normalized balance B = R / A - 1 of a class is measured with error, so that the sum of its squares
is too large and a slope too near to what the errors have in common. Halving the test set and taking
one factor of each product from either half removes that. The mean over *all* halvings of a class is
the product of its means less their estimated covariance, which needs no halving: here the sums are
corrected in that closed form. Their variances are the delta method's at the balances as observed.
These hold their errors, so that the variances are somewhat too large where balances are as small as
these. At balances less their errors they are too small where a class has few images (simulated).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recall_distortion.inference.statistics.paired import normal_quantile


@dataclass(frozen=True)
class PairCounts:
    """Test images of each class [C] by what the two models make of them; of K pairs [K, C]."""

    both: np.ndarray
    lost: np.ndarray
    gained: np.ndarray
    neither: np.ndarray

    @property
    def images(self) -> np.ndarray:
        """The images of each class."""
        found: np.ndarray = self.both + self.lost + self.gained + self.neither
        return found

    @property
    def before(self) -> np.ndarray:
        """The recall of each class by the first model."""
        found: np.ndarray = (self.both + self.lost) / self.images
        return found

    @property
    def after(self) -> np.ndarray:
        """The recall of each class by the second model."""
        found: np.ndarray = (self.both + self.gained) / self.images
        return found

    def covariances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the variances of both recalls and their covariance, unbiased; needs two images."""
        n = self.images
        first, second = self.before, self.after
        free = n - 1
        return (
            first * (1 - first) / free,
            second * (1 - second) / free,
            (self.both / n - first * second) / free,
        )

    def smoothed(self) -> PairCounts:
        """Return the counts with half an image more of each kind (Agresti and Min 2005).

        So a class of which nothing changed is not taken for one of which nothing can.
        """
        return PairCounts(
            *(part + 0.5 for part in (self.both, self.lost, self.gained, self.neither))
        )


@dataclass(frozen=True)
class PairSlope:
    """A slope with the ends of its interval, and the two sums that it is the quotient of.

    NaN where it is not defined; the ends also where the denominator cannot be told from zero.
    """

    alpha: float
    low: float
    high: float
    numerator: float
    denominator: float
    denominator_error: float


def pair_slope(counts: PairCounts, level: float) -> PairSlope:
    """Return the cross-fitted slope of two models' normalized balances, with Fieller's interval."""
    nothing = float("nan")
    n = counts.images.astype(float)
    if not len(n) or (n < 2).any() or not (counts.before.any() and counts.after.any()):
        return PairSlope(*[nothing] * 6)
    numerator, denominator = (float(part) for part in pair_sums(counts))
    of_numerator, of_denominator, of_both = _variances(counts)
    alpha = numerator / denominator if denominator else nothing
    z2 = float(normal_quantile(level)) ** 2
    spread = (z2 * of_numerator, z2 * of_denominator, z2 * of_both)
    low, high = fieller(numerator, denominator, spread)
    error = float(np.sqrt(of_denominator))
    return PairSlope(alpha, low, high, numerator, denominator, error)


def slope_difference(kinds: np.ndarray, level: float) -> tuple[float, float, float]:
    """Return by how much a model's slope exceeds another's, both from one model before, with ends.

    ``kinds`` [C, 2, 2, 2] counts each class's images by whether the model before, the one, and the
    other recognize them (1) or not (0). The ends are the delta method's over images; NaN unless
    both slopes have intervals.
    """
    nothing = float("nan")
    pairs = [_pair(kinds.sum(3)), _pair(kinds.sum(2))]
    slopes = [pair_slope(pair, level) for pair in pairs]
    if not np.isfinite([[slope.alpha, slope.low] for slope in slopes]).all():
        return nothing, nothing, nothing
    (of_before, of_one), (of_other_before, of_other) = (
        _influences(pair, slope) for pair, slope in zip(pairs, slopes, strict=True)
    )
    # What each kind of image adds to the difference; the counts as in PairCounts.smoothed.
    value = (
        (of_before - of_other_before)[:, None, None, None] * np.array([0.0, 1])[:, None, None]
        + of_one[:, None, None, None] * np.array([0.0, 1])[:, None]
        - of_other[:, None, None, None] * np.array([0.0, 1])
    )
    counts = kinds + 0.25
    n = counts.sum((1, 2, 3), keepdims=True)
    share = counts / n
    mean = (share * value).sum((1, 2, 3), keepdims=True)
    variance = (share * (value - mean) ** 2).sum((1, 2, 3)) / (n.ravel() - 1)
    difference = slopes[0].alpha - slopes[1].alpha
    half = float(normal_quantile(level) * np.sqrt(variance.sum()))
    return difference, difference - half, difference + half


def pair_sums(counts: PairCounts) -> tuple[np.ndarray, np.ndarray]:
    """Return the corrected sums of products and of squares of two models' normalized balances.

    A slope is their quotient. Of K pairs of models they are [K], of one they are numbers. Every
    class has two images or more.
    """
    n = counts.images.astype(float)
    share = n / n.sum(-1, keepdims=True)
    first, second = counts.before, counts.after
    a, b = (_dot(share, one)[..., None] for one in (first, second))
    balance, balance_after = first / a - 1, second / b - 1
    x, _, xy = counts.covariances()
    v = _covariance(first, first, a, a, share, x)
    k = _covariance(first, second, a, b, share, xy)
    return (balance * balance_after - k).sum(-1), (balance**2 - v).sum(-1)


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the sums of products over the last axis."""
    found: np.ndarray = one @ other if one.ndim == 1 else np.einsum("kc,kc->k", one, other)
    return np.asarray(found)


def _pair(kinds: np.ndarray) -> PairCounts:
    """Return the counts of [C, 2, 2] images by what two models make of them."""
    return PairCounts(kinds[:, 1, 1], kinds[:, 1, 0], kinds[:, 0, 1], kinds[:, 0, 0])


def _influences(counts: PairCounts, slope: PairSlope) -> tuple[np.ndarray, np.ndarray]:
    """Return how the slope moves with each class's recall [C] before and after."""
    p, q, e = gradients(counts)
    return (p - slope.alpha * e) / slope.denominator, q / slope.denominator


def gradients(counts: PairCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how the sum of products moves with each class's recall, and that of squares.

    The first two are for the recalls before and after, the third for those before; each is of the
    counts' shape.
    """
    n = counts.images.astype(float)
    share = n / n.sum(-1, keepdims=True)
    first, second = counts.before, counts.after
    a, b = (_dot(share, one)[..., None] for one in (first, second))
    balance, balance_after = first / a - 1, second / b - 1
    return (
        balance_after / a - share * _dot(balance_after, first)[..., None] / a**2,
        balance / b - share * _dot(balance, second)[..., None] / b**2,
        2 * (balance / a - share * _dot(balance, first)[..., None] / a**2),
    )


def _variances(counts: PairCounts) -> tuple[float, float, float]:
    """Return the variances of the two sums of ``pair_sums`` and their covariance, over images."""
    x, y, xy = counts.smoothed().covariances()
    p, q, e = gradients(counts)
    return (
        float((p**2 * x + q**2 * y + 2 * p * q * xy).sum()),
        float((e**2 * x).sum()),
        float((p * e * x + q * e * xy).sum()),
    )


def _covariance(
    first: np.ndarray,
    second: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    share: np.ndarray,
    of: np.ndarray,
) -> np.ndarray:
    """Return the covariances of two normalized balances of each class [C].

    ``of`` are those of the classes' recalls ``first`` and ``second``, whose accuracies are a and b;
    every class has its share in the accuracies.
    """
    own = 1 / (a * b) - share * (second / (a * b**2) + first / (a**2 * b))
    found: np.ndarray = of * own + first * second / (a * b) ** 2 * (share**2 * of).sum(
        -1, keepdims=True
    )
    return found


def fieller(
    numerator: float, denominator: float, spread: tuple[float, float, float]
) -> tuple[float, float]:
    """Return the quotients that two sums do not exclude; NaN where those have no two ends.

    ``spread`` are the variances of the numerator and of the denominator and their covariance, each
    times the squared quantile of the level.
    """
    of_numerator, of_denominator, of_both = spread
    square = denominator**2 - of_denominator
    if not (denominator > 0 and square > 0):
        return float("nan"), float("nan")
    middle = numerator * denominator - of_both
    rest = numerator**2 - of_numerator
    half = np.sqrt(max(middle**2 - square * rest, 0))
    return float((middle - half) / square), float((middle + half) / square)
