"""The networks that a study can name, layer by layer, and the facts that follow without torch.

The workflow reads a study every time it starts, so nothing here imports torch. The parameter counts
are derived from the layers' shapes; a test holds them against the built networks. No job's numbers
depend on this file but through what the study says of them, so that adding a network retrains none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recall_distortion.networks import sizes, structure
from recall_distortion.networks.parameters import Counts
from recall_distortion.networks.structure import Group, Layer, batch_norm, convolution, linear
from recall_distortion.system.errors import NetworkError

Image = tuple[int, int]  # height and width


def _lenet5(channels: int, classes: int, image: Image) -> list[Layer]:
    conv1, conv2, fc1, fc2 = map(Group, ("conv1", "conv2", "fc1", "fc2"), (6, 16, 120, 84))
    return [
        convolution("conv1", channels, conv1, 5, image),
        convolution("conv2", conv1, conv2, 5, (image[0] // 2 - 4, image[1] // 2 - 4)),
        linear("fc1", conv2, fc1, pixels=25),
        linear("fc2", fc1, fc2),
        linear("classifier", fc2, classes, prunable=False),
    ]


def _lenet300(channels: int, classes: int, image: Image) -> list[Layer]:
    fc1, fc2 = Group("fc1", 300), Group("fc2", 100)
    return [
        linear("fc1", 784 * channels, fc1),
        linear("fc2", fc1, fc2),
        linear("classifier", fc2, classes, prunable=False),
    ]


def _mlp(channels: int, classes: int, image: Image) -> list[Layer]:
    fc1, fc2 = Group("fc1", 32), Group("fc2", 32)
    return [
        linear("fc1", 64 * channels, fc1),
        linear("fc2", fc1, fc2),
        linear("classifier", fc2, classes, prunable=False),
    ]


def _cnn(channels: int, classes: int, image: Image) -> list[Layer]:
    conv1, conv2, fc1 = Group("conv1", 8), Group("conv2", 16), Group("fc1", 32)
    return [
        convolution("conv1", channels, conv1, 3, image),
        convolution("conv2", conv1, conv2, 3, (image[0] // 2, image[1] // 2)),
        linear("fc1", conv2, fc1, pixels=4),
        linear("classifier", fc1, classes, prunable=False),
    ]


# Shortcuts add the channels of stages, and where the width grows pad with zeros before and after
# (option A): channel c of stage 1 is c + 8 of stage 2 and c + 24 of stage 3, and one unit with it.
# What padding adds in a stage goes on in the next, its half before and its half after by itself, so
# that at one fraction both halves lose as many and what is left is padded alike.
_FIRST = Group("stage1", 16)
_SECOND = Group("stage2_before", 8), Group("stage2_after", 8)
_THIRD = Group("stage3_before", 16), Group("stage3_after", 16)
_STAGES: tuple[tuple[Group, ...], ...] = (
    (_FIRST,),
    (_SECOND[0], _FIRST, _SECOND[1]),
    (_THIRD[0], _SECOND[0], _FIRST, _SECOND[1], _THIRD[1]),
)


def _resnet(blocks: int) -> Callable[[int, int, Image], list[Layer]]:
    def layers(channels: int, classes: int, image: Image) -> list[Layer]:
        found = [
            convolution("conv1", channels, _FIRST, 3, image, bias=False),
            batch_norm("bn1", _FIRST),
        ]
        inputs: tuple[Group, ...] = (_FIRST,)
        for number, stage in enumerate(_STAGES, start=1):
            if number > 1:
                image = (image[0] + 1) // 2, (image[1] + 1) // 2
            for block in range(blocks):
                name = f"stage{number}.{block}"
                inner = Group(f"{name}.conv1", 8 * 2**number)
                found += [
                    convolution(f"{name}.conv1", inputs, inner, 3, image, bias=False),
                    batch_norm(f"{name}.bn1", inner),
                    convolution(f"{name}.conv2", inner, stage, 3, image, bias=False),
                    batch_norm(f"{name}.bn2", stage),
                ]
                inputs = stage
        return [*found, linear("classifier", inputs, classes, prunable=False)]

    return layers


def _thin_mlp(depth: int, width: int) -> Callable[[int, int, Image], list[Layer]]:
    def layers(channels: int, classes: int, image: Image) -> list[Layer]:
        hidden = [Group(f"hidden.{number}", width) for number in range(depth)]
        inputs: list[int | Group] = [64 * channels, *hidden]
        found = [linear(own.name, of, own) for of, own in zip(inputs, hidden, strict=False)]
        return [*found, linear("classifier", inputs[-1], classes, prunable=False)]

    return layers


def _thin_cnn(depth: int, width: int) -> Callable[[int, int, Image], list[Layer]]:
    def layers(channels: int, classes: int, image: Image) -> list[Layer]:
        hidden = [Group(f"hidden.{number}", width) for number in range(depth)]
        inputs: list[int | Group] = [channels, *hidden]
        found = [
            convolution(own.name, of, own, 3, image)
            for of, own in zip(inputs, hidden, strict=False)
        ]
        # The classifier reads each channel twice: its mean and its maximum.
        return [*found, linear("classifier", (hidden[-1],) * 2, classes, prunable=False)]

    return layers


@dataclass(frozen=True)
class Architecture:
    """A network by name; ``depth`` orders the networks of one ``series`` from small to large.

    The module ``recall_distortion.networks.<family>`` builds it. ``layers`` gives its layers for
    images of so many channels, so many classes, and images of a height and width. A series is the
    family, or those of it that differ in depth alone.
    """

    family: str
    depth: int
    minimum_image_size: int
    layers: Callable[[int, int, Image], list[Layer]]
    width: int | None = None

    @property
    def series(self) -> str:
        """What is compared from small to large."""
        return self.family if self.width is None else f"{self.family} of width {self.width}"


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture("mlp", 3, 8, _mlp),
    "cnn": Architecture("cnn", 4, 4, _cnn),
    "lenet300": Architecture("lenet300", 3, 28, _lenet300),
    "lenet5": Architecture("lenet", 5, 12, _lenet5),
    **{
        f"resnet{6 * blocks + 2}": Architecture("resnet", 6 * blocks + 2, 8, _resnet(blocks))
        for blocks in (3, 5, 7, 9, 18)
    },
}
#: Networks whose names say their depth and width, with the smallest image and what gives layers.
SIZED: dict[str, tuple[int, Callable[[int, int], Callable[[int, int, Image], list[Layer]]]]] = {
    "thin_mlp": (8, _thin_mlp),
    "thin_cnn": (3, _thin_cnn),
}
#: Every network, as messages list them.
KNOWN = (*ARCHITECTURES, *(f"{name}_<depth>x<width>" for name in SIZED))


def architecture(name: str) -> Architecture:
    """Return a network's facts; raises ``NetworkError`` for an unknown one."""
    network, size = sizes.parted(name)
    if size:
        smallest, layers_of = SIZED[network]
        depth, width = size["depth"], size["width"]
        return Architecture(network, depth + 1, smallest, layers_of(depth, width), width)
    if name not in ARCHITECTURES:
        raise NetworkError(f"unknown architecture {name!r}; known are {', '.join(KNOWN)}")
    return ARCHITECTURES[name]


def layers(name: str, channels: int, classes: int, image: Image | None = None) -> list[Layer]:
    """Return a network's layers for images of ``channels`` and ``classes``.

    ``image`` is their height and width, by default the smallest that the network takes; only
    multiply-adds depend on it. Raises ``NetworkError`` for an unknown network.
    """
    facts = architecture(name)
    return facts.layers(channels, classes, image or (facts.minimum_image_size,) * 2)


def parameter_counts(name: str, channels: int, classes: int) -> Counts:
    """Return the parameter counts of a network for images of ``channels`` and ``classes``."""
    return structure.counts(layers(name, channels, classes))
