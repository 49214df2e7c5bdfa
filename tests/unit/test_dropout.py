"""Dropout: masks of the right share, from each replicate's own stream, however it is computed."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from core_helpers import prepared, recipe
from training_helpers import images_of, masks_of_all
from unfinished_helpers import Killed, always_kept, assert_same, killing_after, train

from recall_distortion import networks
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import Engine, Run, dropout, fit_runs
from recall_distortion.training.dropout import Dropout
from recall_distortion.training.fused import Fused
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state

CPU = torch.device("cpu")


def setting(folder, name="cnn", count=3):
    data = prepared(folder / "data.safetensors", channels=3)
    network = networks.build(name, channels=3, classes=4).to(memory_format=torch.channels_last)
    runs = []
    for seed in range(count):
        networks.initialize(network, generator(seed, "initialization"))
        masks = masks_of_all(network, seed) if seed == 1 else None
        runs.append(Run(seed, copy_state(network), masks))
    return network, images_of(data), runs


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp", {"fc2": 32, "classifier": 32}),
        ("cnn", {"fc1": 64, "classifier": 32}),
        ("lenet5", {"fc1": 400, "fc2": 120, "classifier": 84}),
        ("lenet300", {"fc2": 300, "classifier": 100}),
        ("resnet20", {"classifier": 64}),
    ],
)
def test_what_linear_layers_get_is_dropped_but_no_pixel(name, expected):
    assert dropout.layers(networks.build(name, channels=1, classes=4)) == expected


def test_a_network_without_such_a_layer_is_refused():
    with pytest.raises(NetworkError, match="dropout: Sequential has no linear layer that gets"):
        dropout.layers(torch.nn.Sequential(torch.nn.Linear(3, 2)))


@pytest.mark.parametrize("share", [0.5, 0.1, 0.37, 35 / 256, 71 / 512])
def test_masks_have_the_share_and_keep_the_expected_value(share):
    network = networks.build("mlp", channels=1, classes=4)
    (masks,) = Dropout(share, network, CPU).draw(
        [generator(k, "dropout") for k in range(3)], [2000]
    )
    assert {name: mask.shape for name, mask in masks.items()} == {
        "fc2": (3, 2000, 32), "classifier": (3, 2000, 32),
    }  # fmt: skip
    rounded = round(share * 2**16) / 2**16
    for mask in masks.values():
        assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - rounded)])
        # Four standard errors of a mean of 64,000 draws, for each network.
        error = 4 * math.sqrt(share / (1 - share) / mask[0].numel())
        for own in mask:
            assert own.mean().item() == pytest.approx(1, abs=error)
            # Correlations of all features, in standard errors, of whose deviation four are allowed.
            pairs = torch.triu_indices(32, 32, 1)
            z = torch.corrcoef(own.T)[pairs[0], pairs[1]] * math.sqrt(len(own))
            assert z.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * len(z)))


def test_the_draws_are_a_networks_own_and_depend_on_nothing_else(monkeypatch):
    """Neither on the networks beside it nor on how many batches are drawn at once."""
    network = networks.build("cnn", channels=1, classes=4)
    made, sizes = Dropout(0.3, network, CPU), [7, 7, 7, 3]

    def drawn(seeds):
        parts = made.draw([generator(seed, "dropout") for seed in seeds], sizes)
        return [{name: mask.clone() for name, mask in masks.items()} for masks in parts]

    together, alone = drawn([4, 5, 6]), drawn([5])
    monkeypatch.setattr(dropout, "AT_ONCE", 1)
    one_by_one = drawn([5])
    for many, one, again, size in zip(together, alone, one_by_one, sizes, strict=True):
        assert one["fc1"].shape == (1, size, 64)
        for name, mask in one.items():
            assert torch.equal(mask[0], many[name][1])
            assert torch.equal(mask, again[name])
    assert not torch.equal(together[0]["fc1"][0], together[0]["fc1"][1])
    assert not torch.equal(together[0]["fc1"], together[1]["fc1"])


def test_training_with_dropout_is_a_plain_loop_with_the_masks(tmp_path):
    network, images, runs = setting(tmp_path)
    plan = recipe((2, 0.05), batch_size=17, dropout=0.4)
    list(fit_runs(network, images, plan, runs[:1]))
    last = copy_state(network)
    network.load_state_dict(runs[0].state)
    optimizer = torch.optim.SGD(
        network.parameters(), 0.05, 0.9, weight_decay=plan.weight_decay, nesterov=True
    )
    order, drops = generator(0, "order"), generator(0, "dropout")
    for _ in range(2):
        batches = torch.randperm(len(images.fit), generator=order).split(17)
        masks = Dropout(0.4, network, CPU).draw([drops], [len(index) for index in batches])
        for index, mask in zip(batches, masks, strict=True):
            x = F.relu(F.max_pool2d(network.conv1(images.fit.batch(index)), 2))
            x = F.relu(F.max_pool2d(network.conv2(x), 2)).flatten(1)
            x = F.relu(network.fc1(x * mask["fc1"][0]))
            logits = network.classifier(x * mask["classifier"][0])
            optimizer.zero_grad()
            F.cross_entropy(logits, images.fit.labels[index]).backward()
            optimizer.step()
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, last[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_vectorized_and_alone_draw_and_learn_the_same(tmp_path, name):
    network, images, runs = setting(tmp_path, name)
    plan = recipe((2, 0.05), batch_size=17, dropout=0.4)
    one, many, plain = (
        list(fit_runs(network, images, plan, runs, engine=engine))
        for engine in (Engine(), Engine(3), Engine(fast=False))
    )
    for left, right, other in zip(one, many, plain, strict=True):
        for key, value in left.state.items():
            torch.testing.assert_close(value, right.state[key], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(value, other.state[key], rtol=1e-4, atol=1e-5)
    (without,) = fit_runs(network, images, recipe((2, 0.05), batch_size=17), runs[:1])
    assert not torch.equal(without.state["fc1.weight"], one[0].state["fc1.weight"])


@pytest.mark.parametrize("at_once", [1, 3])
def test_killed_with_dropout_on_training_goes_on_with_the_same_bits(tmp_path, monkeypatch, at_once):
    network, images, runs = setting(tmp_path)
    keeping = always_kept(monkeypatch)
    next(keeping)
    plan = recipe((2, 0.01), (1, 0.01), batch_size=17, dropout=0.4, optimizer="adam")
    undisturbed = train((network, images), None, runs, plan, at_once)
    for killed in range(1, 9, 3) if at_once == 1 else (1, 2):
        folder = tmp_path / str(killed)
        with pytest.raises(Killed):
            train((network, images), folder, runs, plan, at_once, killing_after(killed))
        assert_same(train((network, images), folder, runs, plan, at_once), undisturbed)
    next(keeping, None)


def test_evaluation_drops_nothing_and_no_hook_stays(tmp_path):
    network, images, runs = setting(tmp_path, count=1)
    (fitted,) = fit_runs(network, images, recipe((1, 0.05), dropout=0.9), runs)
    assert not any(module._forward_pre_hooks for module in network.modules())
    network.load_state_dict(fitted.state)
    logits = network.eval()(images.validation.batch(slice(None)))
    loss = F.cross_entropy(logits, images.validation.labels)
    assert fitted.history[0]["validation_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_fused_units_refuse_it():
    network = networks.build("resnet20", channels=3, classes=4)
    fused = Fused.__new__(Fused)
    Fused.__mro__[1].__init__(fused, network, torch.float32)
    with pytest.raises(NetworkError, match="neither dropout nor pre-activations"):
        fused.outputs(torch.zeros(1, 3, 8, 8), dropped={"classifier": torch.ones(1, 1, 64)})
