"""Training is SGD as documented, reproducible per replicate, and keeps pruned weights at zero."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_helpers import prepared, recipe, training_plan, write_prepared
from training_helpers import images_of, normalized, prepared_colored

from recall_distortion import networks
from recall_distortion.system.errors import TrainingError
from recall_distortion.training import (
    HISTORY_COLUMNS,
    fit,
    train_block,
)
from recall_distortion.training import blocks as blocks_module
from recall_distortion.training import loop as loop_module
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state, load_block


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("data") / "small.safetensors")


@pytest.fixture(scope="module")
def colored(tmp_path_factory):
    return prepared_colored(tmp_path_factory.mktemp("data") / "colored.safetensors")


def build(name: str, data, seed: int = 1) -> torch.nn.Module:
    channels, classes = data.train_images.shape[1], len(data.class_names)
    network = networks.build(name, channels=channels, classes=classes)
    networks.initialize(network, generator(seed, "initialization"))
    return network


def half_masks(network: torch.nn.Module, share: float = 0.5) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(weight.shape, generator=rng) < share
        for name, weight in networks.prunable_parameters(network).items()
    }


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return set(left) == set(right) and all(torch.equal(left[name], right[name]) for name in left)


def plain_loop(network, inputs, labels, plan, *, seed, masks=None):
    """Train by SGD with Nesterov momentum written out, and return the mean loss of each epoch."""
    order = generator(seed, "order")
    masks = masks or {}
    weights = dict(network.named_parameters())
    losses = []
    for name, mask in masks.items():
        weights[name].data *= mask
    for phase in plan.phases:
        velocity = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for _ in range(phase.epochs):
            network.train()
            shuffled = torch.randperm(len(labels), generator=order)
            total = 0.0
            for start in range(0, len(labels), plan.batch_size):
                index = shuffled[start : start + plan.batch_size]
                loss = F.cross_entropy(network(inputs[index]), labels[index])
                gradients = torch.autograd.grad(loss, list(weights.values()))
                total += loss.item() * len(index)
                with torch.no_grad():
                    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                        step = gradient + plan.weight_decay * weight
                        velocity[name] = plan.momentum * velocity[name] + step
                        change = step + plan.momentum * velocity[name]
                        if name in masks:
                            change = change * masks[name]
                        weight -= phase.learning_rate * change
            losses.append(total / len(labels))
    return losses


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_fit_is_sgd_with_nesterov_momentum(data, name, momentum, masked):
    """Against the update written out, over 15 steps whose last batch is smaller."""
    plan = recipe((2, 0.05), (1, 0.02), momentum=momentum, weight_decay=0.01, batch_size=17)
    network = build(name, data)
    masks = half_masks(network) if masked else None
    ours = fit(network, images_of(data), plan, seed=5, masks=masks)
    reference = build(name, data)
    inputs = normalized(data, data.train_images[data.fit_index])
    labels = torch.from_numpy(data.train_labels[data.fit_index])
    losses = plain_loop(reference, inputs, labels, plan, seed=5, masks=masks)
    # Float32 rounding over 15 steps; the largest difference seen is 6e-8.
    tolerance = {"rtol": 1e-5, "atol": 1e-6}
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, reference.state_dict()[key], **tolerance)
    for row, loss in zip(ours.history, losses, strict=True):
        assert row["training_loss"] == pytest.approx(loss, rel=1e-5)
    network.eval()
    with torch.no_grad():
        logits = network(normalized(data, data.train_images[data.holdout_index]))
    held = torch.from_numpy(data.train_labels[data.holdout_index])
    last = ours.history[-1]
    assert last["validation_loss"] == pytest.approx(float(F.cross_entropy(logits, held)), rel=1e-4)
    assert last["validation_accuracy"] == pytest.approx(
        float((logits.argmax(1) == held).float().mean())
    )


def test_pruned_weights_stay_exactly_zero_and_nothing_else_is_masked(colored):
    """With batch norm, momentum and decay, over two phases."""
    network = build("resnet20", colored)
    masks = half_masks(network, 0.3)
    plan = recipe((2, 0.05), (1, 0.05), weight_decay=0.1)
    state = fit(network, images_of(colored), plan, seed=0, masks=masks).state
    initial = build("resnet20", colored).state_dict()
    for name, mask in masks.items():
        assert (state[name][~mask] == 0).all()
        moved = state[name][mask] != initial[name][mask]
        assert moved.float().mean() > 0.99
    others = set(state) - set(masks)
    assert {"classifier.weight", "classifier.bias", "bn1.weight", "bn1.running_mean"} <= others
    for name in others:
        assert not torch.equal(state[name], initial[name]), name


def test_a_network_without_a_prunable_weight_still_learns_its_biases(data):
    network = build("mlp", data)
    masks = {
        name: torch.zeros_like(w, dtype=torch.bool)
        for name, w in networks.prunable_parameters(network).items()
    }
    state = fit(network, images_of(data), recipe((2, 0.1)), seed=0, masks=masks).state
    assert not state["fc1.weight"].any()
    assert state["fc1.bias"].all()
    assert state["classifier.weight"].any()


# The best epoch


def test_the_epoch_with_the_lowest_validation_loss_is_returned(data):
    # The second phase's rate is far too large, so the best epoch lies before the last.
    plan = recipe((3, 0.05), (3, 1.5))
    images = images_of(data)
    found = fit(build("mlp", data), images, plan, seed=2)
    losses = [row["validation_loss"] for row in found.history]
    best = losses.index(min(losses))
    assert best < len(losses) - 1
    assert [row["selected"] for row in found.history] == [int(i == best) for i in range(6)]
    assert [row["epoch"] for row in found.history] == [1, 2, 3, 4, 5, 6]
    assert [row["phase"] for row in found.history] == [1, 1, 1, 2, 2, 2]
    assert [row["learning_rate"] for row in found.history] == [0.05] * 3 + [1.5] * 3
    # Stopped after that epoch, the network holds the very same weights.
    stopped = build("mlp", data)
    epochs = best + 1
    phases = [(min(epochs, 3), 0.05), (epochs - 3, 1.5)]
    fit(stopped, images, recipe(*[p for p in phases if p[0] > 0]), seed=2)
    assert same(found.state, copy_state(stopped))


def test_the_validation_loss_chooses_and_not_the_training_loss(tmp_path):
    """On images that are mostly noise, the training loss falls on after the validation's best."""
    noisy = prepared(tmp_path / "noisy.safetensors", noise=150)
    found = fit(build("mlp", noisy), images_of(noisy), recipe((12, 0.05)), seed=2)
    rows = found.history
    (chosen,) = (row for row in rows if row["selected"])
    assert chosen["validation_loss"] == min(row["validation_loss"] for row in rows)
    assert chosen["training_loss"] > 2 * min(row["training_loss"] for row in rows)
    stopped = build("mlp", noisy)
    fit(stopped, images_of(noisy), recipe((chosen["epoch"], 0.05)), seed=2)
    assert same(found.state, copy_state(stopped))


