"""Batches of K networks, gathered, augmented and normalized by one Triton kernel."""

from __future__ import annotations

import triton
import triton.language as tl

TILE = 256  # pixels


@triton.jit
def gather(
    rows_ptr,
    mean_ptr,
    std_ptr,
    order_ptr,
    place_ptr,
    flips_ptr,
    shifts_ptr,
    out_ptr,
    images,
    size,
    H,
    W,
    padding,
    C: tl.constexpr,
    PC: tl.constexpr,
    FLIP: tl.constexpr,
    CROP: tl.constexpr,
    FLIP_FIRST: tl.constexpr,
    BYTES: tl.constexpr,
    BM: tl.constexpr,
):
    """Write out [K, size, H, W, C] from rows [images, H, W, C].

    A network's batch are the images of its row of the order [K, images] from the place on, which
    lies on the device. Their choices lie in that order: flips [K, images] and shifts [K, images, 2]
    of an image that has so many black pixels on every side. Bytes are normalized.
    """
    k = tl.program_id(1).to(tl.int64)
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    c = tl.arange(0, PC)
    inside = m < size * H * W
    number = k * images + tl.load(place_ptr) + m // (H * W)
    h = m % (H * W) // W
    w = m % W
    black = m < 0
    # From the result back to the stored image: what was done last comes first.
    if FLIP and not FLIP_FIRST:
        w = tl.where(tl.load(flips_ptr + number, mask=inside, other=0) != 0, W - 1 - w, w)
    if CROP:
        h += tl.load(shifts_ptr + 2 * number, mask=inside, other=0).to(tl.int32) - padding
        w += tl.load(shifts_ptr + 2 * number + 1, mask=inside, other=0).to(tl.int32) - padding
        black = (h < 0) | (h >= H) | (w < 0) | (w >= W)
    if FLIP and FLIP_FIRST:
        w = tl.where(tl.load(flips_ptr + number, mask=inside, other=0) != 0, W - 1 - w, w)
    image = tl.load(order_ptr + number, mask=inside, other=0)
    at = ((image * H + h) * W + w)[:, None] * C + c[None, :]
    exists = c < C
    read = (inside & (black == 0))[:, None] & exists[None, :]
    value = tl.load(rows_ptr + at, mask=read, other=0).to(tl.float32)
    if BYTES:
        mean = tl.load(mean_ptr + c, mask=exists, other=0.0)
        std = tl.load(std_ptr + c, mask=exists, other=1.0)
        value = tl.div_rn(value - mean[None, :], tl.zeros((BM, PC), tl.float32) + std[None, :])
    at = (k * size * H * W + m)[:, None] * C + c[None, :]
    there = inside[:, None] & exists[None, :]
    tl.store(out_ptr + at, value.to(out_ptr.dtype.element_ty), mask=there)
