"""Pruned while it is trained: how much when, what returns, and what its control is."""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from compression_helpers import SEEDS, same, write_dense
from core_helpers import compression_plan, method, prepared, recipe
from training_helpers import images_of
from unfinished_helpers import Killed, always_kept, assert_same, killing_after, train

from recall_distortion import networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell, GradualPlan
from recall_distortion.compression.schedules.gradual import STAGE, Gradual
from recall_distortion.data import load
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.inference.estimates import answers
from recall_distortion.measures.networks import measure
from recall_distortion.system.errors import NetworkError
from recall_distortion.tables.predictions import read_all
from recall_distortion.training import Engine, NonFiniteLoss, Run, fit_runs
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state
from recall_distortion.vocabulary import CONTROL_GRADUAL, DENSE, RETRAINED, Panel

PANEL = Panel("small", "mlp", "usual")
# Two phases, so that momentum starts anew in the middle of the pruning.
PLAN = recipe((4, 0.05), (4, 0.02), batch_size=17)
BEGIN, END = 1, 6


def test_zhu_and_gupta_s_example():
    """Ten steps to a sparsity of 0.98 keep these shares (Zhu and Gupta 2017, equation 1)."""
    removal = Gradual((), 0.02, 0, 10)
    kept = [round(1 - removal.sparsity(epochs), 3) for epochs in range(12)]
    assert kept == [1, 0.734, 0.522, 0.356, 0.232, 0.143, 0.083, 0.046, 0.028, 0.021, 0.02, 0.02]


def test_nothing_is_removed_before_the_beginning_nor_changed_after_the_end():
    removal = Gradual(("w",), 0.5, 2, 5)
    weights = {"w": torch.arange(1.0, 9.0)}
    assert [removal.masks(epochs, weights) is None for epochs in range(8)] == [
        *(True, True, True),
        *(False, False, False),
        *(True, True),
    ]
    assert removal.first == 6
    assert removal.masks(5, weights)["w"].tolist() == [False] * 4 + [True] * 4


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_as_many_stay_as_are_asked_for(scope):
    rng = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(n, generator=rng) for name, n in (("a", 60), ("b", 37))}
    removal = Gradual(("a", "b"), 0.1, 0, 4, scope=scope)
    for epochs in range(1, 5):
        masks = removal.masks(epochs, weights)
        left = 1 - removal.sparsity(epochs)
        if scope == "layer":
            assert {n: int(m.sum()) for n, m in masks.items()} == {
                name: round(left * weight.numel()) for name, weight in weights.items()
            }
        else:
            assert sum(int(mask.sum()) for mask in masks.values()) == round(left * 97)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return images_of(prepared(tmp_path_factory.mktemp("data") / "data.safetensors"))


def start(seed):
    network = networks.build("mlp", channels=1, classes=4)
    networks.initialize(network, generator(seed, f"{STAGE} initialization"))
    return network, copy_state(network)


def removal_to(fraction, **options):
    network, _ = start(0)
    names = tuple(networks.prunable_parameters(network)) if fraction < 1 else ()
    return Gradual(names, fraction, BEGIN, END, **options)


