"""When half-trained networks are written, and what is not gone on from."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.numpy
import torch
from safetensors import SafetensorError
from unfinished_helpers import (
    PLAN,
    Killed,
    always_kept,
    assert_same,
    killing_after,
    runs_of,
    setting,
    train,
)

from recall_distortion.training import (
    Run,
    Unfinished,
)
from recall_distortion.training import unfinished as module


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    yield from always_kept(monkeypatch)


# What does not fit


def half_trained(tmp_path, place, runs, **facts):
    """Leave the folder of a job killed in its second network."""
    folder = tmp_path / "kept"
    with pytest.raises(Killed):
        train(place, folder, runs, report=killing_after(6), **facts)
    assert sorted(os.listdir(folder)) == ["fitted-000000.safetensors", "running.safetensors"]
    return folder


def count_epochs(place, folder, runs, plan=PLAN, at_once=1, **facts):
    seen = []
    found = train(place, folder, runs, plan, at_once, lambda rows, _: seen.append(rows), **facts)
    return len(seen), found


def test_a_folder_of_this_very_job_is_gone_on_from(tmp_path, capsys):
    place = setting(tmp_path, "mlp", 1, [])
    runs = runs_of(place[0], (0, 1))
    folder = half_trained(tmp_path, place, runs, data="this")
    epochs, _ = count_epochs(place, folder, runs, data="this")
    assert epochs == 2
    said = capsys.readouterr().out
    assert "1 of 2 networks were trained before" in said
    assert "training goes on after epoch 2" in said


@pytest.mark.parametrize(
    "change",
    ["recipe", "data", "engine", "seed", "state", "mask", "torch", "code", "threads"],
)
def test_another_job_s_folder_is_removed_unread(tmp_path, change, monkeypatch, capsys):
    place = setting(tmp_path, "mlp", 1, [])
    runs = runs_of(place[0], (0, 1))
    folder = half_trained(tmp_path, place, runs, data="this")
    plan, at_once, facts = PLAN, 1, {"data": "this"}
    masks = {name: mask.clone() for name, mask in runs[0].masks.items()}
    state = {name: value.clone() for name, value in runs[0].state.items()}
    if change == "recipe":
        plan = replace(PLAN, weight_decay=1e-3)
    elif change == "data":
        facts = {"data": "other"}
    elif change == "engine":
        at_once = 2
    elif change == "seed":
        runs = [Run(7, state, masks), runs[1]]
    elif change == "state":
        state["fc1.bias"][0] += 1e-6
        runs = [Run(0, state, masks), runs[1]]
    elif change == "mask":
        masks["fc1.weight"][0, 0] ^= True
        runs = [Run(0, state, masks), runs[1]]
    elif change == "torch":
        monkeypatch.setattr(module, "software", lambda: {"torch": "1.0"})
    elif change == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    else:
        package = shutil.copytree(Path(module.recall_distortion.__file__).parent, tmp_path / "code")
        with open(package / "training" / "stacks.py", "a", encoding="utf-8") as file:
            file.write("# an edit\n")
        monkeypatch.setattr(module.recall_distortion, "__file__", str(package / "__init__.py"))
    epochs, found = count_epochs(place, folder, runs, plan, at_once, **facts)
    assert epochs == 8 // at_once
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{folder / 'fitted-000000.safetensors'}: half-trained by other code, data or "
                    "recipe; it is removed"]  # fmt: skip
    monkeypatch.undo()
    assert_same(found, train(place, None, runs, plan, at_once))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)


def of_something_else(path: Path) -> None:
    module.save_tensors(path, {}, ["what"])


@pytest.mark.parametrize("damage", [cut, empty, flip_a_bit, of_something_else])
@pytest.mark.parametrize(("name", "again"), [("fitted-000000", 8), ("running", 4)])
def test_a_damaged_file_is_removed_and_costs_only_time(tmp_path, capsys, damage, name, again):
    place = setting(tmp_path, "mlp", 1, [])
    runs = runs_of(place[0], (0, 1))
    folder = half_trained(tmp_path, place, runs)
    path = folder / f"{name}.safetensors"
    damage(path)
    epochs, found = count_epochs(place, folder, runs)
    assert epochs == again
    assert f"{path}: damaged half-trained state; it is removed" in capsys.readouterr().out
    assert_same(found, train(place, None, runs))


def test_a_half_written_file_is_never_read(tmp_path):
    place = setting(tmp_path, "mlp", 1, [])
    runs = runs_of(place[0], (0, 1))
    folder = half_trained(tmp_path, place, runs)
    (folder / ".partial-x.safetensors").write_bytes(b"half")
    epochs, _ = count_epochs(place, folder, runs)
    assert epochs == 2


def test_a_full_disk_costs_the_half_trained_state_alone(tmp_path, monkeypatch, capsys):
    place = setting(tmp_path, "mlp", 1, [])
    runs = runs_of(place[0], (0, 1))

    def full(*_, **__):
        raise SafetensorError("Error while serializing: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    found = train(place, tmp_path / "kept", runs)
    assert "warning" in (said := capsys.readouterr().out)
    assert "No space left on device" in said
    assert_same(found, train(place, None, runs))


# When it is written


def test_a_short_job_leaves_nothing_and_a_slow_disk_is_written_to_less_often(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module, "INTERVAL", 10.0)
    monkeypatch.setattr(module, "LARGEST_SHARE", 0.05)
    kept = Unfinished(tmp_path / "kept")
    clock[0] = 9.9
    assert not kept.due()
    kept.finish([({}, {"failure": "x"})])
    assert not (tmp_path / "kept").exists()
    clock[0] = 10.0
    assert kept.due()
    monkeypatch.setattr(
        module, "save_tensors", lambda *_: clock.__setitem__(0, clock[0] + 1.0)
    )  # a second each for the results and for the state
    kept.keep({}, {})
    assert clock[0] == 12.0
    clock[0] += 39.9
    assert not kept.due()
    clock[0] += 0.2
    assert kept.due()
    assert not Unfinished().due()
