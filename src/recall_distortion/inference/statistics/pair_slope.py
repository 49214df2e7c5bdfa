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
    """Test images of each class [C] by what the two models make of them."""

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
    sums = _Sums.of(counts, counts)
    errors = _Sums.of(counts, counts.smoothed())
    alpha = sums.numerator / sums.denominator if sums.denominator else nothing
    z2 = float(normal_quantile(level)) ** 2
    spread = (z2 * errors.of_numerator, z2 * errors.of_denominator, z2 * errors.of_both)
    low, high = fieller(sums.numerator, sums.denominator, spread)
    error = float(np.sqrt(errors.of_denominator))
    return PairSlope(alpha, low, high, sums.numerator, sums.denominator, error)


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


def pair_sums(counts: PairCounts) -> tuple[float, float]:
    """Return the corrected sums of products and of squares of two models' normalized balances.

    A slope is their quotient. NaN where a class has fewer than two images or a model is never
    right.
    """
    if (counts.images < 2).any() or not (counts.before.any() and counts.after.any()):
        return float("nan"), float("nan")
    sums = _Sums.of(counts, counts)
    return sums.numerator, sums.denominator


def _pair(kinds: np.ndarray) -> PairCounts:
    """Return the counts of [C, 2, 2] images by what two models make of them."""
    return PairCounts(kinds[:, 1, 1], kinds[:, 1, 0], kinds[:, 0, 1], kinds[:, 0, 0])


def _influences(counts: PairCounts, slope: PairSlope) -> tuple[np.ndarray, np.ndarray]:
    """Return how the slope moves with each class's recall [C] before and after."""
    p, q, e = gradients(counts)
    return (p - slope.alpha * e) / slope.denominator, q / slope.denominator


def gradients(counts: PairCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how the sum of products moves with each class's recall, and that of squares.

    The first two are for the recalls before and after, the third for those before.
    """
    n = counts.images.astype(float)
    share = n / n.sum()
    first, second = counts.before, counts.after
    a, b = float(share @ first), float(share @ second)
    balance, balance_after = first / a - 1, second / b - 1
    return (
        balance_after / a - share * (balance_after @ first) / a**2,
        balance / b - share * (balance @ second) / b**2,
        2 * (balance / a - share * (balance @ first) / a**2),
    )


@dataclass(frozen=True)
class _Sums:
    """The corrected sums of products and of squares of balances, with their (co)variances."""

    numerator: float
    denominator: float
    of_numerator: float
    of_denominator: float
    of_both: float

    @classmethod
    def of(cls, counts: PairCounts, noise: PairCounts) -> _Sums:
        """Compute them for recalls as counted, with the errors that ``noise`` says."""
        n = counts.images.astype(float)
        share = n / n.sum()
        first, second = counts.before, counts.after
        a, b = float(share @ first), float(share @ second)
        balance, balance_after = first / a - 1, second / b - 1
        x, y, xy = noise.covariances()
        v = _covariance(first, first, a, a, share, x)
        k = _covariance(first, second, a, b, share, xy)
        p, q, e = gradients(counts)
        return cls(
            float((balance * balance_after - k).sum()),
            float((balance**2 - v).sum()),
            float((p**2 * x + q**2 * y + 2 * p * q * xy).sum()),
            float((e**2 * x).sum()),
            float((p * e * x + q * e * xy).sum()),
        )


def _covariance(
    first: np.ndarray, second: np.ndarray, a: float, b: float, share: np.ndarray, of: np.ndarray
) -> np.ndarray:
    """Return the covariances of two normalized balances of each class [C].

    ``of`` are those of the classes' recalls ``first`` and ``second``, whose accuracies are a and b;
    every class has its share in the accuracies.
    """
    own = 1 / (a * b) - share * (second / (a * b**2) + first / (a**2 * b))
    found: np.ndarray = of * own + first * second / (a * b) ** 2 * (share**2 * of).sum()
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
