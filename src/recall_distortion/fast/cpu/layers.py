"""Convolution, max pooling and rectifier as one layer, computed in compiled loops.

``pooled_convolution`` is relu(max_pool2d(conv2d(...), 2)), and a test holds it against these three.
It is computed by ``kernels``, alone and under ``torch.vmap``, because PyTorch's pooling takes a
third of a small network's step, its gradients go through four times as many places as pooling
passes on, and its grouped convolutions take one group after another (docs/performance.md).

It has only first derivatives, by ``backward()`` and ``torch.autograd.grad``: what asks for others,
or for these in another way, is refused.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from recall_distortion.system.errors import NetworkError

_FIRST_ALONE = (
    "the compiled layer has first derivatives alone, by backward() and torch.autograd.grad; with "
    "create_graph=True, is_grads_batched=True, forward-mode derivatives or torch.func.grad take "
    "the plain network, which recall_distortion.networks.build returns, or Engine(fast=False)"
)
#: What the loops are compiled for.
COMPILED = (torch.float32, torch.float64)


def pooled_convolution(images: Tensor, weight: Tensor, bias: Tensor, padding: int = 0) -> Tensor:
    """Return relu(max_pool2d(conv2d(images, weight, bias, padding=padding), 2)).

    Images are [B, C, H, W], the weight [O, C, k, k] and the bias [O]; the result is
    [B, O, floor(H' / 2), floor(W' / 2)] with H' = H + 2 padding - k + 1, in the weight's precision
    whatever that of the images is. The first of equal maxima
    gets a window's gradient, as in PyTorch. Autocast leaves the layer in the weight's precision, in
    which it is faster.

    Raises ``NetworkError`` where shapes do not fit, images are no floats, the weight is neither in
    single nor in double precision or a tensor is not on the CPU, where derivatives are taken
    forward or in batches, and in the first backward pass where its gradient is to have a gradient
    of its own (``create_graph=True``).
    """
    if weight.dtype not in COMPILED or {images.device.type, weight.device.type} != {"cpu"}:
        raise NetworkError(
            f"the compiled layer is for a CPU in {COMPILED[0]} or {COMPILED[1]}, not for a weight "
            f"in {weight.dtype} on {weight.device} and images on {images.device}; call the plain "
            "network"
        )
    images = in_precision(images, weight.dtype)
    if images.dim() != 4:
        raise NetworkError(f"images are [B, C, H, W], not of shape {list(images.shape)}")
    check_sizes(images.shape[1:], weight.shape, padding)
    found: Tensor = _PooledConvolution.apply(images, weight, bias, padding)[0]
    return found


def in_precision(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return images in a layer's precision; raise ``NetworkError`` where they are no floats."""
    if not images.is_floating_point():
        raise NetworkError(f"images are normalized numbers of a float type, not {images.dtype}")
    return images.to(dtype)


def check_sizes(image: Sequence[int], weight: Sequence[int], padding: int) -> None:
    """Raise ``NetworkError`` where an image [C, H, W] does not fit a weight [O, C, k, k]."""
    (channels, height, width), (_, expected, kernel, _) = image, weight
    smallest = kernel + 1 - 2 * padding
    if channels != expected:
        raise NetworkError(f"the layer is for {expected} channels, and the images have {channels}")
    if min(height, width) < smallest:
        raise NetworkError(
            f"what reaches this layer is {height} x {width}, too small for a convolution of "
            f"{kernel} x {kernel} with padding {padding} and pooling, which need {smallest} x "
            f"{smallest}: the images are too small"
        )


