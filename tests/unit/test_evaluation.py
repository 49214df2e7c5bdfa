"""Predictions are those of the networks in the files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from core_helpers import (
    compression_plan,
    method,
    ratios_of,
    recipe,
    training_plan,
    write_prepared,
)
from safetensors import safe_open

from recall_distortion import data, networks
from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.files import load_compressed
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.training import loop, train_block
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import (
    Block,
    Failure,
    load_block,
    save_block,
    save_tensors,
    stack,
)
from recall_distortion.vocabulary import PANEL, Panel

SEEDS = [1, 2]
RATIOS = (["1", "2"], ["10"])  # of two jobs
METHODS = {"control": None, "magnitude": method("magnitude"), "random": method("random")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, dense and compressed networks of two seeds, and their predictions."""
    folder = tmp_path_factory.mktemp("study")
    write_prepared(folder / "data.safetensors", noise=90)
    train_block(
        folder / "data.safetensors",
        folder / "dense.safetensors",
        folder / "history.csv",
        training_plan(recipe((3, 0.05))),
        architecture="mlp",
        seeds=SEEDS,
    )
    for ratios in RATIOS:
        compress_block(
            Paths(
                folder / "data.safetensors",
                folder / "dense.safetensors",
                folder / f"compressed-{'-'.join(ratios)}.safetensors",
                folder / "sparsity.csv",
                folder / "history.csv",
            ),
            compression_plan(METHODS, recipe((1, 0.05))),
            panel=Panel("small", "mlp", "usual"),
            ratios=ratios_of(METHODS, ratios),
        )
    for name, paths in {"dense": [], "bundle": compressed(folder)}.items():
        evaluate(folder, paths, folder / f"predictions-{name}.safetensors")
    return folder


def compressed(folder):
    return [folder / f"compressed-{'-'.join(ratios)}.safetensors" for ratios in RATIOS]


def evaluate(folder, paths, output):
    evaluate_block(
        folder / "data.safetensors",
        folder / "dense.safetensors",
        paths,
        output,
        panel=Panel("small", "mlp", "usual"),
    )


def read(path):
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["recall_distortion"])


def softmax_of_mlp(state: dict[str, torch.Tensor], prepared: data.PreparedData) -> np.ndarray:
    """Return the probabilities [M, C] of the MLP on the test images, in double precision."""
    w = {name: value.numpy().astype(float) for name, value in state.items()}
    mean, std = (v.astype(float)[:, None, None] for v in (prepared.mean, prepared.std))
    x = ((prepared.test_images / 255 - mean) / std).reshape(len(prepared.test_labels), -1)
    x = np.maximum(x @ w["fc1.weight"].T + w["fc1.bias"], 0)
    x = np.maximum(x @ w["fc2.weight"].T + w["fc2.bias"], 0)
    logits = x @ w["classifier.weight"].T + w["classifier.bias"]
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def assert_predictions(tensors, key, states, prepared):
    labels = prepared.test_labels
    for row, state in enumerate(states):
        expected = softmax_of_mlp(state, prepared)
        predicted = tensors[f"{key}/predicted"][row]
        np.testing.assert_array_equal(predicted, expected.argmax(1))
        # Half precision keeps 11 bits.
        np.testing.assert_allclose(tensors[f"{key}/probability"][row], expected.max(1), rtol=1e-3)
        loss = -np.log(expected[np.arange(len(labels)), labels])
        np.testing.assert_allclose(tensors[f"{key}/loss"][row], loss, rtol=1e-3, atol=1e-6)


def test_predictions_say_what_trained_and_what_evaluated_each_cell(folder):
    alone = {"device": "cpu", "engine": "one after another, float32", "torch": torch.__version__}
    together = {**alone, "engine": "vectorized, up to 60 at once, float32"}
    expected = {"dense": {"dense/1"}, "bundle": {"control/1"}}
    expected["bundle"] |= {f"{m}/{r}" for m in ("magnitude", "random") for r in ("2", "10")}
    for name, cells in expected.items():
        made = read(folder / f"predictions-{name}.safetensors")[1]["made"]
        for facts in made.values():  # a GPU may be used by other tests in this process
            for own in facts.values():
                own.pop("gpu", None)
        assert made == {cell: {"trained": together, "evaluated": alone} for cell in cells}


