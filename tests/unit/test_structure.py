"""A network's plan, layer by layer, is what its module is; ratios of channels are exact."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recall_distortion import networks
from recall_distortion.compression.channel_ratios import (
    COUNTS,
    fraction_of_channels,
    fractions,
    size,
    widths,
)
from recall_distortion.networks import plans, structure
from recall_distortion.system.errors import NetworkError

THIN = ("thin_mlp_3x40", "thin_cnn_2x24")
NAMES = [name for name in plans.ARCHITECTURES if name not in ("resnet32", "resnet44", "resnet110")]
NAMES += THIN


@pytest.mark.parametrize("name", [*plans.ARCHITECTURES, *THIN])
@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 7)])
def test_the_plan_has_the_layers_of_the_module(name, channels, classes):
    network = networks.build(name, channels=channels, classes=classes)
    parameters = {key: tuple(value.shape) for key, value in network.named_parameters()}
    for layer in plans.layers(name, channels, classes):
        inputs, outputs = (structure.width(of, {}) for of in (layer.inputs, layer.outputs))
        shape = parameters.pop(f"{layer.name}.weight")
        if layer.kind == structure.BATCH_NORM:
            assert shape == (outputs,)
        elif layer.kind == structure.LINEAR:
            assert shape == (outputs, inputs * layer.area)
        else:
            assert shape[:2] == (outputs, inputs)
            assert shape[2] * shape[3] == layer.area
        if layer.kind == structure.BATCH_NORM or layer.bias:
            assert parameters.pop(f"{layer.name}.bias") == (outputs,)
        assert layer.prunable == (f"{layer.name}.weight" in networks.prunable_parameters(network))
    assert not parameters


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_knows_the_images_that_layers_make(name):
    smallest = plans.architecture(name).minimum_image_size
    network = networks.build(name, channels=3, classes=4).train()
    for image in ((smallest, smallest), (smallest + 5, smallest), (33, 38)):
        layers = plans.layers(name, 3, 4, image)
        own = {
            f"{layer.name}.weight": layer.positions
            for layer in layers
            if layer.kind != structure.BATCH_NORM
        }
        before = {key: value.clone() for key, value in network.named_buffers()}
        assert networks.output_positions(network, torch.rand(2, 3, *image)) == own
        assert network.training
        assert all(torch.equal(before[key], value) for key, value in network.named_buffers())
        adds = sum(network.get_parameter(key).numel() * many for key, many in own.items())
        assert structure.multiply_adds(layers) == adds


def test_published_multiply_adds():
    """LeNet-5's by hand; ResNet-56's 125.49 million are those that CHIP's tables begin with."""
    layers = plans.layers("lenet5", 1, 10, (28, 28))
    by_hand = 6 * 25 * 28**2 + 16 * 6 * 25 * 10**2 + 400 * 120 + 120 * 84 + 84 * 10
    assert structure.multiply_adds(layers) == by_hand == 416_520
    resnet = plans.layers("resnet56", 3, 10, (32, 32))
    assert round(structure.multiply_adds(resnet) / 1e6, 2) == 125.49


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", COUNTS)
def test_the_network_of_a_ratio_is_the_largest_that_is_small_enough(name, count):
    """Against all fractions in steps finer than those at which counts change."""
    layers = plans.layers(name, 3, 10, (32, 32))
    whole = size(layers, {}, count)
    every = {}
    for step in range(1, 1201):
        own = widths(layers, step / 1200 - 1 / 5000)
        every[size(layers, own, count)] = own
    for ratio in (1, 1.5, 2, 3.54, 4, 7.3, 10):
        fitting = [many for many in every if many * Fraction(str(ratio)) <= whole]
        expected = every[max(fitting)] if ratio > 1 else widths(layers, 1)
        assert widths(layers, fraction_of_channels(layers, ratio, count)) == expected


