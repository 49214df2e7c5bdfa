"""From what layers read and make, by channel, to groups of channels; or from their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any

from torch import Tensor, nn

from recall_distortion.networks import registry, structure
from recall_distortion.networks.identities import STAYS
from recall_distortion.networks.structure import (
    BATCH_NORM,
    CONVOLUTION,
    DEPTHWISE,
    LINEAR,
    Channels,
    Group,
    Layer,
)
from recall_distortion.networks.tracing import Seen, Trace
from recall_distortion.system.errors import NetworkError

#: Beside a channel where a layer's channels begin and end, or where others stay.
_END = -1


def grouped(network: nn.Module, known: Any, seen: Trace) -> tuple[list[Layer], dict[str, str]]:
    """Return the layers that were seen, with their groups, and why others' channels stay, by layer.

    A group are channels that lie beside each other, in one order, wherever they are read or made.
    """
    _keep_what_has_no_place(seen)
    orders = {name: _orders(seen, own) for name, own in seen.layers.items()}
    chains = _chains([order for both in orders.values() for order in both[:2]])
    sizes = {chain[0]: len(chain) for chain in chains if len(chain) > 1}
    of_first: dict[int, Group] = {}
    layers = []
    for name, own in seen.layers.items():
        inputs, outputs, area = orders[name]
        for place, one in enumerate(outputs):
            if one in sizes and one not in of_first:
                last = place + sizes[one]
                part = "" if sizes[one] == len(outputs) else f"[{place}:{last}]"
                of_first[one] = Group(f"{name}{part}", sizes[one])
        weight = network.get_parameter(f"{name}.weight")
        if own.kind in (CONVOLUTION, DEPTHWISE):
            area = weight[0, 0].numel()
        layers.append(
            Layer(name, own.kind, _channels(inputs, of_first), _channels(outputs, of_first), area,
                  bias=own.bias, prunable=f"{name}.weight" in known.prunable)
        )  # fmt: skip
    return layers, _staying(known, seen, layers)


def _keep_what_has_no_place(seen: Trace) -> None:
    """Have channels stay that no part of a tensor is: made twice by a layer, or of other areas."""
    channels = seen.channels
    before = -1
    while before != (before := sum(_kept_of(seen).values())):
        for name, own in seen.layers.items():
            made = channels.classes(own.outputs)
            twice = [one for one in set(made) if one != STAYS and made.count(one) > 1]
            channels.keep(twice, f"{name} has several places of each")
            if own.kind == LINEAR and _area(channels.classes(own.inputs)) is None:
                channels.keep(own.inputs, f"{name} reads them in unequal shares")
        read = {
            one
            for own in seen.layers.values()
            if own.kind in (CONVOLUTION, LINEAR)
            for one in channels.classes(own.inputs)
        }
        for own in seen.layers.values():
            unread = [one for one in channels.classes(own.outputs) if one not in read]
            channels.keep(unread, "no layer that is followed reads them")


def _kept_of(seen: Trace) -> dict[str, int]:
    return {n: seen.channels.classes(own.outputs).count(STAYS) for n, own in seen.layers.items()}


def _area(features: Sequence[int]) -> int | None:
    """Return how many features each channel has beside each other; None where they differ."""
    runs = [(one, sum(1 for _ in same)) for one, same in groupby(features)]
    lengths = {length for one, length in runs if one != STAYS}
    if not lengths:
        return 1
    area = min(lengths)
    if len(lengths) > 1 or any(length % area for _, length in runs):
        return None
    return area


def _orders(seen: Trace, own: Seen) -> tuple[list[int], list[int], int]:
    """Return the classes of channels that a layer reads and makes, and a linear layer's area."""
    inputs, outputs = (seen.channels.classes(one) for one in (own.inputs, own.outputs))
    area = _area(inputs) or 1 if own.kind == LINEAR else 1
    return inputs[::area], outputs, area


