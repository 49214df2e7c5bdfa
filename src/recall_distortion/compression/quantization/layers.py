"""Convolutions and linear layers that multiply whole numbers.

Whole numbers are carried as floating-point ones and multiplied as matrices: their sums are exact in
any order while they stay below 2^24, which float32 holds, or 2^53, which float64 does. Products in
TF32 are exact too, its 11 bits holding any level. A library's convolution is not called, because it
may transform numbers before it multiplies them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recall_distortion.compression.quantization import arithmetic
from recall_distortion.compression.quantization.arithmetic import Affine
from recall_distortion.compression.quantization.folding import Layers, replace
from recall_distortion.compression.quantization.plan import STATIC, Quantizer
from recall_distortion.system.errors import NetworkError

#: The largest number up to which float32 holds every whole one.
EXACT = 2**24
#: Numbers of a matrix of patches at once on a CPU, so that it stays in the cache.
_CACHED = 2**19


def precision(fan_in: int, bits: int, activation_bits: int) -> torch.dtype:
    """Return the type in which sums of ``fan_in`` products are exact: float32 up to 518 of 8 bits.

    A weight's level is at most 2^(bits - 1) - 1 and what it is multiplied by 2^activation_bits - 1.
    """
    largest = fan_in * arithmetic.largest_weight(bits) * (2**activation_bits - 1)
    return torch.float32 if largest <= EXACT else torch.float64


class _Whole(nn.Module, ABC):
    """A layer with weights' levels [O, ...], their scales [O], and biases [O].

    With static activations the biases are int32 multiples of input's times weights' scale, carried
    in float64, and ``input_scale`` and ``input_zero`` are there; with dynamic ones they are
    numbers, and every image has a scale of its own. Gives float32, without a gradient.
    """

    input_scale: Tensor
    input_zero: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, quantizer: Quantizer) -> None:
        super().__init__()
        weight = layer.weight
        outputs, device = len(weight), weight.device
        self.bits = quantizer.activation_bits
        self.static = quantizer.activations == STATIC
        self.precision = precision(weight[0].numel(), quantizer.bits, self.bits)
        # Contiguous: a matrix of weights is a view of it.
        levels = torch.zeros(weight.shape, device=device)
        self.weight = nn.Parameter(levels, requires_grad=False)
        self.register_buffer("scale", torch.ones(outputs, device=device))
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.float64, device=device))
        if self.static:
            self.register_buffer("input_scale", torch.ones((), device=device))
            self.register_buffer("input_zero", torch.zeros((), device=device))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's values in float32."""
        if self.static:
            found = Affine(self.input_scale, self.input_zero)
        else:
            dims = tuple(range(1, x.dim()))
            low, high = x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)
            found = arithmetic.affine(low, high, self.bits)
        return self._products(arithmetic.above_zero(x, found, self.bits), found.scale)

    @abstractmethod
    def _products(self, levels: Tensor, scale: Tensor) -> Tensor: ...

    def _values(self, sums: Tensor, scale: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return what sums of products stand for; ``shape`` is that of what is per channel."""
        # The product of two float32 numbers is exact in float64.
        own = self.scale.double().view(shape) * scale.double()
        bias, sums = self.bias.view(shape), sums.double()
        return ((sums + bias) * own if self.static else sums * own + bias).float()


class WholeLinear(_Whole):
    """A linear layer of values [B, inputs]."""

    def _products(self, levels: Tensor, scale: Tensor) -> Tensor:
        sums = levels.to(self.precision) @ self.weight.to(self.precision).T
        return self._values(sums, scale, (1, -1))


class WholeConv2d(_Whole):
    """A convolution of values [B, C, H, W], by the product of its weights and all patches."""

    def __init__(self, layer: nn.Conv2d, quantizer: Quantizer) -> None:
        super().__init__(layer, quantizer)
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise NetworkError(
                f"a convolution with padding {layer.padding!r}, {layer.padding_mode}, cannot be "
                "quantized; give the padding in zeros, as numbers"
            )
        self.stride, self.dilation, self.groups = layer.stride, layer.dilation, layer.groups
        self.kernel_size, self.padding = layer.kernel_size, layer.padding

    def _products(self, levels: Tensor, scale: Tensor) -> Tensor:
        # The channels outermost: a matrix of patches then has whole rows of pixels.
        rows, columns = self.padding
        levels = F.pad(levels, (columns, columns, rows, rows)).to(self.precision).transpose(0, 1)
        height, width = (
            (size - reach * (kernel - 1) - 1) // step + 1
            for size, kernel, reach, step in zip(
                levels.shape[-2:], self.kernel_size, self.dilation, self.stride, strict=True
            )
        )
        each = self.weight[0].numel() * self.groups * height * width
        size = max(_CACHED // each, 1) if levels.device.type == "cpu" else levels.shape[1]
        # An image has a scale of its own, or all have one.
        scales = scale.split(size) if scale.dim() else [scale] * -(-levels.shape[1] // size)
        parts = [
            self._values(self._sums(part, height, width).transpose(0, 1), own, (1, -1, 1, 1))
            for part, own in zip(levels.split(size, 1), scales, strict=True)
        ]
        return torch.cat(parts)

    def _sums(self, levels: Tensor, height: int, width: int) -> Tensor:
        """Return the sums [O, B, height, width] of padded levels [C, B, H, W]."""
        (down, across), (reach, along) = self.stride, self.dilation
        patches = torch.stack(
            [
                levels[
                    :,
                    :,
                    i * reach : i * reach + down * (height - 1) + 1 : down,
                    j * along : j * along + across * (width - 1) + 1 : across,
                ]
                for i in range(self.kernel_size[0])
                for j in range(self.kernel_size[1])
            ],
            1,
        )  # [C, patch, B, height, width]
        weights = self.weight.to(self.precision).reshape(self.groups, -1, self.weight[0].numel())
        sums = weights @ patches.reshape(self.groups, weights.shape[-1], -1)
        return sums.reshape(-1, levels.shape[1], height, width)


def whole_network(network: nn.Module, layers: Layers, quantizer: Quantizer) -> nn.Module:
    """Return a network whose layers multiply whole numbers, without its batch norms.

    What lies between layers, rectifiers, pooling and sums, stays what it is, in float32; so do the
    logits. Its tensors are ``stored.carried``'s. Raises ``NetworkError`` for a convolution that
    cannot be computed.
    """
    found = deepcopy(layers.without_norms(network))
    for name in layers.norms:
        layer = found.get_submodule(name)
        if isinstance(layer, nn.Linear):
            replace(found, name, WholeLinear(layer, quantizer))
        elif isinstance(layer, nn.Conv2d):
            replace(found, name, WholeConv2d(layer, quantizer))
    return found
