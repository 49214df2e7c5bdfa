"""What masks remove, of weights, biases and batch norm's parameters, is zero in all of training."""

from __future__ import annotations

import pytest
import torch
from core_helpers import prepared, recipe
from training_helpers import images_of, masks_of_all
from unfinished_helpers import Killed, always_kept, assert_same, killing_after, train

from recall_distortion import networks
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import Engine, Run, fit_runs, passes
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state

CASES = [("mlp", []), ("cnn", ["flip"]), ("resnet20", ["crop"])]
NAMES = [name for name, _ in CASES]
SIZE = {"train": 48, "holdout": 14}
BATCH, EPOCHS = 16, 2
STEPS = EPOCHS * -(-(SIZE["train"] - SIZE["holdout"]) // BATCH)  # of one network


def setting(folder, case):
    """Return a network, images, and runs of it: under masks of every parameter, of none, again."""
    name, augmentation = case
    data = prepared(folder / "data.safetensors", channels=3, **SIZE)
    network = networks.build(name, channels=3, classes=4).to(memory_format=torch.channels_last)
    runs = []
    for seed in range(3):
        networks.initialize(network, generator(seed, "initialization"))
        # Batch norm's weights begin as 1 and its biases as 0, which would hide what is not masked.
        state = {
            name: value + 0.1 if value.is_floating_point() else value
            for name, value in copy_state(network).items()
        }
        runs.append(Run(seed, state, None if seed == 1 else masks_of_all(network, seed)))
    return network, images_of(data, augmentation=augmentation), runs


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("engine", [Engine(), Engine(fast=False), Engine(3), Engine(3, fast=False)])
def test_what_a_mask_removes_is_zero_after_every_step(tmp_path, monkeypatch, case, engine):
    """With momentum, decay and batch norm; of what is left of each parameter some moves."""
    network, images, runs = setting(tmp_path, case)
    seen = []

    def checked(stack, *arguments):
        losses = step(stack, *arguments)
        trained = runs if engine.vectorized else [runs[len(seen) // STEPS]]
        for k, run in enumerate(trained):
            for name, mask in (run.masks or {}).items():
                assert not stack.tensors[name][k][~mask].any(), name
        seen.append(len(stack))
        return losses

    step = passes.step
    monkeypatch.setattr(passes, "step", checked)
    plan = recipe((1, 0.05), (1, 0.02), batch_size=BATCH, weight_decay=0.01, augmentation=case[1])
    found = list(fit_runs(network, images, plan, runs, engine=engine))
    assert seen == ([3] * STEPS if engine.vectorized else [1] * STEPS * 3)
    for run, fitted in zip(runs, found, strict=True):
        masks = run.masks or {}
        for name, value in fitted.state.items():
            left = masks.get(name, torch.ones_like(value, dtype=torch.bool))
            assert not value[~left].any(), name
            assert (value[left] != run.state[name][left]).any(), name


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@pytest.mark.parametrize("at_once", [1, 3])
def test_killed_training_under_masks_of_any_parameter_goes_on(tmp_path, monkeypatch, case, at_once):
    network, images, runs = setting(tmp_path, case)
    plan = recipe((2, 0.05), batch_size=BATCH, augmentation=case[1])
    place = network, images
    keeping = always_kept(monkeypatch)
    next(keeping)
    undisturbed = train(place, None, runs, plan, at_once)
    with pytest.raises(Killed):
        train(place, tmp_path / "kept", runs, plan, at_once, killing_after(1))
    resumed = train(place, tmp_path / "kept", runs, plan, at_once)
    next(keeping, None)
    assert_same(resumed, undisturbed)
    for run, fitted in zip(runs, resumed, strict=True):
        for name, mask in (run.masks or {}).items():
            assert not fitted.state[name][~mask].any(), name


def test_a_mask_of_what_is_no_parameter_is_refused_before_training(tmp_path):
    network, images, runs = setting(tmp_path, CASES[2])
    for name in ("fc9.weight", "bn1.running_mean"):
        masked = Run(0, runs[0].state, {name: torch.ones(16, dtype=torch.bool)})
        with pytest.raises(NetworkError, match=f"mask is of {name}, which is no parameter of"):
            next(fit_runs(network, images, recipe((1, 0.1)), [runs[1], masked]))