def own_training(images, seed, removal):
    """Return every epoch's weights, masks and validation loss, by a plain loop of this test."""
    network, _ = start(seed)
    weights = dict(networks.prunable_parameters(network))
    kept = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    removed = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    order, fit = generator(seed, f"{STAGE} order"), images.fit
    found, epoch = [], 0
    for phase in PLAN.phases:
        optimizer = torch.optim.SGD(
            network.parameters(), phase.learning_rate, PLAN.momentum,
            weight_decay=PLAN.weight_decay, nesterov=True,
        )  # fmt: skip
        for _ in range(phase.epochs):
            if BEGIN < epoch <= END and removal.fraction < 1:
                passed = (epoch - BEGIN) / (END - BEGIN)
                sparsity = (1 - removal.fraction) * (1 - (1 - passed) ** 3)
                for name, weight in weights.items():
                    whole = torch.where(kept[name], weight.detach(), removed[name])
                    many = round((1 - sparsity) * whole.numel())
                    threshold = whole.abs().flatten().sort(descending=True).values[many - 1]
                    mask = whole.abs() >= threshold
                    with torch.no_grad():
                        weight.copy_(torch.where(mask, whole, 0.0))
                    removed[name] = torch.where(mask, 0.0, whole)
                    if (state := optimizer.state.get(weight)) is not None:
                        state["momentum_buffer"] *= mask & kept[name]
                    kept[name] = mask
            network.train()
            shuffled = torch.randperm(len(fit), generator=order)
            for index in shuffled.split(PLAN.batch_size):
                optimizer.zero_grad()
                F.cross_entropy(network(fit.batch(index)), fit.labels[index]).backward()
                for name, weight in weights.items():
                    weight.grad *= kept[name]
                optimizer.step()
            epoch += 1
            network.eval()
            with torch.no_grad():
                held = images.validation
                logits = network(held.batch(slice(0, len(held))))
                loss = F.cross_entropy(logits, held.labels).item()
            found.append((copy_state(network), dict(kept), loss))
    return found


@pytest.mark.parametrize("fraction", [0.5, 0.1])
def test_it_is_what_a_plain_loop_makes(images, fraction):
    network, state = start(3)
    removal = removal_to(fraction)
    (found,) = fit_runs(
        network, images, PLAN, [Run(3, state, removal=removal)], stage=STAGE, engine=Engine()
    )
    own = own_training(images, 3, removal)
    losses = [loss for *_, loss in own]
    # Rounding: the loop's and this one's sums differ in the last digits of single precision.
    assert [row["validation_loss"] for row in found.history] == pytest.approx(losses, rel=1e-4)
    best = min(range(END, len(own)), key=lambda epoch: losses[epoch])
    assert [row["selected"] for row in found.history].index(1) == best
    weights, masks, _ = own[best]
    assert same(found.masks, masks)
    for name, value in weights.items():
        torch.testing.assert_close(found.state[name], value, rtol=1e-3, atol=1e-5)
        if name in masks:
            assert (found.state[name][~masks[name]] == 0).all()
            assert int(masks[name].sum()) == round(fraction * masks[name].numel())


def test_weights_return_as_they_were(images):
    """Somewhere in the middle a weight that was gone is there again."""
    seen = []

    class Watched(Gradual):
        def masks(self, epochs, weights):
            found = super().masks(epochs, weights)
            seen.append((found, {name: value.clone() for name, value in weights.items()}))
            return found

    network, state = start(5)
    removal = Watched(tuple(networks.prunable_parameters(network)), 0.4, BEGIN, END)
    plan = recipe((8, 0.2), weight_decay=0.02)
    list(fit_runs(network, images, plan, [Run(5, state, removal=removal)], stage=STAGE))
    steps = [step for step in seen if step[0] is not None]
    returned = 0
    for (before, old), (after, now) in itertools.pairwise(steps):
        for name, mask in after.items():
            gone = ~before[name]
            # What is gone is ranked as it was when it went.
            assert torch.equal(now[name][gone], old[name][gone])
            returned += int((gone & mask).sum())
    assert returned > 0


def test_networks_at_once_are_those_alone(images):
    network, _ = start(0)
    runs = [
        Run(seed, start(seed)[1], removal=removal_to(fraction))
        for seed, fraction in ((3, 0.5), (4, 0.1), (4, 1.0))
    ]
    alone, together = (
        list(fit_runs(network, images, PLAN, runs, stage=STAGE, engine=Engine(n))) for n in (1, 3)
    )
    for one, other in zip(alone, together, strict=True):
        assert [row["selected"] for row in one.history] == [r["selected"] for r in other.history]
        assert same(one.masks, other.masks)
        for name, value in one.state.items():
            torch.testing.assert_close(other.state[name], value, rtol=1e-3, atol=1e-5)