def _chains(orders: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the longest rows of classes that lie beside each other in all orders."""
    after: dict[int, set[int]] = {}
    before: dict[int, set[int]] = {}
    for order in orders:
        beside = [_END, *(one if one != STAYS else _END for one in order), _END]
        for one, following in pairwise(beside):
            after.setdefault(one, set()).add(following)
            before.setdefault(following, set()).add(one)
    found: list[list[int]] = []
    for one in after:
        if one == _END or _linked(after, before, next(iter(before[one])), one):
            continue
        chain = [one]
        while _linked(after, before, chain[-1], following := next(iter(after[chain[-1]]))):
            chain.append(following)
        found.append(chain)
    return found


def _linked(
    after: Mapping[int, set[int]], before: Mapping[int, set[int]], one: int, following: int
) -> bool:
    return _END not in (one, following) and after[one] == {following} and before[following] == {one}


def _channels(order: Sequence[int], groups: Mapping[int, Group]) -> Channels:
    found: list[Group | int] = []
    place = 0
    while place < len(order):
        group = groups.get(order[place])
        if group is not None:
            found.append(group)
            place += group.size
            continue
        if found and isinstance(found[-1], int):
            found[-1] += 1
        else:
            found.append(1)
        place += 1
    return tuple(found)


def _staying(known: Any, seen: Trace, layers: Sequence[Layer]) -> dict[str, str]:
    """Return by layer that is pruned why some of its channels stay."""
    found = dict(seen.others)
    for layer in layers:
        if not layer.prunable or all(isinstance(one, Group) for one in layer.outputs):
            continue
        reasons = (seen.channels.why(one) for one in seen.layers[layer.name].outputs.tolist())
        alone = (
            "each lies in other places where it is read, or is one alone"
            if layer.kind != DEPTHWISE
            else "those that it gets stay"
        )
        found[layer.name] = next(filter(None, reasons), alone)
    names = {f"{layer.name}.weight" for layer in layers}
    for weight in known.prunable:
        if weight not in names and weight.removesuffix(".weight") not in found:
            found[weight] = "no layer that is called has it"
    return found


def whole_network(
    network: nn.Module, known: Any, layers: Sequence[Layer], images: Tensor
) -> list[Layer]:
    """Return layers with the positions that they are applied to, and all other parameters."""
    positions = registry.output_positions(network, images)
    found, parameters = [], {name: value.numel() for name, value in network.named_parameters()}
    for layer in layers:
        place = positions.get(f"{layer.name}.weight", 0) if layer.kind != BATCH_NORM else 1
        found.append(replace(layer, positions=place))
        for own in ("weight", "bias") if layer.bias else ("weight",):
            parameters.pop(f"{layer.name}.{own}", None)
    return found + [
        structure.whole(
            name, numbers, positions=positions.get(name, 0), prunable=name in known.prunable
        )
        for name, numbers in parameters.items()
    ]


def named(
    where: str,
    network: nn.Module,
    known: Any,
    groups: Mapping[str, Mapping[str, Sequence[str]]],
) -> list[Layer]:
    """Return the layers that make and read the channels of groups, as a study names them."""
    modules = dict(network.named_modules())
    made: dict[str, Group] = {}
    read: dict[str, Group] = {}
    for name, own in groups.items():
        key = f"{where}: channels.{name}"
        for role in ("made_by", "read_by"):
            for module in own[role]:
                _check_named(f"{key}.{role}: {module}", modules.get(module), module, known, role)
        sizes = {
            module: len(network.get_parameter(f"{module}.weight")) for module in own["made_by"]
        }
        if len(set(sizes.values())) > 1:
            raise NetworkError(
                f"{key}: its layers make different numbers of channels: "
                + ", ".join(f"{module} {size}" for module, size in sizes.items())
            )
        group = Group(name, next(iter(sizes.values())))
        for module in own["read_by"]:
            width = network.get_parameter(f"{module}.weight").shape[1]
            if width % group.size or (
                width != group.size and not isinstance(modules[module], nn.Linear)
            ):
                raise NetworkError(
                    f"{key}: {module} reads {width} and not {group.size} channels, or so many "
                    "features of each"
                )
        for role, into in (("made_by", made), ("read_by", read)):
            for module in own[role]:
                if module in into:
                    raise NetworkError(
                        f"{key}.{role}: {module} is of {into[module].name}, too; channels of two "
                        "groups in one layer can be found and not named"
                    )
                into[module] = group
    return [
        _named_layer(name, modules[name], made.get(name), read.get(name), known)
        for name in modules
        if name in {*made, *read}
    ]


def _check_named(key: str, module: nn.Module | None, name: str, known: Any, role: str) -> None:
    if module is None:
        raise NetworkError(f"{key} is no module of it")
    if not _fits(module, role):
        kinds = "linear layers and convolutions of one group"
        if role == "made_by":
            kinds += ", depthwise ones, and batch norms with factors and statistics"
        raise NetworkError(f"{key} is a {type(module).__name__}; here are {kinds}")
    if any(not value.requires_grad for value in module.parameters()):
        raise NetworkError(f"{key} is frozen; what is frozen stays as it is")
    is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
    if role == "made_by" and not is_norm and f"{name}.weight" not in known.prunable:
        raise NetworkError(f"{key} is not pruned; its outputs stay")


def _fits(module: nn.Module, role: str) -> bool:
    made = role == "made_by"
    if isinstance(module, nn.modules.conv._ConvNd):
        is_depthwise = 1 < module.groups == module.in_channels == module.out_channels
        return not module.transposed and (module.groups == 1 or (made and is_depthwise))
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return made and module.affine and module.track_running_stats
    return isinstance(module, nn.Linear)


def _named_layer(
    name: str, module: nn.Module, made: Group | None, read: Group | None, known: Any
) -> Layer:
    weight = module.weight
    assert isinstance(weight, Tensor)
    outputs: Channels = (made or len(weight),)
    bias, prunable = module.bias is not None, f"{name}.weight" in known.prunable
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return structure.batch_norm(name, outputs)
    if isinstance(module, nn.Linear):
        area = module.in_features // read.size if read else 1
        return Layer(name, LINEAR, (read or module.in_features,), outputs, area, 1, bias, prunable)
    kind = DEPTHWISE if module.groups != 1 else CONVOLUTION
    inputs: Channels = () if kind == DEPTHWISE else (read or weight.shape[1],)
    area = weight[0, 0].numel()
    return Layer(name, kind, inputs, outputs, area, 1, bias, prunable)
