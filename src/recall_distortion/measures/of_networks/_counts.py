"""What several measures of a network count, once for all of them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from recall_distortion.measures.distortion import Counts, split_halves
from recall_distortion.tables.predictions import Predictions

SPLITS = 20  # of the test set, where a class is chosen on one half and measured on the other


class _Same:
    """Predictions as a key: two are equal where they are the same object."""

    def __init__(self, of: Predictions) -> None:
        self.of = of

    def __hash__(self) -> int:
        return id(self.of)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.of is self.of


def counts(of: Predictions) -> Counts:
    """Return the counts of networks by class; those of the last few are remembered.

    A label given that is none of the classes, as where a network gives none, names no class.
    """
    return _counts(_Same(of))


@lru_cache(maxsize=4)
def _counts(key: _Same) -> Counts:
    return Counts.unchecked(key.of.labels, key.of.predicted, len(key.of.class_names))


def gaps(own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the excess accuracy gaps psi [K, C]: what a class lost, less what all images did."""
    before, after = counts(dense), counts(own)
    lost = (before.correct - after.correct) / before.support
    found: np.ndarray = lost - (before.accuracy - after.accuracy)[:, None]
    return found


def half_gaps(own: Predictions, dense: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the same in either half of each split of the test set: two arrays [S, K, C].

    They are NaN for a class of fewer than two images, which a half may not have.
    """
    classes = len(own.class_names)
    lost = (dense.predicted == dense.labels).astype(np.int8)
    lost -= own.predicted == own.labels
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for halves in _halves(own.labels.tobytes(), str(own.labels.dtype), classes):
        for of_half, half in zip(found, halves, strict=True):
            sums = np.zeros((len(lost), classes), np.int32)
            there = np.flatnonzero(half.support)
            sums[:, there] = np.add.reduceat(
                lost[:, half.images], half.starts[there], axis=1, dtype=np.int32
            )
            with np.errstate(invalid="ignore"):
                gap = sums / half.support - sums.sum(axis=1, keepdims=True) / half.support.sum()
            of_half.append(gap)
    first, second = (np.stack(part) for part in found)
    few = counts(own).support < 2
    first[:, :, few] = second[:, :, few] = np.nan
    return first, second


class _Half(NamedTuple):
    """Images of a half by class, where each class begins among them, how many it has."""

    images: np.ndarray
    starts: np.ndarray
    support: np.ndarray


@lru_cache(maxsize=2)
def _halves(labels: bytes, dtype: str, classes: int) -> list[tuple[_Half, _Half]]:
    """Return both halves of each split of a test set."""
    known = np.frombuffer(labels, dtype)
    return [
        (_half(known, half, classes), _half(known, ~half, classes))
        for half in split_halves(known, SPLITS)
    ]


def _half(labels: np.ndarray, half: np.ndarray, classes: int) -> _Half:
    images = np.flatnonzero(half)
    images = images[np.argsort(labels[images], kind="stable")]
    support = np.bincount(labels[images], minlength=classes)
    return _Half(images, np.cumsum(support) - support, support)


def relative_errors(own: Predictions, dense: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the relative changes [K, C] of a class's false positive and false negative rates.

    (FPR - FPR_dense) / FPR_dense as a fraction, likewise FNR (Blakeney et al., arXiv 2106.07849).
    A rate that is 0 in a single dense network leaves no quotient, so that what is divided by is the
    mean rate of all the dense networks at hand; both are NaN for a class in which that is 0.
    """
    before, after = counts(dense), counts(own)
    images = before.support.sum()
    changes = []
    for rate in (_false_positives, _false_negatives):
        dense_rate, own_rate = rate(before, images), rate(after, images)
        pooled = dense_rate.mean(axis=0)
        changes.append((own_rate - dense_rate) / np.where(pooled == 0, np.nan, pooled))
    unknown = np.isnan(changes[0]) | np.isnan(changes[1])
    positive, negative = (np.where(unknown, np.nan, change) for change in changes)
    return positive, negative


def _false_positives(found: Counts, images: int) -> np.ndarray:
    others = images - found.support
    rate: np.ndarray = (found.predicted - found.correct) / np.where(others == 0, np.nan, others)
    return rate


def _false_negatives(found: Counts, images: int) -> np.ndarray:
    rate: np.ndarray = 1 - found.correct / found.support
    return rate
