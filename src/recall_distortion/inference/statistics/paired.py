"""Two models on the same images: intervals and tests of paired proportions, and of their sums.

Images are the sample, and the two models are given. ``lost`` counts images that the first model
recognizes and the second does not, ``gained`` the reverse; of ``images`` that is all that a
difference of two proportions hangs on. Every function takes arrays and broadcasts them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

#: Halvings of an interval in which an end is looked for: to the last digits of a float.
_HALVINGS = 60


class Ends(NamedTuple):
    """The lower and the upper ends of intervals."""

    low: np.ndarray
    high: np.ndarray


class McNemar(NamedTuple):
    """Two-sided p values of no difference between two paired proportions."""

    exact: np.ndarray
    mid: np.ndarray


def normal_quantile(level: float | np.ndarray) -> np.ndarray:
    """Return how many standard errors an interval of a level reaches to either side."""
    found: np.ndarray = special.ndtri((1 + np.asarray(level, float)) / 2)
    return found


def wilson(successes: ArrayLike, images: ArrayLike, level: float | np.ndarray) -> Ends:
    """Return score intervals of proportions (Wilson 1927); NaN where there is no image."""
    k, n = np.asarray(successes, float), np.asarray(images, float)
    z2 = normal_quantile(level) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = k / n
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2) / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    # At a proportion of 0 or 1 the nearer end is that proportion, but for rounding.
    low = np.where((k == 0) & (n > 0), 0.0, centre - half)
    return Ends(low, np.where((k == n) & (n > 0), 1.0, centre + half))


def tango(lost: ArrayLike, gained: ArrayLike, images: ArrayLike, level: float | np.ndarray) -> Ends:
    """Return score intervals of (gained - lost) / images (Tango 1998); NaN without an image.

    An interval holds the differences that a score test does not reject. It has a width where
    nothing changed, and its ends lie within -1 and 1.
    """
    lost, gained, n = np.broadcast_arrays(
        *(np.asarray(values, float) for values in (lost, gained, images))
    )
    z2 = normal_quantile(level) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (gained - lost) / n

    def rejected(difference: np.ndarray) -> np.ndarray:
        variance = _variance(difference, lost, gained, n)
        excluded: np.ndarray = n * (middle - difference) ** 2 > z2 * variance
        return excluded

    found = []
    for end in (-1.0, 1.0):
        inside, outside = middle.copy(), np.full(middle.shape, end)
        for _ in range(_HALVINGS):
            between = (inside + outside) / 2
            beyond = rejected(between)
            inside, outside = np.where(beyond, inside, between), np.where(beyond, between, outside)
        found.append(np.where(n > 0, inside, np.nan))
    return Ends(*found)


def clopper_pearson(successes: ArrayLike, images: ArrayLike, level: float) -> Ends:
    """Return exact intervals of proportions (Clopper and Pearson 1934); NaN without an image."""
    k, n = (np.asarray(values, float) for values in np.broadcast_arrays(successes, images))
    tail = (1 - level) / 2
    low = np.where(k > 0, special.betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, special.betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)
    return Ends(np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan))


def cautious(lost: ArrayLike, gained: ArrayLike, images: ArrayLike, level: float) -> Ends:
    """Return intervals of (gained - lost) / images for levels near 1, as many classes need.

    Far in the tails a score test of rare changes is wrong more often than it says. These are the
    wider of Tango's ends and of exact intervals of both shares, combined as in ``of_sum``.
    """
    lost, gained, n = (np.asarray(values, float) for values in (lost, gained, images))
    score = tango(lost, gained, n, level)
    of_lost, of_gained = (clopper_pearson(part, n, level) for part in (lost, gained))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = lost / n, gained / n
    difference = shares[1] - shares[0]
    down = np.hypot(shares[1] - of_gained.low, of_lost.high - shares[0])
    up = np.hypot(of_gained.high - shares[1], shares[0] - of_lost.low)
    return Ends(
        np.minimum(score.low, (difference - down).clip(-1)),
        np.maximum(score.high, (difference + up).clip(max=1)),
    )


def _variance(
    difference: np.ndarray, lost: np.ndarray, gained: np.ndarray, n: np.ndarray
) -> np.ndarray:
    """Return the variance of an image's change where the shares differ by ``difference``.

    The share of lost images is the most likely one under that difference (Tango 1998, section 3).
    """
    b = (2 * n - gained + lost) * difference - gained - lost
    c = -lost * difference * (1 - difference)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (np.sqrt(np.maximum(b**2 - 8 * n * c, 0)) - b) / (4 * n)
    found: np.ndarray = np.maximum(2 * share + difference * (1 - difference), 0)
    return found


def mcnemar(lost: ArrayLike, gained: ArrayLike) -> McNemar:
    """Return the exact and the mid p value of McNemar's test.

    The mid p value counts what was observed by half (Fagerland, Lydersen and Laake 2013): its level
    is nearer to the nominal one, and may be slightly above it. Both are 1 where nothing changed.
    """
    lost, gained = np.asarray(lost, int), np.asarray(gained, int)
    changed, fewer = lost + gained, np.minimum(lost, gained)
    tail = special.bdtr(fewer, changed, 0.5)
    here = tail - np.where(fewer > 0, special.bdtr(np.maximum(fewer - 1, 0), changed, 0.5), 0)
    exact = np.where(changed > 0, np.minimum(2 * tail, 1), 1.0)
    mid = np.where(changed > 0, np.minimum(2 * tail - here, 1), 1.0)
    return McNemar(exact, mid)


def of_sum(weights: ArrayLike, estimates: ArrayLike, ends: Ends) -> Ends:
    """Return intervals of weighted sums over the last axis of independent estimates.

    Each estimate brings its own interval, whose sides need not be alike (the method of variance
    estimates recovery: Zou and Donner 2008). ``weights`` [..., C] times ``estimates`` [C].
    """
    weights, estimates = np.asarray(weights, float), np.asarray(estimates, float)
    parts = weights * estimates
    down = np.where(weights >= 0, estimates - ends.low, ends.high - estimates)
    up = np.where(weights >= 0, ends.high - estimates, estimates - ends.low)
    total = parts.sum(-1)
    return Ends(
        total - np.sqrt(((weights * down) ** 2).sum(-1)),
        total + np.sqrt(((weights * up) ** 2).sum(-1)),
    )


def excess(images: ArrayLike, changes: ArrayLike, ends: Ends) -> tuple[np.ndarray, Ends]:
    """Return by how much each class's change [C] exceeds that of all images, with intervals.

    The class is part of all images, so that its own change counts once and not twice. With the
    other sign this is the excess accuracy gap (Balancing Act, ICLR 2024, arXiv 2310.20673).
    ``ends`` are intervals of the changes at the level that the result shall have.
    """
    n, changes = np.asarray(images, float), np.asarray(changes, float)
    share = n / n.sum()
    overall = (share * changes).sum()
    # Row c of the weights is 1 at c less the shares: its squares are all the shares' but at c.
    down, up = changes - ends.low, ends.high - changes
    others_up, others_down = (share * up) ** 2, (share * down) ** 2
    below = others_up.sum() - others_up + ((1 - share) * down) ** 2
    above = others_down.sum() - others_down + ((1 - share) * up) ** 2
    found = changes - overall
    return found, Ends(found - np.sqrt(below.clip(0)), found + np.sqrt(above.clip(0)))
