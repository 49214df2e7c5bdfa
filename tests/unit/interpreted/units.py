"""A fused unit is its layers: convolution, batch norm, shortcut and rectifier, forward and back.

Run by tests/unit/test_fast_gpu.py, for Triton has to be told that it interprets before it is there.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from fused_helpers import off

from recall_distortion.fast.gpu import units

# Odd and even sizes, few channels and many, strides, both shortcuts, more than a tile of pixels.
SHAPES = [
    # networks, batch, height, width, inputs, outputs, stride, the block's input: channels
    (2, 3, 7, 5, 3, 16, 1, 0),
    (1, 2, 9, 8, 1, 16, 1, 0),
    (2, 3, 7, 5, 16, 32, 2, 0),
    (2, 2, 6, 8, 16, 32, 2, 0),
    (2, 3, 4, 3, 32, 32, 1, 16),
    (2, 2, 4, 6, 32, 32, 1, 32),
]


def setting(shape, dtype=torch.float32):
    networks, batch, height, width, inputs, outputs, stride, wide = shape
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(networks, batch, height, width, inputs, generator=rng)
    weight = torch.randn(networks, 3, 3, inputs, outputs, generator=rng) / (9 * inputs) ** 0.5
    gamma, variance = torch.rand(2, networks, outputs, generator=rng) + 0.5
    # Means that are far from zero, where sums of squares would cancel.
    beta, mean = torch.randn(2, networks, outputs, generator=rng)
    source = None
    if wide:
        grown = wide != outputs
        size = (2 * height - 1, 2 * width) if grown else (height, width)
        source = torch.randn(networks, batch, *size, wide, generator=rng)
        source = source.to(dtype)
    x, weight = (x + 3).to(dtype), weight.to(dtype)
    return units.Unit(weight, gamma, beta, mean, variance, stride), x, source


def plain(k, unit, x, source, mean, variance, training):
    """Return network k's result in double precision, and its leaves as the layers have them."""
    leaves = [
        x[k].double().permute(0, 3, 1, 2),
        unit.weight[k].double().permute(3, 2, 0, 1),
        unit.gamma[k].double(),
        unit.beta[k].double(),
    ]
    images, weight, gamma, beta = (leaf.requires_grad_() for leaf in leaves)
    y = F.conv2d(images, weight, stride=unit.stride, padding=1)
    y = F.batch_norm(y, mean, variance, gamma, beta, training)
    if source is not None:
        added = source[k].double().permute(0, 3, 1, 2)
        if added.shape != y.shape:
            padding = (y.shape[1] - added.shape[1]) // 2
            added = F.pad(added[:, :, ::2, ::2], (0, 0, 0, 0, padding, padding))
        y = y + added
    return F.relu(y), leaves


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 5e-3)])
def test_a_unit_is_its_layers(shape, dtype, tolerance):
    unit, x, source = setting(shape, dtype)
    before = [(unit.mean[k].double(), unit.variance[k].double()) for k in range(len(x))]
    evaluated = units.evaluate(unit, x, source)
    passed = units.train(unit, x, source)
    rng = torch.Generator().manual_seed(1)
    dout = torch.randn(passed.out.shape, generator=rng).to(dtype)
    found = units.backward(unit, passed, dout, needs_x=x.shape[-1] >= 16)
    for k, (mean, variance) in enumerate(before):
        expected, _ = plain(k, unit, x, source, mean.clone(), variance.clone(), False)
        assert off(evaluated[k].permute(0, 3, 1, 2), expected) < tolerance
        expected, leaves = plain(k, unit, x, source, mean, variance, True)
        assert off(passed.out[k].permute(0, 3, 1, 2), expected) < tolerance
        assert off(unit.mean[k], mean) < tolerance
        assert off(unit.variance[k], variance) < tolerance
        outer = dout[k].double().permute(0, 3, 1, 2)
        gradients = torch.autograd.grad(expected, leaves, outer)
        ours = [None, found.weight[k].permute(3, 2, 0, 1), found.gamma[k], found.beta[k]]
        if found.x is not None:
            ours[0] = found.x[k].permute(0, 3, 1, 2)
        for value, theirs in zip(ours, gradients, strict=True):
            # Single precision: measured 4e-7. Half: where rounding flips a rectifier, far more.
            assert value is None or off(value, theirs) < (2e-6 if tolerance == 1e-6 else 0.1)


def test_a_network_s_result_does_not_depend_on_the_others_with_it():
    unit, x, source = setting(SHAPES[-1])
    passed = units.train(unit, x, source)
    dout = passed.out.flip(1)
    found = units.backward(unit, passed, dout, (passed.out, dout))
    for k in range(len(x)):
        part = slice(k, k + 1)
        values = (unit.weight, unit.gamma, unit.beta, unit.mean, unit.variance)
        alone = units.Unit(*(value[part].clone() for value in values))
        own = units.train(alone, x[part], source[part])
        gradients = units.backward(alone, own, dout[part], (own.out, dout[part]))
        assert torch.equal(own.out, passed.out[part])
        for name, value in vars(gradients).items():
            assert torch.equal(value, getattr(found, name)[part]), name


def test_what_is_no_number_stays_none():
    unit, x, _ = setting(SHAPES[2])
    x[1, 0, 0, 0, 0] = torch.inf
    passed = units.train(unit, x)
    assert passed.out[0].isfinite().all()
    assert passed.out[1].isnan().any()
