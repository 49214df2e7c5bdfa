"""Replicates' random streams and files."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest
import safetensors.torch
import torch
from core_helpers import sealed_file

from recall_distortion.system.errors import TableError
from recall_distortion.training import replicates
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import Block, Failure, load_block, save_block


def draw(seed: int, purpose: str) -> torch.Tensor:
    return torch.rand(4000, generator=generator(seed, purpose), dtype=torch.double)


def test_a_stream_depends_on_seed_and_purpose_alone():
    torch.manual_seed(1)
    first = draw(3, "order")
    torch.manual_seed(2)
    torch.rand(10)
    assert torch.equal(first, draw(3, "order"))


def test_streams_of_seeds_and_purposes_are_unlike():
    streams = [
        draw(seed, purpose)
        for seed in range(6)
        for purpose in ("initialization", "order", "augmentation", "criterion batch")
    ]
    correlations = torch.corrcoef(torch.stack(streams)) - torch.eye(len(streams))
    # 276 pairs of independent streams: each within 5 standard errors of zero.
    assert correlations.abs().max() < 5 / 4000**0.5


def block() -> Block:
    rng = torch.Generator().manual_seed(0)
    return Block(
        "mlp",
        1,
        10,
        [4, 5, 9],
        {
            "fc1.weight": torch.randn(3, 4, 2, generator=rng),
            "bn.running_mean": torch.randn(3, 4, generator=rng),
            "bn.num_batches_tracked": torch.tensor([1, 2, 3]),
        },
        [Failure("dense", "1", "training", 6, 'seed 6: loss is nan, "sadly"')],
        {"device": "cpu"},
    )


def test_a_block_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "dense" / "seeds-004-009.safetensors"
    save_block(path, block())
    found, expected = load_block(path), block()
    assert {**vars(found), "tensors": None} == {**vars(expected), "tensors": None}
    assert set(found.tensors) == set(expected.tensors)
    for name, value in expected.tensors.items():
        assert torch.equal(found.tensors[name], value)
        assert found.tensors[name].dtype == value.dtype
    assert torch.equal(found.state(9)["fc1.weight"], expected.tensors["fc1.weight"][2])
    with pytest.raises(ValueError, match="not in list"):
        found.state(6)
    assert os.listdir(path.parent) == [path.name]


def test_a_block_writes_the_same_bytes_each_time(tmp_path):
    for name in ("a", "b"):
        save_block(tmp_path / name, block())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_channels_last_weight_is_stored_as_it_is_indexed(tmp_path):
    weight = torch.arange(2 * 3 * 2 * 2.0).view(2, 3, 2, 2)
    states = [{"w": (weight + k).to(memory_format=torch.channels_last)} for k in range(2)]
    path = tmp_path / "block.safetensors"
    save_block(path, Block("cnn", 1, 2, [0, 1], replicates.stack(states)))
    for k in range(2):
        assert torch.equal(load_block(path).state(k)["w"], weight + k)
    assert replicates.stack([]) == {}


def test_a_copied_state_is_a_copy():
    network = torch.nn.BatchNorm1d(2)
    state = replicates.copy_state(network)
    with torch.no_grad():
        network.weight.fill_(5)
        network.running_mean.fill_(5)
    assert state["weight"].tolist() == [1, 1]
    assert state["running_mean"].tolist() == [0, 0]


def test_a_missing_file(tmp_path):
    with pytest.raises(TableError, match=r"none\.safetensors: no such file; run the study again"):
        load_block(tmp_path / "none.safetensors")


def foreign_files(path):
    """Yield a name and the content of files that are no blocks."""
    save_block(path, block())
    content = path.read_bytes()
    yield "empty", b""
    yield "cut off", content[:-20]
    yield "header only", content[:40]
    yield "text", b"not a safetensors file at all, but long enough to be one"
    yield "no metadata", safetensors.torch.save({"a": torch.ones(3)})
    for name, metadata in {
        "no JSON": "{",
        "a list": "[]",
        "a number": "3",
        "nothing": "{}",
        "half": json.dumps({"architecture": "mlp", "seeds": [1]}),
        "wrong failures": json.dumps(
            {
                "architecture": "mlp",
                "channels": 1,
                "classes": 2,
                "seeds": [1, 2, 3],
                "failures": [{"seed": 1}],
                "facts": {},
            }
        ),
        "wrong number of seeds": json.dumps(
            {
                "architecture": "mlp",
                "channels": 1,
                "classes": 2,
                "seeds": [1],
                "failures": [],
                "facts": {},
            }
        ),
    }.items():
        yield name, sealed_file(path.parent, {"a": np.ones(3)}, metadata)


def test_damaged_and_foreign_files_name_the_file_and_the_remedy(tmp_path):
    path = tmp_path / "block.safetensors"
    for what, content in foreign_files(path):
        path.write_bytes(content)
        with pytest.raises(TableError) as caught:
            load_block(path)
        assert str(caught.value).startswith(f"{path}: "), what
        assert "delete the file and run the study again" in str(caught.value), what


def test_a_block_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "block.safetensors"
    save_block(path, block())
    before = path.read_bytes()
    wrong = block()
    wrong.facts["device"] = object()  # nothing that JSON holds
    with pytest.raises(TypeError):
        save_block(path, wrong)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_rows_are_read_back_exactly(tmp_path):
    path = tmp_path / "history.csv"
    rows = [
        {"seed": 1, "loss": 0.1 + 0.2, "note": 'a,"b"\né'},
        {"seed": 2, "loss": 1e-300, "note": ""},
    ]
    replicates.write_rows(path, ["seed", "note", "loss"], rows)
    with open(path, newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["seed", "note", "loss"]
    assert [float(row["loss"]) for row in found] == [0.1 + 0.2, 1e-300]
    assert found[0]["note"] == 'a,"b"\né'
    with pytest.raises(ValueError, match="loss"):
        replicates.write_rows(path, ["seed", "note"], rows)
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("used", [False, True])
def test_a_gpu_is_named_in_a_process_that_used_it(monkeypatch, used):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA X")
    named = {"gpu": "NVIDIA X"} if used else {}
    assert replicates.software() == {"torch": torch.__version__, **named}
