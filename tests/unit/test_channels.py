"""Criteria of channels against own computations, and networks that are smaller indeed."""

from __future__ import annotations

import pkgutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_helpers import method, recipe, write_prepared
from torch import nn

from recall_distortion import data, networks
from recall_distortion.compression.channel_ratios import fractions, widths
from recall_distortion.compression.facts import CHANNEL_CRITERIA
from recall_distortion.compression.pruning import channel_scores, units
from recall_distortion.compression.pruning.channel_scores import chip
from recall_distortion.compression.pruning.channels import channel_scores as scores_of
from recall_distortion.compression.pruning.channels import load
from recall_distortion.compression.pruning.selection import method_masks
from recall_distortion.compression.pruning.smaller import check_smaller, smaller
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.networks import plans, structure
from recall_distortion.networks.resnet import Block
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import TrainingImages, fit
from recall_distortion.training.randomness import generator

NAMES = ["mlp", "lenet300", "cnn", "lenet5", "resnet20", "thin_mlp_3x5", "thin_cnn_2x3"]


def random_network(name, seed=0, channels=1, classes=4):
    """Return a network with batch norm's statistics, factors and offsets as after training."""
    network = networks.build(name, channels=channels, classes=classes)
    networks.initialize(network, generator(seed, "initialization"))
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(generator=drawn)
                module.running_var.uniform_(0.3, 2, generator=drawn)
                module.weight.normal_(generator=drawn)
                module.bias.normal_(generator=drawn)
    return network.eval()


def images_for(name, count=6, seed=0, channels=1):
    size = max(plans.architecture(name).minimum_image_size, 12)
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, size, size, generator=drawn)


def chosen(name, seed):
    """Return some channels of each group, at least one, of all numbers."""
    drawn = torch.Generator().manual_seed(seed)
    found = {}
    for group in structure.groups(plans.layers(name, 1, 4)).values():
        kept = torch.rand(group.size, generator=drawn) < torch.rand(1, generator=drawn)
        kept[int(torch.randint(group.size, (1,), generator=drawn))] = True
        found[group.name] = kept
    # A plain residual network pads alike before and after.
    for stage in ("stage2", "stage3"):
        if f"{stage}_before" in found:
            found[f"{stage}_after"] = found[f"{stage}_before"].flip(0)
    return found


def masked(network, masks):
    found = {key: value.clone() for key, value in network.state_dict().items()}
    for key, mask in masks.items():
        found[key] *= mask
    network.load_state_dict(found)
    return network


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_a_network_without_some_channels_is_the_masked_one(name, seed):
    unit, kept, images = units.load("channel"), chosen(name, seed), images_for(name)
    network = random_network(name, seed)
    masks = unit.masks(network, kept)
    left = unit.left(network, masks)
    assert set(left) == set(kept)
    assert all(torch.equal(left[group], kept[group]) for group in kept)
    small, whole = smaller(network, kept), network(images)
    assert torch.equal(network(images), whole), "smaller() changed the network"
    masked(network, masks)
    torch.testing.assert_close(small(images), network(images), rtol=1e-4, atol=1e-5)
    check_smaller(network, network.state_dict(), masks, kept, images)

    own = {group: int(value.sum()) for group, value in kept.items()}
    layers = plans.layers(name, 1, 4, tuple(images.shape[2:]))
    found = Sparsity.of(masks, network, "total", networks.output_positions(network, images))
    real = sum(parameter.numel() for parameter in small.parameters())
    assert found.kept_total == real == structure.counts(layers, own).total
    assert found.realised_ratio == pytest.approx(found.total / real)
    assert found.kept_prunable == structure.counts(layers, own).prunable_weights
    assert found.multiply_adds == structure.multiply_adds(layers, own)
    assert found.dense_multiply_adds == structure.multiply_adds(layers)
    by_adds = Sparsity.of(
        masks, network, "multiply_adds", networks.output_positions(network, images)
    )
    assert by_adds.realised_ratio == found.dense_multiply_adds / found.multiply_adds


