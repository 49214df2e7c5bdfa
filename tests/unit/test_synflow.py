"""SynFlow against two other computations of it, and what is true of every flow."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from compression_helpers import same
from core_helpers import method

from recall_distortion import networks
from recall_distortion.compression.pruning import criteria
from recall_distortion.compression.pruning.selection import method_masks, needs_gradient
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.system.errors import NetworkError
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state

SYNFLOW = method("synflow")
SHAPES = {"mlp": (1, 8, 8), "cnn": (1, 8, 8), "lenet5": (1, 28, 28), "resnet20": (3, 8, 8)}


@dataclass(frozen=True)
class Shape:
    """All that is asked of images."""

    shape: tuple[int, ...]


def drawn(name, seed=0, trained=False):
    """Return a network at initialization, or with state as of a trained one, drawn at random."""
    network = networks.build(name, channels=SHAPES[name][0], classes=10)
    networks.initialize(network, generator(seed, "initialization"))
    if trained:
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in [*network.parameters(), *network.buffers()]:
                if value.is_floating_point():
                    value.add_(0.3 * torch.randn(value.shape, generator=rng))
    return network


def masks_of(network, name, fraction, within=None, seed=3):
    shape = Shape(SHAPES[name])
    (found,) = method_masks(
        network, SYNFLOW, [fraction], None, seed=seed, within=within, images=shape
    )
    return found


def by_hand(network, fraction):
    """Return the masks of an MLP: an image of ones, matrix by matrix, without derivatives."""
    arrays = {k: np.abs(v.detach().double().numpy()) for k, v in network.named_parameters()}
    first, second, last = (arrays[f"{k}.weight"] for k in ("fc1", "fc2", "classifier"))
    kept = [np.ones(first.shape, bool), np.ones(second.shape, bool)]
    total = first.size + second.size
    for number in range(1, 101):
        one, two = first * kept[0], second * kept[1]
        hidden = one.sum(1) + arrays["fc1.bias"]
        out_of_two = last.sum(0)
        scores = [
            one * (two.T @ out_of_two)[:, None],
            two * np.outer(out_of_two, hidden),
        ]
        flat = np.concatenate([part.ravel() for part in scores])
        flat[~np.concatenate([part.ravel() for part in kept])] = -1
        stay = round(fraction ** (number / 100) * total)
        chosen = np.zeros(total, bool)
        chosen[np.argsort(-flat, kind="stable")[:stay]] = True
        assert flat[chosen].min() > 0  # no tie between what is left decides anything
        kept = [part.reshape(own.shape) for part, own in zip(
            np.split(chosen, [first.size]), kept, strict=True)]  # fmt: skip
    return dict(zip(("fc1.weight", "fc2.weight"), map(torch.from_numpy, kept), strict=True))


@pytest.mark.parametrize("ratio", [2, 4, 10, 20, 50])
@pytest.mark.parametrize("seed", range(3))
def test_an_mlps_masks_are_those_of_matrices_by_hand(ratio, seed):
    network = drawn("mlp", seed)
    assert same(masks_of(network, "mlp", 1 / ratio), by_hand(network, 1 / ratio))


def by_backward(network, shape, fraction):
    """Return masks as a plain loop makes them that changes a copy of the network in place."""
    network = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            value.abs_()
    weights = networks.prunable_parameters(network)
    whole = {name: weight.detach().clone() for name, weight in weights.items()}
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in whole.items()}
    total = sum(mask.numel() for mask in masks.values())
    for number in range(1, 101):
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(whole[name] * masks[name])
        network.zero_grad()
        network(torch.ones(1, *shape, dtype=torch.double)).sum().backward()
        scores = {name: (weight * weight.grad).detach().abs() for name, weight in weights.items()}
        left = torch.cat([scores[name][masks[name]] for name in masks])
        remove = len(left) - round(fraction ** (number / 100) * total)
        threshold = left.sort().values[remove - 1] if remove else -1.0
        masks = {name: masks[name] & (scores[name] > threshold) for name in masks}
    return masks


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "lenet5", "resnet20"])
@pytest.mark.parametrize("trained", [False, True])
def test_masks_are_those_of_a_plain_loop(name, trained):
    """With batch norm of any statistics too, which has the absolute value of all that it holds."""
    network = drawn(name, 5, trained)
    before = copy_state(network)
    found = masks_of(network, name, 0.1)
    assert same(copy_state(network), before)
    assert same(found, by_backward(network, SHAPES[name], 0.1))


def test_the_flow_into_a_layer_is_that_out_of_it():
    """Without biases every layer's scores have the sum of the outputs (Tanaka et al., 4)."""
    network = drawn("mlp")
    with torch.no_grad():
        for name in ("fc1", "fc2", "classifier"):
            network.get_submodule(name).bias.zero_()
    absolute = {k: v.detach().double().abs() for k, v in network.named_parameters()}
    flow = absolute["classifier.weight"] @ absolute["fc2.weight"] @ absolute["fc1.weight"]
    criterion = criteria.load("synflow")
    gradients = criterion.gradient(network, network.state_dict(), (1, 8, 8))
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float64
        scores = criterion.score(network.get_parameter(name), gradient)
        torch.testing.assert_close(scores.sum(), flow.sum(), rtol=1e-12, atol=0)
        assert (scores >= 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_layer_collapses_where_magnitude_at_initialization_does(seed):
    network = drawn("mlp", seed)
    flows = masks_of(network, "mlp", 1 / 50, seed=seed)
    (sizes,) = method_masks(network, method("magnitude"), [1 / 50], None, seed=seed)
    counted = {
        name: Sparsity.of(masks, network, "prunable")
        for name, masks in (("synflow", flows), ("magnitude", sizes))
    }
    assert counted["synflow"].kept_prunable == counted["magnitude"].kept_prunable == 61
    assert counted["synflow"].empty_layers == 0
    assert counted["magnitude"].empty_layers == 1
    # What is left leads from the image to the classes: no weight is left without others around it.
    into = flows["fc1.weight"].any(1)
    assert (flows["fc2.weight"] & into).any()


@pytest.mark.parametrize("counts", [[3072, 1000, 61, 61, 1, 0], [1536, 307]])
def test_masks_are_exact_and_within_others(counts):
    network, masks = drawn("mlp"), None
    for count in counts:
        before, masks = masks, masks_of(network, "mlp", count / 3072, masks)
        assert sum(int(mask.sum()) for mask in masks.values()) == count
        for name, mask in masks.items() if before else ():
            assert not (mask & ~before[name]).any()
    with pytest.raises(NetworkError, match="should stay and earlier masks leave"):
        masks_of(network, "mlp", 0.9, masks)


@pytest.mark.parametrize("scope", ["layer", "erk"])
def test_other_scopes_keep_their_own_counts(scope):
    network = drawn("mlp")
    one, other = (
        method_masks(
            network, method(name, scope=scope), [0.1], None, seed=1, images=Shape((1, 8, 8))
        )[0]
        for name in ("synflow", "magnitude")
    )
    assert {n: int(m.sum()) for n, m in one.items()} == {n: int(m.sum()) for n, m in other.items()}


def test_a_deep_networks_flow_is_too_large_for_float32_and_not_for_float64():
    network = drawn("resnet20")
    deep = networks.build("resnet110", channels=3, classes=10)
    networks.initialize(deep, generator(0, "initialization"))
    for one in (network, deep):
        gradients = criteria.load("synflow").gradient(one, one.state_dict(), (3, 8, 8))
        assert all(torch.isfinite(value).all() for value in gradients.values())
    largest = max(float(value.max()) for value in gradients.values())
    assert largest > torch.finfo(torch.float32).max


def test_it_looks_at_no_image():
    assert not needs_gradient(SYNFLOW)
    network = drawn("mlp")
    assert network.training
    masks_of(network, "mlp", 0.5)
    assert network.training
    assert same(masks_of(network, "mlp", 0.5, seed=1), masks_of(network, "mlp", 0.5, seed=2))


def test_without_images_it_says_what_is_missing():
    with pytest.raises(NetworkError, match="synflow needs the shape of an image"):
        method_masks(drawn("mlp"), SYNFLOW, [0.5], None, seed=1)
