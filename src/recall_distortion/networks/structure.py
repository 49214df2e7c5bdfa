"""What a network is made of, layer by layer: shapes, groups of channels, counts; without torch.

A channel is a filter of a convolution or a hidden unit of a linear layer. Channels that are kept or
removed together, as a shortcut adds them, are one unit of one group, whatever layers make them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from recall_distortion.networks.parameters import Counts

CONVOLUTION, LINEAR, BATCH_NORM = "convolution", "linear", "batch_norm"
# A convolution of each channel by itself, and a parameter none of whose numbers is a channel's.
DEPTHWISE, WHOLE = "depthwise", "whole"
#: Layers whose weights have a column for each channel that they read.
READS = (CONVOLUTION, LINEAR)

# What a tensor's part is to a channel: the weights that make it, batch norm's factor of it, what
# else moves with it, what the next layers read it by, and batch norm's running statistics.
FILTER, SCALE, OFFSET, INPUT, STATISTIC = "filter", "scale", "offset", "input", "statistic"


@dataclass(frozen=True)
class Group:
    """Channels of which each is kept or removed by itself, wherever in the network it lies."""

    name: str
    size: int


#: What a layer reads or makes, in order: channels of groups, or so many that always stay.
Channels = tuple["Group | int", ...]


@dataclass(frozen=True)
class Layer:
    """A layer with parameters; ``name`` is its module's, or a whole parameter's own.

    ``area`` is how many weights lie between a channel that it reads and one that it makes: those of
    a kernel, or the pixels of a channel that a linear layer reads. ``positions`` counts the places
    of an image that it is applied to.
    """

    name: str
    kind: str
    inputs: Channels
    outputs: Channels
    area: int = 1
    positions: int = 1
    bias: bool = True
    prunable: bool = True

    def weights(self, widths: Mapping[str, int]) -> int:
        """Return its weights in a network of ``widths`` channels by group; batch norm has none."""
        if self.kind == BATCH_NORM:
            return 0
        read = 1 if self.kind == DEPTHWISE else width(self.inputs, widths)
        return self.area * read * width(self.outputs, widths)

    def others(self, widths: Mapping[str, int]) -> int:
        """Return its biases, or batch norm's factors and offsets."""
        own = width(self.outputs, widths)
        return 2 * own if self.kind == BATCH_NORM else own * self.bias


@dataclass(frozen=True)
class Part:
    """Where a group's channels lie in a tensor of the network.

    The channel of number u has ``each`` places along ``dimension``, from ``first + u * each`` on.
    """

    tensor: str
    role: str
    dimension: int
    first: int
    each: int = 1


def _channels(given: Channels | Group | int) -> Channels:
    return given if isinstance(given, tuple) else (given,)


def linear(
    name: str,
    inputs: Channels | Group | int,
    outputs: Channels | Group | int,
    *,
    pixels: int = 1,
    prunable: bool = True,
) -> Layer:
    """Return a linear layer with biases that reads so many ``pixels`` of each channel."""
    return Layer(
        name, LINEAR, _channels(inputs), _channels(outputs), area=pixels, prunable=prunable
    )


def convolution(
    name: str,
    inputs: Channels | Group | int,
    outputs: Channels | Group | int,
    kernel: int,
    image: tuple[int, int],
    *,
    bias: bool = True,
) -> Layer:
    """Return a convolution by a square kernel that makes an image of such height and width."""
    positions = image[0] * image[1]
    return Layer(
        name,
        CONVOLUTION,
        _channels(inputs),
        _channels(outputs),
        area=kernel * kernel,
        positions=positions,
        bias=bias,
    )


def batch_norm(name: str, channels: Channels | Group | int) -> Layer:
    """Return a batch norm."""
    own = _channels(channels)
    return Layer(name, BATCH_NORM, own, own, prunable=False)


def whole(name: str, numbers: int, *, positions: int, prunable: bool) -> Layer:
    """Return a parameter of so many numbers that always stay."""
    return Layer(name, WHOLE, (1,), (numbers,), 1, positions, False, prunable)