def test_the_control_is_trained_as_if_nothing_were_there(images):
    network, state = start(4)
    runs = [Run(4, state, removal=one) for one in (removal_to(1.0), None)]
    control, plain = fit_runs(network, images, PLAN, runs, stage=STAGE, engine=Engine())
    names = ("training_loss", "validation_loss", "validation_accuracy")
    assert [[row[name] for name in names] for row in control.history] == [
        [row[name] for name in names] for row in plain.history
    ]
    losses = [row["validation_loss"] for row in control.history]
    assert [row["selected"] for row in control.history].index(1) == min(
        range(END, len(losses)), key=losses.__getitem__
    )
    assert control.masks == {}
    assert plain.masks is None


def test_a_run_has_a_mask_or_a_removal(images):
    network, state = start(0)
    removal = removal_to(0.5)
    name = removal.names[0]
    run = Run(0, state, {name: torch.ones_like(state[name], dtype=torch.bool)}, removal)
    with pytest.raises(NetworkError, match=f"{name}: pruned by a mask and while it is trained"):
        next(iter(fit_runs(network, images, PLAN, [run])))


def test_a_network_that_fails_stops_no_other(images):
    network, state = start(0)
    broken = {name: value * float("nan") for name, value in state.items()}
    runs = [Run(3, broken, removal=removal_to(0.1)), Run(4, state, removal=removal_to(0.1))]
    failed, found = fit_runs(network, images, PLAN, runs, stage=STAGE, engine=Engine(2))
    assert isinstance(failed, NonFiniteLoss)
    (alone,) = fit_runs(network, images, PLAN, runs[1:], stage=STAGE, engine=Engine(2))
    assert same(found.masks, alone.masks)


@pytest.fixture
def _kept(monkeypatch):
    yield from always_kept(monkeypatch)


@pytest.mark.usefixtures("_kept")
@pytest.mark.parametrize("epochs", [1, 4, 7])
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_killed_job_goes_on_with_the_same_bits(images, tmp_path, epochs, at_once):
    network, _ = start(0)
    runs = [
        Run(seed, start(seed)[1], removal=removal_to(fraction))
        for seed, fraction in ((3, 0.3), (4, 0.1), (5, 1.0))
    ]
    place = network, images
    whole = train(place, None, runs, plan=PLAN, at_once=at_once)
    with pytest.raises(Killed):
        train(place, tmp_path / "kept", runs, PLAN, at_once, killing_after(len(runs) + epochs))
    assert_same(train(place, tmp_path / "kept", runs, PLAN, at_once), whole)


@pytest.mark.usefixtures("_kept")
def test_another_schedule_does_not_go_on(images, tmp_path, capsys):
    network, state = start(3)
    place = network, images
    runs = [Run(3, state, removal=removal_to(0.5))]
    with pytest.raises(Killed):
        train(place, tmp_path / "kept", runs, PLAN, 1, killing_after(2))
    other = [Run(3, state, removal=removal_to(0.1))]
    assert_same(train(place, tmp_path / "kept", other, PLAN), train(place, None, other, PLAN))
    assert "half-trained by other code, data or recipe" in capsys.readouterr().out


