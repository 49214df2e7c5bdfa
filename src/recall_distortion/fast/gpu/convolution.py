"""Convolutions of 3 x 3 with padding 1, of K networks at once, as Triton kernels.

Images are [K, N, H, W, C] and weights [K, 3, 3, CI, CO], all contiguous: a convolution is the sum
of nine matrix products, one for each place of the kernel, of pixels by channels with channels by
channels. Sums are in single precision. A tile of pixels is one program, a network the second number
of it, so that no network's result depends on which others are computed at the same time.

In half precision the nine products are UNROLLED, as was measured; in single precision, where each
is three, that would be slow to compile.

The first layer's images have few channels: they are multiplied as ``PI``, the next size that a
GPU's matrix product takes, with zeros for those that do not exist.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def shortcut(  # type: ignore[no-untyped-def]
    from_ptr,
    m,
    c,
    inside,
    H,
    W,
    OH,
    OW,
    FROM: tl.constexpr,
    CO: tl.constexpr,
    GROWS: tl.constexpr,
):
    """Return what is added to pixels ``m`` and channels ``c`` of a block's [N, OH, OW, CO].

    The block's input is [N, H, W, FROM]. Where it grows, every second pixel is taken, and channels
    are filled with zeros on both sides.
    """
    if GROWS:
        pixel = m % (OH * OW)
        place = (m // (OH * OW) * H + 2 * (pixel // OW)) * W + 2 * (pixel % OW)
        channel = c - (CO - FROM) // 2
        there = inside[:, None] & (channel >= 0)[None, :] & (channel < FROM)[None, :]
        at = place[:, None] * FROM + channel[None, :]
    else:
        there = inside[:, None] & (c >= 0)[None, :]
        at = m[:, None] * CO + c[None, :]
    return tl.load(from_ptr + at, mask=there, other=0.0).to(tl.float32)


@triton.jit
def _add_tap(  # type: ignore[no-untyped-def]
    total,
    x_ptr,
    w_ptr,
    tap,
    inside,
    b,
    row,
    column,
    H,
    W,
    CI: tl.constexpr,
    PI: tl.constexpr,
    CO: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Return a tile's sum [BM, CO] with one place of the kernel, 0 to 8, added."""
    ci = tl.arange(0, PI)
    co = tl.arange(0, CO)
    h = row + (tap // 3 - 1)
    w = column + (tap % 3 - 1)
    there = inside & (h >= 0) & (h < H) & (w >= 0) & (w < W)
    at = (((b * H + h) * W + w) * CI)[:, None] + ci[None, :]
    weight_at = tap * (CI * CO) + ci[:, None] * CO + co[None, :]
    if PI == CI:
        x = tl.load(x_ptr + at, mask=there[:, None], other=0.0)
        weight = tl.load(w_ptr + weight_at)
    else:
        exists = ci < CI
        x = tl.load(x_ptr + at, mask=there[:, None] & exists[None, :], other=0.0)
        weight = tl.load(w_ptr + weight_at, mask=exists[:, None] & (co >= 0)[None, :], other=0.0)
    return tl.dot(x, weight, total, input_precision=PRECISION)


@triton.jit
def _convolved(  # type: ignore[no-untyped-def]
    x_ptr,
    w_ptr,
    m,
    count,
    H,
    W,
    OH,
    OW,
    CI: tl.constexpr,
    PI: tl.constexpr,
    CO: tl.constexpr,
    STRIDE: tl.constexpr,
    UNROLLED: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
):
    """Return a tile [BM, CO] of one network's convolution: pixels ``m`` of [N, OH, OW]."""
    inside = m < count
    b = m // (OH * OW)
    row = m % (OH * OW) // OW * STRIDE
    column = m % OW * STRIDE
    total = tl.zeros((BM, CO), tl.float32)
    if UNROLLED:
        for tap in tl.static_range(9):
            total = _add_tap(
                total, x_ptr, w_ptr, tap, inside, b, row, column, H, W, CI, PI, CO, PRECISION
            )
    else:
        for tap in range(9):
            total = _add_tap(
                total, x_ptr, w_ptr, tap, inside, b, row, column, H, W, CI, PI, CO, PRECISION
            )
    return total


@triton.jit
def forward(  # type: ignore[no-untyped-def]
    x_ptr,
    w_ptr,
    y_ptr,
    parts_ptr,
    N,
    H,
    W,
    OH,
    OW,
    x_step,
    tiles,
    CI: tl.constexpr,
    PI: tl.constexpr,
    CO: tl.constexpr,
    STRIDE: tl.constexpr,
    UNROLLED: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
):
    """Write y [K, N, OH, OW, CO], images x [K, N, H, W, CI] convolved, and the tiles' sums.

    The images of networks are ``x_step`` numbers apart, 0 for the same ones. Parts [K, tiles, 2,
    CO] are each tile's sum over pixels and its sum of squared distances from its own mean, which
    does not cancel where the mean is large.
    """
    tile = tl.program_id(0)
    k = tl.program_id(1).to(tl.int64)
    count = N * OH * OW
    m = tile * BM + tl.arange(0, BM)
    inside = (m < count)[:, None]
    co = tl.arange(0, CO)
    x_ptr += k * x_step
    w_ptr += k * (9 * CI * CO)
    total = _convolved(
        x_ptr, w_ptr, m, count, H, W, OH, OW, CI, PI, CO, STRIDE, UNROLLED, PRECISION, BM
    )
    part = parts_ptr + (k * tiles + tile) * (2 * CO) + co
    summed = tl.sum(total, 0)
    mean = summed / tl.minimum(count - tile * BM, BM)
    distance = tl.where(inside, total - mean[None, :], 0.0)
    tl.store(part, summed)
    tl.store(part + CO, tl.sum(distance * distance, 0))
    y_ptr += k * count * CO
    at = m[:, None] * CO + co[None, :]
    tl.store(y_ptr + at, total.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def evaluate(  # type: ignore[no-untyped-def]
    x_ptr,
    w_ptr,
    out_ptr,
    facts_ptr,
    from_ptr,
    N,
    H,
    W,
    OH,
    OW,
    x_step,
    FH,
    FW,
    from_step,
    CI: tl.constexpr,
    PI: tl.constexpr,
    CO: tl.constexpr,
    FROM: tl.constexpr,
    STRIDE: tl.constexpr,
    UNROLLED: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
):
    """Write out [K, N, OH, OW, CO]: images convolved, normalized and rectified as one.

    Normalized by facts [K, 4, CO] (see ``normalization``); where FROM is not 0, the shortcut from
    images [K, N, FH, FW, FROM] is added. ``x_step`` is as in ``forward``, ``from_step`` likewise.
    """
    k = tl.program_id(1).to(tl.int64)
    count = N * OH * OW
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = m < count
    co = tl.arange(0, CO)
    x_ptr += k * x_step
    w_ptr += k * (9 * CI * CO)
    total = _convolved(
        x_ptr, w_ptr, m, count, H, W, OH, OW, CI, PI, CO, STRIDE, UNROLLED, PRECISION, BM
    )
    facts_ptr += k * (4 * CO)
    scale = tl.load(facts_ptr + 2 * CO + co)
    shift = tl.load(facts_ptr + 3 * CO + co)
    total = total * scale[None, :] + shift[None, :]
    if FROM > 0:
        from_ptr += k * from_step
        total += shortcut(from_ptr, m, co, inside, FH, FW, OH, OW, FROM, CO, FROM != CO)
    total = tl.where(total <= 0, 0.0, total)  # which keeps what is no number
    out_ptr += k * count * CO
    at = m[:, None] * CO + co[None, :]
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask=inside[:, None])


@triton.jit
def _add_gradient_tap(  # type: ignore[no-untyped-def]
    total,
    dy_ptr,
    w_ptr,
    tap,
    inside,
    b,
    row,
    column,
    OH,
    OW,
    CI: tl.constexpr,
    CO: tl.constexpr,
    STRIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Return a tile's gradient [BM, CI] with one place of the kernel, 0 to 8, added."""
    ci = tl.arange(0, CI)
    co = tl.arange(0, CO)
    h = row + (1 - tap // 3)
    w = column + (1 - tap % 3)
    there = inside & (h >= 0) & (w >= 0) & (h < OH * STRIDE) & (w < OW * STRIDE)
    if STRIDE > 1:
        there = there & (h % STRIDE == 0) & (w % STRIDE == 0)
    at = ((b * OH + h // STRIDE) * OW + w // STRIDE) * CO
    dy = tl.load(dy_ptr + at[:, None] + co[None, :], mask=there[:, None], other=0.0)
    weight = tl.load(w_ptr + tap * (CI * CO) + ci[None, :] * CO + co[:, None])
    return tl.dot(dy, weight, total, input_precision=PRECISION)


@triton.jit
def input_gradient(  # type: ignore[no-untyped-def]
    dy_ptr,
    w_ptr,
    dx_ptr,
    dout_ptr,
    out_ptr,
    N,
    H,
    W,
    OH,
    OW,
    CI: tl.constexpr,
    CO: tl.constexpr,
    STRIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    UNROLLED: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
):
    """Write dx [K, N, H, W, CI] from dy [K, N, OH, OW, CO].

    Where the convolution is the first of a block (BLOCK), the gradient by way of the shortcut is
    added: of the block's result ``out`` [K, N, OH, OW, CO], whose gradient is ``dout``.
    """
    k = tl.program_id(1).to(tl.int64)
    count = N * H * W
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = m < count
    b = m // (H * W)
    row = m % (H * W) // W
    column = m % W
    ci = tl.arange(0, CI)
    results = k * N * OH * OW * CO
    dy_ptr += results
    w_ptr += k * (9 * CI * CO)
    total = tl.zeros((BM, CI), tl.float32)
    if UNROLLED:
        for tap in tl.static_range(9):
            total = _add_gradient_tap(
                total, dy_ptr, w_ptr, tap, inside, b, row, column, OH, OW, CI, CO, STRIDE, PRECISION
            )
    else:
        for tap in range(9):
            total = _add_gradient_tap(
                total, dy_ptr, w_ptr, tap, inside, b, row, column, OH, OW, CI, CO, STRIDE, PRECISION
            )
    if BLOCK:
        even = inside
        if STRIDE > 1:
            even = inside & (row % STRIDE == 0) & (column % STRIDE == 0)
        at = ((b * OH + row // STRIDE) * OW + column // STRIDE) * CO + (CO - CI) // 2
        at = at[:, None] + ci[None, :]
        stopped = tl.load(out_ptr + results + at, mask=even[:, None], other=0.0) <= 0
        gradient = tl.load(dout_ptr + results + at, mask=even[:, None], other=0.0)
        total += tl.where(stopped, 0.0, gradient.to(tl.float32))
    dx_ptr += k * count * CI
    at = m[:, None] * CI + ci[None, :]
    tl.store(dx_ptr + at, total.to(dx_ptr.dtype.element_ty), mask=inside[:, None])


@triton.jit
def weight_gradient(  # type: ignore[no-untyped-def]
    x_ptr,
    dy_ptr,
    parts_ptr,
    N,
    H,
    W,
    OH,
    OW,
    share,
    CI: tl.constexpr,
    PI: tl.constexpr,
    CO: tl.constexpr,
    STRIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
):
    """Write parts [P, K, 3, 3, CI, CO]: the gradient of a weight over a ``share`` of the pixels.

    A program has one row of the kernel, whose three places share the gradient that they read.
    """
    part = tl.program_id(0)
    kernel_row = tl.program_id(1)
    k = tl.program_id(2).to(tl.int64)
    count = N * OH * OW
    ci = tl.arange(0, PI)
    co = tl.arange(0, CO)
    left = tl.zeros((PI, CO), tl.float32)
    middle = tl.zeros((PI, CO), tl.float32)
    right = tl.zeros((PI, CO), tl.float32)
    x_ptr += k * N * H * W * CI
    dy_ptr += k * count * CO
    exists = (ci < CI)[:, None]
    for first in range(0, share, BM):
        m = part * share + first + tl.arange(0, BM)
        inside = m < count
        h = m % (OH * OW) // OW * STRIDE + kernel_row - 1
        w = m % OW * STRIDE
        there = inside & (h >= 0) & (h < H)
        dy_at = m[:, None] * CO + co[None, :]
        dy = tl.load(dy_ptr + dy_at, mask=inside[:, None], other=0.0)
        at = (((m // (OH * OW) * H + h) * W + w) * CI)[None, :] + ci[:, None]
        x = tl.load(x_ptr + at - CI, mask=(there & (w > 0))[None, :] & exists, other=0.0)
        left = tl.dot(x, dy, left, input_precision=PRECISION)
        x = tl.load(x_ptr + at, mask=there[None, :] & exists, other=0.0)
        middle = tl.dot(x, dy, middle, input_precision=PRECISION)
        x = tl.load(x_ptr + at + CI, mask=(there & (w + 1 < W))[None, :] & exists, other=0.0)
        right = tl.dot(x, dy, right, input_precision=PRECISION)
    parts_ptr += ((part * tl.num_programs(2) + k) * 9 + kernel_row * 3) * (CI * CO)
    at = ci[:, None] * CO + co[None, :]
    inside = exists & (co >= 0)[None, :]
    tl.store(parts_ptr + at, left, mask=inside)
    tl.store(parts_ptr + CI * CO + at, middle, mask=inside)
    tl.store(parts_ptr + 2 * CI * CO + at, right, mask=inside)