def test_a_residual_network_of_half_the_channels_is_one_of_half_the_widths():
    """The smaller network's numbers fit a ResNet that is built as the paper builds it."""
    network = random_network("resnet20", 1)
    layers = plans.layers("resnet20", 1, 4)
    drawn = torch.Generator().manual_seed(1)
    kept = {}
    for group, many in widths(layers, 0.5).items():
        kept[group] = torch.zeros(structure.groups(layers)[group].size, dtype=torch.bool)
        kept[group][torch.randperm(len(kept[group]), generator=drawn)[:many]] = True
    paper = networks.build("resnet20", channels=1, classes=4)
    paper.conv1, paper.bn1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
    paper.stage1 = nn.Sequential(*(Block(8, 8) for _ in range(3)))
    paper.stage2 = nn.Sequential(*(Block(16 if i else 8, 16) for i in range(3)))
    paper.stage3 = nn.Sequential(*(Block(32 if i else 16, 32) for i in range(3)))
    paper.classifier = nn.Linear(32, 4)
    small = smaller(network, kept)
    paper.load_state_dict(small.state_dict())
    masked(network, units.load("channel").masks(network, kept))
    images = images_for("resnet20")
    torch.testing.assert_close(paper.eval()(images), network(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "resnet20"])
def test_what_masks_leave_of_a_channel_fails(name):
    """Without its filter alone a channel is the constant that its bias or batch norm makes."""
    network, kept = random_network(name), chosen(name, 1)
    unit, images = units.load("channel"), images_for(name)
    masks = unit.masks(network, kept)
    prunable = networks.prunable_parameters(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    filters = {key: mask for key, mask in masks.items() if key in prunable}
    some = dict.fromkeys(filters)
    for key, mask in filters.items():
        rows = mask.flatten(1).any(1)
        some[key] = rows.view(-1, *[1] * (mask.dim() - 1)).expand_as(mask).clone()
    masked(network, some)
    with pytest.raises(NetworkError, match="something of them is left"):
        check_smaller(network, network.state_dict(), some, kept, images)
    masked(network, masks)
    check_smaller(network, network.state_dict(), masks, kept, images)
    fewer = dict(masks)
    key = next(iter(masks))
    fewer[key] = torch.ones_like(masks[key])
    with pytest.raises(NetworkError, match=f"of {key} masks leave"):
        check_smaller(network, network.state_dict(), fewer, kept, images)


# Scores


@pytest.mark.parametrize(("criterion", "norm"), [("l1_norm", 1), ("l2_norm", 2)])
def test_norms_of_filters(criterion, norm):
    network = random_network("cnn", 2)
    found = scores_of(network, criterion, images=None, generator=torch.Generator())
    assert list(found) == ["conv1", "conv2", "fc1"]
    for group, scores in found.items():
        weight = network.get_parameter(f"{group}.weight").detach().numpy().astype(float)
        expected = [np.linalg.norm(row.ravel(), norm) for row in weight]
        np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-12)


