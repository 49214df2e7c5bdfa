"""Damaged and wrong files of arrays, one example each: what is told, and where."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from core_helpers import REPOSITORY, write_prepared
from damaged_helpers import message
from test_fuzz import BLOCK, LABELS, PREDICTIONS, SEALED, TABLES, WEIGHTS, sealed_file

from recall_distortion import data
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.system import sealed
from recall_distortion.system.errors import RecallDistortionError, TableError
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.training.replicates import load_block

# Weights, predictions, prepared data


@pytest.mark.parametrize("kind", [*SEALED, "prepared"])
def test_one_flipped_bit_in_the_numbers_is_noticed(tmp_path: Path, kind: str) -> None:
    """The format itself does not notice it, and the numbers would be others."""
    path = tmp_path / "file.safetensors"
    if kind == "prepared":
        write_prepared(path)
        read = data.load
    else:
        read, tensors, metadata = SEALED[kind]
        path.write_bytes(sealed_file(tmp_path, tensors, metadata))
    read(path)
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    safetensors.numpy.load_file(path)
    text = message(RecallDistortionError, read, path)
    assert text.startswith(str(path))
    assert "its content does not match its checksum" in text
    assert re.search("delete (it|the file) and run", text)


def test_a_changed_seed_or_class_name_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    for read, tensors, metadata, old, new in (
        (load_block, WEIGHTS, BLOCK, b"[0, 1]", b"[0, 3]"),
        (read_predictions, LABELS, PREDICTIONS, b'\\"b\\"', b'\\"x\\"'),
    ):
        content = sealed_file(tmp_path, tensors, metadata)
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        assert "does not match its checksum" in message(TableError, read, path)


def test_a_file_without_a_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(sealed_file(tmp_path, LABELS, PREDICTIONS))
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    del metadata[sealed.KEY]
    safetensors.numpy.save_file(LABELS, path, metadata)
    assert "holds no checksum" in message(TableError, read_predictions, path)


def test_a_sealed_file_is_plain_safetensors_and_is_sealed_once(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    metadata = {name: 'é"\\\n\x7f\u2028' for name in "zyxabc"}
    tensors = {"ü": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "empty": np.zeros((0, 3))}
    sealed.write(path, tensors, metadata)
    sealed.verify(path)
    first = path.read_bytes()
    sealed.write(path, tensors, metadata)
    assert path.read_bytes() == first
    with safetensors.safe_open(path, framework="numpy") as file:
        found = file.metadata()
    assert len(found.pop(sealed.KEY)) == 64
    assert json.loads(found.pop(sealed.CONTENT)) == metadata
    assert not found
    assert np.array_equal(safetensors.numpy.load_file(path)["ü"], tensors["ü"])
    with pytest.raises(ValueError, match="sealed already"):
        sealed.seal(path)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_names": ["a", "b", "b"]}, "class_names holds 'b' twice"),
        ({"class_names": ["a", "b"]}, "a label lies outside 0 to 1: 0 to 2"),
        ({"class_names": ["a", "b", "c", "d"]}, "no image of class 'd'"),
        ({"class_names": "abc"}, "are not texts"),
        ({"seeds": {"dense/1/dense": [1, 1]}}, "not different whole numbers"),
        ({"seeds": {"dense/1/dense": [0, None]}}, "not different whole numbers"),
        ({"seeds": {"dense/inf/dense": [0, 1]}}, "the key 'dense/inf/dense'"),
        ({"seeds": {"magnitude/2/pruned": [0, 1]}}, "an earlier version wrote it"),
        ({"failures": [{"method": "dense"}]}, "the failure"),
        ({"failures": [{**PREDICTIONS["failures"][0], "method": "x"}]}, "a failure of 'x'"),
    ],
)
def test_predictions_that_cannot_be_are_told_with_the_file(
    tmp_path: Path, change: dict, words: str
) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(sealed_file(tmp_path, LABELS, PREDICTIONS | change))
    text = message(TableError, read_predictions, path)
    assert text.startswith(f"{path}: ")
    assert words in text


@pytest.mark.parametrize("seeds", [3, [0, 0], [0, "1"], [0, True]])
def test_weights_whose_seeds_cannot_be(tmp_path: Path, seeds: object) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(sealed_file(tmp_path, WEIGHTS, BLOCK | {"seeds": seeds}))
    assert message(TableError, load_block, path).startswith(f"{path}: not a block of replicates")


def test_a_sparsity_of_another_study_is_told(tmp_path: Path) -> None:
    tables = [tmp_path / f"{name}.csv" for name in TABLES]
    predictions, sparsity = tmp_path / "p.safetensors", tmp_path / "block.csv"
    predictions.write_bytes(sealed_file(tmp_path, LABELS, PREDICTIONS))
    sparsity.write_text(",".join(COLUMNS["sparsity"]) + "\nd,mlp,r,magnitude,2,0,2,0.5,7,14,14\n")
    text = message(TableError, write_measures, [predictions], [sparsity], *tables)
    assert text.startswith(f"{sparsity}, line 2: magnitude of mlp on d (r) has no")
    assert not tables[0].exists()


def test_a_damaged_input_leaves_the_tables_that_are_there(tmp_path: Path) -> None:
    tables = [tmp_path / f"{name}.csv" for name in TABLES]
    for path in tables:
        path.write_text("old\n")
    predictions, sparsity = tmp_path / "p.safetensors", tmp_path / "block.csv"
    predictions.write_bytes(sealed_file(tmp_path, LABELS, PREDICTIONS))
    sparsity.write_text("dataset,seed\nd")
    assert str(sparsity) in message(TableError, write_measures, [predictions], [sparsity], *tables)
    predictions.write_bytes(predictions.read_bytes()[:-1])
    assert str(predictions) in message(TableError, write_measures, [predictions], [], *tables)
    assert {path.read_text() for path in tables} == {"old\n"}


# Code in files


def test_no_reader_runs_code_from_a_file() -> None:
    """Weights, arrays and studies are read as plain values: no pickle, no shell, no evaluation.

    torchvision unpickles CIFAR itself, after its checksums have been compared.
    """
    banned = {"torch.load", "pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "eval"}
    banned |= {"exec", "os.system", "os.popen", "pd.read_pickle", "yaml.unsafe_load", "torch.save"}
    found = []
    files = [*(REPOSITORY / "src").rglob("*.py"), *(REPOSITORY / "workflow").rglob("*.py")]
    assert len(files) > 80
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                if ast.unparse(node) == "from pickle import UnpicklingError":
                    continue  # what Numba raises at its own cache of compiled functions
                names = {alias.name.split(".")[0] for alias in node.names}
                names |= {(getattr(node, "module", "") or "").split(".")[0]}
                found += [f"{path}: imports {name}" for name in names & banned]
            elif isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                options = {word.arg: ast.unparse(word.value) for word in node.keywords}
                safe = {
                    "np.load": options.get("allow_pickle") == "False",
                    "yaml.load": options.get("Loader") == "_Loader",
                }
                if name in banned or not safe.get(name, True) or options.get("shell") == "True":
                    found.append(f"{path}: {ast.unparse(node)}")
    assert not found
