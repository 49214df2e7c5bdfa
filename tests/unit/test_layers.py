"""The layer in its faster forms is PyTorch's three functions, forward and backward."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from recall_distortion.errors import NetworkError
from recall_distortion.networks.layers import pooled_convolution

# Few input channels take the first form; many, with even and odd sizes, padded or not, the second.
SHAPES = [
    # batch, channels, height, width, outputs, kernel, padding
    (3, 1, 28, 28, 6, 5, 2),
    (2, 3, 14, 11, 4, 5, 2),
    (5, 2, 9, 8, 3, 3, 1),
    (4, 6, 14, 14, 16, 5, 0),
    (4, 6, 13, 14, 5, 5, 0),
    (2, 8, 4, 4, 16, 3, 1),
    (1, 7, 5, 6, 1, 1, 0),
]


def usual(images, weight, bias, padding):
    return F.relu(F.max_pool2d(F.conv2d(images, weight, bias, padding=padding), 2))


def inputs(shape, dtype=torch.float64, *, count=None):
    batch, channels, height, width, outputs, kernel, padding = shape
    rng = torch.Generator().manual_seed(0)
    leading = () if count is None else (count,)
    sizes = (
        (batch, channels, height, width),
        (outputs, channels, kernel, kernel),
        (outputs,),
    )
    tensors = [
        torch.randn(*leading, *size, generator=rng, dtype=dtype).requires_grad_() for size in sizes
    ]
    return tensors, padding


def gradients(found, tensors):
    rng = torch.Generator().manual_seed(1)
    weights = torch.randn(found.shape, generator=rng, dtype=torch.float64).to(found.dtype)
    return torch.autograd.grad((found * weights).sum(), tensors)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_three_layers(shape):
    tensors, padding = inputs(shape)
    found, expected = pooled_convolution(*tensors, padding), usual(*tensors, padding)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(gradients(found, tensors), gradients(expected, tensors), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shared", [False, True])
def test_networks_under_vmap_are_the_networks_alone(shape, shared):
    (images, weight, bias), padding = inputs(shape, count=3)
    if shared:
        images = images[0].detach().clone().requires_grad_()

    def layer(images, weight, bias):
        return pooled_convolution(images, weight, bias, padding)

    found = torch.vmap(layer, (None if shared else 0, 0, 0))(images, weight, bias)
    expected = torch.stack(
        [usual(images if shared else images[k], weight[k], bias[k], padding) for k in range(3)]
    )
    torch.testing.assert_close(found, expected)
    tensors = [images, weight, bias]
    for ours, theirs in zip(gradients(found, tensors), gradients(expected, tensors), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("stacked", [False, True])
def test_of_equal_maxima_one_alone_gets_the_gradient(channels, stacked):
    """On a flat image all four places of a window are equal, as in an image's background."""
    images = torch.full((2, channels, 12, 12), 0.5)
    weight = torch.full((3, channels, 5, 5), 0.25, requires_grad=True)
    bias = torch.full((3,), 0.125, requires_grad=True)
    if stacked:
        found = torch.vmap(pooled_convolution, (None, 0, 0))(images, weight[None], bias[None])[0]
    else:
        found = pooled_convolution(images, weight, bias)
    expected = usual(images, weight, bias, 0)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found.sum(), (weight, bias)),
        torch.autograd.grad(expected.sum(), (weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_any_order_of_dimensions_gives_the_same():
    for shape in SHAPES:
        (images, weight, bias), padding = inputs(shape)
        last = images.detach().to(memory_format=torch.channels_last)
        found = pooled_convolution(last, weight, bias, padding)
        torch.testing.assert_close(found, usual(images, weight, bias, padding))


@pytest.mark.parametrize("shape", SHAPES)
def test_autocast_computes_in_half_precision_and_keeps_the_gradients_precision(shape):
    tensors, padding = inputs(shape, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pooled_convolution(*tensors, padding)
    expected = usual(*tensors, padding)
    # bfloat16 has 8 bits of precision; sums of up to 200 products of its roundings.
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.15)
    for ours, tensor in zip(gradients(found, tensors), tensors, strict=True):
        assert ours.dtype == tensor.dtype
        assert ours.shape == tensor.shape


def test_a_gradient_inside_of_vmap_is_refused():
    (images, weight, bias), padding = inputs(SHAPES[0], count=2)

    def loss(weight, images, bias):
        return pooled_convolution(images, weight, bias, padding).sum()

    with pytest.raises(NetworkError, match=r"outside of torch\.vmap"):
        torch.vmap(torch.func.grad(loss))(weight, images, bias)