def test_each_cell_keeps_the_facts_of_its_own_fine_tuning(folder, tmp_path):
    tensors, metadata = read(folder / "compressed-10.safetensors")
    other = {"device": "cuda", "engine": "one after another, bfloat16", "torch": "2", "gpu": "X"}
    torch_tensors = {name: torch.from_numpy(value) for name, value in tensors.items()}
    save_tensors(tmp_path / "10.safetensors", torch_tensors, metadata | {"facts": other})
    evaluate(
        folder, [compressed(folder)[0], tmp_path / "10.safetensors"], tmp_path / "p.safetensors"
    )
    made = read(tmp_path / "p.safetensors")[1]["made"]
    by_ratio = {cell.partition("/")[2]: facts["trained"] for cell, facts in made.items()}
    assert by_ratio == {"1": metadata["facts"], "2": metadata["facts"], "10": other}
    found, _ = read_predictions(tmp_path / "p.safetensors")
    devices = {part.ratio: {by.device for by in part.trained} for part in found}
    assert devices == {"1": {"cpu"}, "2": {"cpu"}, "10": {"X"}}


def test_dense_predictions_are_an_independent_forward_passes(folder):
    tensors, metadata = read(folder / "predictions-dense.safetensors")
    prepared = data.load(folder / "data.safetensors")
    dense = load_block(folder / "dense.safetensors")
    np.testing.assert_array_equal(tensors["labels"], prepared.test_labels)
    assert set(tensors) == {
        "labels",
        *(f"dense/1/dense/{n}" for n in ("predicted", "probability", "loss")),
    }
    assert metadata["seeds"] == {"dense/1/dense": SEEDS}
    assert metadata["class_names"] == [f"class {c}" for c in range(4)]
    assert [metadata[key] for key in PANEL] == ["small", "mlp", "usual"]
    assert_predictions(tensors, "dense/1/dense", [dense.state(s) for s in SEEDS], prepared)


def test_pruned_is_dense_times_mask_and_finetuned_is_what_was_fitted(folder):
    tensors, metadata = read(folder / "predictions-bundle.safetensors")
    prepared = data.load(folder / "data.safetensors")
    dense = load_block(folder / "dense.safetensors")
    expected_keys = set()
    for path in compressed(folder):
        for part in load_compressed(path):
            key = f"{part.cell.method}/{part.cell.ratio}/retrained"
            expected_keys.add(key)
            states = [{n: v[row] for n, v in part.retrained.items()} for row in range(2)]
            assert_predictions(tensors, key, states, prepared)
            if part.cell.method == "control":
                continue
            key = f"{part.cell.method}/{part.cell.ratio}/compressed"
            expected_keys.add(key)
            states = []
            for row, seed in enumerate(SEEDS):
                state = dict(dense.state(seed))
                for name, mask in part.masks.items():
                    state[name] = torch.where(mask[row], state[name], 0.0)
                states.append(state)
            assert_predictions(tensors, key, states, prepared)
    assert set(metadata["seeds"]) == expected_keys
    assert len(expected_keys) == 1 + 2 * 2 * 2


def test_probabilities_are_consistent(folder):
    half = {"rtol": 1e-3, "atol": 1e-6}
    for name in ("dense", "bundle"):
        tensors, metadata = read(folder / f"predictions-{name}.safetensors")
        labels = tensors["labels"]
        for key in metadata["seeds"]:
            predicted = tensors[f"{key}/predicted"]
            probability = tensors[f"{key}/probability"]
            loss = tensors[f"{key}/loss"]
            assert (predicted.dtype, probability.dtype, loss.dtype) == (
                "uint8",
                "float16",
                "float16",
            )
            assert predicted.shape == probability.shape == loss.shape == (2, 60)
            assert (probability >= 1 / 4).all()
            assert (probability <= 1).all()
            true = np.exp(-loss.astype(float))
            assert (true <= probability + 1e-3).all()
            right = predicted == labels
            np.testing.assert_allclose(true[right], probability[right], **half)
            assert right.any()
            assert (~right).any()