def test_validation_does_not_depend_on_its_batches(data, monkeypatch):
    plan = recipe((2, 0.05))
    whole = fit(build("cnn", data), images_of(data), plan, seed=2)
    monkeypatch.setitem(loop_module.EVALUATION_IMAGES, "cpu", 7)
    parts = fit(build("cnn", data), images_of(data), plan, seed=2)
    assert same(whole.state, parts.state)
    for left, right in zip(whole.history, parts.history, strict=True):
        assert left["validation_loss"] == pytest.approx(right["validation_loss"], rel=1e-5)
        assert left["validation_accuracy"] == right["validation_accuracy"]


def test_momentum_starts_anew_with_each_phase(data):
    one = fit(build("mlp", data), images_of(data), recipe((4, 0.05)), seed=1).history
    two = fit(build("mlp", data), images_of(data), recipe((2, 0.05), (2, 0.05)), seed=1).history
    assert [row["training_loss"] for row in one[:2]] == [row["training_loss"] for row in two[:2]]
    assert one[2]["training_loss"] != two[2]["training_loss"]
    plain = [
        fit(build("mlp", data), images_of(data), recipe(*phases, momentum=0.0), seed=1).history
        for phases in ([(4, 0.05)], [(2, 0.05), (2, 0.05)])
    ]
    losses = [[row["training_loss"] for row in history] for history in plain]
    assert losses[0] == losses[1]


