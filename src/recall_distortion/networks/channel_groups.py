"""Which channels of a user's network go together, and that a network without some is the same.

Jobs and the look before them find the same, so that what is kept of the look is what jobs do.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recall_distortion.networks import grouping, reduced, registry, structure, tracing
from recall_distortion.networks.own import SEEN, raised
from recall_distortion.networks.structure import Layer
from recall_distortion.system.errors import NetworkError

#: How far logits may lie apart, over the largest of them, in double precision.
TOLERANCE = 1e-10
#: Fractions of channels that are kept of each group to compare networks.
_TRIED = (0.5, 0.3, 0.75)
_KEPT = "_recall_distortion_channels"


@dataclass(frozen=True)
class Groups:
    """The layers of a network with their groups, and why others' channels stay, by layer."""

    layers: Sequence[Layer]
    stay: Mapping[str, str]


def layers(network: nn.Module) -> list[Layer]:
    """Return the layers of a user's network, as ``plans.layers`` does by name of one here."""
    return list(found(network).layers)


def found(network: nn.Module) -> Groups:
    """Return what a network's groups are; it is sought once.

    Raises ``NetworkError`` where that cannot be told, where no channel can be removed, and where a
    group that is named has something left when it is removed.
    """
    if (before := getattr(network, _KEPT, None)) is None:
        before = _look(network)
        setattr(network, _KEPT, before)
    return before


def _look(network: nn.Module) -> Groups:
    known = registry.known(network)
    where = f"architecture {network.architecture}"
    device = next(network.parameters()).device
    drawn = torch.Generator().manual_seed(0)
    images = torch.rand(SEEN, known.channels, *known.image, generator=drawn).to(device)
    stay: dict[str, str] = {}
    if named := known.definition.channels:
        own = grouping.named(where, network, known, named)
    else:
        try:
            seen = tracing.trace(network, images, prunable=known.prunable)
        except tracing.Decided as decided:
            raise NetworkError(
                f"{where}: which channels go together is seen in a call, and its forward decides "
                f"by the values of a tensor ({decided}), so that other calls may go elsewhere; "
                f"{_REMEDY}"
            ) from None
        own, stay = grouping.grouped(network, known, seen)
    every = grouping.whole_network(network, known, own, images)
    if silent := [one.name for one in every if one.kind in structure.READS and not one.positions]:
        # Found groups have none of these.
        raise NetworkError(
            f"{where}: channels: {', '.join(silent)} is not called, so that nobody sees what it "
            "reads; call the layer and not a function with its weight, or leave its group out"
        )
    if wrong := _differs(network, every, images):
        if named:
            raise NetworkError(_of_named(where, network, every, images, wrong))
        every, further = _holding(network, every, images)
        stay |= further
    _check(where, network, every, stay)
    return Groups(every, stay)


_REMEDY = (
    "name them by channels: {NAME: {made_by: [LAYER, ...], read_by: [LAYER, ...]}}, or use unit: "
    "weight"
)


def _check(where: str, network: nn.Module, every: Sequence[Layer], stay: Mapping[str, str]) -> None:
    if not structure.groups(every):
        why = "; ".join(f"{layer}: {reason}" for layer, reason in stay.items())
        raise NetworkError(f"{where}: all its channels stay ({why}); {_REMEDY}")
    counted, wanted = structure.counts(every), registry.counts(network)
    if (counted.total, counted.prunable_weights) != (wanted.total, wanted.prunable_weights):
        raise NetworkError(
            f"{where}: prunable names parameters that are no weights, and ratios of channels count "
            "weights; leave it out, or use unit: weight"
        )


def _of_named(
    where: str, network: nn.Module, every: Sequence[Layer], images: Tensor, wrong: str
) -> str:
    groups = structure.groups(every)
    for name in groups:
        rest = structure.without(every, set(groups) - {name})
        if alone := _differs(network, rest, images):
            return (
                f"{where}: channels.{name}: {alone}; name all that makes and reads them, or leave "
                "them out"
            )
    return f"{where}: channels: {', '.join(groups)} cannot be removed together: {wrong}"


