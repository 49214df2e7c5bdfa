"""The cross-fitted slope of several pairs of networks, over other seeds and other images.

Pair k has the corrected sums of products N_k and of squares D_k of its normalized balances
(``pair_slope``); the slope is sum_k N_k / sum_k D_k, as a study pools its networks. Both sums vary
over seeds as they differ between pairs, and over images as each image moves them (the delta
method), where the pairs share their images: ``crossed`` combines the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from recall_distortion.inference.statistics.crossed import Components, components, student
from recall_distortion.inference.statistics.pair_slope import (
    PairCounts,
    fieller,
    gradients,
    pair_sums,
)
from recall_distortion.inference.statistics.paired import normal_quantile


class Slope(NamedTuple):
    """A slope with its ends over other seeds and images, and over other seeds on these images."""

    alpha: float
    low: float
    high: float
    seeds_low: float
    seeds_high: float


@dataclass(frozen=True)
class Pairs:
    """What K pairs of networks make of the same M images of C classes.

    ``before`` and ``after`` [K, M] say which images are recognized, ``label`` [M] holds their
    classes. Every class has two images or more.
    """

    label: np.ndarray
    classes: int
    before: np.ndarray
    after: np.ndarray

    def counts(self, pair: int) -> PairCounts:
        """Return the images of each class by what both networks of a pair make of them."""
        first, second = self.before[pair], self.after[pair]
        kinds = (first & second, first & ~second, ~first & second, ~first & ~second)
        return PairCounts(
            *(np.bincount(self.label[kind], minlength=self.classes) for kind in kinds)
        )


_NOTHING = Slope(*[float("nan")] * 5)


def crossed_slope(pairs: Pairs, level: float) -> Slope:
    """Return the pooled slope of pairs, with Fieller's intervals; NaN where it is not defined.

    The ends are NaN where the denominator cannot be told from zero.
    """
    counts = [pairs.counts(pair) for pair in range(len(pairs.before))]
    sums = np.array([pair_sums(one) for one in counts])
    if not np.isfinite(sums).all() or sums[:, 1].sum() == 0:
        return _NOTHING
    moves = _moves(counts)
    found = components(
        (
            moves[pair][pairs.label, _which(pairs.before[pair], pairs.after[pair])]
            for pair in range(len(counts))
        ),
        pairs.label,
        pairs.classes,
        moves.mean(0),
    )
    z2, t2 = _squares(len(counts), level)
    of_seeds, own, of_images = _variances(sums, found)
    numerator, denominator = sums.mean(0)

    def ends(spread: np.ndarray) -> tuple[float, float]:
        return fieller(numerator, denominator, (spread[0, 0], spread[1, 1], spread[0, 1]))

    alone, both = ends(z2 * of_images), ends(t2 * of_seeds + z2 * own)
    return Slope(
        float(numerator / denominator),
        float(np.minimum(alone[0], both[0])),
        float(np.maximum(alone[1], both[1])),
        *ends(t2 * of_seeds),
    )


def slope_difference(pairs: Pairs, other: np.ndarray, level: float) -> Slope:
    """Return by how much a slope exceeds that of other networks ``other`` [K, M] after the same.

    NaN unless both slopes have intervals.
    """
    others = Pairs(pairs.label, pairs.classes, pairs.before, other)
    slopes = [crossed_slope(one, level) for one in (pairs, others)]
    if not np.isfinite(slopes).all():
        return _NOTHING
    counts = [[one.counts(pair) for pair in range(len(pairs.before))] for one in (pairs, others)]
    sums = np.array([[pair_sums(one) for one in of_side] for of_side in counts])  # [2, K, 2]
    denominator = sums[0, :, 1].mean()
    residuals = sums[:, :, 0] - np.array([[slope.alpha] for slope in slopes]) * sums[:, :, 1]
    residuals = (residuals[0] - residuals[1]) / denominator
    # How an image moves each slope: [K, C, 4].
    of_slope = [
        _moves(side) @ np.array([1, -slope.alpha]) / denominator
        for side, slope in zip(counts, slopes, strict=True)
    ]

    def of_pair(pair: int) -> np.ndarray:
        first, second, third = pairs.before[pair], pairs.after[pair], other[pair]
        own: np.ndarray = of_slope[0][pair][pairs.label, _which(first, second)]
        own = own - of_slope[1][pair][pairs.label, _which(first, third)]
        return own[:, None]

    kinds = np.array(list(product((0, 1), repeat=3)))
    agreed = of_slope[0].mean(0)[:, _which(kinds[:, 0], kinds[:, 1])]
    agreed = agreed - of_slope[1].mean(0)[:, _which(kinds[:, 0], kinds[:, 2])]
    found = components(
        map(of_pair, range(len(residuals))), pairs.label, pairs.classes, agreed[:, :, None]
    )
    z2, t2 = _squares(len(residuals), level)
    of_seeds, own, of_images = (part[0, 0] for part in _variances(residuals[:, None], found))
    half = np.sqrt(max(t2 * of_seeds + z2 * own, z2 * of_images))
    alone = np.sqrt(t2 * of_seeds)
    difference = slopes[0].alpha - slopes[1].alpha
    return Slope(*(float(difference + step) for step in (0, -half, half, -alone, alone)))


def _moves(counts: Sequence[PairCounts]) -> np.ndarray:
    """Return how an image of each class moves the two sums of each pair: [K, C, 4, 2].

    The third axis is what the two networks make of it, as in ``_which``.
    """
    found = []
    for one in counts:
        by_before, by_after, square = gradients(one)
        of_before = np.stack([by_before, square], 1)[:, None]
        of_after = np.stack([by_after, np.zeros_like(by_after)], 1)[:, None]
        kinds = np.array(list(product((0, 1), repeat=2)))
        found.append(of_before * kinds[:, :1] + of_after * kinds[:, 1:])
    moves: np.ndarray = np.stack(found)
    return moves


def _which(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return 0 to 3: neither network recognizes an image, only the one after, before, both."""
    found: np.ndarray = 2 * before.astype(np.int8) + after
    return found


def _squares(networks: int, level: float) -> tuple[float, float]:
    """Return the squared quantiles of a level, for images and for so many networks."""
    return float(normal_quantile(level)) ** 2, float(student(networks, level)) ** 2


def _variances(values: np.ndarray, found: Components) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the (co)variances of means of values [K, P] over seeds, images' own, all of images'.

    The images' own are theirs less the interaction's, without what is negative of these.
    """
    of_seeds = np.atleast_2d(np.cov(values.T)) / len(values)
    of_images = found.of_images.sum(0)
    sizes, axes = np.linalg.eigh(of_images - found.of_interaction.sum(0))
    return of_seeds, (axes * sizes.clip(min=0)) @ axes.T, of_images