def test_the_norm_of_what_a_shortcut_adds_is_of_all_filters_that_make_it():
    network = random_network("resnet20", 2)
    found = scores_of(network, "l1_norm", images=None, generator=torch.Generator())
    weights = {k: v.detach().numpy().astype(float) for k, v in network.named_parameters()}
    first = {"conv1": 0} | {
        f"stage{stage}.{block}.conv2": shift
        for stage, shift in ((1, 0), (2, 8), (3, 24))
        for block in range(3)
    }
    for channel in (0, 3, 15):
        own = [abs(weights[f"{layer}.weight"][channel + s]).sum() for layer, s in first.items()]
        assert found["stage1"][channel].item() == pytest.approx(sum(own), rel=1e-12)
    # Added behind the first half in stage 2: its channels 24 to 31, and 40 to 47 of stage 3.
    own = [
        abs(weights[f"stage{s}.{b}.conv2.weight"][i]).sum()
        for s, i in ((2, 25), (3, 41))
        for b in range(3)
    ]
    assert found["stage2_after"][1].item() == pytest.approx(sum(own), rel=1e-12)
    scales = scores_of(network, "batch_norm_scale", images=None, generator=torch.Generator())
    own = [abs(weights[f"stage3.{b}.bn2.weight"][50]) for b in range(3)]
    assert scales["stage3_after"][2].item() == pytest.approx(sum(own), rel=1e-6)
    inner = abs(weights["stage2.1.bn1.weight"])
    np.testing.assert_allclose(scales["stage2.1.conv1"].numpy(), inner, rtol=1e-6)


def independence(maps):
    """Return by singular values what CHIP's equation says of maps [C, P]."""
    found = []
    for i in range(len(maps)):
        without = maps.copy()
        without[i] = 0
        found.append(np.linalg.norm(maps, "nuc") - np.linalg.norm(without, "nuc"))
    return np.array(found)


@pytest.mark.parametrize("shape", [(5, 4, 30), (70, 6, 6), (3, 20, 4), (1, 12, 300)])
def test_channel_independence_is_that_of_singular_values(shape):
    maps = np.maximum(np.random.default_rng(shape[0]).normal(size=shape), 0)
    expected = np.mean([independence(one) for one in maps], 0)
    found = chip.observe(torch.from_numpy(maps).float())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_channel_that_others_span_is_not_independent():
    maps = np.random.default_rng(0).uniform(size=(1, 3, 9))
    maps[0, 2] = 0
    found = chip.observe(torch.from_numpy(maps))
    assert found[2].abs() < 1e-6 < found[:2].min()


