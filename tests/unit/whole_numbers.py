"""Quantized networks in exact integers, written apart from the package: NumPy and nothing of it.

What a layer gets becomes integers, sums are of int64, and what lies between layers is written out
for each network as its paper has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Tensors = Mapping[str, np.ndarray]
Layer = Callable[..., np.ndarray]


def weight_levels(weights: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return levels and scales of float32 weights [O, ...]."""
    limit = np.float32(2 ** (bits - 1) - 1)
    rows = weights.reshape(len(weights), -1)
    scale = (np.abs(rows).max(1) / limit).astype(np.float32)
    scale[scale == 0] = 1
    levels = np.clip(np.rint(rows / scale[:, None]), -limit, limit)
    return levels.reshape(weights.shape).astype(np.int64), scale


def levels_of(low: np.ndarray, high: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and zero of numbers in a range; 0 is always one of the levels."""
    least = -(2 ** (bits - 1))
    low, high = np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
    scale = ((high - low) / np.float32(2**bits - 1)).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1))
    zero = np.clip(least - np.rint(low / scale), least, -least - 1)
    return scale, zero.astype(np.int64)


class Integers:
    """The layers of a stored network; ``bits`` are those of what they get."""

    def __init__(self, stored: Tensors, bits: int = 8) -> None:
        self.stored, self.bits = stored, bits

    def _levels(self, name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return level - zero of what a layer gets, and the scale, of all or of each image."""
        assert x.dtype == np.float32
        least = -(2 ** (self.bits - 1))
        if f"{name}.input_scale" in self.stored:
            scale = self.stored[f"{name}.input_scale"].reshape((1,) * x.ndim)
            zero = self.stored[f"{name}.input_zero"].astype(np.int64).reshape((1,) * x.ndim)
        else:
            dims = tuple(range(1, x.ndim))
            low, high = x.min(dims, keepdims=True), x.max(dims, keepdims=True)
            scale, zero = levels_of(low, high, self.bits)
        levels = np.rint(x / scale).astype(np.int64) + zero
        return np.clip(levels, least, -least - 1) - zero, scale

    def _values(self, name: str, sums: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return what int64 sums [B, O, ...] stand for."""
        shape = (1, -1) + (1,) * (sums.ndim - 2)
        own = self.stored[f"{name}.scale"].astype(np.float64).reshape(shape)
        own = own * scale.astype(np.float64)
        bias = self.stored[f"{name}.bias"].reshape(shape)
        if bias.dtype == np.int32:
            return ((sums + bias.astype(np.int64)) * own).astype(np.float32)
        return (sums * own + bias.astype(np.float64)).astype(np.float32)

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        levels, scale = self._levels(name, x)
        return self._values(name, levels @ self.stored[f"{name}.weight"].astype(np.int64).T, scale)

    def convolution(self, name: str, x: np.ndarray, padding: int, stride: int = 1) -> np.ndarray:
        levels, scale = self._levels(name, x)
        weights = self.stored[f"{name}.weight"].astype(np.int64)
        side = weights.shape[-1]
        levels = np.pad(levels, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        windows = np.lib.stride_tricks.sliding_window_view(levels, (side, side), (2, 3))
        windows = windows[:, :, ::stride, ::stride]
        n, _, height, width = windows.shape[:4]
        patches = np.ascontiguousarray(windows.transpose(0, 2, 3, 1, 4, 5))
        sums = patches.reshape(n * height * width, -1) @ weights.reshape(len(weights), -1).T
        sums = sums.reshape(n, height, width, -1).transpose(0, 3, 1, 2)
        return self._values(name, sums, scale)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, np.float32(0))


def halved(x: np.ndarray) -> np.ndarray:
    """Return the maxima of windows of 2 x 2."""
    n, c, h, w = x.shape
    return x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def mlp(layers: Integers, images: np.ndarray) -> np.ndarray:
    """LeNet-300-100 differs in nothing but its sizes."""
    x = relu(layers.linear("fc1", images.reshape(len(images), -1)))
    return layers.linear("classifier", relu(layers.linear("fc2", x)))


def cnn(layers: Integers, images: np.ndarray) -> np.ndarray:
    x = relu(halved(layers.convolution("conv1", images, 1)))
    x = relu(halved(layers.convolution("conv2", x, 1)))
    return layers.linear("classifier", relu(layers.linear("fc1", x.reshape(len(x), -1))))


def lenet5(layers: Integers, images: np.ndarray) -> np.ndarray:
    x = relu(halved(layers.convolution("conv1", images, 2)))
    x = relu(halved(layers.convolution("conv2", x, 0)))
    x = relu(layers.linear("fc1", x.reshape(len(x), -1)))
    return layers.linear("classifier", relu(layers.linear("fc2", x)))


def resnet20(layers: Integers, images: np.ndarray) -> np.ndarray:
    x = relu(layers.convolution("conv1", images, 1))
    for stage in (1, 2, 3):
        for block in range(3):
            grows = stage > 1 and block == 0
            name = f"stage{stage}.{block}"
            y = relu(layers.convolution(f"{name}.conv1", x, 1, 2 if grows else 1))
            y = layers.convolution(f"{name}.conv2", y, 1)
            if grows:
                more = (y.shape[1] - x.shape[1]) // 2
                x = np.pad(x[:, :, ::2, ::2], ((0, 0), (more, more), (0, 0), (0, 0)))
            x = relu(y + x)
    return layers.linear("classifier", x.mean((2, 3), dtype=np.float32))


NETWORKS = {"mlp": mlp, "lenet300": mlp, "cnn": cnn, "lenet5": lenet5, "resnet20": resnet20}
