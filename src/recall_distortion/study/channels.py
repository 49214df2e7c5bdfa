"""How many channels a method itself leaves of which layer, as published or by shares of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from recall_distortion.compression.channel_ratios import size
from recall_distortion.compression.controls import ITERATIVE
from recall_distortion.compression.facts import CHANNEL, PROFILES
from recall_distortion.networks.structure import Group, Layer, groups
from recall_distortion.system.errors import NetworkError
from recall_distortion.vocabulary import UNCOMPRESSED, format_ratio

#: By group of channels the share that goes.
Removed = Annotated[dict[str, Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)]

#: How plans name the halves that a shortcut pads with.
_BEFORE, _AFTER = "_before", "_after"
_COUNTED = {
    "total": "parameters",
    "prunable": "prunable weights",
    "multiply_adds": "multiply-adds",
}


def check(
    unit: str,
    schedule: str,
    profile: str | None,
    removed: Mapping[str, float] | None,
    ratios: Sequence[float] | None,
) -> None:
    """Check that a method may say which channels stay, and says it once.

    Raises ``ValueError`` with a message that names the key and what would be valid.
    """
    own = {"profile": profile, "removed": removed}
    keys = [key for key, value in own.items() if value is not None]
    if not keys:
        return
    if unit != CHANNEL.name:
        raise ValueError(f"{keys[0]}: it is of channels; add unit: channel")
    if len(keys) > 1:
        raise ValueError("profile and removed say the same thing twice; remove one of them")
    if profile is not None:
        if ratios is not None:
            raise ValueError("profile: it says what stays, so that ratios say nothing; remove one")
        return
    if schedule == ITERATIVE:
        raise ValueError(
            f"removed: schedule {ITERATIVE} goes through the study's ratios in rounds; remove one "
            "of them"
        )
    if ratios is None or len(ratios) > 1 or round(ratios[0], 2) != ratios[0]:
        raise ValueError(
            "removed: the ratio of what it leaves names its cell; state that one, to two decimals, "
            "as ratios: [2.5]; where it is another, the study is refused with the right one"
        )


def left(group: Group, removed: Mapping[str, float]) -> int:
    """Return how many channels stay of a group: what is left of its share, rounded up.

    The number that Bartoldson et al. leave (arXiv 1906.03728), and so one at least.
    """
    # A share is the decimal number that is written: 30 % of 10 channels are 3.
    return math.ceil((1 - Fraction(str(removed.get(group.name, 0)))) * group.size)


def check_groups(
    where: str, method: str, removed: Mapping[str, float], of: Mapping[str, Group]
) -> None:
    """Raise ``ValueError`` for shares of what a network has not, or of less than a channel.

    So it does where halves that a shortcut pads with would differ: the smaller network would be
    padded otherwise. ``of`` are the network's groups of channels by name.
    """
    for name, share in removed.items():
        if name not in of:
            raise ValueError(
                f"methods.{method}.removed: {where} has no channels {name}; valid: {', '.join(of)}"
            )
        if left(of[name], removed) == of[name].size:
            raise ValueError(
                f"methods.{method}.removed: {format_ratio(share)} of the {of[name].size} channels "
                f"of {name} in {where} is less than one; choose more, or leave {name} out"
            )
    halves = {name: name.removesuffix(_BEFORE) + _AFTER for name in of if name.endswith(_BEFORE)}
    for first, second in halves.items():
        if second in of and left(of[first], removed) != left(of[second], removed):
            raise ValueError(
                f"methods.{method}.removed: shortcuts of {where} pad with as many channels before "
                f"as after; give {first} and {second} the same share"
            )


def counts(
    layers: Sequence[Layer], profile: str | None, removed: Mapping[str, float] | None
) -> dict[str, int] | None:
    """Return how many channels stay of each group; None where a ratio says so."""
    if profile is not None:
        facts = PROFILES[profile]
        return {name: facts.of(name, one.size) for name, one in groups(layers).items()}
    if removed is not None:
        return {name: left(one, removed) for name, one in groups(layers).items()}
    return None


def check_ratio(
    layers: Sequence[Layer], removed: Mapping[str, float], ratio: float, count: str, where: str
) -> None:
    """Raise ``NetworkError`` where a ratio is not that of what shares leave of a network.

    The message has the right one.
    """
    whole = size(layers, {}, count)
    small = size(layers, {name: left(one, removed) for name, one in groups(layers).items()}, count)
    right = round(whole / small, 2)
    if ratio == right:
        return
    leaves = f"{where}: removed leaves {small:,} of {whole:,} {_COUNTED[count]}"
    if right == UNCOMPRESSED:
        raise NetworkError(f"{leaves}, which is ratio 1 to two decimals; let more go")
    raise NetworkError(f"{leaves}; write ratios: [{format_ratio(right)}]")
