"""A layer that a CPU computes slowly in its usual form, computed in others.

``pooled_convolution`` is relu(max_pool2d(conv2d(...), 2)): its numbers are those of PyTorch's three
functions but for rounding, and a test holds them against each other. On a CPU it takes one of three
forms, each the fastest measured for its case (docs/performance.md):

- few input channels: one convolution of stride 2 gives the four places of every pooling window as
  four groups of channels, and the maximum is taken over whole arrays. PyTorch's max pooling looks
  at one number at a time unless there are 16 channels, and oneDNN computes channels in sixteens;
- more input channels: the usual layers, pooled with the channels last, and the gradient of the
  images computed for two rows at once, which again fills oneDNN's sixteen channels;
- K networks under ``torch.vmap``, weights [K, ...]: batched matrix products of unrolled windows
  with the batch innermost, because oneDNN takes grouped convolutions one group after another.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recall_distortion.errors import NetworkError

FEW_CHANNELS = 3  # up to here the first form is the faster one

_convolution_backward = torch.ops.aten.convolution_backward
_threshold_backward = torch.ops.aten.threshold_backward


def pooled_convolution(images: Tensor, weight: Tensor, bias: Tensor, padding: int = 0) -> Tensor:
    """Return relu(max_pool2d(conv2d(images, weight, bias, padding=padding), 2)).

    Images are [B, C, H, W], the weight [O, C, k, k] and the bias [O]; the result is
    [B, O, floor(H' / 2), floor(W' / 2)] with H' = H + 2 padding - k + 1. The first of equal maxima
    gets a window's gradient, as in PyTorch.
    """
    if images.device.type != "cpu":
        return F.relu(F.max_pool2d(F.conv2d(images, weight, bias, padding=padding), 2))
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
    return _PooledConvolution.apply(images, weight, bias, padding, dtype)[0]


class _PooledConvolution(torch.autograd.Function):
    """``pooled_convolution`` on a CPU; ``dtype`` is what the convolution computes in."""

    @staticmethod
    def forward(
        images: Tensor, weight: Tensor, bias: Tensor, padding: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with torch.autocast("cpu", enabled=False):
            if images.shape[1] <= FEW_CHANNELS:
                return _by_places(images.to(weight.dtype), weight, bias, padding)
            return _by_rows(images.to(dtype), weight.to(dtype), bias.to(dtype), padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        found, *saved = output
        ctx.mark_non_differentiable(*saved)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(found, *saved)
        ctx.input_dtype, ctx.weight_dtype = inputs[0].dtype, inputs[1].dtype
        ctx.few = inputs[0].shape[1] <= FEW_CHANNELS
        ctx.kernel, ctx.padding = inputs[1].shape[-1], inputs[3]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        if ctx.saved_tensors[-1].numel() == 0:
            raise NetworkError("take the gradient of stacked networks outside of torch.vmap")
        with torch.autocast("cpu", enabled=False):
            function = _by_places_backward if ctx.few else _by_rows_backward
            of_images, of_weight, of_bias = function(
                gradient, *ctx.saved_tensors, ctx.kernel, ctx.padding, ctx.needs_input_grad[0]
            )
        if of_images is not None:
            of_images = of_images.to(ctx.input_dtype)
        return of_images, of_weight.to(ctx.weight_dtype), of_bias.to(ctx.weight_dtype), None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        padding: int,
        dtype: torch.dtype,
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        weight, bias = (
            value.movedim(dim, 0)
            if dim is not None
            else value.expand(info.batch_size, *value.shape)
            for value, dim in ((weight, in_dims[1]), (bias, in_dims[2]))
        )
        if in_dims[0] is None:
            images = images.expand(info.batch_size, *images.shape)
        else:
            images = images.movedim(in_dims[0], 0)
        unrolled = images.permute(0, 2, 3, 4, 1)  # the batch innermost: [K, C, H, W, B]
        unrolled, weight, bias = (value.to(dtype) for value in (unrolled, weight, bias))
        with torch.autocast("cpu", enabled=False):
            found = _StackedPooledConvolution.apply(unrolled, weight, bias, padding)
        nothing = found.new_empty(0)
        return (found.permute(0, 4, 1, 2, 3), nothing, nothing, nothing), (0, None, None, None)


def _by_places(
    images: Tensor, weight: Tensor, bias: Tensor, padding: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the layer's result [B, O, h, w], and what its gradient needs."""
    # What has one channel has it first and last; said to be first, as the maximum needs it here.
    images = images.flatten(1).view(images.shape)
    places = _places(weight)
    places = places.flatten().view(-1, *places.shape[2:])
    convolved = F.conv2d(images, places, bias.repeat(4), stride=2, padding=padding)
    batch, _, height, width = convolved.shape
    found, behind = _rectified_maximum(convolved.contiguous().view(batch, 4, -1))
    return found.view(batch, len(bias), height, width), behind, images.view_as(images), places


