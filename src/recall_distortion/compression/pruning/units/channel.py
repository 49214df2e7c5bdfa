"""Channels: filters and hidden units, with all that is theirs.

The groups are the plan's: what a shortcut adds goes together. A removed channel's weights, bias,
batch norm and all that the next layers take of it are zero, so that nothing of it is left: without
the last an all-zero filter would leave the constant that batch norm makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recall_distortion.compression import channel_ratios
from recall_distortion.compression.methods import Method
from recall_distortion.compression.pruning.channels import channel_scores, layers_of
from recall_distortion.compression.pruning.masks import layer_masks
from recall_distortion.compression.pruning.smaller import check_smaller
from recall_distortion.networks import reduced, structure
from recall_distortion.networks.structure import FILTER, STATISTIC
from recall_distortion.training.images import DeviceImages
from recall_distortion.training.randomness import generator

#: Images that a network and the smaller one are compared on.
_COMPARED = 32


def measure(
    network: nn.Module, method: Method, images: DeviceImages | None, seed: int
) -> dict[str, Tensor]:
    """Return the scores of channels by group.

    The training images of feature maps are drawn by the seed, without augmentation, and all of them
    where there are fewer.
    """
    shown = None
    if images is not None and method.feature_images:
        drawn = torch.randperm(len(images), generator=generator(seed, "feature images"))
        shown = images.batch(drawn[: method.feature_images].to(images.labels.device))
    drawing = generator(seed, "criterion scores")
    return channel_scores(network, method.criterion, images=shown, generator=drawing)


def fraction(network: nn.Module, ratio: float, count: str, image: tuple[int, int]) -> float:
    """Return the fraction of channels that a compression ratio leaves of each group."""
    layers = layers_of(network, image)
    return channel_ratios.fraction_of_channels(layers, ratio, count, type(network).__name__)


def select(
    scores: Mapping[str, Tensor],
    fraction: float,
    *,
    within: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
    counts: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Return which channels stay: of each group the same fraction, and one at least.

    Or as many as ``counts`` says by group.
    """
    if counts is None:
        return layer_masks(scores, fraction, within=within, generator=generator, least=1)
    found: dict[str, Tensor] = {}
    for name, own in scores.items():
        share = counts[name] / own.numel()
        found |= layer_masks({name: own}, share, within=within, generator=generator)
    return found


def left(network: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return which channels masks leave, by group."""
    layers = layers_of(network)
    groups, found = structure.groups(layers), {}
    for name, parts in structure.parts(layers).items():
        made = next(part for part in parts if part.role == FILTER)
        rows = masks[made.tensor].flatten(1).any(1)
        found[name] = rows.narrow(0, made.first, groups[name].size)
    return found


def masks(network: nn.Module, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks of all parameters that have a part of some channel."""
    return reduced.masks(network, layers_of(network), kept)


def made_of(network: nn.Module, chosen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks of the layers that make channels, true at the filters of chosen ones."""
    return _parts_of(network, chosen, FILTER)


def statistics(network: nn.Module, chosen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks of batch norm's running statistics, true at those of chosen channels."""
    return _parts_of(network, chosen, STATISTIC)


def _parts_of(network: nn.Module, chosen: Mapping[str, Tensor], role: str) -> dict[str, Tensor]:
    tensors = network.state_dict()
    found: dict[str, Tensor] = {}
    for name, parts in structure.parts(layers_of(network)).items():
        for part in parts:
            if part.role != role:
                continue
            tensor = tensors[part.tensor]
            mask = found.setdefault(part.tensor, torch.zeros_like(tensor, dtype=torch.bool))
            mask[part.first : part.first + len(chosen[name])][chosen[name]] = True
    return found


def check(
    network: nn.Module,
    state: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    images: DeviceImages,
) -> None:
    """Build a masked network without its removed channels, and compare the two.

    Raises ``NetworkError`` where they answer images otherwise, or have other numbers of parameters.
    """
    shown = images.batch(slice(0, _COMPARED))
    check_smaller(network, state, masks, left(network, masks), shown)
