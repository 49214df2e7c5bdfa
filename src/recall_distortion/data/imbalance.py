"""Training sets with a long tail: fewer images the higher a class's number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recall_distortion.system.errors import DataError

HELD_OUT = 20  # images of each class, since a fraction of the rarest would be too few to choose by


def kept_of_classes(counts: Sequence[int], imbalance: float) -> list[int]:
    """Return how many training images of each class to keep.

    Of C classes, class c keeps n * imbalance^(c / (C - 1)) images, rounded, where n is the number
    of images of the smallest class: the first keeps n, the last imbalance * n (Cui et al.,
    arXiv 1901.05555, thin CIFAR so).
    """
    least, last = min(counts), max(len(counts) - 1, 1)
    return [round(least * imbalance ** (c / last)) for c in range(len(counts))]


def long_tailed(
    labels: np.ndarray,
    imbalance: float,
    generator: np.random.Generator,
    class_names: Sequence[str],
) -> np.ndarray:
    """Return sorted int64 indices into ``labels`` [N] of the images to keep, drawn at random.

    Raises ``DataError`` where a class is left with too few images to hold any out.
    """
    members = [np.flatnonzero(labels == index) for index in range(len(class_names))]
    kept = kept_of_classes([len(indices) for indices in members], imbalance)
    for name, count in zip(class_names, kept, strict=True):
        if count <= HELD_OUT:
            raise DataError(
                f"an imbalance of {imbalance:g} leaves class {name!r} {count} training images, of "
                f"which {HELD_OUT} are held out; choose a larger imbalance"
            )
    chosen = [
        generator.permutation(indices)[:count] for indices, count in zip(members, kept, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def held_out_of_each(
    labels: np.ndarray, generator: np.random.Generator, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (rest, taken): sorted int64 indices, of which ``HELD_OUT`` of each class are taken."""
    taken = np.concatenate(
        [generator.permutation(np.flatnonzero(labels == c))[:HELD_OUT] for c in range(classes)]
    )
    rest = np.setdiff1d(np.arange(len(labels)), taken)
    return rest.astype(np.int64), np.sort(taken).astype(np.int64)
