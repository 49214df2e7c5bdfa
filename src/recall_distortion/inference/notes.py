"""The words in which tables say why something is missing or smaller than expected."""

from __future__ import annotations

NO_CONTROL = "no control: nothing separates pruning from training on"
ONE_REPLICATE = "one replicate: no standard deviation and no interval"
ONE_PAIR = "fewer than two pairs of seeds"
NOT_FINITE = "a slope is not finite"
NARROW = (
    "the slope rests on few classes: {} has {:.4g} % of the size of the dense balances{}, so it "
    "says little of the others"
)
NARROW_EACH = (
    "most networks' slopes rest on one class, not the same one in all{}, so they say little of the "
    "others"
)
UNNAMED = (
    "no dense network ever names {}, which has {:.4g} % of the size of the dense balances: its "
    "recall cannot fall"
)
NO_END = "the bootstrap's draws give the {}interval no finite end: too few replicates differ"


def joined(*notes: str) -> str:
    """Return the notes that say anything as one, separated by semicolons."""
    return "; ".join(note for note in notes if note)


def lost_pairs(pairs: int, seeds: int) -> str:
    """Return how many of all seeds have both sides of a comparison; empty where all have."""
    return "" if pairs == seeds else f"{pairs} of {seeds} seeds make pairs"
