"""From dense replicates to pruned and fine-tuned ones."""

from __future__ import annotations

import csv
import itertools

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from core_helpers import method, recipe, write_prepared

from recall_distortion import data, networks
from recall_distortion.columns import SPARSITY_COLUMNS
from recall_distortion.compression import compress_block, load_compressed
from recall_distortion.compression.criteria import CRITERIA
from recall_distortion.compression.methods import loss_gradient, method_masks, needs_gradient
from recall_distortion.errors import NetworkError, TableError
from recall_distortion.replicates import copy_state, generator, load_block
from recall_distortion.training import (
    HISTORY_COLUMNS,
    Run,
    TrainingImages,
    fit,
    fit_runs,
    train_block,
)

SEQUENTIAL = {"engine": "sequential"}
SEEDS = [3, 4, 5]
FINETUNING = recipe((2, 0.03))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data and the dense networks of three seeds."""
    folder = tmp_path_factory.mktemp("dense")
    write_prepared(folder / "data.safetensors")
    train_block(
        folder / "data.safetensors",
        folder / "dense.safetensors",
        folder / "dense.history.csv",
        architecture="mlp",
        seeds=SEEDS,
        recipe=recipe((3, 0.05)),
        selection="holdout",
        engine=SEQUENTIAL,
    )
    return folder


def compress_all(
    folder, output, methods, ratios, *, plan=FINETUNING, count="prunable", engine=SEQUENTIAL
):
    """Compress the dense block; return what was written by cell, and the two tables' rows."""
    paths = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    compress_block(
        folder / "data.safetensors",
        folder / "dense.safetensors",
        *paths,
        dataset="small",
        ratios=ratios,
        methods=methods,
        count=count,
        recipe=plan,
        selection="holdout",
        engine=engine,
    )
    rows = []
    for path in paths[1:]:
        with open(path, newline="", encoding="utf-8") as file:
            rows.append(list(csv.DictReader(file)))
    return {(part.method, part.ratio): part for part in load_compressed(paths[0])}, *rows


def compress(folder, output, methods, *, ratio="4", **options):
    """Compress at one ratio, the control at its own; return what was written by method."""
    ratios = ["1", ratio] if None in methods.values() else [ratio]
    found, *rows = compress_all(folder, output, methods, ratios, **options)
    assert [asked for _, asked in found] == [
        "1" if definition is None else ratio for definition in methods.values()
    ]
    return {method: part for (method, _), part in found.items()}, *rows


def images_of(folder):
    prepared = data.load(folder / "data.safetensors")
    return TrainingImages.of(prepared, selection="holdout", device="cpu")


def dense_network(folder, seed):
    network = networks.build("mlp", channels=1, classes=4)
    network.load_state_dict(load_block(folder / "dense.safetensors").state(seed))
    return network


def same(left, right):
    return set(left) == set(right) and all(torch.equal(left[name], right[name]) for name in left)


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


@pytest.mark.parametrize("criterion", sorted(CRITERIA))
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


# A block


def test_a_compressed_block_is_what_its_steps_give(folder, tmp_path):
    methods = {
        "control": None,
        "magnitude": method("magnitude"),
        "undecayed": method("undecayed"),
        "layerwise": method("magnitude", scope="layer"),
    }
    found, sparsity, history = compress(folder, tmp_path, methods)
    assert set(found) == set(methods)
    images = images_of(folder)
    for name, part in found.items():
        assert (part.seeds, part.failures) == (SEEDS, [])
        assert part.facts["device"] == "cpu"
        assert part.facts["engine"].endswith(", float32")
        assert part.facts["torch"] == torch.__version__
        for index, seed in enumerate(SEEDS):
            network = dense_network(folder, seed)
            masks = None
            if name != "control":
                gradient = loss_gradient(network, images.fit, 32, seed=seed)
                masks = method_masks(network, methods[name], [1 / 4], gradient, seed=seed)[0]
                assert same({k: v[index] for k, v in part.masks.items()}, masks)
            expected = fit(
                network, images, FINETUNING, seed=seed, stage="finetuning", masks=masks
            ).state
            assert same({k: v[index] for k, v in part.finetuned.items()}, expected)
    assert found["control"].masks == {}
    assert found["control"].mask_seeds == []
    assert found["magnitude"].mask_seeds == SEEDS
    assert [(row["method"], row["seed"]) for row in sparsity] == [
        (name, str(seed)) for seed in SEEDS for name in methods if name != "control"
    ]
    assert {(row["method"], row["seed"], row["epoch"]) for row in history} == {
        (name, str(seed), epoch) for seed in SEEDS for name in methods for epoch in "12"
    }
    assert tuple(history[0]) == HISTORY_COLUMNS


