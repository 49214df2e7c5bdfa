"""The networks that use the compiled layer are the plain ones, forward and backward."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from core_helpers import REPOSITORY
from torch import nn

from recall_distortion import networks
from recall_distortion.fast import faster
from recall_distortion.networks.lenet import LeNet5
from recall_distortion.system.errors import NetworkError
from recall_distortion.training.engines import Engine

CASES = [("lenet5", 1, 28, 28), ("lenet5", 3, 17, 14), ("cnn", 1, 8, 8), ("cnn", 3, 11, 9)]


def plain(name, channels, dtype=torch.float64):
    network = networks.build(name, channels=channels, classes=4)
    networks.initialize(network, torch.Generator().manual_seed(0))
    return network.to(dtype)


def batch(channels, height, width, dtype=torch.float64):
    rng = torch.Generator().manual_seed(1)
    images = torch.randn(7, channels, height, width, generator=rng, dtype=dtype)
    return images, torch.randint(4, (7,), generator=rng)


def loss_of(network, images, labels):
    return F.cross_entropy(network(images), labels)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels", "height", "width"), CASES)
def test_a_fast_form_is_its_plain_network(name, channels, height, width):
    network = plain(name, channels)
    form = faster(network)
    images, labels = batch(channels, height, width)
    torch.testing.assert_close(form(images), network(images))
    parameters = list(network.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(loss_of(form, images, labels), parameters),
        torch.autograd.grad(loss_of(network, images, labels), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["lenet5", "cnn"])
def test_a_fast_form_has_the_network_s_own_tensors(name):
    network = plain(name, 1)
    form = faster(network)
    own, shared = dict(network.named_parameters()), dict(form.named_parameters())
    assert list(own) == list(shared)
    assert all(own[key] is shared[key] for key in own)
    assert list(form.state_dict()) == list(network.state_dict())


def derived():
    class Other(LeNet5):
        def forward(self, images):
            return -super().forward(images)

    return Other(1, 4)


def with_strides():
    network = networks.build("lenet5", channels=1, classes=4)
    network.conv2 = nn.Conv2d(6, 16, 5, stride=2)
    return network


def with_another(layer, place="conv2"):
    network = networks.build("lenet5", channels=1, classes=4)
    setattr(network, place, layer)
    return network


class Masked(nn.Module):
    """A convolution of one's own, with all that the compiled loops ask of one."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16, 6, 5, 5))
        self.bias = nn.Parameter(torch.zeros(16))
        self.padding = (0, 0)

    def forward(self, images):
        return F.conv2d(images, 0 * self.weight, self.bias)


class Doubled(nn.Parameter):
    """A weight whose functions are its own."""


def patched(*places):
    network = networks.build("lenet5", channels=1, classes=4)
    module = network.get_submodule(places[0])
    forward = getattr(module, places[1])
    setattr(module, places[1], lambda *arguments: -forward(*arguments))
    return network


def with_a_weight_of_its_own():
    network = networks.build("lenet5", channels=1, classes=4)
    network.conv1.weight = Doubled(network.conv1.weight.detach())
    return network


def parametrized():
    network = networks.build("lenet5", channels=1, classes=4)
    nn.utils.parametrizations.weight_norm(network.conv1)
    return network


@pytest.mark.parametrize(
    "network",
    [
        with_another(Masked()),
        with_another(nn.ConvTranspose2d(1, 6, 5, padding=2), "conv1"),
        with_another(nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6)), "conv1"),
        with_another(nn.Sequential(nn.Conv2d(6, 16, 5))),
        with_another(nn.Conv2d(6, 16, 5, bias=False)),
        patched("conv1", "forward"),
        patched("conv2", "_conv_forward"),
        patched("", "forward"),
        with_a_weight_of_its_own(),
        parametrized(),
    ],
)
def test_whatever_takes_a_convolution_s_place_is_computed(network):
    images, _ = batch(1, 28, 28, torch.float32)
    assert faster(network) is None
    assert torch.equal(Engine().module(network)(images), network(images))


