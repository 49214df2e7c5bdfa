"""Fast forms that train K networks at once themselves are the plain networks in training."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from training_helpers import masks_of_all

from recall_distortion import networks
from recall_distortion.fast import cpu, faster
from recall_distortion.fast.cpu import rectified
from recall_distortion.fast.cpu.jumpstart import Jumpstart
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import Engine
from recall_distortion.training.descent import descent
from recall_distortion.training.dropout import Dropout
from recall_distortion.training.objective import (
    CROSS_ENTROPY,
    REGULARIZERS,
    Objective,
    cross_entropy,
    step,
)
from recall_distortion.training.recipe import Recipe, Regularizer
from recall_distortion.training.replicates import copy_state
from recall_distortion.training.stacks import StackedForm

CPU = torch.device("cpu")
NAMES = ["mlp", "thin_mlp_4x8", "thin_cnn_4x8", "cnn", "lenet5"]
RECIPES = {
    "plain": {},
    "dropout": {"dropout": 0.5},  # which eight bits say, 0.2 sixteen
    "label smoothing": {"label_smoothing": 0.2},
    "jumpstart": {"regularizers": (Regularizer("jumpstart", 0.3),)},
    "of all layers": {
        "dropout": 0.2,
        "label_smoothing": 0.1,
        "regularizers": (Regularizer("jumpstart", 0.5, 0.3, "balanced", layers="all"),),
    },
}


def trained(name, values, *, fast, at_once=3, side=None, channels=1, batch=13, masked=False):
    """Return parameters and losses of networks after some steps, each on images of its own."""
    side = side or {"lenet5": 28}.get(name, 8)
    network = networks.build(name, channels=channels, classes=4)
    states = []
    for seed in range(at_once):
        networks.initialize(network, torch.Generator().manual_seed(seed))
        states.append(copy_state(network))
    stack = Engine(at_once, fast=fast).open(network, states)
    plan = Recipe((), batch, 0.9, 5e-4, (), **values)
    optimizer = descent(stack.parameters, plan)
    optimizer.rate = 0.05
    masks = {}
    if masked:
        own = masks_of_all(network, 1)
        named = {place: own[key] for place, key in enumerate(stack.names) if key in own}
        masks = {place: mask.expand_as(stack.parameters[place]) for place, mask in named.items()}
        with torch.no_grad():
            for place, mask in masks.items():
                stack.parameters[place].mul_(mask)
    drawn = torch.Generator().manual_seed(9)
    dropped = itertools.repeat(None)
    if plan.dropout:
        streams = [torch.Generator().manual_seed(seed) for seed in range(at_once)]
        dropped = Dropout(plan.dropout, network, CPU).draw(streams, [batch] * 5)
    losses = []
    for _, mine in zip(range(5), dropped, strict=False):
        images = torch.randn(at_once * batch, channels, side, side, generator=drawn)
        labels = torch.randint(4, (at_once, batch), generator=drawn)
        found = step(stack, optimizer, images, labels, masks, Objective.of(plan), mine)
        losses.append(found)
    return stack, torch.stack(losses)


@pytest.mark.slow
@pytest.mark.parametrize("what", RECIPES)
@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_training_is_that_of_the_plain_network(name, at_once, what):
    """Of the losses after five steps too, of which each goes through all gradients before it."""
    plain, expected = trained(name, RECIPES[what], fast=False, at_once=at_once)
    form, found = trained(name, RECIPES[what], fast=True, at_once=at_once)
    assert isinstance(form.network, StackedForm)
    assert not isinstance(plain.network, StackedForm)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(form.parameters, plain.parameters, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side", "channels"),
    [
        ("mlp", 28, 1),
        ("mlp", 9, 3),
        ("mlp", 8, 3),
        ("thin_cnn_3x5", 9, 3),
        ("cnn", 9, 3),
        ("cnn", 14, 1),
        ("lenet5", 17, 2),
    ],
)
def test_images_of_any_size_are_taken_as_by_the_plain_network(name, side, channels):
    """Pooling leaves out the last of an odd number of rows, which may hold an extreme."""
    sizes = {"side": side, "channels": channels}
    plain, expected = trained(name, RECIPES["of all layers"], fast=False, **sizes)
    form, found = trained(name, RECIPES["of all layers"], fast=True, **sizes)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(form.parameters, plain.parameters)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "thin_cnn_4x8"])
def test_pruned_weights_stay_zero(name):
    plain, expected = trained(name, RECIPES["jumpstart"], fast=False, masked=True)
    form, found = trained(name, RECIPES["jumpstart"], fast=True, masked=True)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(form.parameters, plain.parameters, strict=True):
        assert torch.equal(ours == 0, theirs == 0)
    assert any(value.eq(0).any() for value in form.parameters)


def test_called_it_is_the_plain_network_whose_hooks_fire():
    """And where the logits of training are asked for, without gradients."""
    network = networks.build("mlp", channels=1, classes=4)
    form = faster(network)
    images, seen = torch.randn(5, 1, 8, 8), []
    network.fc2.register_forward_hook(lambda *given: seen.append(given[2].shape))
    assert torch.equal(form(images), network(images))
    Engine().open(network, [copy_state(network)]).logits(images, training=True)
    assert seen == [(5, 32)] * 3
    own, shared = dict(network.named_parameters()), dict(form.named_parameters())
    assert list(own) == list(shared)
    assert all(own[key] is shared[key] for key in own)


def gradients(stack, images, objective=CROSS_ENTROPY):
    """Return losses and gradients on images [K B, C, H, W] that are all of the first class."""
    labels = torch.zeros(len(stack), len(images) // len(stack), dtype=torch.int64)
    losses, found = objective.gradients(stack, images, labels)
    return [losses, *found]


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("mlp", ""),
        ("mlp", "fc1"),
        ("thin_cnn_2x3", "hidden.1"),
        ("cnn", "classifier"),
        ("lenet5", "fc2"),
    ],
)
def test_hooks_that_training_would_not_call_are_refused(name, layer, at_once):
    network = networks.build(name, channels=1, classes=4)
    network.get_submodule(layer).register_forward_hook(lambda *_: None)
    images = torch.randn(2 * at_once, 1, 28, 28)
    stack = Engine(at_once).open(network, [copy_state(network)] * at_once)
    with pytest.raises(NetworkError, match=r"has a hook.*Engine\(fast=False\)"):
        gradients(stack, images)
    stack.logits(images)  # evaluation calls every module
    gradients(Engine(at_once, fast=False).open(network, [copy_state(network)] * at_once), images)


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "cnn", "thin_cnn_2x3"])
def test_hooks_of_the_form_itself_are_refused(name, at_once):
    network = networks.build(name, channels=1, classes=4)
    stack = Engine(at_once).open(network, [copy_state(network)] * at_once)
    stack.network.register_forward_hook(lambda *_: None)
    with pytest.raises(NetworkError, match=r"has a hook.*Engine\(fast=False\)"):
        gradients(stack, torch.randn(4, 1, 8, 8))


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        *itertools.product(["mlp", "cnn"], ["fc1.weight", "classifier"]),
        ("cnn", "conv1"),
        ("thin_cnn_3x4", "hidden.1"),
        ("thin_cnn_3x4", "classifier.weight"),
    ],
)
def test_what_is_frozen_gets_no_gradient_and_is_computed_with(name, at_once, frozen):
    network = networks.build(name, channels=1, classes=4)
    for key, value in network.named_parameters():
        value.requires_grad_(not key.startswith(frozen))
    images = torch.randn(3 * at_once, 1, 8, 8)
    plan = Objective.of(Recipe((), 3, 0.9, 5e-4, (), **RECIPES["of all layers"]))
    found = []
    for fast in (False, True):
        stack = Engine(at_once, fast=fast).open(network, [copy_state(network)] * at_once)
        found.append(gradients(stack, images, plan))
    torch.testing.assert_close(*found)
    assert isinstance(stack.network, StackedForm)
    assert not any(key.startswith(frozen) for key in stack.names)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_autocast_leaves_training_in_the_engine_s_precision(name):
    network = networks.build(name, channels=1, classes=4)
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    images = torch.randn(6, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(stack, images)
    assert all(map(torch.equal, found, gradients(stack, images)))


def test_images_that_are_no_floats_are_refused():
    network = networks.build("cnn", channels=1, classes=4)
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    with pytest.raises(NetworkError, match="of a float type, not torch"):
        gradients(stack, torch.zeros(6, 1, 8, 8, dtype=torch.uint8))


def test_a_second_derivative_of_extremes_is_refused():
    """Forms take no gradients by autograd: it is for plain modules' layers and for peaks."""
    network = networks.build("mlp", channels=1, classes=4)
    stack = Engine(2, fast=False).open(network, [copy_state(network)] * 2)
    losses = Objective(**RECIPES["jumpstart"]).losses(
        stack, torch.randn(6, 1, 8, 8), torch.zeros(2, 3, dtype=torch.int64)
    )
    with pytest.raises(NetworkError, match="first derivatives alone"):
        torch.autograd.grad(losses.sum(), stack.parameters, create_graph=True)
    peaks = torch.randn(2, 2, 3, 5, requires_grad=True)
    extremes = cpu.load_extremes().OfPeaks.apply(peaks)
    with pytest.raises(NetworkError, match="first derivatives alone"):
        torch.autograd.grad(extremes.square().sum(), peaks, create_graph=True)


