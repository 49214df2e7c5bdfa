"""Batches of K networks, gathered, augmented and normalized by one Triton kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from recall_distortion.fast.gpu.units import OPTIONS

TILE = 256  # pixels


@triton.jit
def gather(  # type: ignore[no-untyped-def]
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


def known(augmentations: Sequence[str]) -> bool:
    """Return whether the kernel does these, in this order: each of its own at most once."""
    return set(augmentations) <= {"flip", "crop"} and len(set(augmentations)) == len(augmentations)


def batch(
    rows: Tensor,
    normalization: tuple[Tensor, Tensor] | None,
    order: Tensor,
    place: Tensor,
    size: int,
    choices: Mapping[str, Tensor],
    *,
    padding: int,
    dtype: torch.dtype,
) -> Tensor:
    """Return the next batch of each network, [K, size, H, W, C] of a type, normalized.

    ``rows`` [N, H, W, C] are bytes where there is a ``normalization``, the channels' means and
    standard deviations, and are normalized otherwise. The order [K, N] is read from ``place`` on, a
    number on the device. ``choices`` are an epoch's random ones by the augmentation's name, in the
    order in which they are carried out: of flips [K, N] booleans, of crops [K, N, 2] pixels of an
    image with so much black ``padding``.
    """
    networks, images = order.shape
    _, height, width, channels = rows.shape
    out = torch.empty(networks, size, height, width, channels, dtype=dtype, device=rows.device)
    names = list(choices)
    mean, std = normalization or (place, place)
    gather[(triton.cdiv(size * height * width, TILE), networks)](
        rows,
        mean,
        std,
        order,
        place,
        choices.get("flip", order),
        choices.get("crop", order),
        out,
        images,
        size,
        height,
        width,
        padding,
        C=channels,
        PC=triton.next_power_of_2(channels),
        FLIP="flip" in names,
        CROP="crop" in names,
        FLIP_FIRST=names[:1] == ["flip"],
        BYTES=normalization is not None,
        BM=TILE,
        **OPTIONS,
    )
    return out
