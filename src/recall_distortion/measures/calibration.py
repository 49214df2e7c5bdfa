"""How far the probability of a label is from how often it is right."""

from __future__ import annotations

import numpy as np

BINS = 10  # of equal width; a probability on a boundary is in the lower bin


def calibration_error(
    labels: np.ndarray, predicted: np.ndarray, probability: np.ndarray
) -> np.ndarray:
    """Return the expected calibration error [K] of the predicted labels [K, M].

    The sum over bins of their share of images times the distance of mean probability and accuracy.
    NaN for a network of which a probability is unknown.
    """
    right = predicted == labels
    found = class_errors(labels, np.zeros_like(predicted), probability, 1, right)
    return found.reshape(-1)


def class_errors(
    labels: np.ndarray,
    predicted: np.ndarray,
    probability: np.ndarray,
    classes: int,
    right: np.ndarray | None = None,
) -> np.ndarray:
    """Return the same [K, C] over the images that a network names by each class.

    NaN where it names none so. ``right`` [K, M] says which labels are right where it is not by
    comparison.
    """
    networks = len(predicted)
    hits = predicted == labels if right is None else right
    sure = np.nan_to_num(probability.astype(np.float64))
    places = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    cells = (np.arange(networks)[:, None] * classes + predicted) * BINS + places
    size = networks * classes * BINS
    apart = np.bincount(cells.ravel(), weights=(sure - hits).ravel(), minlength=size)
    number = np.bincount(cells.ravel(), minlength=size)
    shape = (networks, classes, BINS)
    images = number.reshape(shape).sum(axis=2)
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.abs(apart).reshape(shape).sum(axis=2) / images
    found[np.isnan(probability).any(axis=1)] = np.nan
    return found
