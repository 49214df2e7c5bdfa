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
    return block.replace("\\\n", " ").split("recall-distortion ")[1].split()


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
    assert len(shown) == 4
    for body in shown:
        assert " ".join(body.split()) in code


def test_forests_end_in_an_audit(recipe, capsys: pytest.CaptureFixture[str]) -> None:
    recipe("scikit_learn").main(Path("forests"))
    assert command.main(words_of("scikit_learn")) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    (shown,) = [body for body in blocks() if body.startswith("trees_10")]
    assert same_but_for_numbers(printed[0], shown.splitlines()[0])
    assert "depth_5: accuracy" in "\n".join(printed)


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