def test_pruned_weights_are_zero_after_fine_tuning_and_counted(folder, tmp_path):
    methods = {name: method(name) for name in ("magnitude", "random", "undecayed_signed")}
    found, sparsity, _ = compress(folder, tmp_path, methods, ratio="2.5", count="total")
    counts = networks.counts(dense_network(folder, 3))
    for row in sparsity:
        part = found[row["method"]]
        index = SEEDS.index(int(row["seed"]))
        kept = 0
        for name, masks in part.masks.items():
            assert (part.finetuned[name][index][~masks[index]] == 0).all()
            kept += int(masks[index].sum())
        assert int(row["kept_prunable"]) == kept
        assert int(row["prunable"]) == 3072 == counts.prunable_weights
        assert int(row["total"]) == counts.total
        assert float(row["kept_fraction"]) == kept / 3072
        assert float(row["realised_ratio"]) == counts.total / (counts.total - 3072 + kept)
        assert (row["dataset"], row["architecture"], row["ratio"]) == ("small", "mlp", "2.5")
        if row["method"] != "undecayed_signed":
            asked = (counts.total / 2.5 - (counts.total - counts.prunable_modules)) / (
                counts.prunable_modules
            )
            assert kept == round(asked * 3072)
    assert list(sparsity[0]) == SPARSITY_COLUMNS


def test_a_method_does_not_depend_on_its_bundle(folder, tmp_path):
    methods = {name: method(name) for name in ("random", "gradient", "magnitude")}
    methods["control"] = None
    together, _, _ = compress(folder, tmp_path / "together", methods)
    for name, definition in methods.items():
        torch.manual_seed(hash(name) % 1000)
        alone, _, _ = compress(folder, tmp_path / name, {name: definition})
        assert same(alone[name].finetuned, together[name].finetuned)
        assert same(alone[name].masks, together[name].masks)


def test_a_cell_does_not_depend_on_the_ratios_of_its_job(folder, tmp_path, monkeypatch):
    """Several ratios in one job, bit for bit: networks, masks, sparsity and history."""
    from recall_distortion.compression import blocks

    asked = []

    def counting(network, images, examples, *, seed):
        asked.append(seed)
        return loss_gradient(network, images, examples, seed=seed)

    monkeypatch.setattr(blocks, "loss_gradient", counting)
    methods = {name: method(name) for name in ("random", "gradient", "undecayed", "magnitude")}
    methods |= {"layerwise": method("gradient", scope="layer"), "control": None}
    ratios = ["1", "2", "2.5", "10"]
    together, *tables = compress_all(folder, tmp_path / "together", methods, ratios)
    assert asked == SEEDS  # one gradient a seed for all methods and ratios
    apart, rows = {}, [[], []]
    for ratio in ratios:
        found, *more = compress_all(folder, tmp_path / ratio, methods, [ratio])
        apart |= found
        rows = [table + new for table, new in zip(rows, more, strict=True)]
    assert asked == SEEDS * 4  # none for the control alone
    assert (
        set(together)
        == set(apart)
        == {
            *((name, ratio) for name in methods if name != "control" for ratio in ratios[1:]),
            ("control", "1"),
        }
    )
    for cell, part in together.items():
        assert (part.method, part.ratio) == cell
        assert same(part.masks, apart[cell].masks)
        assert same(part.finetuned, apart[cell].finetuned)
        assert (part.seeds, part.mask_seeds) == (apart[cell].seeds, apart[cell].mask_seeds)
    for table, expected in zip(tables, rows, strict=True):
        assert sorted(map(str, table)) == sorted(map(str, expected))
        assert len({str(row) for row in table}) == len(table)


@pytest.mark.parametrize("at_once", [None, 7])
def test_vectorized_over_methods_ratios_and_seeds_nothing_changes_but_rounding(
    folder, tmp_path, at_once
):
    methods = {name: method(name) for name in ("random", "undecayed", "magnitude")}
    methods["control"] = None
    ratios = ["1", "2", "10"]
    one, *tables = compress_all(folder, tmp_path / "one", methods, ratios)
    many, *others = compress_all(
        folder,
        tmp_path / "many",
        methods,
        ratios,
        engine={"engine": "vectorized", "at_once": at_once},
    )
    assert list(many) == list(one)
    for cell, part in many.items():
        assert same(part.masks, one[cell].masks)
        assert part.seeds == one[cell].seeds
        for name, value in part.finetuned.items():
            # Float32 rounding over 10 steps; the largest difference seen is 6e-8.
            torch.testing.assert_close(value, one[cell].finetuned[name], rtol=1e-5, atol=1e-6)
    assert others[0] == tables[0]
    assert [row["seed"] for row in others[1]] == [row["seed"] for row in tables[1]]


