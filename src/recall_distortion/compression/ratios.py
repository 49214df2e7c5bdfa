"""What a compression ratio leaves of a network, from its parameter counts alone; without torch."""

from __future__ import annotations

from recall_distortion.networks.parameters import Counts
from recall_distortion.system.errors import NetworkError
from recall_distortion.vocabulary import format_ratio


def fraction_to_keep(counts: Counts, ratio: float, count: str, network: str = "network") -> float:
    """Return the fraction of prunable weights that a compression ratio leaves (ShrinkBench's rule).

    ``count="total"``: (total / ratio - (total - prunable)) / prunable, where prunable counts the
    prunable modules' biases too, as ShrinkBench does; ``count="prunable"``: 1 / ratio.

    Raises ``NetworkError`` where no weight would be left, naming the largest feasible ratio.
    """
    if not ratio >= 1:
        raise NetworkError(f"a compression ratio is at least 1, not {ratio!r}")
    if count == "prunable":
        fraction = 1 / ratio
    elif count == "total":
        fixed = counts.total - counts.prunable_modules
        fraction = (counts.total / ratio - fixed) / counts.prunable_modules
    else:
        raise NetworkError(f"count is 'total' or 'prunable', not {count!r}")
    if round(fraction * counts.prunable_weights) < 1:
        largest = largest_ratio(counts, count)
        raise NetworkError(
            f"{network} cannot reach ratio {format_ratio(ratio)} with count: {count}; its largest "
            f"feasible ratio is {largest:g}. Use smaller ratios"
            + (", or count: prunable" if count == "total" else "")
        )
    return fraction


def largest_ratio(counts: Counts, count: str) -> int:
    """Return the largest whole compression ratio that leaves at least one weight."""
    if count == "prunable":
        return 2 * counts.prunable_weights - 1  # beyond it less than half a weight is left
    fixed = counts.total - counts.prunable_modules
    one_weight = counts.prunable_modules / counts.prunable_weights
    # Rounding to the nearest weight reaches a little further than exactly one weight.
    candidates = range(int(counts.total / (fixed + one_weight / 2)) + 1, 0, -1)
    for ratio in candidates:
        kept = (counts.total / ratio - fixed) / counts.prunable_modules * counts.prunable_weights
        if round(kept) >= 1:
            return ratio
    return 1
