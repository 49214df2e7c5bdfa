"""What a pruning method takes from one replicate: the gradient of its criterion, its masks."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from compression_helpers import dense_network, images_of, same, write_dense
from core_helpers import method, recipe, write_prepared

from recall_distortion import data, networks
from recall_distortion.compression.facts import CRITERIA
from recall_distortion.compression.pruning.selection import (
    loss_gradient,
    method_masks,
    needs_gradient,
)
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import (
    TrainingImages,
    fit,
)
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense"))


# The gradient of the criteria


@pytest.mark.parametrize("examples", [1, 32, 72, 1000])
def test_the_gradient_is_that_of_the_mean_loss_over_a_seeded_batch(folder, examples):
    network, images = dense_network(folder, 3), images_of(folder).fit
    found = loss_gradient(network, images, examples, seed=7)
    assert list(found) == list(networks.prunable_parameters(network))
    index = torch.randperm(72, generator=generator(7, "criterion batch"))[:examples]
    assert len(index) == min(examples, 72)
    reference = dense_network(folder, 3)
    losses = [
        F.cross_entropy(reference(images.batch(i[None])), images.labels[i[None]]) for i in index
    ]
    (sum(losses) / len(losses)).backward()
    for name, gradient in found.items():
        expected = reference.get_parameter(name).grad
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_gradient_differs_by_seed(folder):
    images = images_of(folder).fit
    first, second = (loss_gradient(dense_network(folder, 3), images, 16, seed=s) for s in (1, 2))
    assert not same(first, second)


@pytest.mark.parametrize("augmentation", [[], ["flip", "crop"]])
def test_the_gradient_is_taken_in_training_mode_and_leaves_batch_norm_alone(tmp_path, augmentation):
    path = write_prepared(tmp_path / "data.safetensors", channels=3, train=48, holdout=16)
    images = TrainingImages.of(
        data.load(path), selection="holdout", device="cpu", augmentation=augmentation
    )
    plain = TrainingImages.of(data.load(path), selection="holdout", device="cpu")
    network = networks.build("resnet20", channels=3, classes=4)
    networks.initialize(network, generator(0, "initialization"))
    with torch.no_grad():
        network.bn1.running_mean.fill_(0.5)  # so that evaluation mode would give another gradient
        network.bn1.running_var.fill_(4.0)
        network.bn1.num_batches_tracked.fill_(7)
    before = copy_state(network)
    found = loss_gradient(network, images.fit, 24, seed=1)
    assert same(copy_state(network), before)

    index = torch.randperm(32, generator=generator(1, "criterion batch"))[:24]
    network.train()
    F.cross_entropy(network(plain.fit.batch(index)), plain.fit.labels[index]).backward()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, network.get_parameter(name).grad, rtol=1e-4, atol=1e-6)

    # Fine-tuning after the gradient is fine-tuning without it, bit for bit.
    plan = recipe((1, 0.05))
    results = []
    for with_gradient in (False, True):
        network.load_state_dict(before)
        network.zero_grad()
        if with_gradient:
            network.eval()
            loss_gradient(network, images.fit, 24, seed=1)
        results.append(fit(network, images, plan, seed=1).state)
    assert same(*results)


# Masks of methods


# Each of SynFlow's fractions has rounds of its own: test_synflow.py.
@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"synflow"}))
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_methods_masks_are_nested_over_ratios_and_follow_the_seed(folder, criterion, scope):
    network = dense_network(folder, 3)
    definition = method(criterion, scope=scope)
    gradient = loss_gradient(network, images_of(folder).fit, 32, seed=3)

    def masks(fraction, seed=3):
        (found,) = method_masks(network, definition, [fraction], gradient, seed=seed)
        assert list(found) == ["fc1.weight", "fc2.weight"]
        return found

    fractions = [0.5, 0.25, 0.1, 0.05, 0.02]
    together = method_masks(network, definition, fractions, gradient, seed=3)
    assert len(together) == len(fractions)
    assert all(same(found, masks(at)) for at, found in zip(fractions, together, strict=True))
    for larger, smaller in itertools.pairwise(fractions):
        for name, mask in masks(smaller).items():
            assert not (mask & ~masks(larger)[name]).any()
    assert same(masks(0.1), masks(0.1))
    assert same(masks(0.1), masks(0.1, seed=4)) == (criterion != "random")
    if criterion != "undecayed_signed":
        kept = {name: int(mask.sum()) for name, mask in masks(0.1).items()}
        assert (
            sum(kept.values()) == 307
            if scope == "global"
            else kept
            == {
                "fc1.weight": 205,
                "fc2.weight": 102,
            }
        )


def test_dead_weights_of_a_gradient_criterion_are_tied_and_fall_by_the_seed(folder):
    """Inputs that are always the same give no gradient: such scores are zero and tied."""
    network = dense_network(folder, 3)
    zeros = {name: torch.zeros_like(w) for name, w in networks.prunable_parameters(network).items()}
    found = [method_masks(network, method("gradient"), [0.3], zeros, seed=s)[0] for s in (1, 1, 2)]
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_epsilon_and_scope_reach_the_scores(folder):
    network = dense_network(folder, 3)
    gradient = loss_gradient(network, images_of(folder).fit, 32, seed=3)

    def masks(criterion, **values):
        return method_masks(network, method(criterion, **values), [0.2], gradient, seed=3)[0]

    assert same(masks("undecayed", epsilon=0.0), masks("gradient"))
    assert not same(masks("undecayed", epsilon=0.5), masks("gradient"))
    # Where decay outweighs the gradient, both rank as magnitude.
    assert same(masks("undecayed", epsilon=1e6), masks("magnitude"))
    assert same(masks("regularized_gradient", epsilon=1e6), masks("magnitude"))
    assert not same(masks("magnitude", scope="layer"), masks("magnitude"))


def test_a_method_without_its_gradient_is_an_error(folder):
    assert not needs_gradient(method("magnitude"))
    assert needs_gradient(method("undecayed_signed"))
    with pytest.raises(NetworkError, match="needs the gradient"):
        method_masks(dense_network(folder, 3), method("gradient"), [0.2], None, seed=3)
