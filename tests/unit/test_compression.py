"""From dense replicates to pruned and fine-tuned ones."""

from __future__ import annotations

import csv

import pytest
import safetensors.torch
import torch
from compression_helpers import SEEDS, SEQUENTIAL, dense_network, images_of, same, write_dense
from core_helpers import compression_plan, method, ratios_of, recipe

from recall_distortion import networks
from recall_distortion.compression import blocks, rounds
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.files import load_compressed
from recall_distortion.compression.methods import Cell
from recall_distortion.compression.pruning.selection import (
    loss_gradient,
    method_masks,
)
from recall_distortion.system.errors import TableError
from recall_distortion.training import (
    HISTORY_COLUMNS,
    Run,
    fit,
    fit_runs,
)
from recall_distortion.training.replicates import load_tensors, save_tensors
from recall_distortion.vocabulary import Panel

FINETUNING = recipe((2, 0.03))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_dense(tmp_path_factory.mktemp("dense"))


def compress_all(
    folder, output, methods, ratios, *, plan=FINETUNING, count="prunable", engine=SEQUENTIAL
):
    """Compress the dense block; return what was written by cell, and the two tables' rows."""
    paths = [output / name for name in ("w.safetensors", "sparsity.csv", "history.csv")]
    compress_block(
        Paths(folder / "data.safetensors", folder / "dense.safetensors", *paths),
        compression_plan(methods, plan, count=count, engine=engine),
        panel=Panel("small", "mlp", "usual"),
        ratios=ratios_of(methods, ratios),
    )
    rows = []
    for path in paths[1:]:
        with open(path, newline="", encoding="utf-8") as file:
            rows.append(list(csv.DictReader(file)))
    found = load_compressed(paths[0])
    return {(part.cell.method, part.cell.ratio): part for part in found}, *rows


def compress(folder, output, methods, *, ratio="4", **options):
    """Compress at one ratio, the control at its own; return what was written by method."""
    ratios = ["1", ratio] if None in methods.values() else [ratio]
    found, *rows = compress_all(folder, output, methods, ratios, **options)
    assert [asked for _, asked in found] == [
        "1" if definition is None else ratio for definition in methods.values()
    ]
    return {method: part for (method, _), part in found.items()}, *rows


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
            assert same({k: v[index] for k, v in part.retrained.items()}, expected)
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
            assert (part.retrained[name][index][~masks[index]] == 0).all()
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
    assert tuple(sparsity[0]) == blocks.SPARSITY_COLUMNS


def test_a_method_does_not_depend_on_its_bundle(folder, tmp_path):
    methods = {name: method(name) for name in ("random", "gradient", "magnitude")}
    methods["control"] = None
    together, _, _ = compress(folder, tmp_path / "together", methods)
    for name, definition in methods.items():
        torch.manual_seed(hash(name) % 1000)
        alone, _, _ = compress(folder, tmp_path / name, {name: definition})
        assert same(alone[name].retrained, together[name].retrained)
        assert same(alone[name].masks, together[name].masks)


def test_a_cell_does_not_depend_on_the_ratios_of_its_job(folder, tmp_path, monkeypatch):
    """Several ratios in one job, bit for bit: networks, masks, sparsity and history."""
    asked = []

    def counting(network, images, examples, *, seed):
        asked.append(seed)
        return loss_gradient(network, images, examples, seed=seed)

    monkeypatch.setattr(rounds, "loss_gradient", counting)
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
        assert part.cell == Cell(*cell)
        assert same(part.masks, apart[cell].masks)
        assert same(part.retrained, apart[cell].retrained)
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
        for name, value in part.retrained.items():
            # Float32 rounding over 10 steps; the largest difference seen is 6e-8.
            torch.testing.assert_close(value, one[cell].retrained[name], rtol=1e-5, atol=1e-6)
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
    monkeypatch.setattr(rounds, "fit_runs", breaking)
    found, sparsity, history = compress_all(folder, tmp_path / "found", methods, ratios, **options)
    for whole in (("control", "1"), ("magnitude", "10")):
        assert found[whole].failures == []
        assert same(found[whole].retrained, expected[whole].retrained)
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
    for name, value in part.retrained.items():
        assert torch.equal(value, expected["magnitude", "4"].retrained[name][[0, 2]])
    assert len(sparsity) == 6  # the masks were made
    fitted = {(row["method"], row["ratio"], int(row["seed"])) for row in history}
    assert fitted == {(*cell, seed) for cell in found for seed in SEEDS} - {("magnitude", "4", 4)}


def test_a_method_whose_replicates_all_fail_is_kept_as_failures(folder, tmp_path):
    plan = recipe((30, 100.0), batch_size=4)
    found, sparsity, history = compress(
        folder, tmp_path, {"magnitude": method("magnitude")}, plan=plan
    )
    part = found["magnitude"]
    assert (part.seeds, part.retrained, history) == ([], {}, [])
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


def test_networks_of_an_earlier_version_are_told_as_that(folder, tmp_path):
    compress(folder, tmp_path, {"control": None})
    path = tmp_path / "w.safetensors"
    tensors, metadata = load_tensors(path)
    old = {name.replace("retrained/", "finetuned/"): value for name, value in tensors.items()}
    save_tensors(path, old, metadata)
    with pytest.raises(TableError, match="earlier version wrote it; delete the file and run the"):
        load_compressed(path)
