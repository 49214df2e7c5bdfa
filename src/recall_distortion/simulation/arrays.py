"""Many simulated studies at once: their truth, what a test set shows of it, and the slopes.

Shapes: S studies, K seeds, T cells, C classes. A study's truth is, for seed s, class c and cell t,

    b[s,c]      = balance_sd (sqrt(class_share) u[c] + sqrt(1 - class_share) w[s,c]), centred
    alpha[s,t]  = alpha_t + seed_sd z[s] + sd_t e[s,t]
    b_t[s,t,c]  = alpha[s,t] b[s,c] + deviation_t d[s,t,c], with d centred
    R = A (1 + b), R_t = A_t (1 + b_t), clipped to [0, 1]

with standard normal u, w, z, d and a normal or lognormal e of mean 0 and variance 1. Centred means
that the balances, weighted by the classes' share of the test set, sum to zero, as they do by their
definition. The images of a class are exchangeable; on each, the dense network is right with
probability R, and a compressed one with R_t, together with the probability R R_t + agreement
(min(R, R_t) - R R_t). Given the dense network's hits, the cells' hits are independent, and so are
seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recall_distortion.measures import distortion
from recall_distortion.measures.distortion import HalfBalances, crossfit_sums, normalized
from recall_distortion.simulation.design import Design

CHUNK = 4_000_000  # numbers in the largest array of a chunk of studies: 32 MB


@dataclass(frozen=True)
class Truth:
    """``balance``, ``recall`` [S, K, C]; ``alpha`` [S, K, T]; ``recall_after`` [S, K, T, C].

    ``clipped`` is the share of recalls that had to be clipped.
    """

    balance: np.ndarray
    recall: np.ndarray
    alpha: np.ndarray
    recall_after: np.ndarray
    clipped: float


@dataclass(frozen=True)
class Hits:
    """Images classified correctly: ``dense`` [S, K, C]; ``after``, ``both`` [S, K, T, C].

    Where recalls are known without error these are exact shares and need not be whole.
    """

    dense: np.ndarray
    after: np.ndarray
    both: np.ndarray


@dataclass(frozen=True)
class Sums:
    """What slopes are quotients of: ``numerator`` [S, K, T] and ``denominator`` [S, K]."""

    numerator: np.ndarray
    denominator: np.ndarray

    @property
    def slopes(self) -> np.ndarray:
        """Each replicate's slope, [S, K, T]."""
        with np.errstate(invalid="ignore", divide="ignore"):
            slopes: np.ndarray = self.numerator / self.denominator[..., None]
        return slopes

    @property
    def pooled(self) -> np.ndarray:
        """The slope over all replicates and classes of each cell, [S, T]."""
        with np.errstate(invalid="ignore", divide="ignore"):
            pooled: np.ndarray = self.numerator.sum(1) / self.denominator.sum(1)[:, None]
        return pooled


