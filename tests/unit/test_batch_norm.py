"""Batch norm in elementary operations is torch's own, alone and stacked by torch.vmap."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recall_distortion.training.batch_norm import ElementaryBatchNorm, batch_norm

SHAPES = [(6, 3), (4, 3, 5), (4, 3, 5, 6), (2, 3, 2, 3, 4)]


def draw(shape, dtype=torch.float64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(shape, generator=rng, dtype=torch.float64) + 1).to(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("training", "running"), [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("affine", [False, True])
def test_it_is_torch_s_with_every_argument(shape, training, affine, running):
    results = []
    for function in (F.batch_norm, batch_norm):
        images = draw(shape).requires_grad_()
        weight, bias = (draw(3, seed=seed).requires_grad_() for seed in (1, 2))
        mean, variance = draw(3, seed=3), draw(3, seed=4).abs() + 0.5
        statistics = (mean, variance) if running else (None, None)
        scale = (weight, bias) if affine else (None, None)
        found = function(images, *statistics, *scale, training, 0.3, 1e-3)
        wanted = [images, *(scale if affine else ())]
        gradients = torch.autograd.grad((found * draw(shape, seed=5)).sum(), wanted)
        results.append([found, mean, variance, *gradients])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(3),
        nn.BatchNorm2d(3, affine=False, eps=0.1),
        nn.BatchNorm2d(3, track_running_stats=False),
    ],
    ids=["usual", "not affine", "without running statistics"],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_modules_are_stacked_with_their_running_statistics(layer, channels_last):
    """Two steps of training, then evaluation, of three networks at once and of each alone."""
    layer = layer.double()
    if channels_last:
        batches = [draw((3, 4, 5, 6, 3), seed=seed).movedim(4, 2) for seed in (6, 7, 8)]
    else:
        batches = [draw((3, 4, 3, 5, 6), seed=seed) for seed in (6, 7, 8)]
    state = {
        name: value.expand(3, *value.shape).clone() for name, value in layer.state_dict().items()
    }
    together = []
    with ElementaryBatchNorm():
        for number, images in enumerate(batches):
            layer.train(number < 2)
            together.append(
                torch.vmap(
                    lambda values, images: torch.func.functional_call(layer, values, (images,)),
                    (0 if state else None, 0),
                )(state, images)
            )
    for k in range(3):
        alone = {name: value.clone() for name, value in layer.state_dict().items()}
        for number, images in enumerate(batches):
            layer.train(number < 2)
            expected = torch.func.functional_call(layer, alone, (images[k],))
            torch.testing.assert_close(together[number][k], expected, rtol=1e-12, atol=1e-12)
        for name, value in alone.items():
            torch.testing.assert_close(state[name][k], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("training", [False, True])
def test_half_precision_is_rounded_once_and_its_statistics_are_not(dtype, training):
    """The mean is far from 0 against the spread, where every further rounding would show."""
    images = (draw((8, 3, 5, 5), torch.float32) / 8 + 20).to(dtype)
    weight, bias = draw(3, torch.float32, 1), draw(3, torch.float32, 2)
    mean, variance = torch.full((3,), 20.0), torch.full((3,), 0.2)
    expected_mean, expected_variance = mean.double(), variance.double()
    expected = F.batch_norm(
        images.double(), expected_mean, expected_variance, weight.double(), bias.double(), training
    )
    found = batch_norm(images, mean, variance, weight, bias, training)
    assert found.dtype == dtype
    assert mean.dtype == variance.dtype == torch.float32
    # Half a unit in the last place, and what single precision adds to it.
    torch.testing.assert_close(
        found.double(), expected, rtol=0.51 * torch.finfo(dtype).eps, atol=2e-5
    )
    torch.testing.assert_close(mean.double(), expected_mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance.double(), expected_variance, rtol=1e-5, atol=1e-6)


def test_evaluation_without_running_statistics_is_refused_as_torch_refuses_it():
    for function in (F.batch_norm, batch_norm):
        with pytest.raises(RuntimeError, match="running_mean"):
            function(torch.zeros(2, 3), None, None, training=False)


def test_one_value_a_channel_is_refused_as_torch_refuses_it():
    for function in (F.batch_norm, batch_norm):
        with pytest.raises(ValueError, match="more than"):
            function(torch.zeros(1, 3, 1, 1), None, None, training=True)