def _holding(
    network: nn.Module, every: Sequence[Layer], images: Tensor
) -> tuple[list[Layer], dict[str, str]]:
    """Return layers in which groups stay that a forward needs whole, and why, by group.

    Such a forward has sizes of its own, as ``view(-1, 400)``. Groups of one layer are tried
    together first, since a shortcut may pad before and after.
    """
    groups, stay = list(structure.groups(every)), {}
    accepted: set[str] = set()
    for together in _beside(every):
        for tried in (together, *([[one] for one in together] if len(together) > 1 else [])):
            left = accepted | set(tried)
            why = _differs(network, structure.without(every, set(groups) - left), images)
            if not why:
                accepted = left
                if len(tried) == len(together):
                    break
            elif len(tried) == 1:
                stay[tried[0]] = why
    return structure.without(every, set(groups) - accepted), stay


def _beside(every: Sequence[Layer]) -> list[list[str]]:
    """Return the groups, together those that a layer makes beside each other."""
    parent = {name: name for name in structure.groups(every)}

    def first(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in every:
        own = [one.name for one in layer.outputs if isinstance(one, structure.Group)]
        for other in own[1:]:
            parent[first(other)] = first(own[0])
    found: dict[str, list[str]] = {}
    for name in parent:
        found.setdefault(first(name), []).append(name)
    return list(found.values())


@torch.no_grad()
def _differs(network: nn.Module, every: Sequence[Layer], images: Tensor) -> str:
    """Return how networks without some channels differ from masked ones; empty where they do not.

    All numbers are random, those of batch norm's statistics too, and computed in double precision.
    """
    drawn = torch.Generator().manual_seed(0)
    whole, images = _random(network, drawn), images.double()
    try:
        whole(images)
    except Exception as error:
        raise NetworkError(
            f"architecture {network.architecture}: in double precision, in which networks "
            f"without channels are compared, it raised {raised(error)}; have what it makes and "
            "casts take the type of what it gets (x.dtype), or use unit: weight"
        ) from None
    for fraction in _TRIED:
        kept = _kept(every, fraction, drawn)
        small, masked = reduced.smaller(whole, every, kept), copy.deepcopy(whole)
        for name, mask in reduced.masks(whole, every, kept).items():
            masked.get_parameter(name).mul_(mask)
        expected = masked(images)
        try:
            found = small(images)
        except Exception as error:
            return f"without some of them it raised {raised(error)}"
        if found.shape != expected.shape:
            return f"without some of them its logits are {[*found.shape]}"
        apart = float((found - expected).abs().max() / expected.abs().max())
        if not apart <= TOLERANCE:
            return (
                f"without some of them logits are {apart:.1e} of the largest from the masked ones"
            )
    return ""


def _kept(every: Sequence[Layer], fraction: float, drawn: torch.Generator) -> dict[str, Tensor]:
    """Return as many random channels of each group as a fraction of all leaves."""
    kept = {}
    for name, group in structure.groups(every).items():
        kept[name] = torch.zeros(group.size, dtype=torch.bool)
        many = max(1, round(fraction * group.size))
        kept[name][torch.randperm(group.size, generator=drawn)[:many]] = True
    return kept


def _random(network: nn.Module, drawn: torch.Generator) -> nn.Module:
    """Return a copy in double precision, whose numbers no layer would begin with."""
    found = copy.deepcopy(network).double().eval()
    for value in found.parameters():
        scale = 0.1 if value.dim() < 2 else 1 / math.sqrt(max(1, value[0].numel()))
        noise = torch.randn(value.shape, generator=drawn, dtype=torch.float64)
        value.add_(scale * noise.to(value.device))
    for name, buffer in found.named_buffers():
        own = torch.rand(buffer.shape, generator=drawn, dtype=torch.float64).to(buffer.device)
        if name.endswith("running_mean"):
            buffer.add_(own - 0.5)
        elif name.endswith("running_var"):
            buffer.mul_(0.5 + own)
    return found
