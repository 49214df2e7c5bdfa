"""Networks go through rounds: each prunes within what the last one left, and retrains."""

from __future__ import annotations

import csv
import itertools
import pkgutil

import pytest
import torch
from compression_helpers import (
    SEEDS,
    dense_network,
    images_of,
    same,
    with_schedule,
    write_dense,
)
from core_helpers import compression_plan, method, recipe
from unfinished_helpers import Killed, always_kept

from recall_distortion.compression import rounds, schedules
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.facts import SCHEDULES
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell
from recall_distortion.compression.pruning.selection import loss_gradient, method_masks
from recall_distortion.compression.schedules import Round
from recall_distortion.data import load
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.system.errors import NetworkError
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.training import DeviceImages, Run, fit, fit_runs
from recall_distortion.training.passes import Pass
from recall_distortion.vocabulary import Panel

PLAN = recipe((2, 0.03))
# Half is asked for, then in two steps a tenth.
FRACTIONS = [0.5, 0.3, 0.1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense"))


@pytest.fixture
def _stepwise(monkeypatch):
    with_schedule(monkeypatch)


def compress(folder, output, *, engine="sequential", unfinished=None, names=("steps", "once")):
    output.mkdir(exist_ok=True)
    files = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    methods = {
        "steps": method("gradient", schedule="stepwise"),
        "once": method("gradient"),
    }
    methods = {name: methods[name] for name in names}
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *files),
        compression_plan(methods, PLAN, engine={"engine": engine}),
        panel=Panel("small", "mlp", "usual"),
        ratios={name: ["2", "10"] for name in methods},
        unfinished=unfinished,
    )
    rows = []
    for path in files[1:]:
        with open(path, newline="", encoding="utf-8") as file:
            rows.append(list(csv.DictReader(file)))
    return {part.cell: part for part in load_compressed(files[0])}, *rows


def of_seed(tensors, index):
    return {name: value[index] for name, value in tensors.items()}


@pytest.mark.usefixtures("_stepwise")
def test_a_chain_is_its_rounds_one_after_another(folder, tmp_path):
    found, sparsity, history = compress(folder, tmp_path)
    images = images_of(folder)
    for index, seed in enumerate(SEEDS):
        network, masks = dense_network(folder, seed), None
        for number, fraction in enumerate(FRACTIONS):
            before = {name: value.clone() for name, value in network.state_dict().items()}
            gradient = loss_gradient(network, images.fit, 32, seed=seed)
            earlier = masks
            (masks,) = method_masks(
                network, method("gradient"), [fraction], gradient, seed=seed, within=earlier
            )
            for name, mask in masks.items():
                assert earlier is None or not (mask & ~earlier[name]).any()
                before[name] = before[name] * mask
            assert sum(int(mask.sum()) for mask in masks.values()) == round(fraction * 3072)
            stage = "finetuning" if number == 0 else f"finetuning {number + 1}"
            state = fit(network, images, PLAN, seed=seed, stage=stage, masks=masks).state
            network.load_state_dict(state)
            if number == 1:  # nobody asks for it
                continue
            part = found[Cell("steps", "2" if number == 0 else "10")]
            assert same(of_seed(part.masks, index), masks)
            assert same(of_seed(part.retrained, index), state)
            if number == 0:
                assert part.compressed == {}
            else:
                assert same(of_seed(part.compressed, index), before)
    assert list(found) == [Cell(name, ratio) for name in ("steps", "once") for ratio in ("2", "10")]
    assert len(sparsity) == 3 * 4
    kept = {(row["method"], row["ratio"]): row["kept_prunable"] for row in sparsity}
    assert kept == {(c.method, c.ratio): "1536" if c.ratio == "2" else "307" for c in found}
    epochs = [
        row["epoch"]
        for row in history
        if (row["method"], row["ratio"], row["seed"]) == ("steps", "10", "3")
    ]
    assert epochs == ["1", "2", "3", "4"]  # of both rounds that lead to it


@pytest.mark.usefixtures("_stepwise")
def test_methods_of_one_round_do_not_depend_on_others_of_more(folder, tmp_path):
    together, *_ = compress(folder, tmp_path / "together")
    for name in ("steps", "once"):
        alone, *_ = compress(folder, tmp_path / name, names=(name,))
        for cell, part in alone.items():
            assert same(part.masks, together[cell].masks)
            assert same(part.retrained, together[cell].retrained)
            assert same(part.compressed, together[cell].compressed)
    first, once = (together[Cell(name, "2")] for name in ("steps", "once"))
    assert same(first.retrained, once.retrained)  # which are one round from the dense network
    assert not same(together[Cell("steps", "10")].masks, together[Cell("once", "10")].masks)


