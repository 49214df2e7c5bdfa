"""The words in which tables say why something is missing or smaller than expected."""

from __future__ import annotations

import numpy as np

# How messages of mixed models begin: of one that was not fitted, of one whose fitters disagree.
NOT_ESTIMATED = "not estimated"
DISAGREE = "the fitters disagree"
NO_CONTROL = "no control: nothing separates pruning from further training"
TRAINED_APART = "cells that are trained differently are compared by what each is beyond its control"
NO_OWN_CONTROL = "the two are trained differently and a control is missing: no comparison"
ONE_REPLICATE = "one replicate: no standard deviation and no interval"
ONE_PAIR = "fewer than two pairs of seeds"
NOT_FINITE = "a slope is not finite"
NARROW = (
    "the slope rests on few classes: {} makes up {:.4g} % of its denominator{}, so it says little "
    "about the others"
)
NARROW_EACH = (
    "most networks' slopes rest on one class, but not the same one in all{}, so they say little "
    "about the others"
)
UNNAMED = (
    "no dense network ever predicts {}, which makes up {:.4g} % of the slope's denominator: its "
    "recall cannot fall"
)
NO_END = "the bootstrap gives the {}interval no finite end: too few replicates differ"


def joined(*notes: str) -> str:
    """Return the notes that say anything as one, separated by semicolons."""
    return "; ".join(note for note in notes if note)


def lost_pairs(pairs: int, seeds: int) -> str:
    """Return how many of all seeds have both sides of a comparison; empty where all have."""
    return "" if pairs == seeds else f"{pairs} of {seeds} seeds make pairs"


def missing_interval(slopes: np.ndarray) -> str:
    """Return why the mean of ``slopes`` [n] has no t interval; empty where it has one."""
    lost = int((~np.isfinite(slopes)).sum())
    if lost:
        return (
            f"{lost} of {len(slopes)} slopes {'is' if lost == 1 else 'are'} not finite "
            "(an accuracy of 0, or equal recalls before pruning)"
        )
    return "" if len(slopes) > 1 else "one replicate: an interval needs two"
