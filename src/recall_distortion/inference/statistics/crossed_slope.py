"""The cross-fitted slope of several pairs of networks, over other seeds and other images.

Pair k has the corrected sums of products N_k and of squares D_k of its normalized balances
(``pair_slope``); the slope is sum_k N_k / sum_k D_k, as a study pools its networks. Both sums vary
over seeds as they differ between pairs, and over images as each image moves them (the delta
method), where the pairs share their images: ``crossed`` combines the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from recall_distortion.inference.statistics.crossed import Components, blocks, components, student
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

    @property
    def blocks(self) -> list[slice]:
        """Some pairs at a time."""
        return blocks(*self.before.shape)

    def places(self, some: slice) -> np.ndarray:
        """Return where an image of some pairs [k, M] stands among k pairs, C classes and 4 kinds.

        The kind is 2 where the network before recognizes it and 1 where that after does, or both.
        """
        kinds = 2 * self.before[some].astype(np.int8) + self.after[some]
        pair = self.classes * np.arange(len(kinds))[:, None]
        found: np.ndarray = 4 * (pair + self.label) + kinds
        return found

    def counts(self) -> PairCounts:
        """Return the images [K, C] by what both networks of a pair make of them."""
        found = []
        for some in self.blocks:
            places = self.places(some)
            size = 4 * len(places) * self.classes
            found.append(np.bincount(places.ravel(), minlength=size).reshape(-1, self.classes, 4))
        neither, gained, lost, both = np.moveaxis(np.concatenate(found), 2, 0)
        return PairCounts(both, lost, gained, neither)

    def moved(self, moves: np.ndarray, some: slice) -> np.ndarray:
        """Return how images of some pairs move P sums, from moves [P, K, C, 4]: [P, k, M]."""
        found: np.ndarray = moves[:, some].reshape(len(moves), -1).take(self.places(some), axis=1)
        return found


_NOTHING = Slope(*[float("nan")] * 5)


def crossed_slope(pairs: Pairs, level: float, sums: np.ndarray | None = None) -> Slope:
    """Return the pooled slope of pairs, with Fieller's intervals; NaN where it is not defined.

    ``sums`` [K, 2] are the pairs' cross-fitted sums of products and of squares where they are
    known, by halves of the images. The ends are NaN where the denominator cannot be told from zero.
    """
    if not pairs.classes:
        return _NOTHING
    counts = pairs.counts()
    sums = _sums(counts) if sums is None else sums
    if not np.isfinite(sums).all() or sums[:, 1].sum() == 0:
        return _NOTHING
    moves = _moves(counts)
    found = components(
        (pairs.moved(moves, some) for some in pairs.blocks),
        pairs.label,
        pairs.classes,
        np.moveaxis(moves.mean(1), 0, -1),
    )
    z2, t2 = _squares(len(sums), level)
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


def slope_difference(
    pairs: Pairs,
    others: Pairs,
    slopes: tuple[Slope, Slope],
    level: float,
    sums: tuple[np.ndarray, np.ndarray] | tuple[None, None] = (None, None),
) -> Slope:
    """Return by how much the first of two slopes exceeds the second.

    ``others`` are pairs of the same networks before with others after. ``slopes`` and ``sums`` are
    those of both, as of ``crossed_slope``, the sums of squares alike. NaN unless both slopes have
    intervals.
    """
    if not np.isfinite(slopes).all():
        return _NOTHING
    sides = (pairs, others)
    counts = [one.counts() for one in sides]
    known = np.array(
        [_sums(one) if own is None else own for one, own in zip(counts, sums, strict=True)]
    )
    denominator = known[0, :, 1].mean()
    residuals = known[:, :, 0] - np.array([[slope.alpha] for slope in slopes]) * known[:, :, 1]
    residuals = (residuals[0] - residuals[1]) / denominator
    # How an image moves each slope: [1, K, C, 4].
    moves = [
        np.tensordot([[1, -slope.alpha]], _moves(one), 1) / denominator
        for one, slope in zip(counts, slopes, strict=True)
    ]
    # What three networks make of an image: before, the one after, the other.
    kinds = np.array(list(product((0, 1), repeat=3)))
    means = [one.mean((0, 1)) for one in moves]
    agreed = means[0][:, 2 * kinds[:, 0] + kinds[:, 1]] - means[1][:, 2 * kinds[:, 0] + kinds[:, 2]]
    found = components(
        (pairs.moved(moves[0], some) - others.moved(moves[1], some) for some in pairs.blocks),
        pairs.label,
        pairs.classes,
        agreed[:, :, None],
    )
    z2, t2 = _squares(len(residuals), level)
    of_seeds, own, of_images = (part[0, 0] for part in _variances(residuals[:, None], found))
    half = np.sqrt(max(t2 * of_seeds + z2 * own, z2 * of_images))
    alone = np.sqrt(t2 * of_seeds)
    difference = slopes[0].alpha - slopes[1].alpha
    return Slope(*(float(difference + step) for step in (0, -half, half, -alone, alone)))


def _sums(counts: PairCounts) -> np.ndarray:
    """Return each pair's sums of products and of squares [K, 2]; NaN where they are not defined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(pair_sums(counts), -1)


def _moves(counts: PairCounts) -> np.ndarray:
    """Return how an image of each class moves the two sums of each pair: [2, K, C, 4].

    The last axis is what the two networks make of it, as in ``Pairs.places``.
    """
    by_before, by_after, square = gradients(counts)
    before, after = np.array(list(product((0, 1), repeat=2))).T
    moves: np.ndarray = np.stack(
        [
            by_before[..., None] * before + by_after[..., None] * after,
            square[..., None] * before,
        ]
    )
    return moves


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
