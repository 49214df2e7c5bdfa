"""A convolution with batch norm, shortcut and rectifier: what its kernels are started with.

Images lie as [K, N, H, W, C] in the precision that is multiplied in; K is 1 where all networks see
the same ones. Nothing here is known to autograd.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from recall_distortion.fast.gpu import convolution, normalization

# Pixels of a tile, a program's warps, and shares that sums over pixels are split into: as was
# measured to be fastest on an H200 in half precision (docs/performance.md).
TILE = 128
OPTIONS = {"num_warps": 4, "enable_fp_fusion": True}
SUMMED_TILE = 64  # of what loops over its share
WEIGHT_SHARES, NORM_SHARES = 16, 32
FACT_TILES = 64  # tiles' sums that are added at once
SMALLEST = 16  # channels that a GPU's matrix product takes


@dataclass(frozen=True)
class Unit:
    """K networks' layer: weight [K, 3, 3, CI, CO] in the images' precision, the others [K, CO]."""

    weight: Tensor
    gamma: Tensor
    beta: Tensor
    mean: Tensor
    variance: Tensor
    stride: int = 1
    momentum: float = 0.1
    eps: float = 1e-5

    def result(self, x: Tensor) -> tuple[int, int, int, int, int]:
        """Return the shape of what becomes of images."""
        _, batch, height, width, _ = x.shape
        rows, columns = (-(-size // self.stride) for size in (height, width))
        return len(self.weight), batch, rows, columns, self.weight.shape[-1]


@dataclass(frozen=True)
class Passed:
    """What a forward pass leaves to the backward one: [K, N, H, W, C], and ``facts`` [K, 4, C]."""

    x: Tensor
    y: Tensor
    facts: Tensor
    out: Tensor


def train(unit: Unit, x: Tensor, source: Tensor | None = None) -> Passed:
    """Return a unit's result with its batch's statistics, which the running ones follow.

    ``source`` is the block's input, where the unit ends a block.
    """
    shape = unit.result(x)
    networks, batch, rows, columns, channels = shape
    pixels = batch * rows * columns
    tiles = triton.cdiv(pixels, TILE)
    y, out = x.new_empty(shape), x.new_empty(shape)
    parts = unit.gamma.new_empty(networks, tiles, 2, channels)
    facts = unit.gamma.new_empty(networks, 4, channels)
    convolution.forward[(tiles, networks)](
        x,
        unit.weight,
        y,
        parts,
        *_sizes(x, y),
        _step(x),
        tiles,
        **_constants(unit, x),
        **OPTIONS,
    )
    normalization.facts[(networks,)](
        parts,
        unit.gamma,
        unit.beta,
        unit.mean,
        unit.variance,
        facts,
        pixels,
        tiles,
        unit.momentum,
        unit.eps,
        C=channels,
        BM=TILE,
        BT=FACT_TILES,
        **OPTIONS,
    )
    before = x if source is None else source
    normalization.forward[(tiles, networks)](
        y,
        facts,
        before,
        out,
        pixels,
        before.shape[2],
        before.shape[3],
        rows,
        columns,
        _step(before),
        C=channels,
        FROM=0 if source is None else source.shape[-1],
        BM=TILE,
        **OPTIONS,
    )
    return Passed(x, y, facts, out)


def evaluate(unit: Unit, x: Tensor, source: Tensor | None = None) -> Tensor:
    """Return a unit's result with the running statistics."""
    out = x.new_empty(unit.result(x))
    inverse = torch.rsqrt(unit.variance + unit.eps)
    scale = unit.gamma * inverse
    facts = torch.stack([unit.mean, inverse, scale, unit.beta - unit.mean * scale], 1)
    before = x if source is None else source
    networks, batch, rows, columns, _ = out.shape
    convolution.evaluate[(triton.cdiv(batch * rows * columns, TILE), networks)](
        x,
        unit.weight,
        out,
        facts,
        before,
        *_sizes(x, out),
        _step(x),
        before.shape[2],
        before.shape[3],
        _step(before),
        FROM=0 if source is None else source.shape[-1],
        **_constants(unit, x),
        **OPTIONS,
    )
    return out


@dataclass(frozen=True)
class Gradients:
    """Of a unit's weight [K, 3, 3, CI, CO], gamma and beta [K, CO], and of its images."""

    weight: Tensor
    gamma: Tensor
    beta: Tensor
    x: Tensor | None