def _by_places_backward(
    gradient: Tensor,
    found: Tensor,
    behind: Tensor,
    images: Tensor,
    places: Tensor,
    kernel: int,
    padding: int,
    needs_images: bool,
) -> tuple[Tensor | None, Tensor, Tensor]:
    batch, outputs, height, width = found.shape
    spread = _spread(gradient.reshape(batch, -1), found.view(batch, -1), behind)
    of_images, of_places, of_bias = _convolution_backward(
        spread.view(batch, 4 * outputs, height, width),
        images,
        places,
        [4 * outputs],
        [2, 2],
        [padding, padding],
        [1, 1],
        False,
        [0, 0],
        1,
        [needs_images, True, True],
    )
    return (
        of_images,
        _of_weight(of_places.unflatten(0, (4, -1)), kernel),
        of_bias.view(4, -1).sum(0),
    )


def _by_rows(
    images: Tensor, weight: Tensor, bias: Tensor, padding: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the layer's result [B, O, h, w], channels last, and what its gradient needs.

    oneDNN convolves faster with the channels first, and PyTorch pools faster with them last.
    """
    images, weight = images.contiguous(), weight.contiguous()
    convolved = F.conv2d(images, weight, bias, padding=padding)
    convolved = convolved.contiguous(memory_format=torch.channels_last)
    found, index = torch.ops.aten.max_pool2d_with_indices(convolved, [2, 2], [2, 2])
    return found.clamp_min_(0), index, images.view_as(images), weight.view_as(weight)


def _by_rows_backward(
    gradient: Tensor,
    found: Tensor,
    index: Tensor,
    images: Tensor,
    weight: Tensor,
    kernel: int,
    padding: int,
    needs_images: bool,
) -> tuple[Tensor | None, Tensor, Tensor]:
    height, width = (size + 2 * padding - kernel + 1 for size in images.shape[2:])
    # Only the shape and the order of dimensions of what was pooled are looked at.
    shape = (len(images), height, width, len(weight))
    convolved = torch.empty(shape, dtype=found.dtype).permute(0, 3, 1, 2)
    spread = torch.ops.aten.max_pool2d_with_indices_backward(
        _threshold_backward(gradient.contiguous(memory_format=torch.channels_last), found, 0),
        convolved,
        [2, 2],
        [2, 2],
        [0, 0],
        [1, 1],
        False,
        index,
    )
    # oneDNN finds the weight's gradient faster with the channels last, but in bfloat16 first.
    order = torch.contiguous_format if found.dtype == torch.bfloat16 else torch.channels_last
    spread, images = (value.contiguous(memory_format=order) for value in (spread, images))
    even = height % 2 == 0 and images.shape[2] % 2 == 0
    pairs = needs_images and padding == 0 and even and images.dtype != torch.bfloat16
    of_images, of_weight, of_bias = _convolution_backward(
        spread,
        images,
        weight,
        [len(weight)],
        [1, 1],
        [padding, padding],
        [1, 1],
        False,
        [0, 0],
        1,
        [needs_images and not pairs, True, True],
    )
    if pairs:
        of_images = _of_paired_rows(spread, images.shape, weight)
    return of_images, of_weight, of_bias


def _of_paired_rows(spread: Tensor, shape: torch.Size, weight: Tensor) -> Tensor:
    """Return the images' gradient of a convolution without padding.

    The rows of the images are taken in pairs, as twice as many channels, and so are those of the
    outputs: a convolution of (k + 1) / 2 by k, whose kernels hold the weight for either row of a
    pair.
    """
    batch, channels, height, width = shape
    outputs, _, kernel, _ = weight.shape
    pairs = spread.unflatten(2, (-1, 2)).permute(0, 3, 1, 2, 4).flatten(1, 2)
    tall = torch.stack([F.pad(weight, (0, 0, row, 1 - row)) for row in (0, 1)])
    tall = tall.unflatten(3, (-1, 2)).permute(0, 1, 4, 2, 3, 5)
    of_pairs = _convolution_backward(
        pairs.contiguous(),
        spread.new_empty(batch, 2 * channels, height // 2, width),
        tall.reshape(2 * outputs, 2 * channels, (kernel + 1) // 2, kernel),
        None,
        [1, 1],
        [0, 0],
        [1, 1],
        False,
        [0, 0],
        1,
        [True, False, False],
    )[0]
    return of_pairs.unflatten(1, (2, channels)).permute(0, 2, 3, 1, 4).reshape(shape)


class _StackedPooledConvolution(torch.autograd.Function):
    """The layer of K networks: images [K, C, H, W, B], weight [K, O, C, k, k], bias [K, O].

    Returns [K, O, h, w, B]. Sorted by places as in ``_by_places``, so that windows step by two.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        count, channels, height, width, batch = images.shape
        outputs, kernel = weight.shape[1], weight.shape[-1]
        size = kernel + 1
        padded = F.pad(images, (0, 0, padding, padding, padding, padding)).contiguous()
        rows, columns = ((n + 2 * padding - kernel + 1) // 2 for n in (height, width))
        a, b, c, d, _ = padded.stride()
        windows = padded.as_strided(
            (count, channels, size, size, rows, columns, batch), (a, b, c, d, 2 * c, 2 * d, 1)
        ).reshape(count, channels * size * size, -1)
        places = _places(weight).transpose(0, 1).reshape(count, 4 * outputs, -1)
        offsets = bias[:, None].expand(count, 4, outputs).reshape(count, -1, 1)
        convolved = torch.baddbmm(offsets, places, windows)
        found, behind = _rectified_maximum(convolved.view(count, 4, -1))
        ctx.save_for_backward(windows, places, found, behind)
        ctx.shapes = images.shape, (outputs, rows, columns), kernel, padding
        return found.view(count, outputs, rows, columns, batch)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        windows, places, found, behind = ctx.saved_tensors
        shape, (outputs, rows, columns), kernel, padding = ctx.shapes
        count, channels, height, width, batch = shape
        size = kernel + 1
        spread = _spread(gradient.reshape(count, -1), found, behind).view(count, 4 * outputs, -1)
        of_bias = spread.sum(2).view(count, 4, outputs).sum(1)
        of_places = torch.bmm(spread, windows.mT)
        of_places = of_places.view(count, 4, outputs, channels, size, size).transpose(0, 1)
        of_images = None
        if ctx.needs_input_grad[0]:
            parts = torch.bmm(places.mT, spread)
            parts = parts.view(count, channels, size, size, rows, columns, batch)
            padded = parts.new_zeros(
                count, channels, height + 2 * padding, width + 2 * padding, batch
            )
            for i in range(size):
                for j in range(size):
                    part = padded[:, :, i : i + 2 * rows : 2, j : j + 2 * columns : 2]
                    part += parts[:, :, i, j]
            of_images = padded[:, :, padding : padding + height, padding : padding + width]
        return of_images, _of_weight(of_places, kernel), of_bias, None


def _places(weight: Tensor) -> Tensor:
    """Return [4, ..., k + 1, k + 1]: a kernel [..., k, k] at each place of a pooling window."""
    return torch.stack([F.pad(weight, (j, 1 - j, i, 1 - i)) for i in (0, 1) for j in (0, 1)])


def _of_weight(of_places: Tensor, kernel: int) -> Tensor:
    """Return the weight's gradient [..., k, k], given that of ``_places``."""
    corners = [(i, j) for i in (0, 1) for j in (0, 1)]
    first, *others = (
        of_places[place, ..., i : i + kernel, j : j + kernel]
        for place, (i, j) in enumerate(corners)
    )
    return first + others[0] + others[1] + others[2]


def _rectified_maximum(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rectified maximum [N, M] of values [N, 4, M], and how far each is behind it.

    Values are overwritten: zero is left where a value is the maximum.
    """
    highest = values.amax(1)
    behind = values.sub_(highest[:, None])
    return highest.clamp_min_(0), behind


def _spread(gradient: Tensor, found: Tensor, behind: Tensor) -> Tensor:
    """Return the gradient [N, 4, M] of the values of ``_rectified_maximum``."""
    # threshold_backward(g, x, t) is g where x > t: with x = 0 for a maximum and no number above 0,
    # it picks the maxima in one pass. Two floats that differ do so by more than 1e-37.
    left = _threshold_backward(gradient, found, 0)
    spread = torch.empty_like(behind)
    for place in range(3):
        part = spread[:, place]
        _threshold_backward.grad_input(left, behind[:, place], -1e-37, grad_input=part)
        left = left.sub_(part)  # an equal maximum further on gets nothing
    spread[:, 3] = left
    return spread
