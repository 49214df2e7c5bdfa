"""The recipes of docs/audit-recipes.md: scripts that end in an audit's files, and what is shown."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from core_helpers import REPOSITORY

from recall_distortion import command

RECIPES = REPOSITORY / "docs/recipes"
TEXT = (REPOSITORY / "docs/audit-recipes.md").read_text("utf-8")
ABSENT = "onnx, onnxscript and onnxruntime are not installed; they are no part of the project"


def blocks() -> list[str]:
    return re.findall(r"^```\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def words_of(script: str) -> list[str]:
    """Return the words of the audit that follows a script in the document."""
    (block,) = [body for body in blocks() if f"python docs/recipes/{script}.py" in body]
    return block.replace("\\\n", " ").split("recall-distortion ")[1].replace('"', "").split()


def same_but_for_numbers(one: str, other: str) -> bool:
    return re.sub(r"[-+\d.,]+", "#", one) == re.sub(r"[-+\d.,]+", "#", other)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that imports a recipe; the working folder is a new one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(RECIPES))
    return importlib.import_module


def test_what_the_document_shows_of_scripts_is_in_them() -> None:
    code = " ".join("\n".join(path.read_text("utf-8") for path in RECIPES.glob("*.py")).split())
    shown = [
        body for body in blocks() if "python docs/" not in body and not re.search("accuracy", body)
    ]
    assert len(shown) == 5
    for body in shown:
        assert " ".join(body.split()) in code


@pytest.mark.slow
def test_forests_end_in_an_audit(recipe, capsys: pytest.CaptureFixture[str]) -> None:
    recipe("scikit_learn").main(Path("forests"))
    assert command.main(words_of("scikit_learn")) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    (shown,) = [body for body in blocks() if body.startswith("trees_10")]
    assert same_but_for_numbers(printed[0], shown.splitlines()[0])
    assert "depth_5: accuracy" in "\n".join(printed)


def test_forests_of_several_seeds_end_in_an_audit(
    recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = recipe("several_networks")
    monkeypatch.setattr(script, "SEEDS", 3)
    script.main(Path("seeds"))
    assert Path("seeds/classes.txt").read_text().split() == sorted(script.WORDS)
    assert command.main(words_of("several_networks")) in (0, 3, 4)
    printed = capsys.readouterr().out.strip().splitlines()
    (shown,) = [body for body in blocks() if body.startswith("seed_after")]
    assert same_but_for_numbers(printed[0], shown.splitlines()[0])
    assert "3 networks" in "\n".join(printed)


def test_a_pruned_torch_model_ends_in_an_audit(
    recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = recipe("torch_pruned")
    monkeypatch.setattr(script, "EPOCHS", 4)
    monkeypatch.setattr(script, "MORE", 2)
    script.main(Path("pruned"))
    # Decided, whatever so short a training gives; the limit is wide and the images are few.
    assert command.main(words_of("torch_pruned")) in (0, 3, 4)
    printed = capsys.readouterr().out.strip().splitlines()
    (shown,) = [body for body in blocks() if body.startswith("after: accuracy")]
    assert same_but_for_numbers(printed[0], shown.splitlines()[0])
    assert (np.load("pruned/after.npy") != np.load("pruned/control.npy")).any()


def test_pruning_keeps_the_share_that_it_says(recipe) -> None:
    script = recipe("torch_pruned")
    layers = [part for part in script.pruned(script.build(), 0.25) if hasattr(part, "weight_mask")]
    masks = [layer.weight_mask for layer in layers]
    assert sum(int(mask.sum()) for mask in masks) == round(0.25 * sum(m.numel() for m in masks))


def test_int8_ends_in_an_audit(
    recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=ABSENT)
    script = recipe("onnx_int8")
    monkeypatch.setattr(script, "EPOCHS", 4)
    script.main(Path("int8"))
    said = capsys.readouterr().out.strip().splitlines()[-2:]
    assert re.fullmatch(r".+: [\w ]*; weights of [78] bits", said[0])
    before, after = (np.load(f"int8/{name}.npy") for name in ("before", "int8"))
    assert before.shape == after.shape == (900, 10)
    assert (before != after).any()
    assert (before.argmax(1) == after.argmax(1)).mean() > 0.9
    assert command.main(words_of("onnx_int8")) in (0, 3, 4)


def small(recipe, monkeypatch: pytest.MonkeyPatch):
    """The recipe of Fashion-MNIST with few images, which are noise about a pattern a class."""
    script = recipe("fashion_mnist")

    def arrays(data: Path, train: bool) -> tuple[np.ndarray, np.ndarray, list[str]]:
        rng = np.random.default_rng(int(train))
        labels = np.arange(600 if train else 300) % 10
        patterns = np.random.default_rng(2).random((10, 28, 28))
        images = (200 * patterns[labels] + 55 * rng.random((len(labels), 28, 28))).astype(np.uint8)
        return images, labels, [*"abcdefghi", "Shirt"]

    monkeypatch.setattr(script, "arrays", arrays)
    for name, value in {"EPOCHS": 8, "MORE": 2, "LONGER": 3, "HELD_OUT": 200, "BATCH": 32}.items():
        monkeypatch.setattr(script, name, value)
    return script


@pytest.mark.slow
def test_ways_to_help_a_class_are_compared_beside_their_controls(
    recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = small(recipe, monkeypatch)
    script.main(Path("remedies"), Path())
    ways = {"at_50", "at_10", "longer", "balanced"}
    controls = {"at_50_control", "longer_control", "balanced_control"}
    found = {path.stem for path in Path("remedies").glob("*.npy")}
    assert found == ways | controls | {"dense", "labels", "images"}
    table = capsys.readouterr().out.strip().splitlines()[-5:]
    assert table[0].split() == [
        *("network", "accuracy", "Shirt", "less", "control's", "loses", "most", "alpha", "its"),
        "control's",
    ]
    assert {line.split()[0] for line in table[1:]} == ways


@pytest.mark.slow
def test_every_way_keeps_as_many_weights_as_it_says(
    recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = small(recipe, monkeypatch)
    images, labels, _ = script.arrays(Path(), True)
    for name, model in script.networks(images, labels):
        masks = [value for key, value in model.named_buffers() if key.endswith("weight_mask")]
        ratio = {"at_50": 50, "longer": 50, "balanced": 50, "at_10": 10}.get(name)
        if ratio is None:
            assert not masks
        else:
            total = sum(mask.numel() for mask in masks)
            assert sum(int(mask.sum()) for mask in masks) == total - round(total * (1 - 1 / ratio))
        assert not hasattr(model.classifier, "weight_mask")


def test_the_dense_network_of_the_comparison_becomes_int8(
    recipe, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=ABSENT)
    first, script = small(recipe, monkeypatch), recipe("fashion_mnist_int8")
    monkeypatch.setattr(script, "arrays", first.arrays)
    first.main(Path("remedies"), Path())
    script.main(Path("remedies"), Path())
    dense, int8 = (np.load(f"remedies/{name}.npy") for name in ("dense", "int8"))
    assert int8.shape == (300, 10)
    assert (dense.argmax(1) == int8.argmax(1)).mean() > 0.9
    assert "calibrated with 1000 images" in capsys.readouterr().out
