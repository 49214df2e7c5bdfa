"""Learning rates epoch by epoch are PyTorch's, reach the optimizer and survive a cut or a kill."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from core_helpers import prepared
from pydantic import ValidationError
from training_helpers import images_of
from unfinished_helpers import Killed, always_kept, assert_same, killing_after, runs_of, train

from recall_distortion import networks
from recall_distortion.compression.retraining import after, until
from recall_distortion.study import Recipe
from recall_distortion.training import Run, fit_runs
from recall_distortion.training.plain import read
from recall_distortion.training.randomness import generator
from recall_distortion.training.recipe import Recipe as Told


def told(**values) -> Told:
    """Return what a job makes of a study's recipe."""
    return read(Told, Recipe.model_validate(values).parameters(), "recipe")


def rates(plan: Told) -> list[float]:
    return [phase.rate(epoch) for phase in plan.phases for epoch in range(phase.epochs)]


def of_torch(rate, epochs, *schedulers, milestones=()):
    """Return the rates by PyTorch's schedulers, one after another at milestones."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], rate)
    made = [make(optimizer) for make in schedulers]
    last = torch.optim.lr_scheduler.SequentialLR(optimizer, made, [*milestones])
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        last.step()
    return found


def warm_up(epochs):
    return lambda optimizer: torch.optim.lr_scheduler.LinearLR(
        optimizer, 1 / (epochs + 1), total_iters=epochs
    )


@pytest.mark.parametrize("warmup", [0, 1, 4])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_cosine_is_pytorchs_after_a_linear_warm_up(warmup):
    plan = told(cosine={"epochs": 15, "learning_rate": 0.2, "eta_min": 0.01}, warmup=warmup)

    def cosine(optimizer):
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 15 - warmup, 0.01)

    schedulers = (warm_up(warmup), cosine) if warmup else (cosine,)
    expected = of_torch(0.2, 15, *schedulers, milestones=[warmup] if warmup else [])
    assert rates(plan) == pytest.approx(expected, rel=1e-9)
    assert len(plan.phases) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_steps_are_pytorchs_multisteplr():
    plan = told(step={"epochs": 9, "learning_rate": 0.5, "milestones": [3, 7], "gamma": 0.2})
    expected = of_torch(0.5, 9, lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 7], 0.2))
    assert rates(plan) == pytest.approx(expected, rel=1e-12)


def test_rates_worked_out_by_hand():
    cosine = told(cosine={"epochs": 4, "learning_rate": 1.0})
    assert rates(cosine) == pytest.approx(
        [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    )
    step = told(step={"epochs": 6, "learning_rate": 0.4, "milestones": [4]}, warmup=3)
    assert rates(step) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.04, 0.04])
    phases = [{"epochs": 3, "learning_rate": 0.3}, {"epochs": 1, "learning_rate": 0.01}]
    assert rates(told(phases=phases, warmup=2)) == pytest.approx([0.1, 0.2, 0.3, 0.01])
    assert told(phases=phases).phases[0].rates == ()


def test_a_cut_recipe_goes_on_along_its_curve():
    plan = told(cosine={"epochs": 10, "learning_rate": 1.0}, warmup=2)
    assert rates(until(plan, 4)) + rates(after(plan, 4)) == rates(plan)
    assert (until(plan, 4).epochs, after(plan, 4).epochs) == (4, 6)


@pytest.fixture
def place(tmp_path):
    data = prepared(tmp_path / "data.safetensors")
    return networks.build("mlp", channels=1, classes=4), images_of(data)


def test_the_optimizer_takes_each_epochs_rate_and_goes_on(place):
    """Against PyTorch's SGD with a scheduler; momentum is not reset between the epochs."""
    network, images = place
    (run,) = runs_of(network, [3])
    run = Run(run.seed, run.state)
    plan = replace(told(cosine={"epochs": 4, "learning_rate": 0.1}, batch_size=16), momentum=0.9)
    (fitted,) = fit_runs(network, images, plan, [run])
    last = {name: value.clone() for name, value in network.state_dict().items()}
    assert [row["learning_rate"] for row in fitted.history] == rates(plan)
    assert {row["phase"] for row in fitted.history} == {1}

    network.load_state_dict(run.state)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    order = generator(3, "order")
    for _ in range(4):
        shuffled = torch.randperm(len(images.fit), generator=order)
        for index in shuffled.split(16):
            optimizer.zero_grad()
            logits = network(images.fit.batch(index))
            torch.nn.functional.cross_entropy(logits, images.fit.labels[index]).backward()
            optimizer.step()
        scheduler.step()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, last[name], rtol=1e-4, atol=1e-6)


