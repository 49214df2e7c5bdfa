"""A network without some of its channels: the same layers with fewer rows and columns."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from recall_distortion.networks import structure
from recall_distortion.networks.structure import Layer


def kept_places(
    network: nn.Module, layers: Sequence[Layer], kept: Mapping[str, Tensor]
) -> dict[str, dict[int, Tensor]]:
    """Return by tensor and dimension, as booleans, what the channels that are kept leave of it.

    ``kept`` are booleans by group. Parameters and batch norm's statistics are among the tensors.
    """
    tensors = dict(network.state_dict())
    found: dict[str, dict[int, Tensor]] = {}
    for group, parts in structure.parts(layers).items():
        own = kept[group].cpu()
        for part in parts:
            length = tensors[part.tensor].shape[part.dimension]
            of_tensor = found.setdefault(part.tensor, {})
            places = of_tensor.setdefault(part.dimension, torch.ones(length, dtype=torch.bool))
            places[part.first :][: len(own) * part.each] = own.repeat_interleave(part.each)
    return found


def masks(
    network: nn.Module, layers: Sequence[Layer], kept: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return masks of all parameters that have a part of some channel."""
    parameters = dict(network.named_parameters())
    found = {}
    for name, dimensions in kept_places(network, layers, kept).items():
        if name not in parameters:
            continue
        mask = torch.ones(parameters[name].shape, dtype=torch.bool)
        for dimension, places in dimensions.items():
            mask &= places.view([-1 if i == dimension else 1 for i in range(mask.dim())])
        found[name] = mask.to(parameters[name].device)
    return found


@torch.no_grad()
def smaller(network: nn.Module, layers: Sequence[Layer], kept: Mapping[str, Tensor]) -> nn.Module:
    """Return a network of the kept channels alone, with the network's numbers; it is a copy."""
    found = copy.deepcopy(network)
    changed: dict[str, nn.Module] = {}
    for name, dimensions in kept_places(network, layers, kept).items():
        layer, _, part = name.rpartition(".")
        module = changed[layer] = found.get_submodule(layer)
        tensor = getattr(module, part)
        for dimension, places in dimensions.items():
            tensor = tensor.index_select(dimension, places.nonzero()[:, 0].to(tensor.device))
        tensor = tensor.contiguous()
        setattr(module, part, nn.Parameter(tensor) if part in ("weight", "bias") else tensor)
    for module in changed.values():
        _say_sizes(module)
    return found


def _say_sizes(module: nn.Module) -> None:
    """Have a layer's attributes say what its weight is."""
    weight: Tensor = module.weight  # type: ignore[assignment]  # torch declares a module, too
    if isinstance(module, nn.modules.conv._ConvNd):
        # Of several groups it has as many as channels.
        module.groups = len(weight) if module.groups > 1 else 1
        module.out_channels, module.in_channels = len(weight), weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.num_features = len(weight)
