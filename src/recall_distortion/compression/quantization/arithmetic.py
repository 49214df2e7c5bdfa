"""What is computed with few bits: pure functions of tensors, the same bits on every device.

The scheme is that of Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, arXiv 1712.05877, section 2, with the choices of
TensorFlow Lite's specification of 8 bits: a number stands for (level - zero) * scale; weights are
symmetric (zero is level 0), a scale each output channel; what a layer gets is asymmetric, one scale
and zero for all of it, and 0 is always exact. Rounding is half to even.

Divisions are of float32 by float32, each rounded once, so that any IEEE arithmetic gives the same.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: The largest finite number in half precision.
_LARGEST_HALF = torch.finfo(torch.float16).max
_INT32 = torch.iinfo(torch.int32)


class Affine(NamedTuple):
    """Scale and zero of levels, float32 tensors of one shape."""

    scale: Tensor
    zero: Tensor


def largest_weight(bits: int) -> int:
    """Return the largest level of a weight, 127 of 8 bits; the least is its negative."""
    return int(2 ** (bits - 1)) - 1


def ends(bits: int) -> tuple[int, int]:
    """Return the least and the largest level of what a layer gets, -128 and 127 of 8 bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def quantize_weights(weights: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return levels, of the shape of float32 ``weights`` [O, ...], and scales [O].

    A channel's scale is its largest absolute weight over ``largest_weight(bits)``, or 1 where all
    its weights are 0. Levels are float32 here; a weight of 0 has level 0.
    """
    largest = weights.abs().flatten(1).amax(1)
    scale = largest / torch.full_like(largest, largest_weight(bits))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    limit = largest_weight(bits)
    levels = torch.round(weights / scale.view(-1, *(1,) * (weights.dim() - 1)))
    return levels.clamp(-limit, limit), scale


def affine(low: Tensor, high: Tensor, bits: int) -> Affine:
    """Return scale and zero, shaped as ``low`` and ``high``, of numbers between these and 0.

    The range is widened to hold 0, which then is a level. Where it is empty the scale is 1.
    """
    least, largest = ends(bits)
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / torch.full_like(low, largest - least)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero = (least - torch.round(low / scale)).clamp(least, largest)
    return Affine(scale, zero)


def above_zero(values: Tensor, found: Affine, bits: int) -> Tensor:
    """Return what stands for float32 values: level - zero, a whole number in float32."""
    least, largest = ends(bits)
    levels = torch.round(values / found.scale) + found.zero
    return levels.clamp(least, largest) - found.zero


def quantize_bias(bias: Tensor, scale: Tensor) -> Tensor:
    """Return a bias [O] as int32 multiples of ``scale`` [O], float64: input's times weights'."""
    return torch.round(bias.double() / scale).clamp(_INT32.min, _INT32.max).to(torch.int32)


def rounded(values: Tensor, weights: str) -> Tensor:
    """Return float32 values in ``float16`` or ``bfloat16``; beyond the range, its ends."""
    if weights == "float16":
        return values.clamp(-_LARGEST_HALF, _LARGEST_HALF).to(torch.float16)
    return values.to(torch.bfloat16)