def test_gradients_of_few_inputs_or_outputs_are_the_plain_network_s_to_the_bit():
    network = networks.build("thin_mlp_2x5", channels=1, classes=47)
    images, found = torch.randn(130, 1, 8, 8, generator=torch.Generator().manual_seed(0)), []
    for fast in (False, True):
        stack = Engine(10, fast=fast).open(network, [copy_state(network)] * 10)
        found.append(gradients(stack, images))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(value):
    network = networks.build("mlp", channels=1, classes=4)
    with torch.no_grad():
        network.fc1.bias[3] = value
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    losses, *_ = gradients(stack, torch.randn(6, 1, 8, 8))
    assert not losses.isfinite().any()


@pytest.mark.slow
def test_equal_extremes_of_a_convolution_give_its_weights_the_same_gradient():
    """Of equal places in an image the first gets all, where what lies under them is the same."""
    drawn = torch.Generator().manual_seed(3)
    network = networks.build("lenet5", channels=1, classes=4)
    networks.initialize(network, drawn)
    images = torch.zeros(8, 1, 28, 28)
    images[:, :, 10:18, 10:18] = torch.randn(8, 1, 8, 8, generator=drawn)
    plan = Objective.of(Recipe((), 4, 0.9, 5e-4, (), **RECIPES["jumpstart"]))
    found = []
    for fast in (False, True):
        stack = Engine(2, fast=fast).open(network, [copy_state(network)] * 2)
        found.append(gradients(stack, images, plan))
    torch.testing.assert_close(*found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer"),
    [("cnn", "conv1"), ("cnn", "conv2"), ("cnn", "fc1"), ("thin_cnn_3x4", "hidden.1")],
)
def test_one_tapped_layer_has_its_own_extremes_alone(name, layer):
    network = networks.build(name, channels=1, classes=4)
    images = torch.randn(10, 1, 8, 8)
    labels = torch.zeros(2, 5, dtype=torch.int64)
    options = Regularizer("jumpstart", 0.7, 0.4, "balanced")
    plain = Engine(2, fast=False).open(network, [copy_state(network)] * 2)
    logits, taken = plain.outputs(images, training=True, tapped=[layer])
    losses = cross_entropy(logits, labels).mean(1)
    losses = losses + 0.7 * REGULARIZERS["jumpstart"].penalty(options, plain, taken)
    expected = [losses, *torch.autograd.grad(losses.sum(), plain.parameters)]
    form = Engine(2).open(network, [copy_state(network)] * 2)
    asked = Jumpstart(0.7, 0.4, "balanced", (layer,))
    losses, found = form.gradients(images, labels, None, 0.0, asked)
    torch.testing.assert_close([losses, *found], expected)