def test_chip_looks_at_what_the_next_layers_read():
    network, images = random_network("cnn", 3), images_for("cnn", 9)
    found = scores_of(network, "chip", images=images, generator=torch.Generator())
    with torch.no_grad():
        first = F.relu(F.max_pool2d(network.conv1(images), 2))
        second = F.adaptive_max_pool2d(F.relu(F.max_pool2d(network.conv2(first), 2)), 2)
        hidden = F.relu(network.fc1(second.flatten(1)))
    for group, maps in (("conv1", first), ("conv2", second)):
        expected = np.mean([independence(one.flatten(1).double().numpy()) for one in maps], 0)
        np.testing.assert_allclose(found[group].numpy(), expected, rtol=1e-5, atol=1e-6)
    # Hidden units, of which an image gives a number each: units by images.
    expected = independence(hidden.T.double().numpy())
    np.testing.assert_allclose(found["fc1"].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_chip_takes_maps_behind_a_shortcut_and_adds_them_over_the_layers_that_read_them():
    network, images = random_network("resnet20", 3).train(), images_for("resnet20", 2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = scores_of(network, "chip", images=images, generator=torch.Generator())
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    network.eval()
    with torch.no_grad():
        x = F.relu(network.bn1(network.conv1(images)))
        streams = [x]
        for block in (*network.stage1, *network.stage2, *network.stage3):
            inner = F.relu(block.bn1(block.conv1(x)))
            if block is network.stage2[1]:
                of_block = inner
            x = block(x)
            streams.append(x)
        streams[-1] = x.mean((2, 3)).T[None]  # the classifier reads means: units by images
    expected = np.mean([independence(one.flatten(1).double().numpy()) for one in of_block], 0)
    np.testing.assert_allclose(found["stage2.1.conv1"].numpy(), expected, rtol=1e-4, atol=1e-5)
    total = 0
    for number, maps in enumerate(streams):
        own = np.mean([independence(one.flatten(1).double().numpy()) for one in maps], 0)
        first = {16: 0, 32: 8, 64: 24}[len(own)]
        total = total + own[first : first + 16]
        assert maps.shape[1] == (16, 32, 64)[max(number - 1, 0) // 3]
    np.testing.assert_allclose(found["stage1"].numpy(), total, rtol=1e-4, atol=1e-5)


def test_scores_that_cannot_be():
    network = random_network("cnn")
    with pytest.raises(NetworkError, match="no images were given"):
        scores_of(network, "chip", images=None, generator=torch.Generator())
    with pytest.raises(NetworkError, match="without a batch norm"):
        scores_of(network, "batch_norm_scale", images=None, generator=torch.Generator())
    with pytest.raises(NetworkError, match="unknown criterion 'magnitude' of channels"):
        load("magnitude")
    with pytest.raises(NetworkError, match="need a generator"):
        load("random").score(None)
    with pytest.raises(NetworkError, match="Sequential has no plan"):
        scores_of(nn.Sequential(nn.Linear(2, 2)), "l1_norm", images=None, generator=None)


def test_the_criteria_of_channels_are_those_that_can_be_loaded():
    names = {module.name for module in pkgutil.iter_modules(channel_scores.__path__)}
    assert set(CHANNEL_CRITERIA) == names
    for name, facts in CHANNEL_CRITERIA.items():
        assert facts.needs_images == hasattr(load(name), "observe")
        assert facts.formula
        assert facts.source
        assert facts.meaning.endswith(".")


# Masks of methods


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = write_prepared(tmp_path_factory.mktemp("data") / "data.safetensors", noise=30.0)
    return TrainingImages.of(data.load(path), selection="holdout", device="cpu")


@pytest.mark.parametrize("criterion", CHANNEL_CRITERIA)
def test_a_method_keeps_exactly_the_channels_with_the_highest_scores(criterion, images):
    name = "resnet20" if criterion == "batch_norm_scale" else "cnn"
    network, unit = random_network(name, 4), units.load("channel")
    definition = method(criterion, unit="channel", scope="layer", feature_images=20)
    layers = plans.layers(name, 1, 4)
    every = [fractions(layers)[0], 0.3, 0.5, 1.0]
    found = method_masks(network, definition, every, None, seed=5, images=images.fit)
    scores = unit.measure(network, definition, images.fit, 5)
    before = None
    for fraction, masks in zip(every, found, strict=True):
        kept = unit.left(network, masks)
        assert {group: int(own.sum()) for group, own in kept.items()} == widths(layers, fraction)
        for group, own in kept.items():
            if not own.all():
                assert scores[group][own].min() >= scores[group][~own].max()
        assert before is None or not any((before[key] & ~masks[key]).any() for key in masks)
        before = masks
    half = method_masks(network, definition, [0.5], None, seed=5, images=images.fit)[0]
    within = method_masks(network, definition, [0.3], None, seed=5, within=half, images=images.fit)[
        0
    ]
    assert all(torch.equal(within[key], found[1][key]) for key in within)
    other = method_masks(network, definition, [0.5], None, seed=6, images=images.fit)[0]
    alike = all(torch.equal(other[key], half[key]) for key in half)
    assert alike or criterion in ("random", "chip")
    assert criterion != "random" or not alike


def test_training_leaves_nothing_of_a_removed_channel(images):
    """Weights, biases, batch norm's factors and offsets stay zero under momentum and decay."""
    network, kept = random_network("resnet20", 6), chosen("resnet20", 3)
    unit = units.load("channel")
    masks = unit.masks(network, kept)
    plan = recipe((1, 0.05), (1, 0.01), momentum=0.9, weight_decay=0.01)
    state = fit(network, images, plan, seed=1, masks=masks).state
    for key, mask in masks.items():
        assert not state[key][~mask].any()
        assert state[key][mask].abs().min() > 0
    statistics = state["stage2.1.bn1.running_mean"]
    assert statistics.abs().max() > 0
    unit.check(network, state, masks, images.fit)
