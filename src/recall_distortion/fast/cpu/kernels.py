"""Convolution, pooling and rectifier in one loop over the images, compiled by Numba for a CPU.

The usual layers compute a convolution's gradients at every place, although pooling by 2 passes on
one place in four and the rectifier fewer. Here the gradients go through the places that were passed
on alone: a quarter of the work, an image at a time in the processor's nearest memory.

Arrays are contiguous and of one type, float32 or float64, and K networks are computed one after
another: images [K, B, C, H, W], or [1, B, C, H, W] for the same images for all of them.

The inner loops are written in vectors. LLVM, which compiles for Numba, does not by itself keep sums
in registers while it goes over the taps of a convolution or the places of its outputs, and that
costs a factor of three. So three functions hand it these loops as vectors, through llvmlite, of
which Numba is made. LLVM cuts a vector into what the processor has: nothing here depends on one.

All this is one module because Numba takes a compiled function from disk if this file is unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from recall_distortion.fast.cpu.compiling import called, compiled

#: The place of a maximum that is not above 0: no gradient passes.
DEAD = 4


class Kernels(NamedTuple):
    """The layer's two functions for a shape of the weight. Both write into the arrays given last.

    ``forward(images, weight [K, O, C, k, k], bias [K, O], padding, found, place, peaks, at)``
    writes relu(max_pool2d(conv2d(...), 2)) into ``found`` [K, B, O, h, w], with h = floor((H + 2
    padding - k + 1) / 2), and into ``place`` (uint8), of the same shape, the place of the first
    maximum in its window, or ``DEAD``, where no gradient passes. Where the layer is tapped, the
    largest and the smallest number of the convolution in each image go into ``peaks`` [2, K, B, O],
    and into ``at`` (int32), of the same shape, where the first of them is: four times its window
    and its place there.

    ``backward(gradient [K, B, O, h w], place [K, B, O, h w], images, weight, padding, at, of_peaks,
    of_images, of_weight, of_bias)`` writes the gradients into the last three, which have the shapes
    of what they are the gradients of, with K for images that are the same too; the images' gradient
    is left out where ``of_images`` is empty.
    """

    forward: Callable[..., None]
    backward: Callable[..., None]


@cache
def kernels(channels: int, outputs: int, kernel: int, tapped: bool) -> Kernels:
    """Return the layer for a weight [outputs, channels, kernel, kernel], ``tapped`` or not.

    Compiled when first called, which takes some seconds, and kept on disk for later processes.
    """
    lanes = 8 if outputs <= 8 else 16
    groups = -(-outputs // lanes)
    taps = kernel * kernel * channels
    # A pixel of the patches that gradients go through fills vectors, so that a vector is read as it
    # was written; a few channels would waste most of it, and lie close together.
    depth = channels if channels <= 4 else -(-channels // 8) * 8
    patch_lanes = 8 if kernel * depth <= 8 or depth % 16 == 8 else 16
    pieces = -(-kernel * depth // patch_lanes)
    span = pieces * patch_lanes
    taken = int(tapped)

    @compiled()
    def forward(  # type: ignore[no-untyped-def]
        images, weight, bias, padding, found, place, peaks, at_peaks
    ):
        networks, batch, _, rows, columns = found.shape
        height, width = images.shape[3:]
        row = (width + 2 * padding) * channels
        image = np.zeros((height + 2 * padding) * row, images.dtype)
        packed = np.zeros(groups * (taps + 1) * lanes, images.dtype)
        values = np.empty(rows * columns * lanes, images.dtype)
        places = np.empty(rows * columns * lanes, np.uint8)
        own_peaks, own_at = np.empty(2 * lanes, images.dtype), np.empty(2 * lanes, np.int32)
        for n in range(networks):
            for o in range(outputs):
                at = (o // lanes) * (taps + 1) * lanes + o % lanes
                for c in range(channels):
                    for i in range(kernel):
                        for j in range(kernel):
                            tap = (i * kernel + j) * channels + c
                            packed[at + tap * lanes] = weight[n, o, c, i, j]
                packed[at + taps * lanes] = bias[n, o]
            source = n if len(images) > 1 else 0
            for b in range(batch):
                for c in range(channels):
                    for i in range(height):
                        for j in range(width):
                            at = (i + padding) * row + (j + padding) * channels + c
                            image[at] = images[source, b, c, i, j]
                for group in range(groups):
                    weight_at = group * (taps + 1) * lanes
                    for o in range(lanes * taken):
                        own_peaks[o], own_peaks[lanes + o] = -np.inf, np.inf
                        own_at[o], own_at[lanes + o] = 0, 0
                    for i in range(rows):
                        for j in range(0, columns - 1, 2):
                            at = 2 * i * row + 2 * j * channels
                            found_at = (i * columns + j) * lanes
                            _pool_windows(  # type: ignore[call-arg]  # Numba gives the first
                                image, at, row, packed, weight_at, values, places,
                                own_peaks, own_at, found_at, kernel, channels, lanes, 2, taken,
                            )  # fmt: skip
                        if columns % 2:
                            at = 2 * i * row + 2 * (columns - 1) * channels
                            found_at = (i * columns + columns - 1) * lanes
                            _pool_windows(  # type: ignore[call-arg]  # Numba gives the first
                                image, at, row, packed, weight_at, values, places,
                                own_peaks, own_at, found_at, kernel, channels, lanes, 1, taken,
                            )  # fmt: skip
                    first = group * lanes
                    for o in range(min(lanes, outputs - first)):
                        for kind in range(2 * taken):
                            peaks[kind, n, b, first + o] = own_peaks[kind * lanes + o]
                            at_peaks[kind, n, b, first + o] = own_at[kind * lanes + o]
                        for i in range(rows):
                            for j in range(columns):
                                at = (i * columns + j) * lanes + o
                                found[n, b, first + o, i, j] = values[at]
                                place[n, b, first + o, i, j] = places[at]

    # Sums may be taken in vectors, so in another order than written, which is always the same one.
    @compiled(fastmath={"reassoc", "contract", "nsz"})
    def backward(  # type: ignore[no-untyped-def]
        gradient, place, images, weight, padding, at_peaks, of_peaks,
        of_images, of_weight, of_bias,
    ):  # fmt: skip
        networks, batch = gradient.shape[:2]
        height, width = images.shape[3:]
        row = (width + 2 * padding) * depth
        rows = (height + 2 * padding - kernel + 1) // 2
        columns = (width + 2 * padding - kernel + 1) // 2
        image = np.zeros((height + 2 * padding) * row + span, images.dtype)
        of_image = np.zeros((height + 2 * padding) * row + span, images.dtype)
        packed = np.zeros(outputs * kernel * span, images.dtype)
        of_packed = np.zeros(outputs * kernel * span, images.dtype)
        starts = np.empty(rows * columns + 2, np.int64)
        factors = np.zeros(rows * columns + 2, images.dtype)
        zero = factors.sum()
        windows = np.empty(rows * columns, np.int64)
        for i in range(rows):
            for j in range(columns):
                windows[i * columns + j] = 2 * i * row + 2 * j * depth
        corners = np.array([0, depth, row, row + depth, 0])
        wanted = of_images.size > 0
        for n in range(networks):
            of_bias[n] = 0
            of_packed[:] = 0
            for o in range(outputs):
                for c in range(channels):
                    for i in range(kernel):
                        for j in range(kernel):
                            at = (o * kernel + i) * span + j * depth + c
                            packed[at] = weight[n, o, c, i, j]
            source = n if len(images) > 1 else 0
            for b in range(batch):
                for c in range(channels):
                    for i in range(height):
                        for j in range(width):
                            at = (i + padding) * row + (j + padding) * depth + c
                            image[at] = images[source, b, c, i, j]
                if wanted:
                    of_image[:] = 0
                for o in range(outputs):
                    which = place[n, b, o]
                    passed = gradient[n, b, o]
                    total = zero
                    for m in range(len(passed)):
                        total += passed[m] if which[m] != DEAD else zero
                    of_bias[n, o] += total
                    count = 0
                    for m in range(len(passed)):  # without a branch, which could not be foreseen
                        factors[count] = passed[m]
                        starts[count] = windows[m] + corners[which[m]]
                        count += which[m] != DEAD
                    for kind in range(2 * taken):
                        factors[count] = of_peaks[kind, n, b, o]
                        m = at_peaks[kind, n, b, o]
                        starts[count] = windows[m // 4] + corners[m % 4]
                        of_bias[n, o] += factors[count]
                        count += factors[count] != 0
                    at = o * kernel * span
                    _sum_patches(  # type: ignore[call-arg]  # likewise
                        image, row, starts, factors, count, of_packed, at,
                        kernel, pieces, patch_lanes,
                    )  # fmt: skip
                    if wanted:
                        _add_patches(
                            of_image, row, starts, factors, count, packed, at,
                            kernel, pieces, patch_lanes,
                        )  # fmt: skip
                if wanted:
                    for c in range(channels):
                        for i in range(height):
                            for j in range(width):
                                at = (i + padding) * row + (j + padding) * depth + c
                                of_images[n, b, c, i, j] = of_image[at]
            for o in range(outputs):
                for c in range(channels):
                    for i in range(kernel):
                        for j in range(kernel):
                            at = (o * kernel + i) * span + j * depth + c
                            of_weight[n, o, c, i, j] = of_packed[at]

    return Kernels(called(forward), called(backward))


# The inner loops. A *patch* is what a kernel covers of an image whose numbers lie as [rows,
# columns, channels] in one dimension: from its first number on, ``kernel`` pieces, each ``row``
# numbers after the last one. Positions and ``row`` count numbers, arrays have one dimension, and
# the last arguments of each function, from ``kernel`` on, are constants of the compiled loop.

#: Products and sums may be taken in one instruction, rounded once.
_CONTRACT = ("contract",)


def _integer(value: int) -> ir.Constant:
    return ir.Constant(ir.IntType(64), value)


class _Vectors:
    """Vectors of ``lanes`` numbers of one type: how they are loaded, stored and computed with."""

    def __init__(self, context: Any, builder: Any, dtype: Any, lanes: int) -> None:
        self.context, self.builder = context, builder
        self.type = ir.VectorType(context.get_value_type(dtype), lanes)
        self.bytes = dtype.bitwidth // 8  # of a number, and all that a position is aligned to

    def data(self, array: Any, value: Any) -> Any:
        """Return the pointer to an array's first number."""
        return self.context.make_array(array)(self.context, self.builder, value).data

    def load(self, data: Any, at: Any) -> Any:
        """Return the vector at a position."""
        return self.builder.load(self._at(data, at), align=self.bytes)

    def store(self, vector: Any, data: Any, at: Any) -> None:
        """Put a vector at a position."""
        self.builder.store(vector, self._at(data, at), align=self.bytes)

    def _at(self, data: Any, at: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(data, [at]), self.type.as_pointer())

    def filled(self, data: Any, at: Any) -> Any:
        """Return a vector of the one number at a position."""
        number = self.builder.load(self.builder.gep(data, [at]))
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, number, ir.IntType(32)(0))
        lanes = ir.VectorType(ir.IntType(32), self.type.count)
        return self.builder.shuffle_vector(first, undefined, ir.Constant(lanes, None))

    def add_product(self, total: Any, a: Any, b: Any) -> Any:
        """Return total + a b."""
        return self.builder.fadd(total, self.builder.fmul(a, b, flags=_CONTRACT), flags=_CONTRACT)