def backward(
    unit: Unit,
    passed: Passed,
    dout: Tensor,
    block: tuple[Tensor, Tensor] | None = None,
    *,
    needs_x: bool = True,
) -> Gradients:
    """Return the gradients of a unit's parameters and images from that of its result.

    Where the unit begins a block, ``block`` is the block's result and its gradient: a part of it
    comes by way of the shortcut.
    """
    y = passed.y
    networks, _, _, _, channels = y.shape
    pixels = y[0].numel() // channels
    tiles = triton.cdiv(pixels, TILE)
    shares, share = _shares(pixels, NORM_SHARES)
    parts = unit.gamma.new_empty(shares, 2, networks, channels)
    normalization.gradient_sums[(shares, networks)](
        dout,
        passed.out,
        y,
        passed.facts,
        parts,
        pixels,
        share,
        C=channels,
        BM=SUMMED_TILE,
        **OPTIONS,
    )
    sums = parts.sum(0)
    dy = torch.empty_like(y)
    normalization.gradient[(tiles, networks)](
        dout,
        passed.out,
        y,
        passed.facts,
        sums,
        dy,
        pixels,
        C=channels,
        BM=TILE,
        **OPTIONS,
    )
    weight = _weight_gradient(unit, passed.x, dy)
    dx = _input_gradient(unit, passed.x, dy, block) if needs_x else None
    return Gradients(weight, sums[1], sums[0], dx)


def _weight_gradient(unit: Unit, x: Tensor, dy: Tensor) -> Tensor:
    networks, batch, rows, columns, channels = dy.shape
    shares, share = _shares(batch * rows * columns, WEIGHT_SHARES)
    parts = unit.gamma.new_empty(shares, *unit.weight.shape)
    convolution.weight_gradient[(shares, 3, networks)](
        x,
        dy,
        parts,
        *_sizes(x, dy),
        share,
        CI=x.shape[-1],
        PI=_padded(x.shape[-1]),
        CO=channels,
        STRIDE=unit.stride,
        PRECISION=products(x.dtype)["PRECISION"],
        BM=SUMMED_TILE,
        **OPTIONS,
    )
    return parts.sum(0)


def _input_gradient(
    unit: Unit, x: Tensor, dy: Tensor, block: tuple[Tensor, Tensor] | None
) -> Tensor:
    networks, batch, height, width, channels = x.shape
    dx = torch.empty_like(x)
    out, dout = (dy, dy) if block is None else block
    convolution.input_gradient[(triton.cdiv(batch * height * width, TILE), networks)](
        dy,
        unit.weight,
        dx,
        dout,
        out,
        *_sizes(x, dy),
        CI=channels,
        CO=dy.shape[-1],
        STRIDE=unit.stride,
        BLOCK=block is not None,
        BM=TILE,
        **products(x.dtype),
        **OPTIONS,
    )
    return dx


def products(dtype: torch.dtype) -> dict[str, Any]:
    """Return how a convolution of numbers of a type is multiplied.

    Single precision by three products of TF32, near enough, for the exact way takes minutes to
    compile; with fewer stages, so that what is loaded ahead fits a smaller GPU's memory.
    """
    if dtype == torch.float32:
        return {"UNROLLED": False, "PRECISION": "tf32x3", "num_stages": 2}
    return {"UNROLLED": True, "PRECISION": "tf32"}


def _shares(pixels: int, most: int) -> tuple[int, int]:
    """Return into how many shares pixels are split, and how many each has, in whole tiles.

    It depends on nothing else, so that a network's sums are the same whatever is computed with it.
    """
    tiles = triton.cdiv(pixels, SUMMED_TILE)
    each = triton.cdiv(tiles, most)
    return triton.cdiv(tiles, each), each * SUMMED_TILE


def _sizes(x: Tensor, y: Tensor) -> tuple[int, ...]:
    """Return the batch's size and both images' heights and widths, as the kernels take them."""
    return *x.shape[1:4], *y.shape[2:4]


def _constants(unit: Unit, x: Tensor) -> dict[str, Any]:
    """Return what a kernel that multiplies images by a weight is compiled for."""
    channels = x.shape[-1]
    return {
        "CI": channels,
        "PI": _padded(channels),
        "CO": unit.weight.shape[-1],
        "STRIDE": unit.stride,
        "BM": TILE,
        **products(x.dtype),
    }


def _padded(channels: int) -> int:
    padded: int = triton.next_power_of_2(channels)
    return max(padded, SMALLEST)


def _step(images: Tensor) -> int:
    """Return how many numbers lie between networks' images: none where all have the same ones."""
    return 0 if len(images) == 1 else images[0].numel()