def chunks(design: Design, studies: int) -> Iterator[int]:
    """Yield numbers of studies that add up to ``studies`` and whose arrays fit into memory."""
    size = max(1, CHUNK // (design.seeds * design.classes * len(design.cells)))
    for start in range(0, studies, size):
        yield min(size, studies - start)


def draw(design: Design, studies: int, rng: np.random.Generator) -> Truth:
    """Return the truth of ``studies`` studies."""
    shape = (studies, design.seeds, design.classes)
    of_cells = {
        name: np.array([getattr(cell, name) for cell in design.cells])
        for name in ("alpha", "sd", "accuracy", "deviation")
    }
    own, shared = 1 - design.class_share, design.class_share
    balance = np.sqrt(shared) * rng.standard_normal((studies, 1, design.classes))
    balance = balance + np.sqrt(own) * rng.standard_normal(shape)
    balance = design.balance_sd * _centred(balance, design.weights)

    effects = rng.standard_normal((studies, design.seeds, len(design.cells)))
    if design.skew:
        variance = design.skew**2
        effects = np.exp(design.skew * effects) - np.exp(variance / 2)
        effects /= np.sqrt(np.expm1(variance) * np.exp(variance))
    alpha = of_cells["alpha"] + of_cells["sd"] * effects
    alpha = alpha + design.seed_sd * rng.standard_normal((studies, design.seeds, 1))

    after = alpha[..., None] * balance[:, :, None, :]
    if of_cells["deviation"].any():
        noise = _centred(rng.standard_normal(after.shape), design.weights)
        after += of_cells["deviation"][:, None] * noise
    shift = design.accuracy_sd * rng.standard_normal((studies, design.seeds, 1))
    recall = (design.accuracy + shift) * (1 + balance)
    recall_after = (of_cells["accuracy"] + shift)[..., None] * (1 + after)
    outside = sum(int(((values < 0) | (values > 1)).sum()) for values in (recall, recall_after))
    return Truth(
        balance,
        recall.clip(0, 1),
        alpha,
        recall_after.clip(0, 1),
        outside / (recall.size + recall_after.size),
    )


def _centred(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return values less their weighted mean over the last axis, as variable as they were."""
    centred = values - (values * weights).sum(-1, keepdims=True)
    # Mean over classes of the variance that is left, of 1: 1 - 2 w_c + sum of w².
    scaled: np.ndarray = centred / np.sqrt(1 - 2 / len(weights) + (weights**2).sum())
    return scaled


def joint(recall: np.ndarray, recall_after: np.ndarray, agreement: np.ndarray) -> np.ndarray:
    """Return the probability that an image is classified correctly before and after."""
    apart = recall * recall_after
    both: np.ndarray = apart + agreement * (np.minimum(recall, recall_after) - apart)
    return both


def observe(design: Design, truth: Truth, rng: np.random.Generator) -> Hits:
    """Return what the test set shows of ``truth``: a 2 × 2 table per class, seed and cell."""
    support = design.support
    agreement = np.array([cell.agreement for cell in design.cells])[:, None]
    before, after = truth.recall[:, :, None, :], truth.recall_after
    together = joint(before, after, agreement)
    if design.images is None:
        return Hits(truth.recall * support, after * support, together * support)
    with np.errstate(invalid="ignore", divide="ignore"):
        of_hits = np.where(before > 0, together / before, 0)
        of_misses = np.where(before < 1, (after - together) / (1 - before), 0)
    dense = rng.binomial(support, truth.recall)
    hits = np.broadcast_to(dense[:, :, None, :], after.shape)
    both = rng.binomial(hits, of_hits.clip(0, 1))
    gained = rng.binomial(support - hits, of_misses.clip(0, 1))
    return Hits(dense, both + gained, both)


def naive(design: Design, hits: Hits) -> Sums:
    """Return the sums of the ordinary slopes: over classes, of Bn Bn_t and of Bn²."""
    before = normalized(hits.dense, design.support)
    after = normalized(hits.after, design.support)
    return _sums((before, before), (after, after))


def _sums(before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> Sums:
    """Return the package's cross-fitted sums of one split's balances, [S, K, C] and [S, K, T, C].

    Where both halves are the whole test set, these are the sums of the ordinary slopes.
    """
    numerator, denominator = crossfit_sums(
        HalfBalances(*(half[None, :, :, None, :] for half in before)),
        HalfBalances(*(half[None] for half in after)),
    )
    return Sums(numerator, denominator[..., 0])


def crossfit(design: Design, hits: Hits, rng: np.random.Generator) -> Sums:
    """Return the sums of the cross-fitted slopes, means over ``design.splits`` halvings.

    Which images were hit is not drawn: given the counts, the hits that fall into a random half are
    hypergeometric, first the dense network's, then, among its hits and among its misses, the
    compressed network's. Of an odd number of images the odd one falls by chance.
    """
    if design.images is None:
        return naive(design, hits)
    support = design.support
    dense, gained = hits.dense, hits.after - hits.both
    lost = dense[:, :, None, :] - hits.both
    neither = (support - dense)[:, :, None, :] - gained
    numerator = np.zeros(hits.after.shape[:3])
    denominator = np.zeros(dense.shape[:2])
    for _ in range(design.splits):
        odd = rng.integers(2, size=(len(dense), 1, design.classes))
        size = (support + support % 2 * odd) // 2
        half = rng.hypergeometric(dense, support - dense, size)
        rest = np.broadcast_to((size - half)[:, :, None, :], gained.shape)
        chosen = np.broadcast_to(half[:, :, None, :], gained.shape)
        half_after = rng.hypergeometric(hits.both, lost, chosen)
        half_after += rng.hypergeometric(gained, neither, rest)
        a, b = normalized(half, size), normalized(dense - half, support - size)
        ta = normalized(half_after, size[:, :, None, :])
        tb = normalized(hits.after - half_after, (support - size)[:, :, None, :])
        sums = _sums((a, b), (ta, tb))
        numerator += sums.numerator
        denominator += sums.denominator
    return Sums(numerator / design.splits, denominator / design.splits)


def denominator_error(design: Design, hits: Hits) -> np.ndarray:
    """Return the standard errors [S, K] of the cross-fitted denominators."""
    accuracy = (hits.dense.sum(-1) / design.support.sum())[..., None]
    balance = normalized(hits.dense, design.support)
    recall = hits.dense / design.support
    return distortion.denominator_error(recall, design.support, accuracy, balance)


def expected(design: Design, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Return what theory says of each study: naive pooled slopes [S, T], and reliability [S].

    By the delta method, a class's observed balance is b_c + e_c - (1 + b_c) sum_k w_k e_k, with
    e_c the error of the class's share of hits divided by the accuracy. Its variances add to the
    denominator (attenuation), and where hits agree its covariances add to the numerator.
    """
    weights, support = design.weights, design.support
    before, after = truth.recall[:, :, None, :], truth.recall_after
    accuracy, accuracy_after = (
        (values * weights).sum(-1, keepdims=True) for values in (before, after)
    )
    b, b_after = before / accuracy - 1, after / accuracy_after - 1
    agreement = np.array([cell.agreement for cell in design.cells])[:, None]
    variance = before * (1 - before) / (support * accuracy**2)
    covariance = joint(before, after, agreement) - before * after
    covariance = covariance / (support * accuracy * accuracy_after)
    if design.images is None:
        variance, covariance = variance * 0, covariance * 0

    def added(errors: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        by_class = errors * (1 - weights * (2 + one + other))
        total = (weights**2 * errors).sum(-1, keepdims=True)
        whole: np.ndarray = (by_class + (1 + one) * (1 + other) * total).sum(-1)
        return whole

    numerator = (b * b_after).sum(-1) + added(covariance, b, b_after)
    signal = (b**2).sum(-1)
    denominator = signal + added(variance, b, b)
    total = denominator.sum(1)
    return numerator.sum(1) / total, (signal.sum(1) / total)[:, 0]
