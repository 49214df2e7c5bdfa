"""Readers of files fed with damaged and foreign ones: a valid result, or one error naming the file.

What was found is kept in ``test_damaged``; the examples here are the same in every run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_helpers import sealed_file, write_prepared
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recall_distortion import data
from recall_distortion.compression.files import load_compressed
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.study import load
from recall_distortion.system.errors import RecallDistortionError
from recall_distortion.tables.files import read_table
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.tables.schema import ALL, TEXT, TRUTH
from recall_distortion.training.replicates import load_block

REPOSITORY = Path(__file__).resolve().parents[2]
FACTS = {"device": "cpu", "engine": "one after another, float32", "torch": "2.10"}
FAILURE = {"method": "dense", "ratio": "1", "stage": "training", "seed": 7, "reason": "nan"}
TABLES = ("recall", "networks")

BLOCK = {
    "architecture": "mlp",
    "recipe": "usual",
    "channels": 1,
    "classes": 3,
    "seeds": [0, 1],
    "failures": [FAILURE],
    "facts": FACTS,
}
COMPRESSED = {
    "architecture": "mlp",
    "recipe": "usual",
    "methods": {"magnitude": {"criterion": "magnitude"}},
    "cells": [{"method": "magnitude", "ratio": "2", "mask_seeds": [0, 1], "seeds": [0, 1]}],
    "failures": [FAILURE],
    "facts": FACTS,
}
PREDICTIONS = {
    "dataset": "d",
    "architecture": "mlp",
    "recipe": "usual",
    "class_names": ["a", "b", "c"],
    "seeds": {"dense/1/dense": [0, 1]},
    "failures": [FAILURE],
    "made": {"dense/1": {"trained": FACTS, "evaluated": FACTS}},
}
WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
PRUNED = {"mask/magnitude/2/w": np.ones((2, 3), bool), "retrained/magnitude/2/w": WEIGHTS["w"]}
LABELS = {
    "labels": np.array([0, 1, 2]),
    "dense/1/dense/predicted": np.array([[0, 1, 1], [2, 1, 2]], np.uint8),
    "dense/1/dense/loss": np.array([[0.1, 0.2, 9.5], [1.5, 0, 0]], np.float16),
    "dense/1/dense/probability": np.array([[0.9, 0.8, 0.7], [0.5, 1, 1]], np.float16),
}

examples = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    # The file that an example replaces lies in the module's folder.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.sampled_from(["", "x", "../x", "dense", "1", "nan", "1e400", "dense/1/dense", "a/b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["", "seed", "x/y/z"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """Yield where every part of nested lists and mappings is, from the whole down."""
    yield at
    if isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*at, key))


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """Return a copy of JSON in which one part is another value, or gone."""
    copy = json.loads(json.dumps(value))
    *outer, last = draw(st.sampled_from([place for place in places(value) if place]))
    holder = copy
    for key in outer:
        holder = holder[key]
    if draw(st.booleans()):
        del holder[last]
    else:
        holder[last] = draw(json_values)
    return copy


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Return content that is cut off, or in which some bits are flipped."""
    if draw(st.booleans()):
        return content[: draw(st.integers(0, len(content) - 1))]
    copy = bytearray(content)
    bits = st.integers(0, 8 * len(content) - 1)
    for bit in draw(st.sets(bits, min_size=1, max_size=3)):
        copy[bit // 8] ^= 1 << bit % 8
    return bytes(copy)


def message_of(read: Callable[[Path], object], path: Path) -> str | None:
    """Return the message of the user's error that reading raises, or None."""
    try:
        read(path)
    except RecallDistortionError as error:
        return str(error)
    return None


def read_or_error(read: Callable[[Path], object], path: Path) -> bool:
    """Return whether the file was read; an error must be the user's and name the file."""
    message = message_of(read, path)
    assert message is None or (str(path) in message and len(message) > len(str(path)) + 20)
    return message is None


def measured(path: Path) -> None:
    write_measures([path], [], *(path.parent / f"{name}.csv" for name in TABLES), splits=2)


SEALED = {
    "block": (load_block, WEIGHTS, BLOCK),
    "compressed": (load_compressed, PRUNED, COMPRESSED),
    "predictions": (read_predictions, LABELS, PREDICTIONS),
}


@pytest.mark.parametrize("kind", [*SEALED, "prepared"])
@examples
@given(choice=st.data())
def test_no_damage_to_a_sealed_file_is_taken_for_its_numbers(
    tmp_path: Path, kind: str, choice: st.DataObject
) -> None:
    if kind == "prepared":
        read = data.load
        whole = write_prepared(tmp_path / "p", train=12, holdout=4, test=8, size=2).read_bytes()
    else:
        read, tensors, metadata = SEALED[kind]
        whole = sealed_file(tmp_path, tensors, metadata)
    path = tmp_path / "file.safetensors"
    path.write_bytes(whole)
    assert read_or_error(read, path)
    path.write_bytes(choice.draw(damaged(whole)))
    assert not read_or_error(read, path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEALED)
@examples
@given(choice=st.data())
def test_metadata_of_another_program(tmp_path: Path, kind: str, choice: st.DataObject) -> None:
    read, tensors, metadata = SEALED[kind]
    path = tmp_path / "file.safetensors"
    path.write_bytes(sealed_file(tmp_path, tensors, choice.draw(changed(metadata))))
    if read_or_error(read, path) and kind == "predictions":
        # What is read as predictions can be measured; an error names the network then.
        message = message_of(measured, path)
        assert message is None or " on " in message


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recall", "networks", "estimates", "tests", "published"])
@examples
@given(choice=st.data())
def test_a_damaged_table(tmp_path: Path, name: str, choice: st.DataObject) -> None:
    lines = (REPOSITORY / f"results/digits/tables/{name}.csv").read_bytes().splitlines(True)
    whole = b"".join([lines[0], *lines[-12:]])
    path = tmp_path / "table.csv"
    path.write_bytes(choice.draw(damaged(whole)))
    if read_or_error(lambda file: read_table(file, name), path):
        table = read_table(path, name)
        numbers = [c.name for c in ALL[name].columns if c.kind not in (TEXT, TRUTH)]
        typed = (np.issubdtype(table[column].dtype, np.number) for column in numbers)
        assert table.empty or all(typed)


@examples
@given(choice=st.data())
def test_a_damaged_study_file(tmp_path: Path, choice: st.DataObject) -> None:
    whole = (REPOSITORY / "config/studies/test.yaml").read_bytes()
    path = tmp_path / "test.yaml"
    path.write_bytes(choice.draw(damaged(whole)))
    read_or_error(load, path)


@pytest.mark.parametrize("names", [("images", "labels"), ("images", "labels", "class_names")])
@examples
@given(choice=st.data())
def test_a_damaged_npz(tmp_path: Path, names: tuple, choice: st.DataObject) -> None:
    arrays = {
        "images": np.arange(12 * 4, dtype=np.uint8).reshape(12, 2, 2),
        "labels": np.arange(12) % 3,
        "class_names": np.array(["a", "b", "c"]),
    }
    path = tmp_path / "own.npz"
    np.savez(path, **{name: arrays[name] for name in names})
    path.write_bytes(choice.draw(damaged(path.read_bytes())))
    read_or_error(lambda file: data.describe("arrays", path=str(file)), path)
    output = tmp_path / "out.safetensors"
    options = {"data_root": "", "holdout": 0.25, "test_fraction": 0.5, "seed": 0}
    read_or_error(lambda file: data.prepare("arrays", output, path=str(file), **options), path)
