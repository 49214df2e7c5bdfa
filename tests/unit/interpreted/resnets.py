"""K fused ResNets are the K plain networks, forward and backward.

Run by tests/unit/test_fast_gpu.py, as units.py is.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from fused_helpers import off, states_of

from recall_distortion import networks
from recall_distortion.fast.gpu import form
from recall_distortion.networks.resnet import ResNet
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import replicates

CASES = [
    # blocks, channels, classes, height, width
    (2, 3, 10, 8, 8),
    (1, 1, 100, 9, 10),
]


def pair(case, seeds=(0, 1)):
    """Return a plain network in double precision, its states, and the fused networks."""
    blocks, channels, classes, _, _ = case
    network = ResNet(channels, classes, blocks=blocks)
    states = states_of(network, seeds)
    return network, states, form(network)(network, replicates.stack(states))


def batch(case, count=2, size=2):
    _, channels, classes, height, width = case
    rng = torch.Generator().manual_seed(3)
    images = torch.randn(count * size, channels, height, width, generator=rng)
    return images, torch.randint(classes, (count, size), generator=rng)


@pytest.mark.parametrize("case", CASES)
def test_fused_networks_are_the_plain_ones(case):
    network, states, fused = pair(case)
    images, labels = batch(case)
    evaluated = fused.logits(images[:3])
    logits = fused.logits(images, training=True)
    losses = F.cross_entropy(logits.mT, labels, reduction="none").mean(1)
    gradients = torch.autograd.grad(losses.sum(), list(fused.parameters.values()))
    network.double()
    for k, state in enumerate(states):
        network.load_state_dict(state)
        with torch.no_grad():
            assert off(evaluated[k], network.eval()(images[:3].double())) < 1e-6
        found = network.train()(images.unflatten(0, labels.shape)[k].double())
        assert off(logits[k], found) < 1e-6
        loss = F.cross_entropy(found, labels[k])
        expected = torch.autograd.grad(loss, list(network.parameters()))
        for name, ours, theirs in zip(fused.parameters, gradients, expected, strict=True):
            assert ours[k].shape == theirs.shape
            assert off(ours[k], theirs) < 1e-5, name
        for name, value in network.named_buffers():
            assert off(fused.tensors[name][k], value) < 1e-6, name


def test_the_tensors_are_the_plain_network_s_and_what_is_computed_with():
    network, states, fused = pair(CASES[1])
    assert list(fused.tensors) == list(network.state_dict())
    assert list(fused.parameters) == [name for name, _ in network.named_parameters()]
    for name, value in fused.tensors.items():
        assert value.shape == (2, *states[0][name].shape)
        assert torch.equal(value[1], states[1][name])
    for name, value in fused.parameters.items():
        assert value.data_ptr() == fused.tensors[name].data_ptr()
        assert value.is_leaf
        assert value.requires_grad
    images, _ = batch(CASES[1], size=1)
    before = fused.logits(images)
    fused.tensors["stage3.0.conv2.weight"].zero_()
    assert not torch.equal(fused.logits(images), before)


def derived():
    class Other(ResNet):
        pass

    return Other(3, 10, blocks=1)


def changed(change):
    network = ResNet(3, 10, blocks=1)
    change(network)
    return network


@pytest.mark.parametrize(
    "network",
    [
        derived(),
        networks.build("lenet5", channels=1, classes=4),
        ResNet(3, 10, blocks=1).double(),
        ResNet(3, 10, blocks=1).bfloat16(),
        changed(lambda n: setattr(n, "forward", lambda images: images)),
        changed(lambda n: setattr(n.stage1[0], "shortcut", lambda x: 2 * x)),
        changed(lambda n: setattr(n.stage1[0], "bn1", torch.nn.Identity())),
        changed(lambda n: setattr(n.stage1[0].bn1, "momentum", None)),
        changed(lambda n: setattr(n.stage1[0].conv1, "padding_mode", "circular")),
        changed(lambda n: torch.nn.utils.parametrizations.weight_norm(n.conv1)),
        changed(lambda n: n.stage2.append(torch.nn.ReLU())),
    ],
)
def test_what_the_kernels_do_not_compute_has_no_form(network):
    assert form(network) is None


def test_hooks_are_refused():
    network, _, fused = pair(CASES[1])
    images, _ = batch(CASES[1])
    for module in (network, network.stage1[0].conv2, network.classifier):
        hook = module.register_forward_hook(lambda *_: None)
        for training in (False, True):
            with pytest.raises(NetworkError, match=r"has a hook.*Engine\(fast=False\)"):
                fused.logits(images, training=training)
        hook.remove()


def test_derivatives_but_first_ones_of_parameters_are_refused():
    _, _, fused = pair(CASES[1])
    images, _ = batch(CASES[1], size=1)
    parameters = list(fused.parameters.values())
    with pytest.raises(NetworkError, match="first derivatives of parameters alone"):
        fused.logits(images.clone().requires_grad_(), training=True)
    for options in ({"create_graph": True}, {"is_grads_batched": True}):
        logits = fused.logits(images, training=True)
        outer = torch.ones(3 if "is_grads_batched" in options else 1, *logits.shape)
        outer = outer if "is_grads_batched" in options else outer[0]
        with pytest.raises(NetworkError, match="first derivatives of parameters alone"):
            torch.autograd.grad(logits, parameters, outer, **options)
    logits = fused.logits(images, training=True)
    torch.autograd.grad(logits.sum(), parameters, retain_graph=True)
    with pytest.raises(NetworkError, match="once"):
        torch.autograd.grad(logits.sum(), parameters)
    logits = fused.logits(images, training=True)
    with torch.no_grad():
        parameters[0].add_(1)
    with pytest.raises(NetworkError, match="changed"):
        torch.autograd.grad(logits.sum(), parameters)


def test_images_that_do_not_fit_are_refused():
    _, _, fused = pair(CASES[0])
    images, _ = batch(CASES[0])
    for wrong in (images[0], images[:, :1], (255 * images).to(torch.uint8)):
        with pytest.raises(NetworkError):
            fused.logits(wrong)