class _PooledConvolution(torch.autograd.Function):
    """The layer on a CPU: of one network, or of the networks that ``torch.vmap`` stacks."""

    @staticmethod
    def forward(
        images: Tensor, weight: Tensor, bias: Tensor, padding: int
    ) -> tuple[Tensor, Tensor]:
        found, place, *_ = _forward(images[None], weight[None], bias[None], padding)
        return found[0], place[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        images, weight, _, ctx.padding = inputs
        place = output[1]
        ctx.mark_non_differentiable(place)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(images, weight, place)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        images, weight, place = ctx.saved_tensors
        if place.numel() == 0 < gradient.numel():
            raise NetworkError("take the gradient of stacked networks outside of torch.vmap")
        of_images, of_weight, of_bias = _backward(
            gradient[None],
            place[None],
            images[None],
            weight[None],
            ctx.padding,
            ctx.needs_input_grad[0],
        )
        return None if of_images is None else of_images[0], of_weight[0], of_bias[0], None

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> None:
        raise NetworkError(_FIRST_ALONE)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        padding: int,
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        weight, bias = (
            value.movedim(dim, 0)
            if dim is not None
            else value.expand(info.batch_size, *value.shape)
            for value, dim in ((weight, in_dims[1]), (bias, in_dims[2]))
        )
        images = images[None] if in_dims[0] is None else images.movedim(in_dims[0], 0)
        found, _ = StackedPooledConvolution.apply(images, weight, bias, padding, False)
        return (found, found.new_empty(0)), (0, None)


class StackedPooledConvolution(torch.autograd.Function):
    """The layer of K networks: images [K or 1, B, C, H, W], weight [K, O, C, k, k], bias [K, O].

    Where it is ``tapped``, its second result is the largest and the smallest number of each unit of
    the convolution in each image, [2, K, B, O]; what pooling leaves out, of an odd number of rows
    or columns, is not among them. The first of equal ones gets their gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: int, tapped: bool
    ) -> tuple[Tensor, Tensor]:
        found, place, peaks, at = _forward(images, weight, bias, padding, tapped=tapped)
        ctx.save_for_backward(images, weight, place, at)
        ctx.padding = padding
        return found, peaks

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, of_peaks: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        images, weight, place, at = ctx.saved_tensors
        needed = ctx.needs_input_grad[0]
        peaks = (at, of_peaks) if at.numel() else None
        of_images, of_weight, of_bias = _backward(
            gradient, place, images, weight, ctx.padding, needed, peaks
        )
        if of_images is not None and len(images) == 1:
            of_images = of_images.sum(0, keepdim=True)
        return of_images, of_weight, of_bias, None, None

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> None:
        raise NetworkError(_FIRST_ALONE)


# torch reads the signature at each call, which takes as long as the smallest of these layers.
# (No function's type says that it may have one.)
_PooledConvolution.forward.__signature__ = inspect.signature(_PooledConvolution.forward)  # type: ignore[attr-defined]


def _refuse_second_derivatives() -> None:
    # torch records what a backward pass does if and only if it is to be differentiated. Its own
    # ``once_differentiable`` raises later, and never in torch.autograd.grad, which would then
    # return a Hessian-vector product without this layer's part.
    if torch.is_grad_enabled():
        raise NetworkError(_FIRST_ALONE)


@contextlib.contextmanager
def _plain_tensors() -> Iterator[None]:
    """Say what to do where torch's transforms hand over tensors that are not just numbers."""
    try:
        yield
    except RuntimeError as error:
        raise NetworkError(f"{_FIRST_ALONE} (torch says: {str(error).splitlines()[0]})") from None


def _kernels(weight: Tensor, tapped: bool) -> Any:
    # Numba takes half a second to import, and where there is a GPU it need not be there.
    from recall_distortion.fast.cpu.kernels import kernels

    _, outputs, channels, kernel, _ = weight.shape
    return kernels(channels, outputs, kernel, tapped)


def _forward(
    images: Tensor, weight: Tensor, bias: Tensor, padding: int, *, tapped: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the result [K, B, O, h, w] of K networks, and the place of each maximum.

    Then the outermost numbers of each unit in each image [2, K, B, O], and where they are; nothing
    where the layer is not ``tapped``.
    """
    networks, outputs, _, kernel, _ = weight.shape
    rows, columns = ((size + 2 * padding - kernel + 1) // 2 for size in images.shape[3:])
    found = weight.new_empty(networks, images.shape[1], outputs, rows, columns)
    place = torch.empty(found.shape, dtype=torch.uint8)
    peaks = weight.new_empty((2, *found.shape[:3]) if tapped else (0, 0, 0, 0))
    at = torch.empty(peaks.shape, dtype=torch.int32)
    written = [value.numpy() for value in (found, place, peaks, at)]
    _kernels(weight, tapped).forward(*_arrays(images, weight, bias), padding, *written)
    return found, place, peaks, at


def _backward(
    gradient: Tensor,
    place: Tensor,
    images: Tensor,
    weight: Tensor,
    padding: int,
    needs_images: bool,
    peaks: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return the gradients; ``peaks`` are where a tapped layer's are, and their gradients."""
    networks, outputs = weight.shape[:2]
    none = weight.new_empty(0, 0, 0, 0)
    at, of_peaks = peaks or (none.int(), none)
    with _plain_tensors():
        arrays = _arrays(gradient.flatten(3), place.flatten(3), images, weight)
    shape = (networks, *images.shape[1:]) if needs_images else (0,) * images.dim()
    of_images, of_weight = weight.new_empty(shape), weight.new_empty(weight.shape)
    of_bias = weight.new_empty(networks, outputs)
    _kernels(weight, peaks is not None).backward(
        *arrays,
        padding,
        *_arrays(at, of_peaks),
        *(value.numpy() for value in (of_images, of_weight, of_bias)),
    )
    return of_images if needs_images else None, of_weight, of_bias


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
