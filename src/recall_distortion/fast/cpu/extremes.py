"""Jumpstart's penalty by the extremes of pre-activations, compiled by Numba.

The layers of networks are taken together, and the gradient of an extreme goes to its place alone:
PyTorch's passes over all places, three for each extreme, and its calls for each layer are left out.
Numbers are taken in the order in which they lie in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recall_distortion.fast.cpu.compiling import called, compiled
from recall_distortion.system.errors import NetworkError

#: How slacks become one number a network, by what the loops call it.
NORM, MEAN, BALANCED = range(3)
AGGREGATIONS = {"norm": NORM, "mean": MEAN, "balanced": BALANCED}
#: How pre-activations [K, B, units, ...] lie in memory: the networks, the batch, the units and the
#: places of a unit; how far apart networks and images are; and whether the units of a place lie
#: side by side, or the places of a unit.
Layout = tuple[int, int, int, int, int, int, bool]
#: What counts as one in the upper half of a number, whose lower half holds a place.
ONE = 1 << 32
#: Nearly so many numbers are compared with as many others at a time.
_WIDE = 128
#: Where a point has fewer numbers than this, all points are compared at a time.
_FEW = 12


# No NaN is an extreme: a loss of one is found by itself.
_compiled = compiled(fastmath={"nnan", "nsz"})


@_compiled
def _turn(z, start, of_image, rows):  # type: ignore[no-untyped-def]
    """Write a network's numbers, which begin at ``start``, to rows [units, batch]."""
    for u in range(len(rows)):
        row, unit = rows[u], z[start + u :: of_image]
        for b in range(len(row)):
            row[b] = unit[b]


@_compiled
def _find_of_few(z, layout, extremes, unit, point):  # type: ignore[no-untyped-def]
    """Do what ``_find`` does, for few units without places."""
    networks, batch, units, _, of_network, of_image, _ = layout
    rows = np.empty((units, batch), z.dtype)
    for k in range(networks):
        _turn(z, k * of_network, of_image, rows)
        top, bottom = extremes[0, k, point:][:batch], extremes[1, k, point:][:batch]
        top[:], bottom[:] = rows[0], rows[0]
        for u in range(units):
            row, most, least = rows[u], rows[u, 0], rows[u, 0]
            for b in range(batch):
                top[b] = row[b] if row[b] > top[b] else top[b]
                bottom[b] = row[b] if row[b] < bottom[b] else bottom[b]
            for b in range(batch):
                most = row[b] if row[b] > most else most
                least = row[b] if row[b] < least else least
            extremes[0, k, unit + u] = max(extremes[0, k, unit + u], most)
            extremes[1, k, unit + u] = min(extremes[1, k, unit + u], least)


@_compiled
def _outermost(image, highs, lows):  # type: ignore[no-untyped-def]
    """Return the largest and the smallest of an image's numbers, by arrays of half as many."""
    half = (len(image) + 1) // 2
    one, other = image[:half], image[half:]
    for i in range(half):
        highs[i], lows[i] = one[i], one[i]
    for i in range(len(other)):
        highs[i] = other[i] if other[i] > highs[i] else highs[i]
        lows[i] = other[i] if other[i] < lows[i] else lows[i]
    while half > 1:
        rest, half = half, (half + 1) // 2
        for i in range(rest - half):
            highs[i] = highs[half + i] if highs[half + i] > highs[i] else highs[i]
            lows[i] = lows[half + i] if lows[half + i] < lows[i] else lows[i]
    return highs[0], lows[0]