def test_training_killed_between_two_rates_goes_on(place, tmp_path, monkeypatch):
    keeping = always_kept(monkeypatch)
    next(keeping)
    runs = runs_of(place[0], (0, 1))
    plan = told(
        cosine={"epochs": 4, "learning_rate": 0.02}, warmup=1, batch_size=17, optimizer="adamw"
    )
    undisturbed = train(place, None, runs, plan, 2)
    for killed in (1, 2, 3):
        with pytest.raises(Killed):
            train(place, tmp_path / str(killed), runs, plan, 2, killing_after(killed))
        assert_same(train(place, tmp_path / str(killed), runs, plan, 2), undisturbed)
    next(keeping, None)


COSINE = {"epochs": 4, "learning_rate": 0.1}
STEP = {"epochs": 4, "learning_rate": 0.1, "milestones": [2]}
PHASES = [{"epochs": 2, "learning_rate": 0.1}]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "give one of phases, cosine and step; there is none"),
        ({"cosine": COSINE, "phases": PHASES}, "not phases and cosine"),
        ({"cosine": COSINE, "warmup": 4}, "at most 3"),
        ({"step": STEP, "warmup": 2}, "at most 1"),
        ({"phases": PHASES, "warmup": 2}, "at most 1"),
        ({"step": STEP | {"milestones": [2, 2]}}, "rising order"),
        ({"step": STEP | {"milestones": [4]}}, "none follows"),
        ({"cosine": COSINE | {"eta_min": 0.1}}, "below the learning rate"),
        ({"phases": PHASES, "optimizer": "adam", "momentum": 0.5}, "optimizer adam has betas"),
        ({"phases": PHASES, "eps": 1e-3}, "optimizer sgd has momentum and nesterov"),
        (
            {"phases": PHASES, "regularizers": {"batch_norm_l1": {"weight": 1.0, "balance": 0.1}}},
            "batch_norm_l1: it has no balance",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(values, words):
    with pytest.raises(ValidationError, match=words):
        Recipe.model_validate(values)


def test_what_is_as_by_default_is_told_to_no_job():
    """Or every study that was there before would train again."""
    usual = {"phases": PHASES, "batch_size": 16, "momentum": 0.9}
    given = Recipe.model_validate(
        usual | {"optimizer": "sgd", "nesterov": True, "dropout": 0.0, "regularizers": {}}
    )
    expected = usual | {"weight_decay": 0.0, "augmentation": []}
    assert given.parameters() == given.model_dump() == expected
    assert list(given.parameters()) == [
        "phases",
        "batch_size",
        "momentum",
        "weight_decay",
        "augmentation",
    ]


def test_all_that_differs_is_told():
    plan = told(
        phases=PHASES,
        optimizer="adam",
        betas=[0.5, 0.6],
        eps=0.1,
        label_smoothing=0.2,
        dropout=0.3,
        regularizers={"jumpstart": {"weight": 0.1, "aggregation": "mean"}},
    )
    assert (plan.optimizer, plan.betas, plan.eps) == ("adam", (0.5, 0.6), 0.1)
    assert (plan.label_smoothing, plan.dropout) == (0.2, 0.3)
    (one,) = plan.regularizers
    assert (one.name, one.weight, one.balance) == ("jumpstart", 0.1, 0.5)
    assert (one.aggregation, one.layers) == ("mean", "hidden")
