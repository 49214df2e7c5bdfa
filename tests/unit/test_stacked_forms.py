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
from recall_distortion.networks.mlp import MLP
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import Engine
from recall_distortion.training.descent import descent
from recall_distortion.training.dropout import Dropout
from recall_distortion.training.objective import Objective, step
from recall_distortion.training.recipe import Recipe, Regularizer
from recall_distortion.training.replicates import copy_state
from recall_distortion.training.stacks import StackedForm

CPU = torch.device("cpu")
NAMES = ["mlp", "thin_mlp_4x8", "cnn", "lenet5"]
RECIPES = {
    "plain": {},
    "dropout": {"dropout": 0.5},  # which eight bits say, 0.2 sixteen
    "jumpstart": {"regularizers": (Regularizer("jumpstart", 0.3),)},
    "of all layers": {
        "dropout": 0.2,
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
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_pruned_weights_stay_zero(name):
    plain, expected = trained(name, RECIPES["jumpstart"], fast=False, masked=True)
    form, found = trained(name, RECIPES["jumpstart"], fast=True, masked=True)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(form.parameters, plain.parameters, strict=True):
        assert torch.equal(ours == 0, theirs == 0)
    assert any(value.eq(0).any() for value in form.parameters)


def test_called_it_is_the_plain_network_whose_hooks_fire():
    """And where one alone is trained with nothing besides, by which it is faster."""
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


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize(
    ("name", "layer"), [("mlp", ""), ("mlp", "fc1"), ("cnn", "classifier"), ("lenet5", "fc2")]
)
def test_hooks_that_training_would_not_call_are_refused(name, layer, at_once):
    network = networks.build(name, channels=1, classes=4)
    network.get_submodule(layer).register_forward_hook(lambda *_: None)
    images = torch.randn(2 * at_once, 1, 28, 28)
    stack = Engine(at_once).open(network, [copy_state(network)] * at_once)
    with pytest.raises(NetworkError, match=r"has a hook.*Engine\(fast=False\)"):
        stack.outputs(images, training=True, tapped=["fc1"])
    stack.logits(images)  # evaluation calls every module
    Engine(at_once, fast=False).open(network, [copy_state(network)] * at_once).logits(
        images, training=True
    )


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_hooks_of_the_form_itself_are_refused(name, at_once):
    network = networks.build(name, channels=1, classes=4)
    stack = Engine(at_once).open(network, [copy_state(network)] * at_once)
    stack.network.register_forward_hook(lambda *_: None)
    with pytest.raises(NetworkError, match=r"has a hook.*Engine\(fast=False\)"):
        stack.outputs(torch.randn(4, 1, 8, 8), training=True, tapped=["fc1"])


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("frozen", ["fc1.weight", "classifier"])
def test_what_is_frozen_gets_no_gradient_and_is_computed_with(name, at_once, frozen):
    network = networks.build(name, channels=1, classes=4)
    layer, _, part = frozen.partition(".")
    own = network.get_submodule(layer)
    (getattr(own, part) if part else own).requires_grad_(False)
    images = torch.randn(3 * at_once, 1, 8, 8)
    plan = Objective.of(Recipe((), 3, 0.9, 5e-4, (), **RECIPES["of all layers"]))
    found = []
    for fast in (False, True):
        stack = Engine(at_once, fast=fast).open(network, [copy_state(network)] * at_once)
        losses = plan.losses(stack, images, torch.zeros(at_once, 3, dtype=torch.int64))
        found.append([losses, *torch.autograd.grad(losses.sum(), stack.parameters)])
    torch.testing.assert_close(*found)
    assert isinstance(stack.network, StackedForm)
    assert not any(key.startswith(frozen) for key in stack.names)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_autocast_leaves_training_in_the_engine_s_precision(name):
    network = networks.build(name, channels=1, classes=4)
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    images = torch.randn(6, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = stack.logits(images, training=True)
    assert torch.equal(found, stack.logits(images, training=True))


def test_images_that_are_no_floats_are_refused():
    network = networks.build("cnn", channels=1, classes=4)
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    with pytest.raises(NetworkError, match="of a float type, not torch"):
        stack.logits(torch.zeros(6, 1, 8, 8, dtype=torch.uint8), training=True)


def test_a_second_derivative_of_a_convolution_s_extremes_is_refused():
    network = networks.build("cnn", channels=1, classes=4)
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    _, extremes = stack.outputs(torch.randn(6, 1, 8, 8), training=True, tapped=["conv1"])
    penalties = extremes.penalties(0.5, "norm").sum()
    with pytest.raises(NetworkError, match="first derivatives alone"):
        torch.autograd.grad(penalties, stack.parameters[:2], create_graph=True)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_second_derivative_is_refused_in_the_first(name):
    network = networks.build(name, channels=1, classes=4)
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    logits, extremes = stack.outputs(torch.randn(6, 1, 8, 8), training=True, tapped=["fc1"])
    for loss in (logits.square().sum(), extremes.penalties(0.5, "norm").square().sum()):
        with pytest.raises(NetworkError, match=r"first derivatives alone.*Engine\(fast=False\)"):
            torch.autograd.grad(loss, stack.parameters, create_graph=True, retain_graph=True)


def test_gradients_of_few_inputs_or_outputs_are_the_plain_network_s_to_the_bit():
    network = networks.build("thin_mlp_2x5", channels=1, classes=47)
    images, found = torch.randn(130, 1, 8, 8, generator=torch.Generator().manual_seed(0)), []
    for fast in (False, True):
        stack = Engine(10, fast=fast).open(network, [copy_state(network)] * 10)
        logits = stack.logits(images, training=True)
        found.append(torch.autograd.grad(logits.square().sum(), stack.parameters))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_images_get_their_gradient_too():
    network = networks.build("mlp", channels=1, classes=4)
    found = []
    for fast in (False, True):
        stack = Engine(2, fast=fast).open(network, [copy_state(network)] * 2)
        images = torch.randn(6, 1, 9, 9, generator=torch.Generator().manual_seed(0))
        images.requires_grad_()
        logits = stack.logits(images, training=True)
        found.append(torch.autograd.grad(logits.square().sum(), images)[0])
    torch.testing.assert_close(*found)


def test_logits_are_left_as_they_are_by_the_gradient_of_their_extremes():
    """A tapped classifier's gradient is added to a copy of what came to it."""
    network = networks.build("mlp", channels=1, classes=4)
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    logits, extremes = stack.outputs(torch.randn(6, 1, 8, 8), training=True, tapped=["classifier"])
    given = torch.ones_like(logits)
    penalties = extremes.penalties(0.5, "norm")
    torch.autograd.grad([logits, penalties], stack.parameters, [given, torch.ones(2)])
    assert given.eq(1).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(value):
    network = networks.build("mlp", channels=1, classes=4)
    with torch.no_grad():
        network.fc1.bias[3] = value
    stack = Engine(2).open(network, [copy_state(network)] * 2)
    assert not stack.logits(torch.randn(6, 1, 8, 8), training=True).isfinite().any()


class Other(MLP):
    def forward(self, images):
        return -super().forward(images)


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def with_another(layer):
    network = networks.build("mlp", channels=1, classes=4)
    network.fc2 = layer
    return network


def more(name):
    network = networks.build(name, channels=1, classes=4)
    network.further = nn.Linear(4, 4)
    return network


def in_another_order():
    network = networks.build("mlp", channels=1, classes=4)
    first = network.fc1
    del network.fc1
    network.fc1 = first
    return network


def sharing(what):
    network = networks.build("thin_mlp_4x8", channels=1, classes=4)
    if what == "layer":
        network.hidden[2] = network.hidden[1]
    else:
        network.hidden[2].weight = network.hidden[1].weight
    return network


def patched(layer):
    network = networks.build("mlp", channels=1, classes=4)
    module = network.get_submodule(layer)
    forward = module.forward
    module.forward = lambda x: -forward(x)
    return network


@pytest.mark.parametrize(
    "network",
    [
        Other(1, 4),
        patched(""),
        patched("fc2"),
        with_another(Scaled(32, 32)),
        with_another(nn.Linear(32, 32, bias=False)),
        with_another(nn.Sequential(nn.Linear(32, 32), nn.LayerNorm(32))),
        more("mlp"),
        more("cnn"),
        in_another_order(),
        sharing("layer"),
        sharing("weight"),
        networks.build("mlp", channels=1, classes=4).double(),
        networks.build("mlp", channels=1, classes=4).to("meta"),
    ],
    ids=[
        "derived",
        "patched",
        "patched layer",
        "other layer",
        "no bias",
        "two layers",
        "one more",
        "one more after convolutions",
        "another order",
        "one layer twice",
        "one weight twice",
        "double precision",
        "elsewhere",
    ],
)
def test_what_it_would_not_compute_is_left_to_the_plain_network(network):
    assert faster(network) is None


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
        losses = plan.losses(stack, images, torch.zeros(2, 4, dtype=torch.int64))
        found.append(torch.autograd.grad(losses.sum(), stack.parameters))
    torch.testing.assert_close(*found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv1", "conv2"])
def test_one_tapped_convolution_has_its_own_extremes_alone(name):
    network = networks.build("cnn", channels=1, classes=4)
    images = torch.randn(10, 1, 8, 8)
    form = Engine(2).open(network, [copy_state(network)] * 2)
    _, extremes = form.outputs(images, training=True, tapped=[name])
    plain = Engine(2, fast=False).open(network, [copy_state(network)] * 2)
    (z,) = plain.outputs(images, training=True, tapped=[name])[1][name]
    highest = torch.cat([z.amax((1, 3, 4)), z.amax((2, 3, 4))], 1)
    lowest = torch.cat([z.amin((1, 3, 4)), z.amin((2, 3, 4))], 1)
    torch.testing.assert_close(extremes.values, torch.stack([highest, lowest]))
    assert extremes.units == z.shape[2]


def test_half_precision_is_left_to_the_plain_modules():
    network = networks.build("mlp", channels=1, classes=4)
    stack = Engine(2, precision="bfloat16").open(network, [copy_state(network)] * 2)
    images, fired = torch.randn(6, 1, 8, 8), []
    network.fc1.register_forward_hook(lambda *_: fired.append(1))
    assert stack.logits(images, training=True).isfinite().all()
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
