"""What criteria see of a network's channels, group by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor, nn

from recall_distortion.networks import plans, registry, structure
from recall_distortion.networks.structure import FILTER, INPUT, LINEAR, READS, SCALE, Group, Part
from recall_distortion.system.errors import NetworkError

#: Of a user's network alone, so by name.
_FOUND = "recall_distortion.networks.channel_groups"
_SCORES = "recall_distortion.compression.pruning.channel_scores"


@dataclass(frozen=True)
class Channels:
    """A group's n channels in one network.

    ``filters`` [n, ...] are the weights of each layer that makes them, flattened; ``scales`` [n]
    the factors of each batch norm; ``observed`` [n] what a criterion made of the maps that each
    layer which reads them gets.
    """

    size: int
    filters: Sequence[Tensor]
    scales: Sequence[Tensor] = ()
    observed: Sequence[Tensor] = ()


def layers_of(network: nn.Module, image: tuple[int, int] | None = None) -> list[structure.Layer]:
    """Return the layers of a network that ``networks.build`` made, for images of a size.

    Those of a user's network are found in it, for the images that it was made for.
    """
    if registry.known(network) is not None:
        found: list[structure.Layer] = import_module(_FOUND).layers(network)
        return found
    name = getattr(network, "architecture", None)
    if name is None:
        raise NetworkError(
            f"{type(network).__name__} has no plan that says which channels go together; take one "
            f"of networks.build: {', '.join(plans.KNOWN)}"
        )
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    layers = plans.layers(str(name), 1, 2, image)
    # Only the first layer depends on the images' channels, only the last one on the classes.
    channels = first.weight.shape[1] // structure.width(layers[0].inputs, {}) or 1
    classes = int(network.classifier.out_features)  # type: ignore[union-attr, arg-type]
    return plans.layers(str(name), channels, classes, image)


def load(name: str) -> ModuleType:
    """Return a criterion of channels by its name; raises ``NetworkError`` for an unknown one."""
    module = f"{_SCORES}.{name}"
    if not name.isidentifier() or find_spec(module) is None:
        raise NetworkError(f"unknown criterion {name!r} of channels; there is no module {module}")
    return import_module(module)


@torch.no_grad()
def channel_scores(
    network: nn.Module,
    criterion: str,
    *,
    images: Tensor | None,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Return a criterion's scores of a network's channels by group.

    ``images`` [N, C, H, W] are those whose feature maps it looks at. Raises ``NetworkError`` for an
    unknown criterion, and where it needs images or a batch norm that is not there.
    """
    module = load(criterion)
    layers = layers_of(network)
    parts = structure.parts(layers)
    observe = getattr(module, "observe", None)
    observed = {} if observe is None else _observed(network, layers, observe, images)
    found = {}
    for name, group in structure.groups(layers).items():
        own = Channels(
            group.size,
            [_part(network, one, group).flatten(1) for one in parts[name] if one.role == FILTER],
            [_part(network, one, group) for one in parts[name] if one.role == SCALE],
            [
                observed[one.tensor][one.first // one.each :][: group.size]
                for one in parts[name]
                if one.role == INPUT and observed
            ],
        )
        found[name] = module.score(own, generator=generator)
    return found


def _part(network: nn.Module, part: Part, group: Group) -> Tensor:
    return network.get_parameter(part.tensor).narrow(0, part.first, group.size)


def _observed(
    network: nn.Module,
    layers: Sequence[structure.Layer],
    observe: Callable[[Tensor], Tensor],
    images: Tensor | None,
) -> Mapping[str, Tensor]:
    """Return by a layer's weight what is observed of the maps that it reads, in evaluation mode.

    Where it reads a number of each channel, the N images are the places of one map.
    """
    if images is None:
        raise NetworkError("this criterion looks at feature maps, and no images were given")
    found = {}
    handles = []

    def watch(layer: structure.Layer) -> None:
        def see(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            # A linear layer reads the last dimension, of tokens too.
            maps = given[0].movedim(-1, 1) if layer.kind == LINEAR else given[0]
            count = structure.width(layer.inputs, {})
            maps = maps.reshape(len(maps), count, -1)
            maps = maps if maps.shape[2] > 1 else maps.permute(2, 1, 0)
            found[f"{layer.name}.weight"] = observe(maps)

        handles.append(network.get_submodule(layer.name).register_forward_pre_hook(see))

    for layer in layers:
        if layer.kind in READS and any(isinstance(one, Group) for one in layer.inputs):
            watch(layer)
    training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return found