@_compiled
def _find_of_places(z, layout, extremes, unit, point):  # type: ignore[no-untyped-def]
    """Do what ``_find`` does, for units with places."""
    networks, batch, units, places, of_network, of_image, inside = layout
    size = units * places
    # Of each place in an image the largest and smallest numbers, and of each half of an image.
    tops, bottoms = np.empty(size, z.dtype), np.empty(size, z.dtype)
    highs, lows = np.empty(size, z.dtype), np.empty(size, z.dtype)
    for k in range(networks):
        tops[:], bottoms[:] = -np.inf, np.inf
        for b in range(batch):
            image = z[k * of_network + b * of_image :][:size]
            for i in range(size):
                tops[i] = image[i] if image[i] > tops[i] else tops[i]
                bottoms[i] = image[i] if image[i] < bottoms[i] else bottoms[i]
            extremes[0, k, point + b], extremes[1, k, point + b] = _outermost(image, highs, lows)
        for u in range(units):
            first, step = (u, units) if inside else (u * places, 1)
            tall, deep = tops[first::step], bottoms[first::step]
            high, low = extremes[0, k, unit + u], extremes[1, k, unit + u]
            for i in range(places):
                high = tall[i] if tall[i] > high else high
                low = deep[i] if deep[i] < low else low
            extremes[0, k, unit + u], extremes[1, k, unit + u] = high, low


@_compiled
def _find(z, layout, extremes, unit, point):  # type: ignore[no-untyped-def]
    """Write a layer's extremes, of units from column ``unit`` on, of points from ``point``.

    ``z`` is all numbers as they lie in memory, and ``extremes`` [2, K, columns] the largest and the
    smallest, of units only where they are beyond what stands there.
    """
    networks, batch, units, places, of_network, of_image, _ = layout
    if places > 1:
        _find_of_places(z, layout, extremes, unit, point)
        return
    if units < _FEW:
        _find_of_few(z, layout, extremes, unit, point)
        return
    for k in range(networks):
        high, low = extremes[0, k, unit : unit + units], extremes[1, k, unit : unit + units]
        for b in range(batch):
            image = z[k * of_network + b * of_image :][:units]
            top, bottom = image[0], image[0]
            for u in range(units):
                top = image[u] if image[u] > top else top
                bottom = image[u] if image[u] < bottom else bottom
            for u in range(units):
                high[u] = image[u] if image[u] > high[u] else high[u]
            for u in range(units):
                low[u] = image[u] if image[u] < low[u] else low[u]
            extremes[0, k, point + b], extremes[1, k, point + b] = top, bottom


@_compiled
def _aggregate(balance, aggregation, units, extremes, penalties, derivatives):  # type: ignore[no-untyped-def]
    """Write penalties [K], and their derivatives by the extremes [2, K, units + points]."""
    networks, columns = extremes.shape[1:]
    slacks = np.empty(columns)
    for k in range(networks):
        square = 0.0
        for i in range(columns):
            high, low = extremes[0, k, i], extremes[1, k, i]
            slacks[i] = balance * max(1 - high, 0) + (1 - balance) * max(1 + low, 0)
            square += slacks[i] * slacks[i]
        norm, total = math.sqrt(square), 0.0
        for i in range(columns):
            # The penalty's derivative by the slack, times which all slacks are the penalty.
            if aggregation == NORM:
                share = slacks[i] / norm if norm > 0 else 0.0
            elif aggregation == MEAN:
                share = 1 / columns
            else:
                share = 1 / units if i < units else 1 / (columns - units)
            total += share * slacks[i]
            derivatives[0, k, i] = -balance * share if extremes[0, k, i] < 1 else 0
            derivatives[1, k, i] = (1 - balance) * share if extremes[1, k, i] > -1 else 0
        penalties[k] = total


@_compiled
def _share(z, places, value, gradient, found):  # type: ignore[no-untyped-def]
    """Add a gradient to what is found at the places of a value, of these in z, in equal shares.

    ``places`` are of some images the first and the last, how far apart, and of images how far.
    """
    images, of_image, first, last, step = places
    many = 0
    for b in range(images):
        for at in range(first + b * of_image, last + b * of_image, step):
            many += z[at] == value
    for b in range(images):
        for at in range(first + b * of_image, last + b * of_image, step):
            if z[at] == value:
                found[at] += gradient / many