@pytest.mark.usefixtures("_stepwise")
def test_a_chains_networks_are_evaluated_as_they_were_before_their_last_retraining(
    folder, tmp_path
):
    found, *_ = compress(folder, tmp_path, names=("steps",))
    output = tmp_path / "predictions.safetensors"
    evaluate_block(
        folder / "data.safetensors",
        folder / "dense.safetensors",
        [tmp_path / "w.safetensors"],
        output,
        panel=Panel("small", "mlp", "usual"),
    )
    predicted = {(part.ratio, part.state): part for part in read_predictions(output)[0]}
    part = found[Cell("steps", "10")]
    data = load(folder / "data.safetensors")
    test = DeviceImages(data.test_images, data.test_labels, data.mean, data.std)
    for state, tensors in (("compressed", part.compressed), ("retrained", part.retrained)):
        for index in range(len(SEEDS)):
            network = dense_network(folder, SEEDS[index])
            network.load_state_dict(of_seed(tensors, index))
            network.eval()
            expected = network(test.batch(slice(None))).argmax(1)
            assert predicted["10", state].predicted[index].tolist() == expected.tolist()


@pytest.mark.usefixtures("_stepwise")
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_replicate_that_fails_in_a_round_has_none_of_the_later_cells(
    folder, tmp_path, monkeypatch, broken
):
    calls = itertools.count()

    def breaking(network, images, plan, runs, **options):
        if next(calls) == broken:
            state = dict(runs[1].state)
            state["classifier.bias"] = torch.full_like(state["classifier.bias"], torch.nan)
            runs = [runs[0], Run(runs[1].seed, state, runs[1].masks), *runs[2:]]
        return fit_runs(network, images, plan, runs, **options)

    monkeypatch.setattr(rounds, "fit_runs", breaking)
    found, *_ = compress(folder, tmp_path, names=("steps",))
    first, second = found[Cell("steps", "2")], found[Cell("steps", "10")]
    left = [3, 5]
    assert first.seeds == (left if broken == 0 else SEEDS)
    assert second.seeds == left
    assert first.mask_seeds == SEEDS
    assert second.mask_seeds == (SEEDS if broken == 2 else left)
    for part, lost in ((first, broken == 0), (second, True)):
        assert [failure.seed for failure in part.failures] == ([4] if lost else [])
        assert {failure.stage for failure in part.failures} <= {"finetuning"}


@pytest.mark.usefixtures("_stepwise")
@pytest.mark.parametrize("engine", ["sequential", "vectorized"])
def test_a_killed_chain_goes_on_in_its_round(folder, tmp_path, monkeypatch, engine):
    keeping = always_kept(monkeypatch)
    next(keeping)
    expected, *tables = compress(folder, tmp_path / "whole", engine=engine)
    of_epoch = Pass.run
    # Two a round, of three networks by "once" at two ratios and by "steps" in three rounds.
    epochs = 2 * 3 * 5 if engine == "sequential" else 2 * 3
    for killed in (1, epochs // 2, epochs - 1):
        count = itertools.count()

        def killing(*arguments, count=count, killed=killed):
            if next(count) == killed:
                raise Killed
            return of_epoch(*arguments)

        kept = tmp_path / "unfinished" / "job"
        monkeypatch.setattr(Pass, "run", killing)
        with pytest.raises(Killed):
            compress(folder, tmp_path / "killed", engine=engine, unfinished=kept)
        again = itertools.count()

        def counting(*arguments, again=again):
            next(again)
            return of_epoch(*arguments)

        monkeypatch.setattr(Pass, "run", counting)
        found, *others = compress(folder, tmp_path / "killed", engine=engine, unfinished=kept)
        # The rounds before took no epoch again, nor did those of the killed one that were kept.
        assert next(again) == epochs - killed
        assert others == tables
        for cell, part in expected.items():
            assert same(found[cell].retrained, part.retrained)
            assert same(found[cell].compressed, part.compressed)
        assert not (tmp_path / "unfinished").exists()
    next(keeping, None)


def test_the_schedules_of_the_facts_are_those_that_can_be_loaded():
    assert set(SCHEDULES) == {module.name for module in pkgutil.iter_modules(schedules.__path__)}
    for name, facts in SCHEDULES.items():
        assert facts.name == name
        assert facts.meaning
        if not facts.of_dense:
            assert callable(schedules.load_training(name))
            continue
        fractions = {"2": 0.5, "2.5": 0.4, "10": 0.1}
        chains = schedules.load(name)(fractions)
        asked = [(one.ratio, one.fraction) for chain in chains for one in chain if one.asked]
        assert sorted(asked) == sorted(fractions.items())  # each ratio once, exactly
        for chain in chains:
            assert chain[-1].asked
            falling = [one.fraction for one in chain]
            assert falling == sorted(falling, reverse=True)
    with pytest.raises(NetworkError, match="unknown schedule 'slowly'; there is no module"):
        schedules.load("slowly")


def test_one_shot_is_one_round_for_each_ratio():
    assert schedules.load("one_shot")({"2": 0.5, "10": 0.1}) == [
        (Round(0.5, "2"),),
        (Round(0.1, "10"),),
    ]
