"""The compiled layer is the three layers it stands for, forward and backward."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from recall_distortion.fast.cpu import compiling
from recall_distortion.fast.cpu.layers import StackedPooledConvolution, pooled_convolution
from recall_distortion.system.errors import NetworkError

# One, few and many channels and outputs (one group of vectors and two), even and odd sizes, with
# and without padding, a single window.
SHAPES = [
    # batch, channels, height, width, outputs, kernel, padding
    (3, 1, 28, 28, 6, 5, 2),
    (2, 3, 14, 11, 4, 5, 2),
    (5, 2, 9, 8, 3, 3, 1),
    (4, 6, 14, 14, 16, 5, 0),
    (4, 6, 13, 14, 5, 5, 0),
    (2, 8, 4, 4, 16, 3, 1),
    (2, 16, 7, 6, 20, 3, 1),
    (1, 7, 5, 6, 1, 1, 0),
    (3, 5, 3, 3, 9, 2, 0),
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


@pytest.mark.slow
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


EVEN = [  # of which pooling leaves no row or column out
    (batch, channels, height, width, outputs, kernel, padding)
    for batch, channels, height, width, outputs, kernel, padding in SHAPES
    if not any((size + 2 * padding - kernel + 1) % 2 for size in (height, width))
]


@pytest.mark.slow
@pytest.mark.parametrize("shape", EVEN)
def test_peaks_are_the_convolution_s_outermost_numbers_of_each_image(shape):
    (images, weight, bias), padding = inputs(shape, count=2)
    found, peaks = StackedPooledConvolution.apply(images, weight, bias, padding, True)
    z = torch.stack(
        [F.conv2d(*own, padding=padding) for own in zip(images, weight, bias, strict=True)]
    )
    usual_peaks = torch.stack([z.amax((3, 4)), z.amin((3, 4))])
    torch.testing.assert_close(peaks, usual_peaks)
    pooled = F.relu(F.max_pool2d(z.flatten(0, 1), 2)).unflatten(0, z.shape[:2])
    torch.testing.assert_close(found, pooled)
    drawn = torch.Generator().manual_seed(2)
    weights = torch.randn(peaks.shape, generator=drawn, dtype=peaks.dtype)
    weights[0, 0, 0, 0] = 0  # no gradient
    ours, theirs = (
        torch.autograd.grad(x.square().sum() + (weights * own).sum(), [images, weight, bias])
        for x, own in ((found, peaks), (pooled, usual_peaks))
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
def test_single_precision_differs_from_double_by_rounding_alone():
    for shape in SHAPES[:4]:
        doubles, padding = inputs(shape)
        singles = [value.detach().float().requires_grad_() for value in doubles]
        found, expected = pooled_convolution(*singles, padding), usual(*doubles, padding)
        # 24 bits, and sums of at most some hundred products around 1.
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(
            gradients(found, singles), gradients(expected, doubles), strict=True
        ):
            torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(value):
    (images, weight, bias), padding = inputs(SHAPES[0], torch.float32)
    with torch.no_grad():
        images[1, 0, 5, 5] = value
        weight.abs_()
    found, expected = (
        pooled_convolution(images, weight, bias, padding),
        usual(images, weight, bias, padding),
    )
    assert not expected.isfinite().all()
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-5, atol=1e-5)
    of_weight = torch.autograd.grad(found.sum(), weight)[0]
    assert not of_weight.isfinite().all()


def test_the_same_images_get_the_gradients_of_all_networks():
    (images, weight, bias), padding = inputs(SHAPES[3], count=3)
    shared = images[0].detach().clone().requires_grad_()

    def layer(weight, bias):
        return pooled_convolution(shared, weight, bias, padding)

    found = torch.vmap(layer)(weight, bias)
    expected = sum(usual(shared, weight[k], bias[k], padding).sum() for k in range(3))
    torch.testing.assert_close(
        *(torch.autograd.grad(x.sum(), shared)[0] for x in (found, expected))
    )


def test_shapes_that_do_not_fit_are_refused():
    (images, weight, bias), padding = inputs(SHAPES[3])
    with pytest.raises(NetworkError, match="for 6 channels, and the images have 1"):
        pooled_convolution(images[:, :1], weight, bias, padding)
    with pytest.raises(NetworkError, match=r"5 x 14, too small .* need 6 x 6: the images are"):
        pooled_convolution(images[:, :, :5], weight, bias, padding)


def test_what_is_not_on_a_cpu_or_in_half_precision_is_refused():
    (images, weight, bias), padding = inputs(SHAPES[0], torch.float32)
    with pytest.raises(NetworkError, match="call the plain network"):
        pooled_convolution(images, weight.bfloat16(), bias.bfloat16(), padding)
    with pytest.raises(NetworkError, match="images on meta"):
        pooled_convolution(images.to("meta"), weight, bias, padding)


def test_no_place_for_a_cache_is_no_error(monkeypatch):
    """Numba refuses to cache where neither the package's folder nor the user's can be written."""
    from numba.core import caching

    monkeypatch.setattr(caching.FunctionCache._impl_class, "_locator_classes", [])
    compiled = compiling.compiled()(lambda array: array.fill(1))
    array = torch.zeros(3).numpy()
    compiled(array)
    assert array.tolist() == [1, 1, 1]


CALLS = {
    "rectifier": (
        "from recall_distortion.fast.cpu import rectifier\n"
        "z = torch.ones(1, 2, 3).numpy()\n"
        "bits = torch.zeros(0, 0, dtype=torch.int8).numpy()\n"
        "rectifier.backward(z, bits, 0, 0, 1.0, z)\n"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("module", CALLS)
def test_a_damaged_cache_is_named(tmp_path, module):
    """A new process takes a compiled function from disk; here only half of it lies there."""
    script = f"import torch\n{CALLS[module]}"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def run():
        command = [sys.executable, "-c", script]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    assert run().returncode == 0
    kept = list(tmp_path.rglob(f"{module}*.nbc"))
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    found = run()
    assert found.returncode != 0
    assert f"{kept[0].parent}: what Numba compiled and kept there is damaged" in found.stderr
    assert f"delete its files {module}*.nbi and {module}*.nbc" in found.stderr
    for path in tmp_path.rglob(f"{module}*.nb?"):
        path.unlink()
    assert run().returncode == 0


@pytest.mark.slow
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


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_autocast_leaves_the_layer_in_single_precision(shape):
    tensors, padding = inputs(shape, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pooled_convolution(*tensors, padding)
        of_half = pooled_convolution(tensors[0].bfloat16(), *tensors[1:], padding)
    assert found.dtype == of_half.dtype == torch.float32
    assert torch.equal(found, pooled_convolution(*tensors, padding))
    # bfloat16 keeps 8 bits of each image; sums of 25 to 75 of their products around 1.
    torch.testing.assert_close(of_half, found, rtol=0.05, atol=0.15)
    images = tensors[0].detach().bfloat16().requires_grad_()
    (of_images,) = torch.autograd.grad(
        pooled_convolution(images, *tensors[1:], padding).sum(), images
    )
    assert of_images.dtype == torch.bfloat16


def test_a_gradient_inside_of_vmap_is_refused():
    (images, weight, bias), padding = inputs(SHAPES[0], count=2)

    def loss(weight, images, bias):
        return pooled_convolution(images, weight, bias, padding).sum()

    with pytest.raises(NetworkError, match=r"torch\.func\.grad"):
        torch.vmap(torch.func.grad(loss))(weight, images, bias)

    def pulled(weight, images, bias):
        found, pull = torch.func.vjp(lambda weight: loss(weight, images, bias), weight)
        with torch.no_grad():
            return pull(torch.ones_like(found))

    with pytest.raises(NetworkError, match=r"outside of torch\.vmap"):
        torch.vmap(pulled)(weight, images, bias)