def test_predictions_do_not_depend_on_the_batches(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(loop.EVALUATION_IMAGES, "cpu", 7)
    evaluate(folder, compressed(folder), tmp_path / "p.safetensors")
    parts, _ = read(tmp_path / "p.safetensors")
    whole, _ = read(folder / "predictions-bundle.safetensors")
    assert set(parts) == set(whole)
    for name, value in whole.items():
        # Rounding may fall on the other side of a step of half precision.
        np.testing.assert_allclose(parts[name], value, rtol=1e-3, atol=1e-7)


def test_batch_norm_is_evaluated_by_its_running_statistics(tmp_path):
    """One image at a time gives the same, which batch statistics would not."""
    path = write_prepared(tmp_path / "data.safetensors", channels=3, test=16)
    network = networks.build("resnet20", channels=3, classes=4)
    networks.initialize(network, generator(0, "initialization"))
    with torch.no_grad():
        network.bn1.running_mean.fill_(0.3)
        network.bn1.running_var.fill_(2.0)
    state = stack([network.state_dict()])
    facts = {"device": "cpu", "engine": "one after another", "torch": "2"}
    block = Block("resnet20", 3, 4, [0], state, facts=facts)
    save_block(tmp_path / "dense.safetensors", block)
    evaluate(tmp_path, [], tmp_path / "p.safetensors")
    tensors, _ = read(tmp_path / "p.safetensors")
    prepared = data.load(path)
    mean, std = (torch.from_numpy(v)[:, None, None] for v in (prepared.mean, prepared.std))
    network.eval()
    with torch.no_grad():
        for number, image in enumerate(torch.from_numpy(prepared.test_images)):
            expected = network(((image / 255 - mean) / std)[None]).softmax(1)[0]
            found = float(tensors["dense/1/dense/probability"][0, number])
            assert found == pytest.approx(float(expected.max()), rel=1e-3)
            assert tensors["dense/1/dense/predicted"][0, number] == expected.argmax()


def test_failures_and_methods_without_a_network_are_carried_on(folder, tmp_path):
    block = load_block(folder / "dense.safetensors")
    block.failures = [Failure("dense", "1", "training", 7, "seed 7: loss is nan")]
    save_block(tmp_path / "dense.safetensors", block)
    files = ("dense.safetensors", "w.safetensors", "s.csv", "h.csv")
    methods = {"magnitude": method("magnitude")}
    compress_block(
        Paths(folder / "data.safetensors", *(tmp_path / file for file in files)),
        compression_plan(methods, recipe((30, 100.0), batch_size=4)),
        panel=Panel("small", "mlp", "usual"),
        ratios=ratios_of(methods, ["2"]),
    )
    for paths, output in (([], "d.safetensors"), ([tmp_path / "w.safetensors"], "p.safetensors")):
        evaluate_block(
            folder / "data.safetensors",
            tmp_path / "dense.safetensors",
            paths,
            tmp_path / output,
            panel=Panel("small", "mlp", "usual"),
        )
    _, failures = read_predictions(tmp_path / "d.safetensors")
    assert [(f["method"], f["seed"], f["state"]) for f in failures] == [("dense", 7, "dense")]
    assert failures[0]["failure"] == "seed 7: loss is nan"
    assert failures[0]["device"] == "cpu"
    found, failures = read_predictions(tmp_path / "p.safetensors")
    assert {part.state: (part.seeds, part.predicted.shape) for part in found} == {
        "compressed": (SEEDS, (2, 60)),
        "retrained": ([], (0, 60)),
    }
    assert [list(part.trained.values()) for part in found] == [[2], [0]]
    assert [(f["method"], f["seed"], f["state"]) for f in failures] == [
        ("magnitude", seed, "retrained") for seed in SEEDS
    ]