@_compiled
def _spread_points(z, layout, k, extremes, gradients, point, found):  # type: ignore[no-untyped-def]
    """Add the gradients of network k's points' extremes to what is found at their places."""
    _, batch, units, places, of_network, of_image, _ = layout
    size = units * places
    for b in range(batch):
        start = k * of_network + b * of_image
        image = z[start : start + size]
        high, low = extremes[0, k, point + b], extremes[1, k, point + b]
        of_high, of_low = gradients[0, k, point + b], gradients[1, k, point + b]
        if of_high == 0 and of_low == 0:
            continue
        # In the upper half how many there are, in the lower where, which holds of one alone.
        at_high, at_low = 0, 0
        for i in range(size):
            at_high += ONE + i if image[i] == high else 0
            at_low += ONE + i if image[i] == low else 0
        for at, value, gradient in ((at_high, high, of_high), (at_low, low, of_low)):
            if at >> 32 == 1:
                found[start + at - ONE] += gradient
            elif gradient != 0:
                _share(z, (1, 0, start, start + size, 1), value, gradient, found)


@_compiled
def _search(z, layout, highs, lows, found):  # type: ignore[no-untyped-def]
    """Write of each unit's extremes in a network's numbers how many and where they are [2, units].

    The number is in the upper half of what is written, and in the lower one where, if it is one.
    """
    _, batch, units, places, _, of_image, inside = layout
    found[:] = 0
    size = units * places
    if not inside:
        for b in range(batch):
            for u in range(units):
                start = b * of_image + u * places
                part, high, low = z[start : start + places], highs[u], lows[u]
                at_high, at_low = 0, 0
                for i in range(places):
                    at_high += ONE + start + i if part[i] == high else 0
                    at_low += ONE + start + i if part[i] == low else 0
                found[0, u] += at_high
                found[1, u] += at_low
        return
    if of_image == size:  # the images are as one
        batch, size = 1, batch * size
    wide = min(size, max(1, _WIDE // units) * units)
    wanted_highs, wanted_lows = np.empty(wide, z.dtype), np.empty(wide, z.dtype)
    at_highs, at_lows = np.zeros(wide, np.int64), np.zeros(wide, np.int64)
    for i in range(wide):
        wanted_highs[i], wanted_lows[i] = highs[i % units], lows[i % units]
    for b in range(batch):
        for first in range(b * of_image, b * of_image + size, wide):
            part = z[first : min(first + wide, b * of_image + size)]
            for i in range(len(part)):
                at_highs[i] += ONE + first if part[i] == wanted_highs[i] else 0
                at_lows[i] += ONE + first if part[i] == wanted_lows[i] else 0
    for i in range(wide):
        found[0, i % units] += at_highs[i] + i if at_highs[i] else 0
        found[1, i % units] += at_lows[i] + i if at_lows[i] else 0


@_compiled
def _spread_units(z, layout, k, extremes, gradients, unit, there, found):  # type: ignore[no-untyped-def]
    """Add the gradients of network k's units' extremes to what is found at their places."""
    _, batch, units, places, of_network, of_image, inside = layout
    start = k * of_network
    of_units = gradients[:, k, unit : unit + units]
    if not of_units.any():
        return
    values = extremes[:, k, unit : unit + units]
    _search(z[start:], layout, values[0], values[1], there)
    for kind in range(2):
        for u in range(units):
            if there[kind, u] >> 32 == 1:
                found[start + there[kind, u] - ONE] += of_units[kind, u]
            elif of_units[kind, u] != 0:
                step = units if inside else 1
                first = start + (u if inside else u * places)
                span = batch, of_image, first, first + (places - 1) * step + 1, step
                _share(z, span, values[kind, u], of_units[kind, u], found)


@_compiled
def _spread_of_few(z, layout, extremes, gradients, unit, point, found):  # type: ignore[no-untyped-def]
    """Do what ``_spread`` does, for few units without places."""
    networks, batch, units, _, of_network, of_image, _ = layout
    rows, to = np.empty((units, batch), z.dtype), np.empty((units, batch), z.dtype)
    of_high, of_low, nothing = np.empty(batch, z.dtype), np.empty(batch, z.dtype), np.float32(0)
    highs, lows = np.empty(batch, np.int32), np.empty(batch, np.int32)
    for k in range(networks):
        _turn(z, k * of_network, of_image, rows)
        _turn(found, k * of_network, of_image, to)
        tops, bottoms = extremes[0, k, point:][:batch], extremes[1, k, point:][:batch]
        highs[:], lows[:] = 0, 0
        for u in range(units):
            row = rows[u]
            for b in range(batch):
                highs[b] += row[b] == tops[b]
                lows[b] += row[b] == bottoms[b]
        for b in range(batch):
            of_high[b] = gradients[0, k, point + b] / np.float32(highs[b])
            of_low[b] = gradients[1, k, point + b] / np.float32(lows[b])
        for u in range(units):
            row, own = rows[u], to[u]
            high, low = extremes[0, k, unit + u], extremes[1, k, unit + u]
            many_high, many_low = 0, 0
            for b in range(batch):
                many_high += row[b] == high
                many_low += row[b] == low
            most = gradients[0, k, unit + u] / np.float32(many_high)
            least = gradients[1, k, unit + u] / np.float32(many_low)
            for b in range(batch):
                own[b] += of_high[b] if row[b] == tops[b] else nothing
                own[b] += of_low[b] if row[b] == bottoms[b] else nothing
                own[b] += most if row[b] == high else nothing
                own[b] += least if row[b] == low else nothing
        for b in range(batch):
            image = found[k * of_network + b * of_image :][:units]
            for u in range(units):
                image[u] = to[u, b]


@_compiled
def _spread(z, layout, extremes, gradients, unit, point, found):  # type: ignore[no-untyped-def]
    """Add the gradients of a layer's extremes to what is found at their places."""
    if layout[3] == 1 and layout[2] < _FEW:
        _spread_of_few(z, layout, extremes, gradients, unit, point, found)
        return
    there = np.empty((2, layout[2]), np.int64)
    for k in range(layout[0]):
        _spread_points(z, layout, k, extremes, gradients, point, found)
        _spread_units(z, layout, k, extremes, gradients, unit, there, found)


def layout(z: Tensor) -> Layout | None:
    """Return how pre-activations [K, B, units, ...] lie in memory, or None where loops take none.

    Loops take single precision on a CPU without gaps, each image's numbers together.
    """
    if z.device.type != "cpu" or z.dtype != torch.float32:
        return None
    return _laid_out(z.shape, z.stride())


@lru_cache
def _laid_out(shape: tuple[int, ...], strides: tuple[int, ...]) -> Layout | None:
    networks, batch, units, *inner = shape
    of_network, of_image, of_unit, *of_inner = strides
    places = math.prod(inner)
    if not networks * batch * units * places:
        return None
    inside = places == 1 or of_unit == 1
    within = [(units, of_unit), *zip(inner, of_inner, strict=True)]
    if inside:
        within = [*within[1:], within[0]]
    without = sorted([(networks, of_network), (batch, of_image)], key=itemgetter(1), reverse=True)
    expected = 1
    for size, stride in reversed(without + within):
        if size > 1 and stride != expected:
            return None
        expected *= size
    return networks, batch, units, places, of_network, of_image, inside


def _memory(z: Tensor) -> Any:
    """Return all numbers in the order in which they lie in memory, in one dimension."""
    if z.is_contiguous():  # in half the time
        return z.numpy().reshape(-1)
    return z.as_strided((z.numel(),), (1,)).numpy()


_find_in, _aggregate_in, _spread_in = map(called, (_find, _aggregate, _spread))


def starts(layouts: Sequence[Layout]) -> Iterator[tuple[int, int]]:
    """Yield for each layer the columns from which on its extremes stand.

    First those of its units, and then those of its points.
    """
    unit, point = 0, sum(units for _, _, units, *_ in layouts)
    for _, batch, units, *_ in layouts:
        yield unit, point
        unit, point = unit + units, point + batch


def find(layers: Sequence[Tensor]) -> Tensor:
    """Return the extremes [2, K, units + points] of layers [K, B, units, ...] with a ``layout``.

    The largest are first, and of a network's first those of all layers' units.
    """
    layouts = _layouts(layers)
    columns = sum(batch + units for _, batch, units, *_ in layouts)
    extremes = layers[0].new_empty(2, layouts[0][0], columns)
    found = extremes.numpy()
    found[0], found[1] = -np.inf, np.inf
    for z, laid, own in zip(layers, layouts, starts(layouts), strict=True):
        _find_in(_memory(z), laid, found, *own)
    return extremes


def spread(
    layers: Sequence[Tensor], extremes: Tensor, gradients: Tensor
) -> list[Callable[[Tensor], None]]:
    """Return what adds to a gradient of each layer that of its extremes, which equal ones share.

    The gradient that it is given lies in memory as the layer's results do.
    """
    values, of_values, layouts = extremes.numpy(), gradients.contiguous().numpy(), _layouts(layers)

    def spread_one(z: Tensor, laid: Layout, own: tuple[int, int], found: Tensor) -> None:
        _spread_in(_memory(z), laid, values, of_values, *own, _memory(found))

    return [partial(spread_one, *one) for one in zip(layers, layouts, starts(layouts), strict=True)]


def _layouts(layers: Sequence[Tensor]) -> list[Layout]:
    """Return layouts of layers that have one."""
    found = [laid for z in layers if (laid := layout(z)) is not None]
    assert len(found) == len(layers)
    return found


def penalize(
    extremes: Tensor, units: int, balance: float, aggregation: str
) -> tuple[Tensor, Tensor]:
    """Return Jumpstart's penalties [K] of extremes [2, K, units + points], and their derivatives.

    So many of the extremes are of units.
    """
    extremes = extremes.detach().contiguous()
    penalties, derivatives = extremes.new_empty(extremes.shape[1]), torch.empty_like(extremes)
    found = extremes.numpy(), penalties.numpy(), derivatives.numpy()
    _aggregate_in(balance, AGGREGATIONS[aggregation], units, *found)
    return penalties, derivatives


def _refuse_second_derivatives() -> None:
    if torch.is_grad_enabled():  # torch records a backward pass that is to be differentiated
        raise NetworkError(
            "extremes of pre-activations have first derivatives alone on a CPU: take "
            "create_graph=True out, or the loss without Jumpstart"
        )


class Extremes(torch.autograd.Function):
    """The extremes of layers that ``find`` returns."""

    @staticmethod
    def forward(ctx: Any, *layers: Tensor) -> Tensor:
        """Return the extremes [2, K, units + points]."""
        extremes = find(layers)
        ctx.save_for_backward(extremes, *layers)
        return extremes

    @staticmethod
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the layers.

        Raises ``NetworkError`` where they are to have gradients of their own
        (``create_graph=True``).
        """
        _refuse_second_derivatives()
        extremes, *layers = ctx.saved_tensors
        found = []
        for z, add in zip(layers, spread(layers, extremes, gradients), strict=True):
            found.append(torch.zeros_like(z))  # without gaps, so that it lies as z does
            add(found[-1])
        return tuple(found)


class OfPeaks(torch.autograd.Function):
    """The extremes of layers of which the largest and smallest numbers in each image are given."""

    @staticmethod
    def forward(ctx: Any, *peaks: Tensor) -> Tensor:
        """Return the extremes [2, K, units + points] of layers with peaks [2, K, B, units]."""
        extremes = find([own[0] for own in peaks])
        extremes[1] = find([own[1] for own in peaks])[1]
        ctx.save_for_backward(extremes, *peaks)
        return extremes

    @staticmethod
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the peaks, or raise what ``Extremes`` does."""
        _refuse_second_derivatives()
        extremes, *peaks = ctx.saved_tensors
        found = tuple(map(torch.zeros_like, peaks))
        for kind in range(2):
            of_kind = torch.zeros_like(extremes)
            of_kind[kind] = gradients[kind]
            layers = [own[kind] for own in peaks]
            for add, gradient in zip(spread(layers, extremes, of_kind), found, strict=True):
                add(gradient[kind])
        return found


class Penalties(torch.autograd.Function):
    """Jumpstart's penalties [K] of extremes [2, K, units + points]."""

    @staticmethod
    def forward(ctx: Any, extremes: Tensor, units: int, balance: float, aggregation: str) -> Tensor:
        """Return the penalties where so many of the extremes are of units."""
        penalties, ctx.derivatives = penalize(extremes, units, balance, aggregation)
        return penalties

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the extremes."""
        return ctx.derivatives * gradient[:, None], None, None, None