@intrinsic(prefer_literal=True)
def _pool_windows(
    typing: Any,
    image: Any,
    at: Any,
    row: Any,
    weight: Any,
    weight_at: Any,
    found: Any,
    place: Any,
    peaks: Any,
    at_peaks: Any,
    found_at: Any,
    kernel: Any,
    channels: Any,
    lanes: Any,
    count: Any,
    tapped: Any,
) -> Any:
    """Convolve, pool by 2 and rectify ``count`` windows side by side, for ``lanes`` outputs.

    ``at`` is the first number of the first window's first patch. The weight lies as [kernel,
    kernel, channels, lanes], the bias after it. For each window ``found`` gets the rectified
    maximum, and ``place`` which of the window's four outputs it is (0 to 3, the first of equals),
    or ``DEAD`` where it is not above 0. What is no number stays no number. If it is ``tapped``,
    ``peaks`` [2, lanes] and ``at_peaks`` get the largest and the smallest outputs, and where they
    are, that are beyond what stands there.
    """
    signature = types.void(
        image, types.intp, types.intp, weight, types.intp, found, place, peaks, at_peaks,
        types.intp, kernel, channels, lanes, count, tapped,
    )  # fmt: skip
    size, depth, width, windows, noted = (
        value.literal_value for value in (kernel, channels, lanes, count, tapped)
    )

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        vectors = _Vectors(context, builder, image.dtype, width)
        image_data, weight_data = vectors.data(image, args[0]), vectors.data(weight, args[3])
        found_data, place_data = vectors.data(found, args[5]), vectors.data(place, args[6])
        peak_data, at_data = vectors.data(peaks, args[7]), vectors.data(at_peaks, args[8])
        at, row, weight_at, found_at = args[1], args[2], args[4], args[9]

        offsets = vectors.load(
            weight_data, builder.add(weight_at, _integer(size * size * depth * width))
        )
        # LLVM keeps these in registers: it is what this function is for.
        sums = [cgutils.alloca_once_value(builder, offsets) for _ in range(4 * windows)]
        with cgutils.for_range(builder, _integer(size)) as rows:
            taps = builder.add(weight_at, builder.mul(rows.index, _integer(size * depth * width)))
            pieces = [
                builder.add(at, builder.mul(builder.add(rows.index, _integer(below)), row))
                for below in (0, 1)
            ]
            with cgutils.for_range(builder, _integer(size * depth)) as columns:
                tap = vectors.load(
                    weight_data, builder.add(taps, builder.mul(columns.index, _integer(width)))
                )
                places = product(range(windows), (0, 1), (0, 1))
                for total, (window, below, right) in zip(sums, places, strict=True):
                    number = builder.add(pieces[below], columns.index)
                    number = builder.add(number, _integer((2 * window + right) * depth))
                    value = vectors.filled(image_data, number)
                    builder.store(vectors.add_product(builder.load(total), value, tap), total)

        bytes_type = ir.VectorType(ir.IntType(8), width)
        at_type = ir.VectorType(ir.IntType(32), width)

        def same(number: int) -> ir.Constant:
            return ir.Constant(bytes_type, [number] * width)

        def pointer(data: Any, position: Any, kind: Any) -> Any:
            return builder.bitcast(builder.gep(data, [position]), kind.as_pointer())

        def outermost(values: Sequence[Any], order: str) -> tuple[Any, Any]:
            """Return the first of the largest or smallest values, or what is no number."""
            best, which = values[0], same(0)
            for number, value in enumerate(values[1:], start=1):
                beyond = builder.or_(
                    builder.fcmp_ordered(order, value, best),
                    builder.fcmp_unordered("uno", value, value),
                )
                best = builder.select(beyond, value, best)
                which = builder.select(beyond, same(number), which)
            return best, which

        def note(value: Any, which: Any, position: Any, order: str, kind: int) -> None:
            """Write what is beyond the peak so far, and where it is."""
            place = _integer(kind * width)
            best, at_best = vectors.load(peak_data, place), pointer(at_data, place, at_type)
            beyond = builder.fcmp_ordered(order, value, best)
            vectors.store(builder.select(beyond, value, best), peak_data, place)
            # Four times the window, whose numbers are ``width`` apart, and the place in it.
            first = builder.trunc(builder.udiv(position, _integer(width)), ir.IntType(32))
            first = builder.shl(first, ir.IntType(32)(2))
            empty = ir.Constant(at_type, ir.Undefined)
            first = builder.insert_element(empty, first, ir.IntType(32)(0))
            first = builder.shuffle_vector(first, empty, ir.Constant(at_type, None))
            there = builder.add(first, builder.zext(which, at_type))
            before = builder.load(at_best, align=4)
            builder.store(builder.select(beyond, there, before), at_best, align=4)

        zero = ir.Constant(vectors.type, None)
        for window in range(windows):
            values = [builder.load(total) for total in sums[4 * window : 4 * window + 4]]
            position = builder.add(found_at, _integer(window * width))
            highest, which = outermost(values, ">")
            if noted:
                note(highest, which, position, ">", 0)
                note(*outermost(values, "<"), position, "<", 1)
            dead = builder.fcmp_ordered("<=", highest, zero)
            vectors.store(builder.select(dead, zero, highest), found_data, position)
            which = builder.select(dead, same(DEAD), which)
            builder.store(which, pointer(place_data, position, bytes_type), align=1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def _sum_patches(
    typing: Any,
    image: Any,
    row: Any,
    starts: Any,
    factors: Any,
    count: Any,
    total: Any,
    total_at: Any,
    kernel: Any,
    pieces: Any,
    lanes: Any,
) -> Any:
    """Add to ``total`` the patches at ``starts`` of an image, each times its factor.

    ``count`` patches of ``kernel`` rows are taken, ``pieces`` vectors of ``lanes`` numbers from
    each row, and ``total`` lies as [kernel, pieces, lanes].
    """
    signature, parts, dtype, width = _patches(image, starts, factors, total, kernel, pieces, lanes)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        vectors = _Vectors(context, builder, dtype, width)
        image_data, total_data = vectors.data(image, args[0]), vectors.data(total, args[5])
        offsets = list(parts(builder, args[1]))
        places = [builder.add(args[6], number) for _, number in offsets]
        sums = [cgutils.alloca_once_value(builder, vectors.load(total_data, at)) for at in places]
        starts_data, factors_data = vectors.data(starts, args[2]), vectors.data(factors, args[3])
        with cgutils.for_range(builder, args[4]) as patches:
            start = builder.load(builder.gep(starts_data, [patches.index]))
            factor = vectors.filled(factors_data, patches.index)
            for value, (offset, _) in zip(sums, offsets, strict=True):
                part = vectors.load(image_data, builder.add(start, offset))
                builder.store(vectors.add_product(builder.load(value), part, factor), value)
        for value, at in zip(sums, places, strict=True):
            vectors.store(builder.load(value), total_data, at)
        return context.get_dummy_value()

    return signature, generate


@intrinsic(prefer_literal=True)
def _add_patches(
    typing: Any,
    image: Any,
    row: Any,
    starts: Any,
    factors: Any,
    count: Any,
    patch: Any,
    patch_at: Any,
    kernel: Any,
    pieces: Any,
    lanes: Any,
) -> Any:
    """Add to an image, at each of ``starts``, the patch times a factor.

    Shapes are those of ``_sum_patches``.
    """
    signature, parts, dtype, width = _patches(image, starts, factors, patch, kernel, pieces, lanes)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        vectors = _Vectors(context, builder, dtype, width)
        image_data, patch_data = vectors.data(image, args[0]), vectors.data(patch, args[5])
        offsets = list(parts(builder, args[1]))
        values = [vectors.load(patch_data, builder.add(args[6], number)) for _, number in offsets]
        starts_data, factors_data = vectors.data(starts, args[2]), vectors.data(factors, args[3])
        with cgutils.for_range(builder, args[4]) as patches:
            start = builder.load(builder.gep(starts_data, [patches.index]))
            factor = vectors.filled(factors_data, patches.index)
            for value, (offset, _) in zip(values, offsets, strict=True):
                at = builder.add(start, offset)
                total = vectors.load(image_data, at)
                vectors.store(vectors.add_product(total, value, factor), image_data, at)
        return context.get_dummy_value()

    return signature, generate


def _patches(
    image: Any, starts: Any, factors: Any, patch: Any, kernel: Any, pieces: Any, lanes: Any
) -> Any:
    """Return what ``_sum_patches`` and ``_add_patches`` share.

    The signature; a function that yields, for a distance between rows, the position of each vector
    of a patch in an image and in an array of its own; the numbers' type; and the lanes.
    """
    signature = types.void(
        image, types.intp, starts, factors, types.intp, patch, types.intp, kernel, pieces, lanes
    )
    size, count, width = (value.literal_value for value in (kernel, pieces, lanes))

    def parts(builder: Any, row: Any) -> Iterator[tuple[Any, Any]]:
        for number, (i, j) in enumerate(product(range(size), range(count))):
            offset = builder.add(builder.mul(row, _integer(i)), _integer(j * width))
            yield offset, _integer(number * width)

    return signature, parts, image.dtype, width
