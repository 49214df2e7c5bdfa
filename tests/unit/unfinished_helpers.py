"""Networks whose training is killed, for the tests of what goes on from there."""

from __future__ import annotations

import itertools

import torch
from core_helpers import prepared, recipe

from recall_distortion import networks
from recall_distortion.training import (
    Engine,
    NonFiniteLoss,
    Run,
    TrainingImages,
    Unfinished,
    fit_runs,
)
from recall_distortion.training import unfinished as module
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state

# The second phase's rate is far too large, so that the best epoch is not the last.
PLAN = recipe((2, 0.05), (2, 0.5), batch_size=17)


class Killed(BaseException):
    """Stands for the signal: nothing catches it."""


def always_kept(monkeypatch):
    """Keep every epoch, and train on one thread, as a job does; a fixture's body."""
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    monkeypatch.setattr(module, "LARGEST_SHARE", 1e9)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def setting(folder, name, channels, augmentation):
    size = {"train": 48, "holdout": 14} if name == "resnet20" else {}
    data = prepared(folder / "data.safetensors", channels=channels, **size)
    images = TrainingImages.of(data, selection="holdout", device="cpu", augmentation=augmentation)
    network = networks.build(name, channels=channels, classes=4)
    return network.to(memory_format=torch.channels_last), images


def runs_of(network, seeds):
    """Return runs with masks of different densities, the second without."""
    runs = []
    for place, seed in enumerate(seeds):
        networks.initialize(network, generator(seed, "initialization"))
        rng = torch.Generator().manual_seed(place)
        masks = {
            name: torch.rand(weight.shape, generator=rng) < 0.8 - 0.2 * place
            for name, weight in networks.prunable_parameters(network).items()
        }
        runs.append(Run(seed, copy_state(network), None if place == 1 else masks))
    return runs


def killing_after(epochs):
    """Return a report that kills the job when so many epochs have been trained."""
    count = itertools.count(1)

    def report(rows, places):
        if next(count) > epochs:
            raise Killed

    return report


def assert_same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert type(one) is type(other)
        if isinstance(one, NonFiniteLoss):
            assert str(one) == str(other)
            continue
        assert one.history == other.history
        assert [list(row) for row in one.history] == [list(row) for row in other.history]
        assert set(one.state) == set(other.state)
        for name, value in one.state.items():
            assert value.dtype == other.state[name].dtype
            assert torch.equal(value, other.state[name]), name
        assert (one.masks is None) == (other.masks is None)
        for name, mask in (one.masks or {}).items():
            assert torch.equal(mask, other.masks[name]), name


def train(place, folder, runs, plan=PLAN, at_once=1, report=None, **facts):
    network, images = place
    engine, kept = Engine(at_once), Unfinished(folder, facts)
    return list(
        fit_runs(network, images, plan, runs, engine=engine, report=report, unfinished=kept)
    )
