"""Extremes of pre-activations over units and over points, and where they are, compiled by Numba.

The gradient of an extreme goes to its place alone: PyTorch's passes over all places, three for each
extreme, are left out. Numbers are taken in the order in which they lie in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

_Array = NDArray[Any]


def _compiled(function: Any) -> Any:
    # No NaN is an extreme: a loss of one is found by itself.
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"nnan", "nsz"}}
    try:
        return njit(function, cache=True, **options)
    except RuntimeError:  # neither the package's folder nor the user's can hold a cache
        return njit(function, **options)


@_compiled
def _find(z, sizes, strides, units_inside, values, places):  # type: ignore[no-untyped-def]
    """Write the extremes and their places in z, and return whether any is at several places.

    ``z`` is all memory between the first and the last number; of network k and image b the rows x
    begin at k, b and x times ``strides``, and hold units, or the places of one unit.
    """
    networks, batch, rows, columns = sizes
    high_units, low_units, high_points, low_points = values
    at_high_units, at_low_units, at_high_points, at_low_points = places
    several = False
    for k in range(networks):
        highs, lows = high_units[k], low_units[k]
        at_highs, at_lows = at_high_units[k], at_low_units[k]
        many_highs, many_lows = np.zeros(len(highs), np.int64), np.zeros(len(highs), np.int64)
        for b in range(batch):
            start = k * strides[0] + b * strides[1]
            top, bottom = z[start], z[start]
            for x in range(rows):
                row = z[start + x * strides[2] : start + x * strides[2] + columns]
                high, low = row[0], row[0]
                for y in range(columns):
                    high = row[y] if row[y] > high else high
                    low = row[y] if row[y] < low else low
                top = high if high > top else top
                bottom = low if low < bottom else bottom
                if units_inside:
                    for y in range(columns):
                        highs[y] = row[y] if row[y] > highs[y] else highs[y]
                    for y in range(columns):
                        lows[y] = row[y] if row[y] < lows[y] else lows[y]
                else:
                    highs[x] = high if high > highs[x] else highs[x]
                    lows[x] = low if low < lows[x] else lows[x]
            many, where, many_low, where_low = 0, 0, 0, 0
            for x in range(rows):
                row_at = start + x * strides[2]
                row = z[row_at : row_at + columns]
                for y in range(columns):
                    is_top, is_bottom = np.int64(row[y] == top), np.int64(row[y] == bottom)
                    many += is_top
                    where += is_top * (row_at + y)
                    many_low += is_bottom
                    where_low += is_bottom * (row_at + y)
            several |= many > 1 or many_low > 1
            high_points[k, b], low_points[k, b] = top, bottom
            at_high_points[k, b], at_low_points[k, b] = where, where_low
        for b in range(batch):
            for x in range(rows):
                row_at = k * strides[0] + b * strides[1] + x * strides[2]
                row = z[row_at : row_at + columns]
                if units_inside:
                    for y in range(columns):
                        is_one = np.int64(row[y] == highs[y])
                        many_highs[y] += is_one
                        at_highs[y] += is_one * (row_at + y)
                    for y in range(columns):
                        is_one = np.int64(row[y] == lows[y])
                        many_lows[y] += is_one
                        at_lows[y] += is_one * (row_at + y)
                else:
                    many, where, many_low, where_low = 0, 0, 0, 0
                    for y in range(columns):
                        is_top = np.int64(row[y] == highs[x])
                        is_bottom = np.int64(row[y] == lows[x])
                        many += is_top
                        where += is_top * (row_at + y)
                        many_low += is_bottom
                        where_low += is_bottom * (row_at + y)
                    many_highs[x] += many
                    at_highs[x] += where
                    many_lows[x] += many_low
                    at_lows[x] += where_low
        for u in range(len(highs)):
            several |= many_highs[u] > 1 or many_lows[u] > 1
    return several


@_compiled
def _spread(places, gradients, found):  # type: ignore[no-untyped-def]
    """Add gradients to what is found at their places."""
    for i in range(len(places)):
        for at, gradient in zip(places[i].flat, gradients[i].flat):  # noqa: B905
            found[at] += gradient


class _Laid:
    """How pre-activations [K, B, units, ...] lie in memory: as rows without gaps."""

    def __init__(self, z: Tensor) -> None:
        networks, batch, units = z.shape[:3]
        count = z[0, 0, 0].numel()
        of_place = z.stride(-1) if z.dim() > 3 else 1
        self.units_inside = z.stride(2) == 1 and (count == 1 or of_place != 1)
        rows, columns = (count, units) if self.units_inside else (units, count)
        of_row = of_place if self.units_inside else z.stride(2)
        self.sizes = networks, batch, rows, columns
        self.strides = z.stride(0), z.stride(1), of_row
        last = sum((n - 1) * s for n, s in zip(self.sizes, (*self.strides, 1), strict=True))
        self.span = last + 1


def is_laid_out(z: Tensor) -> bool:
    """Return whether the loops take pre-activations [K, B, units, ...] as they lie."""
    if z.device.type != "cpu" or z.dtype not in (torch.float32, torch.float64) or not z.numel():
        return False
    step = z.stride(-1)
    for size, stride in zip(reversed(z.shape[3:]), reversed(z.stride()[3:]), strict=True):
        if size > 1 and stride != step:
            return False
        step *= size
    return z.stride(2) == 1 or (z.dim() > 3 and z.stride(-1) == 1)


class Extremes(torch.autograd.Function):
    """The largest and the smallest of each unit [K, units] and of each point [K, B]."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> tuple[Tensor, ...]:
        """Return units' largest and smallest, then points', of z [K, B, units, ...]."""
        laid = _Laid(z)
        networks, batch, units = z.shape[:3]
        low = torch.finfo(z.dtype).min
        found = [z.new_full((networks, units), low), z.new_full((networks, units), -low)]
        found += [z.new_empty(networks, batch), z.new_empty(networks, batch)]
        places = tuple(np.zeros(one.shape, np.int64) for one in found)
        flat = z.detach().as_strided((laid.span,), (1,)).numpy()
        several = _find(
            flat, laid.sizes, laid.strides, laid.units_inside,
            tuple(one.numpy() for one in found), places,
        )  # fmt: skip
        ctx.places = None if several else places
        ctx.span = laid.span
        ctx.save_for_backward(z, *found)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the gradient of z, which equal extremes share."""
        z, *values = ctx.saved_tensors
        if ctx.places is None:
            return _shared(z, values, gradients)
        found = torch.zeros(ctx.span, dtype=z.dtype)
        arrays = tuple(one.detach().contiguous().numpy() for one in gradients)
        _spread(ctx.places, arrays, found.numpy())
        return found.as_strided(z.shape, z.stride())


def _shared(z: Tensor, values: list[Tensor], gradients: tuple[Tensor, ...]) -> Tensor:
    """Return the gradient of z where an extreme is at several places, which share it."""
    total = torch.zeros_like(z)
    inner = (1,) * (z.dim() - 3)
    for number, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
        unit = number < 2
        shape = (len(z), 1, -1, *inner) if unit else (len(z), -1, 1, *inner)
        there = (z == value.reshape(shape)).to(z.dtype)
        over = (1, *range(3, z.dim())) if unit else (*range(2, z.dim()),)
        total.addcmul_(there, gradient.reshape(shape) / there.sum(over, keepdim=True))
    return total