def test_methods_with_gradients_of_different_batches_do_not_share_them(folder, tmp_path):
    methods = {
        "few": method("gradient", gradient_examples=2),
        "many": method("gradient", gradient_examples=64),
    }
    together, _, _ = compress(folder, tmp_path / "together", methods)
    alone, _, _ = compress(folder, tmp_path / "alone", {"many": methods["many"]})
    assert same(together["many"].masks, alone["many"].masks)
    assert not same(together["many"].masks, together["few"].masks)


@pytest.mark.parametrize("engine", ["sequential", "vectorized"])
def test_a_replicate_that_fails_is_recorded_and_the_others_go_on(
    folder, tmp_path, monkeypatch, engine
):
    from recall_distortion.compression import blocks

    def breaking(network, images, plan, runs, **options):
        states = [dict(run.state) for run in runs]
        for run, state in zip(runs, states, strict=True):
            kept = sum(int(mask.sum()) for mask in (run.masks or {}).values())
            if run.seed == 4 and kept > 600:
                state["classifier.bias"] = torch.full_like(state["classifier.bias"], torch.nan)
        broken = [Run(run.seed, state, run.masks) for run, state in zip(runs, states, strict=True)]
        return fit_runs(network, images, plan, broken, **options)

    methods = {"control": None, "magnitude": method("magnitude")}
    ratios = ["1", "4", "10"]  # 768 and 307 weights are left
    options = {"engine": {"engine": engine}}
    expected, _, _ = compress_all(folder, tmp_path / "expected", methods, ratios, **options)
    monkeypatch.setattr(blocks, "fit_runs", breaking)
    found, sparsity, history = compress_all(folder, tmp_path / "found", methods, ratios, **options)
    for whole in (("control", "1"), ("magnitude", "10")):
        assert found[whole].failures == []
        assert same(found[whole].finetuned, expected[whole].finetuned)
    part = found["magnitude", "4"]
    assert (part.seeds, part.mask_seeds) == ([3, 5], SEEDS)
    (failure,) = part.failures
    assert (failure.method, failure.ratio, failure.stage, failure.seed) == (
        "magnitude",
        "4",
        "finetuning",
        4,
    )
    assert "seed 4" in failure.reason
    for name, value in part.finetuned.items():
        assert torch.equal(value, expected["magnitude", "4"].finetuned[name][[0, 2]])
    assert len(sparsity) == 6  # the masks were made
    fitted = {(row["method"], row["ratio"], int(row["seed"])) for row in history}
    assert fitted == {(*cell, seed) for cell in found for seed in SEEDS} - {("magnitude", "4", 4)}


def test_a_method_whose_replicates_all_fail_is_kept_as_failures(folder, tmp_path):
    plan = recipe((30, 100.0), batch_size=4)
    found, sparsity, history = compress(
        folder, tmp_path, {"magnitude": method("magnitude")}, plan=plan
    )
    part = found["magnitude"]
    assert (part.seeds, part.finetuned, history) == ([], {}, [])
    assert [failure.seed for failure in part.failures] == SEEDS
    assert len(sparsity) == 3
    assert part.masks["fc1.weight"].shape == (3, 32, 64)


def test_damaged_and_foreign_files_name_the_file_and_the_remedy(folder, tmp_path):
    compress(folder, tmp_path, {"control": None})
    path = tmp_path / "w.safetensors"
    contents = [
        path.read_bytes()[:-10],
        b"",
        (folder / "dense.safetensors").read_bytes(),
        safetensors.torch.save({"a": torch.ones(2)}),
        safetensors.torch.save({"a": torch.ones(2)}, {"recall_distortion": "[]"}),
        safetensors.torch.save({"a": torch.ones(2)}, {"recall_distortion": '{"cells": ["a"]}'}),
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(TableError) as caught:
            load_compressed(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "delete the file and run the study again" in str(caught.value)
    with pytest.raises(TableError, match="no such file; run the study again"):
        load_compressed(tmp_path / "none.safetensors")