REPLACED_FIRST = """
from recall_distortion import networks
from recall_distortion.networks.lenet import LeNet5
LeNet5.forward = lambda self, images: images
from recall_distortion.fast import faster
assert faster(networks.build("lenet5", channels=1, classes=10)) is None
"""


@pytest.mark.slow
def test_a_forward_that_was_replaced_before_anything_was_fast_is_computed():
    """Forms are imported when they are first needed, so what they find may be a replaced one."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    subprocess.run([sys.executable, "-c", REPLACED_FIRST], env=environment, check=True)


def test_a_forward_that_was_replaced_for_all_networks_is_computed(monkeypatch):
    network = networks.build("lenet5", channels=1, classes=4)
    monkeypatch.setattr(LeNet5, "forward", lambda self, images: images)
    assert faster(network) is None


def test_training_and_evaluation_are_set_on_the_plain_network_too():
    network = networks.build("lenet5", channels=1, classes=4)
    form = faster(network)
    for mode in (False, True):
        form.train(mode)
        assert network.training == form.training == network.conv1.training == mode


@pytest.mark.parametrize(
    "network",
    [
        networks.build("lenet300", channels=1, classes=4),
        networks.build("resnet20", channels=3, classes=4),
        networks.build("lenet5", channels=1, classes=4).bfloat16(),
        networks.build("cnn", channels=1, classes=4).to("meta"),
        derived(),
        with_strides(),
    ],
    ids=["LeNet-300-100", "ResNet", "half precision", "elsewhere", "derived", "other strides"],
)
def test_where_there_is_no_fast_form_the_plain_network_computes(network):
    assert faster(network) is None
    assert Engine().module(network) is network


def test_the_engine_takes_the_fast_form_unless_told_otherwise():
    network = networks.build("lenet5", channels=1, classes=4)
    assert Engine().module(network) is not network
    assert Engine(fast=False).module(network) is network


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("name", ["lenet5", "cnn"])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1", "classifier"])
def test_hooks_on_a_plain_network_s_modules_fire(name, layer):
    network = plain(name, 1)
    images, labels = batch(1, 28, 28)
    forward, backward = [], []
    module = network.get_submodule(layer)
    module.register_forward_hook(lambda _, inputs, output: forward.append(output.shape[:2]))
    module.register_full_backward_hook(lambda *arguments: backward.append(arguments))
    loss_of(network, images, labels).backward()
    assert forward == [(7, module.weight.shape[0])]
    assert len(backward) == 1


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize(
    "register",
    [
        lambda network: network.conv2.register_forward_hook(lambda *_: None),
        lambda network: network.conv1.register_forward_pre_hook(lambda *_: None),
        lambda network: network.conv1.register_full_backward_hook(lambda *_: None),
        lambda network: network.register_forward_hook(lambda *_: None),
        lambda network: torch.nn.modules.module.register_module_forward_hook(lambda *_: None),
    ],
    ids=["forward", "before", "backward", "the network's", "everyone's"],
)
def test_hooks_that_a_fast_form_would_not_call_are_refused(register, at_once):
    network = networks.build("lenet5", channels=1, classes=4)
    images, _ = batch(1, 28, 28, torch.float32)
    hook = register(network)
    try:
        stack = Engine(at_once).open(network, [network.state_dict()] * at_once)
        with pytest.raises(NetworkError, match=r"has a hook.*Engine\(fast=False\)"):
            stack.logits(images)
        Engine(at_once, fast=False).open(network, [network.state_dict()] * at_once).logits(images)
    finally:
        hook.remove()


def direction(parameters):
    rng = torch.Generator().manual_seed(2)
    return [torch.randn(value.shape, generator=rng, dtype=value.dtype) for value in parameters]


def hessian_vector_product(network, images, labels, vector):
    parameters = list(network.parameters())
    first = torch.autograd.grad(loss_of(network, images, labels), parameters, create_graph=True)
    return torch.autograd.grad(first, parameters, vector)


@pytest.mark.parametrize(("name", "channels", "height", "width"), CASES)
def test_second_derivatives_of_a_plain_network_are_right(name, channels, height, width):
    """Against central differences of its gradient, in double precision."""
    network = plain(name, channels)
    images, labels = batch(channels, height, width)
    parameters = list(network.parameters())
    vector = direction(parameters)
    found = hessian_vector_product(network, images, labels, vector)

    def gradient(step):
        with torch.no_grad():
            for value, along in zip(parameters, vector, strict=True):
                value.add_(along, alpha=step)
        result = torch.autograd.grad(loss_of(network, images, labels), parameters)
        with torch.no_grad():
            for value, along in zip(parameters, vector, strict=True):
                value.sub_(along, alpha=step)
        return result

    # Measured: 6e-10, which is rounding of gradients over the step. A rectifier or a maximum that
    # changed its place within the step would show as far more.
    step = 1e-6
    for ours, up, down in zip(found, gradient(step), gradient(-step), strict=True):
        assert ours.norm() > 0
        assert (ours - (up - down) / (2 * step)).norm() < 1e-8 * max(ours.norm(), 1)


@pytest.mark.parametrize("name", ["lenet5", "cnn"])
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_second_derivative_through_the_compiled_layer_is_refused_in_the_first(name, at_once):
    network = plain(name, 1)
    images, labels = batch(1, 28, 28)
    stack = Engine(at_once).open(network, [network.state_dict()] * at_once)
    losses = F.cross_entropy(stack.logits(images).mean(0), labels)
    with pytest.raises(NetworkError, match=r"first derivatives alone.*Engine\(fast=False\)"):
        torch.autograd.grad(losses, stack.parameters, create_graph=True)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_each_of_torch_s_ways_to_a_second_derivative_is_refused():
    form = faster(plain("lenet5", 1))
    images, labels = batch(1, 28, 28)
    named = dict(form.named_parameters())

    def loss(values):
        return F.cross_entropy(torch.func.functional_call(form, values, (images,)), labels)

    def loss_of_weight(weight):
        return loss(named | {"conv1.weight": weight})

    weight = named["conv1.weight"].detach()
    found = form(images)
    several = torch.eye(found.numel()).view(-1, *found.shape)[:3]

    for attempt in (
        lambda: loss(named).backward(create_graph=True),
        lambda: torch.func.grad(loss)(named),
        lambda: torch.func.hessian(loss_of_weight)(weight),
        lambda: torch.autograd.functional.hvp(loss_of_weight, weight, weight),
        lambda: torch.autograd.functional.vhp(loss_of_weight, weight, weight),
        lambda: torch.func.jvp(loss_of_weight, (weight,), (weight,)),
        # First ones, in another way.
        lambda: torch.func.jacfwd(loss_of_weight)(weight),
        lambda: torch.func.jacrev(loss_of_weight)(weight),
        lambda: torch.autograd.grad(found, form.conv2.weight, several, is_grads_batched=True),
        lambda: torch.autograd.functional.jacobian(loss_of_weight, weight, vectorize=True),
    ):
        with pytest.raises(NetworkError, match=r"first derivatives alone.*networks\.build"):
            attempt()


def test_the_form_refuses_images_that_the_plain_network_refuses():
    network = plain("lenet5", 1).double()
    form = faster(network)
    images, _ = batch(1, 28, 28)
    for wrong in ((255 * images).to(torch.uint8), images.double()[0], images.double()[:, 0]):
        with pytest.raises((RuntimeError, ValueError, IndexError)):
            network(wrong)
        with pytest.raises(NetworkError, match=r"normalized numbers|are \[B, C, H, W\]"):
            form(wrong)