@given(
    ratio=st.floats(1, 19),
    name=st.sampled_from(["mlp", "cnn", "lenet5", "resnet20"]),
    count=st.sampled_from(COUNTS),
)
def test_a_ratio_is_reached_and_the_next_network_is_too_large(ratio, name, count):
    layers = plans.layers(name, 1, 10, (32, 32))
    whole, every = size(layers, {}, count), fractions(layers)
    found = fraction_of_channels(layers, ratio, count)
    assert size(layers, widths(layers, found), count) * Fraction(str(ratio)) <= whole
    place = every.index(found)
    if place + 1 < len(every):
        above = widths(layers, every[place + 1])
        assert above != widths(layers, found)
        assert size(layers, above, count) * Fraction(str(ratio)) > whole
    for group in structure.groups(layers).values():
        assert 1 <= widths(layers, found)[group.name] <= group.size


def test_a_ratio_beyond_one_channel_a_group_names_the_largest():
    layers = plans.layers("cnn", 1, 10)
    least = structure.counts(layers, widths(layers, 0)).total
    # One channel of each: 9 + 1, 9 + 1, 4 + 1, and ten classes of 1 + 1.
    assert least == 10 + 10 + 5 + 20
    words = (
        r"cnn on digits cannot reach ratio 500 with unit: channel and count: total.* largest "
        r"feasible ratio is 81.28\."
    )
    with pytest.raises(NetworkError, match=words):
        fraction_of_channels(layers, 500, "total", "cnn on digits")
    fraction_of_channels(layers, 81.28, "total")
    with pytest.raises(NetworkError, match=r"81\.28"):
        fraction_of_channels(layers, 81.29, "total")
    with pytest.raises(NetworkError, match="at least 1"):
        fraction_of_channels(layers, 0.5, "total")
    with pytest.raises(NetworkError, match="one of total, prunable, multiply_adds"):
        fraction_of_channels(layers, 2, "flops")


@pytest.mark.parametrize(
    ("name", "channels", "classes", "count", "ratio"),
    [("mlp", 3, 7, "multiply_adds", 36.96), ("cnn", 3, 10, "prunable", 85.4)],
)
def test_a_ratio_is_the_decimal_that_is_written(name, channels, classes, count, ratio):
    """Where it is reached exactly, as these largest ones are, though their floats lie above."""
    layers = plans.layers(name, channels, classes)
    one = fraction_of_channels(layers, ratio, count)
    assert set(widths(layers, one).values()) == {1}
    with pytest.raises(NetworkError, match=rf"feasible ratio is {ratio}\."):
        fraction_of_channels(layers, ratio + 0.01, count)


def test_a_residual_network_s_stages_stay_padded_alike():
    """At one fraction what a stage adds before is as much as it adds after."""
    layers = plans.layers("resnet20", 3, 10)
    for fraction in fractions(layers):
        own = widths(layers, fraction)
        assert own["stage2_before"] == own["stage2_after"]
        assert own["stage3_before"] == own["stage3_after"]
    half = structure.counts(layers, widths(layers, 0.5)).total
    assert round(269_722 / half, 2) == 3.96  # all widths halved


def test_where_the_channels_of_a_residual_network_lie():
    """Channel c of stage 1 is c + 8 of stage 2 and c + 24 of stage 3, where shortcuts take it."""
    network = networks.build("resnet20", channels=3, classes=10).eval()
    places = {
        part.tensor: part.first
        for part in structure.parts(plans.layers("resnet20", 3, 10))["stage1"]
    }
    assert places["stage1.0.bn2.weight"] == places["conv1.weight"] == 0
    for channel in (0, 7, 15):
        x = torch.zeros(1, 16, 4, 4)
        x[0, channel] = 1
        second = network.stage2[0].shortcut(x, 32)
        third = network.stage3[0].shortcut(second, 64)
        assert second.amax((0, 2, 3)).nonzero().item() == channel + places["stage2.1.bn2.weight"]
        assert third.amax((0, 2, 3)).nonzero().item() == channel + places["stage3.1.bn2.weight"]