def test_penalties_of_other_layers_each_take_their_own():
    """Two of one name are left to plain modules, of which the second one's layers are more."""
    network = networks.build("mlp", channels=1, classes=4)
    images, both = torch.randn(10, 1, 8, 8), []
    pair = (Regularizer("jumpstart", 0.5), Regularizer("jumpstart", 0.25, layers="all"))
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    plain, *of_plain = gradients(stack, images)
    for one in pair:
        losses, *found = gradients(stack, images, Objective(regularizers=(one,)))
        both.append(
            [losses - plain, *(ours - theirs for ours, theirs in zip(found, of_plain, strict=True))]
        )
    losses, *found = gradients(stack, images, Objective(regularizers=pair))
    for total, base, first, second in zip([losses, *found], [plain, *of_plain], *both, strict=True):
        torch.testing.assert_close(total, base + first + second)


@pytest.mark.parametrize("name", ["mlp", "thin_cnn_2x3", "cnn"])
def test_hooks_of_parameters_are_called(name):
    network = networks.build(name, channels=1, classes=4)
    stack = Engine().open(network, [copy_state(network)])
    first = stack.parameters[0]
    handle = first.register_hook(torch.zeros_like)
    images = torch.randn(5, 1, 8, 8)
    assert gradients(stack, images)[1].eq(0).all()
    handle.remove()
    assert gradients(stack, images)[1].ne(0).any()