METHODS = {
    "control": None,
    "magnitude": method("magnitude"),
    CONTROL_GRADUAL: None,
    "slowly": method("magnitude", scope="layer", schedule="gradual", of_sparsity=True),
}
RATIOS = {"control": ["1"], "magnitude": ["2"], CONTROL_GRADUAL: ["1"], "slowly": ["1.43", "10"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    # So noisy that no network is right throughout: its slopes would not be numbers.
    return write_dense(tmp_path_factory.mktemp("dense"), noise=160.0)


def compress(folder, output, names=tuple(METHODS), unfinished=None):
    output.mkdir(exist_ok=True)
    files = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        compression_plan(
            {name: METHODS[name] for name in names},
            recipe((2, 0.03)),
            gradual=GradualPlan(recipe((5, 0.05)), 1, 3),
        ),
        panel=PANEL,
        ratios={name: RATIOS[name] for name in names},
        unfinished=unfinished,
    )
    rows = []
    for path in files[1:]:
        with open(path, newline="", encoding="utf-8") as file:
            rows.append(list(csv.DictReader(file)))
    return {part.cell: part for part in load_compressed(files[0])}, *rows


def test_a_job_of_both_kinds_makes_what_jobs_of_each_make(folder, tmp_path):
    both, sparsity, history = compress(folder, tmp_path / "both")
    slow, *rest = compress(folder, tmp_path / "slow", (CONTROL_GRADUAL, "slowly"))
    once, *_ = compress(folder, tmp_path / "once", ("control", "magnitude"))
    assert set(both) == {Cell(name, ratio) for name, own in RATIOS.items() for ratio in own}
    for cell, part in both.items():
        other = slow.get(cell) or once[cell]
        assert (part.control, part.of_dense) == (other.control, other.of_dense)
        assert part.seeds == SEEDS
        assert same(part.retrained, other.retrained)
        assert same(part.masks, other.masks)
    assert both[Cell("slowly", "10")].control == CONTROL_GRADUAL
    assert not both[Cell("slowly", "10")].of_dense
    assert both[Cell("magnitude", "2")].of_dense
    assert [row for row in sparsity if row["method"] == "slowly"] == rest[0]
    assert [row for row in history if row["method"] in ("slowly", CONTROL_GRADUAL)] == rest[1]
    for part in (both[Cell("slowly", "1.43")], both[Cell("slowly", "10")]):
        share = {"1.43": 0.7, "10": 0.1}[part.cell.ratio]
        for mask in part.masks.values():
            assert (mask.flatten(1).sum(1) == round(share * mask[0].numel())).all()


def test_starts_are_its_own_and_shared_with_its_control(folder, tmp_path):
    """Nothing of the dense networks is in them: other weights, other order."""
    made, *_ = compress(folder, tmp_path, (CONTROL_GRADUAL, "slowly"))
    control = made[Cell(CONTROL_GRADUAL, "1")]
    prepared_images = images_of(load(folder / "data.safetensors"))
    plan = recipe((5, 0.05))
    for place, seed in enumerate(SEEDS):
        network, state = start(seed)
        run = Run(seed, state, removal=Gradual((), 1.0, 1, 3))
        (alone,) = fit_runs(network, prepared_images, plan, [run], stage=STAGE)
        for name, value in alone.state.items():
            found = control.retrained[name][place]
            torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-5)


def test_tables_have_its_control(folder, tmp_path):
    """No state before the retraining, and effects less the control of the same training."""
    compress(folder, tmp_path)
    paths = [tmp_path / "dense.predictions", tmp_path / "all.predictions"]
    inputs = folder / "data.safetensors", folder / "dense.safetensors"
    evaluate_block(*inputs, [], paths[0], panel=PANEL)
    evaluate_block(*inputs, [tmp_path / "w.safetensors"], paths[1], panel=PANEL)
    parts, failures = read_all(paths)
    states = {(part.method, part.state) for part in parts}
    assert ("magnitude", "compressed") in states
    assert {state for name, state in states if name in ("slowly", CONTROL_GRADUAL)} == {RETRAINED}
    assert {part.control for part in parts if part.method == "slowly"} == {CONTROL_GRADUAL}
    assert {part.control for part in parts if part.method in (DENSE, "magnitude")} == {"control"}
    sparsity = pd.read_csv(tmp_path / "sparsity.csv")
    recall, networks_table = measure(parts, sparsity, failures)
    arms = networks_table.groupby("method")["control"].unique().str[0].to_dict()
    assert arms["slowly"] == CONTROL_GRADUAL
    assert arms["magnitude"] == ""
    found = answers(recall, networks_table)
    effects = found["effects"].set_index(["method", "ratio"])
    alphas = networks_table.query("state == 'retrained'").pivot(
        index="seed", columns=["method", "ratio"], values="alpha"
    )
    for name, ratio, arm in (
        ("magnitude", 2, "control"),
        ("slowly", 1.43, CONTROL_GRADUAL),
        ("slowly", 10, CONTROL_GRADUAL),
    ):
        expected = (alphas[name, ratio] - alphas[arm, 1]).mean()
        assert np.isfinite(expected)
        assert effects.loc[(name, ratio), "difference"] == pytest.approx(expected)
    assert CONTROL_GRADUAL not in effects.index.get_level_values("method")
