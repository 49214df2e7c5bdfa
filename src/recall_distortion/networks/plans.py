"""The networks that a study can name, layer by layer, and the facts that follow without torch.

The workflow reads a study every time it starts, so nothing here imports torch. The parameter counts
are derived from the layers' shapes; a test holds them against the built networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recall_distortion.system.errors import NetworkError


@dataclass(frozen=True)
class Layer:
    """A layer with parameters: how many weights it has and how many others beside them."""

    weights: int
    others: int = 0  # biases, or the affine pair of a batch norm, whose weights are not prunable
    prunable: bool = True


@dataclass(frozen=True)
class Counts:
    """Parameters of a network.

    ``total`` counts every parameter, ``prunable_modules`` all parameters of the prunable
    convolutions and linear layers (ShrinkBench's accounting), ``prunable_weights`` only the
    weights among them, which are what a mask covers.
    """

    total: int
    prunable_modules: int
    prunable_weights: int


def _linear(inputs: int, outputs: int, *, prunable: bool = True) -> Layer:
    return Layer(inputs * outputs, outputs, prunable)


def _convolution(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> Layer:
    return Layer(inputs * outputs * kernel * kernel, outputs if bias else 0)


def _batch_norm(width: int) -> Layer:
    return Layer(0, 2 * width, prunable=False)


def _lenet5(channels: int, classes: int) -> list[Layer]:
    return [
        _convolution(channels, 6, 5),
        _convolution(6, 16, 5),
        _linear(400, 120),
        _linear(120, 84),
        _linear(84, classes, prunable=False),
    ]


def _mlp(channels: int, classes: int) -> list[Layer]:
    return [
        _linear(64 * channels, 32),
        _linear(32, 32),
        _linear(32, classes, prunable=False),
    ]


def _cnn(channels: int, classes: int) -> list[Layer]:
    return [
        _convolution(channels, 8, 3),
        _convolution(8, 16, 3),
        _linear(64, 32),
        _linear(32, classes, prunable=False),
    ]


def _resnet(blocks: int) -> Callable[[int, int], list[Layer]]:
    def layers(channels: int, classes: int) -> list[Layer]:
        found = [_convolution(channels, 16, 3, bias=False), _batch_norm(16)]
        inputs = 16
        for width in (16, 32, 64):
            for _ in range(blocks):
                found += [
                    _convolution(inputs, width, 3, bias=False),
                    _batch_norm(width),
                    _convolution(width, width, 3, bias=False),
                    _batch_norm(width),
                ]
                inputs = width
        return [*found, _linear(64, classes, prunable=False)]

    return layers


@dataclass(frozen=True)
class Architecture:
    """A network by name; ``depth`` orders the networks of one ``family`` from small to large."""

    family: str
    depth: int
    minimum_image_size: int
    layers: Callable[[int, int], list[Layer]]


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture("mlp", 3, 8, _mlp),
    "cnn": Architecture("cnn", 4, 4, _cnn),
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
