"""Stratified splits, exact in total size and reproducible from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recall_distortion.system.errors import DataError


def shares(counts: Sequence[int], total: int) -> list[int]:
    """Return how many of each class to take so that ``total`` are taken, in proportion.

    Largest remainder, with at least one image of each class taken and one left; ties go to the
    earlier class. Needs ``len(counts) <= total <= sum(counts) - len(counts)``.
    """
    size = sum(counts)
    # Whole numbers throughout: the quota of a class is total * count / size.
    taken = [min(max(total * count // size, 1), count - 1) for count in counts]
    remainder = [total * count - share * size for count, share in zip(counts, taken, strict=True)]
    while (difference := total - sum(taken)) != 0:
        step = 1 if difference > 0 else -1
        open_classes = [
            index for index, count in enumerate(counts) if 1 <= taken[index] + step <= count - 1
        ]
        chosen = max(open_classes, key=lambda index: step * remainder[index])
        taken[chosen] += step
        remainder[chosen] -= step * size
    return taken


def stratified_split(
    labels: np.ndarray,
    fraction: float,
    generator: np.random.Generator,
    *,
    part: str,
    class_names: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Return (rest, taken): sorted int64 indices into ``labels`` [N], together all of them.

    ``round(fraction * N)`` are taken, from each class in proportion (``shares``), drawn by
    ``generator``. Raises ``DataError`` where a class cannot have an image in both; ``part`` names
    what is taken there.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the {part}'s fraction must lie between 0 and 1, not {fraction!r}")
    members = [np.flatnonzero(labels == index) for index in range(len(class_names))]
    counts = [len(indices) for indices in members]
    for name, count in zip(class_names, counts, strict=True):
        if count < 2:
            raise DataError(
                f"class {name!r} has {count} image{'' if count == 1 else 's'} to split into the "
                f"{part} and the rest; each class needs at least two here"
            )
    total = round(fraction * len(labels))
    if not len(counts) <= total <= len(labels) - len(counts):
        raise DataError(
            f"a {part} of {fraction:g} x {len(labels)} images is {total}, which cannot give each "
            f"of {len(counts)} classes an image in both parts; choose a fraction from "
            f"{len(counts) / len(labels):.4g} to {1 - len(counts) / len(labels):.4g}"
        )
    taken = [
        generator.permutation(indices)[:share]
        for indices, share in zip(members, shares(counts, total), strict=True)
    ]
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[np.concatenate(taken)] = True
    return (
        np.flatnonzero(~chosen).astype(np.int64),
        np.flatnonzero(chosen).astype(np.int64),
    )
