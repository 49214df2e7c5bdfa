"""Batch norm, shortcut and rectifier of K networks at once, as Triton kernels.

A batch's mean and variance over pixels are in single precision, whatever the images are in, and
come from sums of tiles, which are always added in the same order. A network's *facts* [4, C] are
its mean, 1 / sqrt(variance + eps), and the scale and shift that follow from them.
"""

from __future__ import annotations

import triton
import triton.language as tl

from recall_distortion.fast.gpu.convolution import shortcut


@triton.jit
def facts(  # type: ignore[no-untyped-def]
    parts_ptr,
    gamma_ptr,
    beta_ptr,
    mean_ptr,
    variance_ptr,
    facts_ptr,
    M,
    tiles,
    momentum,
    eps,
    C: tl.constexpr,
    BM: tl.constexpr,
    BT: tl.constexpr,
):
    """Write facts [K, 4, C] from parts [K, tiles, 2, C] of tiles of BM of M pixels.

    The running mean and variance [K, C] follow them, the latter with the unbiased variance.
    """
    k = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, C)
    parts_ptr += k * tiles * (2 * C)
    total = tl.zeros((C,), tl.float32)
    for first in range(0, tiles, BT):
        t = first + tl.arange(0, BT)
        at = t[:, None] * (2 * C) + c[None, :]
        total += tl.sum(tl.load(parts_ptr + at, mask=(t < tiles)[:, None], other=0.0), 0)
    mean = total / M
    squares = tl.zeros((C,), tl.float32)
    for first in range(0, tiles, BT):
        t = first + tl.arange(0, BT)
        at = t[:, None] * (2 * C) + c[None, :]
        inside = (t < tiles)[:, None]
        pixels = tl.maximum(tl.minimum(M - t * BM, BM), 1).to(tl.float32)[:, None]
        distance = tl.load(parts_ptr + at, mask=inside, other=0.0) / pixels - mean[None, :]
        own = tl.load(parts_ptr + C + at, mask=inside, other=0.0)
        squares += tl.sum(tl.where(inside, own + pixels * distance * distance, 0.0), 0)
    variance = squares / M
    inverse = tl.rsqrt(variance + eps)
    scale = tl.load(gamma_ptr + k * C + c) * inverse
    facts_ptr += k * (4 * C)
    tl.store(facts_ptr + c, mean)
    tl.store(facts_ptr + C + c, inverse)
    tl.store(facts_ptr + 2 * C + c, scale)
    tl.store(facts_ptr + 3 * C + c, tl.load(beta_ptr + k * C + c) - mean * scale)
    at = k * C + c
    before = tl.load(mean_ptr + at)
    tl.store(mean_ptr + at, before + momentum * (mean - before))
    before = tl.load(variance_ptr + at)
    tl.store(variance_ptr + at, before + momentum * (squares / (M - 1) - before))


@triton.jit
def forward(  # type: ignore[no-untyped-def]
    y_ptr,
    facts_ptr,
    from_ptr,
    out_ptr,
    M,
    H,
    W,
    OH,
    OW,
    from_step,
    C: tl.constexpr,
    FROM: tl.constexpr,
    BM: tl.constexpr,
):
    """Write out [K, N, OH, OW, C]: y normalized, with its shortcut where there is one, rectified.

    The shortcut is from images [K, N, H, W, FROM], which are ``from_step`` numbers apart.
    """
    k = tl.program_id(1).to(tl.int64)
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    c = tl.arange(0, C)
    inside = m < M
    at = m[:, None] * C + c[None, :]
    own = k * M * C
    facts_ptr += k * (4 * C)
    y = tl.load(y_ptr + own + at, mask=inside[:, None], other=0.0).to(tl.float32)
    scale = tl.load(facts_ptr + 2 * C + c)
    shift = tl.load(facts_ptr + 3 * C + c)
    y = y * scale[None, :] + shift[None, :]
    if FROM > 0:
        y += shortcut(from_ptr + k * from_step, m, c, inside, H, W, OH, OW, FROM, C, FROM != C)
    y = tl.where(y <= 0, 0.0, y)  # which keeps what is no number
    tl.store(out_ptr + own + at, y.to(out_ptr.dtype.element_ty), mask=inside[:, None])


@triton.jit
def gradient_sums(  # type: ignore[no-untyped-def]
    dout_ptr,
    out_ptr,
    y_ptr,
    facts_ptr,
    parts_ptr,
    M,
    share,
    C: tl.constexpr,
    BM: tl.constexpr,
):
    """Write parts [P, 2, K, C]: of a share of the pixels, the gradients of beta and of gamma."""
    part = tl.program_id(0)
    k = tl.program_id(1).to(tl.int64)
    c = tl.arange(0, C)
    facts_ptr += k * (4 * C)
    mean = tl.load(facts_ptr + c)[None, :]
    inverse = tl.load(facts_ptr + C + c)[None, :]
    own = k * M * C
    beta = tl.zeros((C,), tl.float32)
    gamma = tl.zeros((C,), tl.float32)
    for first in range(0, share, BM):
        m = part * share + first + tl.arange(0, BM)
        inside = (m < M)[:, None]
        at = own + m[:, None] * C + c[None, :]
        stopped = tl.load(out_ptr + at, mask=inside, other=0.0) <= 0
        g = tl.load(dout_ptr + at, mask=inside, other=0.0).to(tl.float32)
        g = tl.where(stopped, 0.0, g)
        y = tl.load(y_ptr + at, mask=inside, other=0.0).to(tl.float32)
        beta += tl.sum(g, 0)
        gamma += tl.sum(g * (y - mean) * inverse, 0)
    K = tl.num_programs(1)
    parts_ptr += (part * (2 * K) + k) * C + c
    tl.store(parts_ptr, beta)
    tl.store(parts_ptr + K * C, gamma)


@triton.jit
def gradient(  # type: ignore[no-untyped-def]
    dout_ptr,
    out_ptr,
    y_ptr,
    facts_ptr,
    sums_ptr,
    dy_ptr,
    M,
    C: tl.constexpr,
    BM: tl.constexpr,
):
    """Write dy [K, M, C] from dout, with sums [2, K, C]: the gradients of beta and of gamma."""
    k = tl.program_id(1).to(tl.int64)
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    c = tl.arange(0, C)
    inside = (m < M)[:, None]
    at = k * M * C + m[:, None] * C + c[None, :]
    facts_ptr += k * (4 * C)
    stopped = tl.load(out_ptr + at, mask=inside, other=0.0) <= 0
    g = tl.load(dout_ptr + at, mask=inside, other=0.0).to(tl.float32)
    y = tl.load(y_ptr + at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.load(facts_ptr + c)[None, :]
    inverse = tl.load(facts_ptr + C + c)[None, :]
    scale = tl.load(facts_ptr + 2 * C + c)[None, :]
    beta = tl.load(sums_ptr + k * C + c)[None, :] / M
    gamma = tl.load(sums_ptr + (tl.num_programs(1) + k) * C + c)[None, :] / M
    dy = scale * (tl.where(stopped, 0.0, g) - beta - (y - mean) * inverse * gamma)
    tl.store(dy_ptr + at, dy.to(dy_ptr.dtype.element_ty), mask=inside)