def test_each_epoch_is_reported_as_it_ends(data):
    reports = []

    def report(rows, places):
        reports.append((list(rows), places))

    found = fit(build("mlp", data), images_of(data), recipe((3, 0.05)), seed=1, report=report)
    assert reports == [([row], range(1)) for row in found.history]


# Reproducibility


def run_block(folder, data_path, seeds, plan=None, name="mlp", **options):
    weights, history = folder / "block.safetensors", folder / "block.history.csv"
    train_block(
        data_path,
        weights,
        history,
        training_plan(plan or recipe((2, 0.05)), engine={"engine": "sequential"}),
        architecture=name,
        seeds=seeds,
        **options,
    )
    with open(history, newline="", encoding="utf-8") as file:
        return load_block(weights), list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("mlp", recipe((2, 0.05))),
        ("cnn", recipe((2, 0.05), augmentation=["flip", "crop"])),
        ("resnet20", recipe((1, 0.05), augmentation=["crop"], batch_size=32)),
    ],
)
def test_a_replicate_does_not_depend_on_its_block_or_on_global_random_state(tmp_path, name, plan):
    path = write_prepared(tmp_path / "data.safetensors")
    torch.manual_seed(1)
    together, rows = run_block(tmp_path / "together", path, [3, 4, 5], plan, name)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - the global state must not matter
    alone, row = run_block(tmp_path / "alone", path, [4], plan, name)
    assert same(together.state(4), alone.state(4))
    assert [r for r in rows if r["seed"] == "4"] == row
    assert not same(together.state(3), together.state(4))


def test_a_block_says_what_it_holds(tmp_path):
    path = write_prepared(tmp_path / "data.safetensors")
    found, rows = run_block(tmp_path, path, [0, 1])
    assert (found.architecture, found.channels, found.classes) == ("mlp", 1, 4)
    assert found.seeds == [0, 1]
    assert found.failures == []
    assert found.facts["torch"] == torch.__version__
    assert tuple(rows[0]) == HISTORY_COLUMNS
    assert [(row["method"], row["ratio"], row["seed"], row["epoch"]) for row in rows] == [
        ("dense", "1", seed, epoch) for seed in "01" for epoch in "12"
    ]
    assert found.tensors["fc1.weight"].shape == (2, 32, 64)


# Failures


def test_a_replicate_whose_loss_is_not_finite_is_left_out(tmp_path, monkeypatch, capfd):
    path = write_prepared(tmp_path / "data.safetensors")
    expected, _ = run_block(tmp_path / "expected", path, [6, 8])
    initialize = networks.initialize
    calls = []

    def second_is_broken(network, rng):
        initialize(network, rng)
        calls.append(rng)
        if len(calls) == 2:
            with torch.no_grad():
                network.classifier.weight[0, 0] = math.inf

    monkeypatch.setattr(blocks_module.networks, "initialize", second_is_broken)
    found, rows = run_block(tmp_path / "found", path, [6, 7, 8])
    assert found.seeds == [6, 8]
    assert same(found.tensors, expected.tensors)
    (failure,) = found.failures
    assert (failure.method, failure.ratio, failure.stage) == ("dense", "1", "training")
    assert failure.seed == 7
    assert "seed 7: training loss is nan in epoch 1" in failure.reason
    assert {row["seed"] for row in rows} == {"6", "8"}
    assert "seed 7" in capfd.readouterr().out


def test_an_infinite_loss_of_the_validation_is_told(data):
    images = images_of(data)
    images.validation._rows[0] = math.inf
    with pytest.raises(TrainingError, match=r"seed 9: validation loss is .* in epoch 1 "):
        fit(build("mlp", data), images, recipe((2, 0.05)), seed=9)


def test_a_block_in_which_all_fail_is_an_error(tmp_path):
    path = write_prepared(tmp_path / "data.safetensors")
    with pytest.raises(TrainingError) as caught:
        run_block(tmp_path, path, [3, 4], recipe((30, 100.0), batch_size=4))
    for word in ("mlp", "seeds 3 to 4", "seed 3:", "learning rate"):
        assert word in str(caught.value)
    assert not (tmp_path / "block.safetensors").exists()
    assert not (tmp_path / "block.history.csv").exists()
