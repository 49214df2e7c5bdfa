"""The networks that a study can name, layer by layer, and the facts that follow without torch.

The workflow reads a study every time it starts, so nothing here imports torch. The parameter counts
are derived from the layers' shapes; a test holds them against the built networks. No job's numbers
depend on this file but through what the study says of them, so that adding a network retrains none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recall_distortion.networks.parameters import Counts, Layer, batch_norm, convolution, linear
from recall_distortion.system.errors import NetworkError


def _lenet5(channels: int, classes: int) -> list[Layer]:
    return [
        convolution(channels, 6, 5),
        convolution(6, 16, 5),
        linear(400, 120),
        linear(120, 84),
        linear(84, classes, prunable=False),
    ]


def _lenet300(channels: int, classes: int) -> list[Layer]:
    return [
        linear(784 * channels, 300),
        linear(300, 100),
        linear(100, classes, prunable=False),
    ]


def _mlp(channels: int, classes: int) -> list[Layer]:
    return [
        linear(64 * channels, 32),
        linear(32, 32),
        linear(32, classes, prunable=False),
    ]


def _cnn(channels: int, classes: int) -> list[Layer]:
    return [
        convolution(channels, 8, 3),
        convolution(8, 16, 3),
        linear(64, 32),
        linear(32, classes, prunable=False),
    ]


def _resnet(blocks: int) -> Callable[[int, int], list[Layer]]:
    def layers(channels: int, classes: int) -> list[Layer]:
        found = [convolution(channels, 16, 3, bias=False), batch_norm(16)]
        inputs = 16
        for width in (16, 32, 64):
            for _ in range(blocks):
                found += [
                    convolution(inputs, width, 3, bias=False),
                    batch_norm(width),
                    convolution(width, width, 3, bias=False),
                    batch_norm(width),
                ]
                inputs = width
        return [*found, linear(64, classes, prunable=False)]

    return layers


@dataclass(frozen=True)
class Architecture:
    """A network by name; ``depth`` orders the networks of one ``family`` from small to large.

    The module ``recall_distortion.networks.<family>`` builds it.
    """

    family: str
    depth: int
    minimum_image_size: int
    layers: Callable[[int, int], list[Layer]]


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


def parameter_counts(architecture: str, channels: int, classes: int) -> Counts:
    """Return the parameter counts of a network for images of ``channels`` and ``classes``."""
    if architecture not in ARCHITECTURES:
        raise NetworkError(
            f"unknown architecture {architecture!r}; known are {', '.join(ARCHITECTURES)}"
        )
    layers = ARCHITECTURES[architecture].layers(channels, classes)
    return Counts(
        total=sum(layer.weights + layer.others for layer in layers),
        prunable_modules=sum(layer.weights + layer.others for layer in layers if layer.prunable),
        prunable_weights=sum(layer.weights for layer in layers if layer.prunable),
    )
