"""The optimizers are PyTorch's, alone, vectorized and killed, and revive no pruned weight."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from core_helpers import prepared, recipe
from training_helpers import images_of, masks_of_all, normalized
from unfinished_helpers import Killed, always_kept, assert_same, killing_after, train

from recall_distortion import networks
from recall_distortion.training import Engine, Run, fit, fit_runs
from recall_distortion.training.descent import OPTIMIZERS, descent
from recall_distortion.training.randomness import generator
from recall_distortion.training.removal import Removed
from recall_distortion.training.replicates import copy_state
from recall_distortion.training.stacks import Alone

SETTINGS = {
    "sgd": {"momentum": 0.8, "nesterov": False, "weight_decay": 0.01},
    "adam": {"betas": [0.8, 0.99], "eps": 1e-4, "weight_decay": 0.01},
    "adamw": {"betas": [0.8, 0.99], "eps": 1e-4, "weight_decay": 0.5},
}
RATES = {"sgd": 0.05, "adam": 0.01, "adamw": 0.01}


def of_torch(name, parameters, rate):
    """Return the optimizer as PyTorch's class has it."""
    options = SETTINGS[name]
    if name == "sgd":
        return torch.optim.SGD(parameters, rate, **options)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    return kind(parameters, rate, **options)


def plan_of(name, *epochs, **values):
    return recipe(*((n, RATES[name]) for n in epochs), optimizer=name, **SETTINGS[name], **values)


def start(name, data, seed=1):
    network = networks.build(name, channels=data.train_images.shape[1], classes=4)
    network = network.to(memory_format=torch.channels_last)
    networks.initialize(network, generator(seed, "initialization"))
    return network


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_pytorchs_in_a_plain_loop(tmp_path, name, network, masked):
    """Two phases, each with a new optimizer, 15 steps in all, of which every fifth is smaller."""
    data = prepared(tmp_path / "data.safetensors")
    ours = start(network, data)
    # Half of the weights: a filter without any would leave its bias to rounding.
    masks = masks_of_all(ours) if masked else {}
    plan = plan_of(name, 2, 1, batch_size=17)
    fit(ours, images_of(data), plan, seed=5, masks=masks)

    theirs = start(network, data)
    weights = dict(theirs.named_parameters())
    for key, mask in masks.items():
        weights[key].data *= mask
    inputs = normalized(data, data.train_images[data.fit_index])
    labels = torch.from_numpy(data.train_labels[data.fit_index])
    order = generator(5, "order")
    for phase in plan.phases:
        optimizer = of_torch(name, theirs.parameters(), phase.learning_rate)
        for _ in range(phase.epochs):
            shuffled = torch.randperm(len(labels), generator=order)
            for index in shuffled.split(17):
                optimizer.zero_grad()
                F.cross_entropy(theirs(inputs[index]), labels[index]).backward()
                for key, mask in masks.items():
                    weights[key].grad *= mask
                optimizer.step()
    # The largest difference seen is 3e-7.
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[key], rtol=1e-4, atol=3e-6)


@pytest.mark.parametrize("case", [("mlp", 1), ("resnet20", 3)], ids=["mlp", "resnet20"])
@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_revives_what_is_pruned(tmp_path, name, at_once, case):
    """Exactly zero in every parameter, batch norm's among them; what is left moves."""
    data = prepared(tmp_path / "data.safetensors", channels=case[1], train=48, holdout=14)
    network = start(case[0], data)
    runs = []
    for seed in range(2):
        networks.initialize(network, generator(seed, "initialization"))
        runs.append(Run(seed, copy_state(network), masks_of_all(network, seed)))
    plan = plan_of(name, 1, 1)
    for run, fitted in zip(
        runs, fit_runs(network, images_of(data), plan, runs, engine=Engine(at_once)), strict=True
    ):
        for key, mask in run.masks.items():
            assert not fitted.state[key][~mask].any(), key
        for key in networks.prunable_parameters(network):
            left = run.masks[key]
            assert (fitted.state[key][left] != run.state[key][left]).any(), key


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_vectorized_and_alone_agree(tmp_path, name, network):
    data = prepared(tmp_path / "data.safetensors")
    module = start(network, data)
    runs = []
    for seed in range(3):
        networks.initialize(module, generator(seed, "initialization"))
        runs.append(Run(seed, copy_state(module), masks_of_all(module, seed) if seed else None))
    plan = plan_of(name, 2, 1)
    one, many = (
        list(fit_runs(module, images_of(data), plan, runs, engine=Engine(k))) for k in (1, 3)
    )
    for left, right in zip(one, many, strict=True):
        for key, value in left.state.items():
            torch.testing.assert_close(value, right.state[key], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_killed_after_any_epoch_an_optimizer_goes_on(tmp_path, monkeypatch, name, at_once):
    """The same bits, the number of Adam's steps and both its moments included."""
    data = prepared(tmp_path / "data.safetensors")
    network = start("mlp", data)
    runs = []
    for seed in range(2):
        networks.initialize(network, generator(seed, "initialization"))
        runs.append(Run(seed, copy_state(network), masks_of_all(network, seed)))
    plan = plan_of(name, 3, 2)
    place = network, images_of(data)
    keeping = always_kept(monkeypatch)
    next(keeping)
    undisturbed = train(place, None, runs, plan, at_once)
    for killed in range(1, 10 // at_once):
        folder = tmp_path / str(killed)
        with pytest.raises(Killed):
            train(place, folder, runs, plan, at_once, killing_after(killed))
        assert_same(train(place, folder, runs, plan, at_once), undisturbed)
    next(keeping, None)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_of_a_removed_weight_nothing_is_remembered(tmp_path, name):
    """Neither when it goes nor when it returns does a moment of it stay."""

    class Half:
        names, first = ("fc1.weight",), 0

        def masks(self, epochs, weights):
            mask = torch.ones_like(weights["fc1.weight"], dtype=torch.bool)
            mask[epochs % 2 :: 2] = False
            return {"fc1.weight": mask}

    data = prepared(tmp_path / "data.safetensors")
    network = start("mlp", data)
    stack = Alone(network, [copy_state(network)])
    factor = torch.ones_like(network.fc1.weight, requires_grad=False)
    removed = Removed(stack, [Half()], {stack.names.index("fc1.weight"): factor})
    optimizer = descent(stack.parameters, plan_of(name, 1))
    optimizer.rate = 0.1
    before = network.fc1.weight.detach().clone()
    removed.update(0, optimizer, ())
    assert torch.equal(network.fc1.weight[1::2], before[1::2])
    optimizer.step([torch.ones_like(value) for value in stack.parameters])
    removed.update(1, optimizer, ())
    for moment in optimizer.moments().values():
        of_fc1 = moment[stack.names.index("fc1.weight")]
        assert not of_fc1.any(), "all rows went or returned"
        assert all(value.any() for value in moment if value is not of_fc1)


def test_the_states_of_sgd_are_none_before_its_first_step(tmp_path):
    parameter = torch.zeros(3, requires_grad=True)
    optimizer = descent([parameter], plan_of("sgd", 1))
    assert optimizer.tensors() == {}
    optimizer.rate = 0.1
    optimizer.step([torch.ones(3)])
    assert list(optimizer.tensors()) == ["momentum/0"]