def test_dropout_is_in_the_network_s_precision_whatever_the_default():
    before = torch.get_default_dtype()
    network = networks.build("thin_cnn_2x3", channels=1, classes=4)
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    streams = [torch.Generator().manual_seed(seed) for seed in range(2)]
    (mask,) = Dropout(0.5, network, CPU).draw(streams, [5])
    labels, images = torch.zeros(2, 5, dtype=torch.int64), torch.randn(10, 1, 8, 8)
    expected = CROSS_ENTROPY.gradients(stack, images, labels, mask)[0]
    try:
        torch.set_default_dtype(torch.float64)
        found = CROSS_ENTROPY.gradients(stack, images, labels, mask)[0]
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(found, expected)


class WithGradients(nn.Sequential):
    """A network that keeps gradients for a picture of them, as many do."""

    gradients = None


def test_a_network_with_an_attribute_of_another_meaning_is_no_form():
    network = WithGradients(nn.Flatten(), nn.Linear(64, 4))
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    assert not isinstance(stack.network, StackedForm)
    assert gradients(stack, torch.randn(6, 1, 8, 8))[0].shape == (2,)


def test_half_precision_is_left_to_the_plain_modules():
    network = networks.build("mlp", channels=1, classes=4)
    stack = Engine(2, precision="bfloat16").open(network, [copy_state(network)] * 2)
    images, fired = torch.randn(6, 1, 8, 8), []
    network.fc1.register_forward_hook(lambda *_: fired.append(1))
    losses, *_ = gradients(stack, images)
    assert losses.isfinite().all()
    assert fired


def test_without_numba_plain_modules_and_pytorch_compute_the_same(monkeypatch):
    _, expected = trained("mlp", RECIPES["jumpstart"], fast=True)
    monkeypatch.setattr(cpu, "compiles", lambda: False)
    monkeypatch.setattr(cpu, "load_extremes", lambda: pytest.fail("Numba is not there"))
    plain, found = trained("mlp", RECIPES["jumpstart"], fast=True)
    assert not isinstance(plain.network, StackedForm)
    torch.testing.assert_close(found, expected)


def test_the_side_is_that_of_the_networks():
    """An image of twice the side is averaged to what an image of the side is."""
    assert rectified.SIDE == 8
    for name in ("mlp", "thin_mlp_4x8"):
        network = networks.build(name, channels=1, classes=4)
        images = torch.randn(2, 1, 8, 8)
        doubled = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(network(doubled), network(images))