def without(layers: Sequence[Layer], names: Collection[str]) -> list[Layer]:
    """Return layers in which the channels of some groups always stay."""

    def own(channels: Channels) -> Channels:
        found: list[Group | int] = []
        for one in channels:
            if isinstance(one, Group) and one.name in names:
                one = one.size
            if isinstance(one, int) and found and isinstance(found[-1], int):
                found[-1] += one
            else:
                found.append(one)
        return tuple(found)

    return [replace(one, inputs=own(one.inputs), outputs=own(one.outputs)) for one in layers]


def plain(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Return layers as JSON has them."""
    return [asdict(layer) for layer in layers]


def read(values: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """Return the layers that ``plain`` wrote."""

    def channels(given: Sequence[Any]) -> Channels:
        return tuple(one if isinstance(one, int) else Group(**one) for one in given)

    return [
        Layer(**{**one, "inputs": channels(one["inputs"]), "outputs": channels(one["outputs"])})
        for one in values
    ]


def width(channels: Channels, widths: Mapping[str, int]) -> int:
    """Return how many channels there are; a group that ``widths`` lacks is whole."""
    return sum(one if isinstance(one, int) else widths.get(one.name, one.size) for one in channels)


def groups(layers: Sequence[Layer]) -> dict[str, Group]:
    """Return the groups by name, in the order in which layers make them."""
    return {one.name: one for layer in layers for one in layer.outputs if isinstance(one, Group)}


def parts(layers: Sequence[Layer]) -> dict[str, list[Part]]:
    """Return by group where its channels lie in the network's parameters and buffers."""
    found: dict[str, list[Part]] = {name: [] for name in groups(layers)}
    for layer in layers:
        for group, first in _places(layer.outputs):
            found[group] += [
                Part(f"{layer.name}.{name}", role, 0, first) for name, role in _made(layer)
            ]
        if layer.kind not in READS:
            continue
        each = layer.area if layer.kind == LINEAR else 1
        for group, first in _places(layer.inputs):
            found[group].append(Part(f"{layer.name}.weight", INPUT, 1, first * each, each))
    return found


def _places(channels: Channels) -> Iterator[tuple[str, int]]:
    first = 0
    for one in channels:
        if isinstance(one, Group):
            yield one.name, first
        first += one if isinstance(one, int) else one.size


def _made(layer: Layer) -> list[tuple[str, str]]:
    if layer.kind == BATCH_NORM:
        statistics = [("running_mean", STATISTIC), ("running_var", STATISTIC)]
        return [("weight", SCALE), ("bias", OFFSET), *statistics]
    return [("weight", FILTER), *([("bias", OFFSET)] if layer.bias else [])]


def counts(layers: Sequence[Layer], widths: Mapping[str, int] | None = None) -> Counts:
    """Return the parameter counts of a network, or of one of ``widths`` channels by group."""
    own = widths or {}
    every = [(layer.weights(own), layer.others(own)) for layer in layers]
    prunable = [both for layer, both in zip(layers, every, strict=True) if layer.prunable]
    return Counts(
        total=sum(map(sum, every)),
        prunable_modules=sum(map(sum, prunable)),
        prunable_weights=sum(weights for weights, _ in prunable),
    )


def multiply_adds(layers: Sequence[Layer], widths: Mapping[str, int] | None = None) -> int:
    """Return the multiply-adds of one image: one for each weight and place that it is applied to.

    Those of convolutions and linear layers, the classifier's among them; a kernel at an image's
    edge counts in full, and biases, batch norm, rectifiers and pooling do not count.
    """
    return sum(layer.weights(widths or {}) * layer.positions for layer in layers)


def word(layers: Sequence[Layer]) -> str:
    """Return a word for what layers say, so that what depends on it is made again."""
    return hashlib.sha256(repr(list(layers)).encode()).hexdigest()[:16]
