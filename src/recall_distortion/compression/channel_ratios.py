"""What a compression ratio leaves of a network's channels, from its layers alone; without torch.

One fraction is common to all groups of channels: of a group of n, max(1, round(fraction n)) stay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from recall_distortion.networks import structure
from recall_distortion.networks.structure import Layer
from recall_distortion.system.errors import NetworkError
from recall_distortion.vocabulary import format_ratio

#: What a ratio may count.
COUNTS = ("total", "prunable", "multiply_adds")


def size(layers: Sequence[Layer], widths: dict[str, int], count: str) -> int:
    """Return what a ratio counts of a network of ``widths`` channels by group.

    ``count`` is ``total``, all parameters; ``prunable``, the prunable weights; or
    ``multiply_adds``, those of one image. Raises ``NetworkError`` for any other.
    """
    if count == "multiply_adds":
        return structure.multiply_adds(layers, widths)
    found = structure.counts(layers, widths)
    if count not in COUNTS:
        raise NetworkError(f"count is one of {', '.join(COUNTS)}, not {count!r}")
    return found.total if count == "total" else found.prunable_weights


def widths(layers: Sequence[Layer], fraction: float) -> dict[str, int]:
    """Return how many channels of each group stay at a fraction of them: at least one."""
    return {
        name: max(1, round(fraction * group.size))
        for name, group in structure.groups(layers).items()
    }


def fractions(layers: Sequence[Layer]) -> list[float]:
    """Return a fraction for each network that one can give, from the smallest network to all."""
    sizes = {group.size for group in structure.groups(layers).values()}
    # Counts change where fraction * size is half of an odd number; between, nothing does.
    steps = {Fraction(2 * k - 1, 2 * own) for own in sizes for k in range(2, own + 1)}
    ends = [Fraction(0), *sorted(steps)]
    between = [(low + high) / 2 for low, high in pairwise(ends)]
    return [*map(float, between), 1.0]


def fraction_of_channels(
    layers: Sequence[Layer], ratio: float, count: str, network: str = "network"
) -> float:
    """Return the fraction of channels of the largest network that is at most 1 / ratio as large.

    Raises ``NetworkError`` where not even one channel of each group is that small, naming the
    largest feasible ratio.
    """
    if not ratio >= 1:
        raise NetworkError(f"a compression ratio is at least 1, not {ratio!r}")
    whole = size(layers, {}, count)
    every = fractions(layers)
    # A ratio is the decimal number that is written, which its binary form may lie just above.
    fitting = bisect_right(
        every,
        whole / Fraction(str(ratio)),
        key=lambda fraction: Fraction(size(layers, widths(layers, fraction), count)),
    )
    if not fitting:
        least = size(layers, widths(layers, every[0]), count)
        largest = 100 * whole // least / 100
        raise NetworkError(
            f"{network} cannot reach ratio {format_ratio(ratio)} with unit: channel and count: "
            f"{count}, because a channel of every group stays, and all of layers without groups; "
            f"its largest feasible ratio is {format_ratio(largest)}. Use smaller ratios"
        )
    return every[fitting - 1]
