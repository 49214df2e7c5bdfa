"""A killed job's training goes on where it stopped, with the results of an undisturbed one."""

from __future__ import annotations

import itertools
import math
import os
import shutil
from pathlib import Path

import pytest
import torch
from core_helpers import method, prepared, recipe, write_prepared
from safetensors import SafetensorError

from recall_distortion import networks, replicates
from recall_distortion.compression import compress_block
from recall_distortion.errors import TrainingError
from recall_distortion.replicates import copy_state, generator
from recall_distortion.training import (
    Engine,
    NonFiniteLoss,
    Run,
    TrainingImages,
    Unfinished,
    fit_runs,
    train_block,
)
from recall_distortion.training import loop as loop_module
from recall_distortion.training import unfinished as module

# The second phase's rate is far too large, so that the best epoch is not the last.
PLAN = recipe((2, 0.05), (2, 0.5), batch_size=17)
CASES = [
    # architecture, channels, augmentation, at once, seeds
    ("mlp", 1, [], 1, (0, 1)),
    ("mlp", 1, [], 2, (0, 1, 2, 2)),
    ("cnn", 3, ["flip", "crop"], 1, (0, 1)),
    ("cnn", 3, ["flip", "crop"], 2, (0, 1, 2, 2)),
    ("resnet20", 3, ["crop"], 1, (0,)),
    ("resnet20", 3, [], 2, (0, 1)),
]


class Killed(BaseException):
    """Stands for the signal: nothing catches it."""


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    """Keep every epoch, and train on one thread, as a job does."""
    monkeypatch.setattr(module, "INTERVAL", 0.0)
    monkeypatch.setattr(module, "LARGEST_SHARE", 1e9)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def setting(folder, name, channels, augmentation):
    size = {"train": 48, "holdout": 14} if name == "resnet20" else {}
    data = prepared(folder / "data.safetensors", channels=channels, **size)
    images = TrainingImages.of(data, selection="holdout", device="cpu", augmentation=augmentation)
    network = networks.build(name, channels=channels, classes=4)
    return network.to(memory_format=torch.channels_last), images


def runs_of(network, seeds):
    """Return runs with masks of different densities, the second without."""
    runs = []
    for place, seed in enumerate(seeds):
        networks.initialize(network, generator(seed, "initialization"))
        rng = torch.Generator().manual_seed(place)
        masks = {
            name: torch.rand(weight.shape, generator=rng) < 0.8 - 0.2 * place
            for name, weight in networks.prunable_parameters(network).items()
        }
        runs.append(Run(seed, copy_state(network), None if place == 1 else masks))
    return runs


def killing_after(epochs):
    """Return a report that kills the job when so many epochs have been trained."""
    count = itertools.count(1)

    def report(rows, places):
        if next(count) > epochs:
            raise Killed

    return report


def assert_same(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert type(one) is type(other)
        if isinstance(one, NonFiniteLoss):
            assert str(one) == str(other)
            continue
        assert one.history == other.history
        assert [list(row) for row in one.history] == [list(row) for row in other.history]
        assert set(one.state) == set(other.state)
        for name, value in one.state.items():
            assert value.dtype == other.state[name].dtype
            assert torch.equal(value, other.state[name]), name


def train(place, folder, runs, plan=PLAN, at_once=1, report=None, **facts):
    network, images = place
    engine, kept = Engine(at_once), Unfinished(folder, facts)
    return list(
        fit_runs(network, images, plan, runs, engine=engine, report=report, unfinished=kept)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels", "augmentation", "at_once", "seeds"), CASES)
def test_training_killed_after_any_epoch_ends_as_an_undisturbed_one(
    tmp_path, name, channels, augmentation, at_once, seeds
):
    place = setting(tmp_path, name, channels, augmentation)
    runs = runs_of(place[0], seeds)
    plan = PLAN | {"augmentation": augmentation}
    undisturbed = train(place, None, runs, plan, at_once)
    if name != "resnet20":
        assert any(not fitted.history[-1]["selected"] for fitted in undisturbed)
    epochs = 4 * (len(seeds) // at_once)
    # A ResNet takes long, and differs in its running statistics alone.
    for killed in [1, 2] if name == "resnet20" else range(epochs):
        folder = tmp_path / f"killed-{killed}"
        with pytest.raises(Killed):
            train(place, folder, runs, plan, at_once, killing_after(killed))
        seen = []
        resumed = train(
            place, folder, runs, plan, at_once, lambda rows, places, seen=seen: seen.append(places)
        )
        assert_same(resumed, undisturbed)
        assert len(seen) == epochs - killed  # the epoch that was running, and what follows
        assert seen[-1] == range(len(seeds) - at_once, len(seeds))


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_job_may_be_killed_again_and_again(tmp_path, at_once):
    """Every attempt makes two epochs and is killed in the third."""
    place = setting(tmp_path, "mlp", 1, [])
    runs = runs_of(place[0], (0, 1, 2))
    undisturbed = train(place, None, runs, at_once=at_once)
    attempts = 0
    while True:
        try:
            resumed = train(
                place, tmp_path / "kept", runs, at_once=at_once, report=killing_after(2)
            )
        except Killed:
            attempts += 1
            continue
        break
    # Twelve epochs, or four of all three networks.
    assert attempts == (5 if at_once == 1 else 1)
    assert_same(resumed, undisturbed)


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("broken", [0, 1])
def test_a_failed_replicate_stays_failed(tmp_path, at_once, broken):
    place = setting(tmp_path, "mlp", 1, [])
    runs = runs_of(place[0], (0, 1, 2))
    runs[broken].state["classifier.weight"][0, 0] = math.nan
    undisturbed = train(place, None, runs, at_once=at_once)
    assert isinstance(undisturbed[broken], NonFiniteLoss)
    for killed in range(1 + 8 if at_once == 1 else 4):
        with pytest.raises(Killed):
            train(
                place, tmp_path / str(killed), runs, at_once=at_once, report=killing_after(killed)
            )
        assert_same(train(place, tmp_path / str(killed), runs, at_once=at_once), undisturbed)


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("written", [1, 2, 3, 5, 6])
def test_what_one_network_left_is_not_the_next_one_s(tmp_path, monkeypatch, at_once, written):
    """It is written now and then, so it may still lie there when the next networks start."""
    place = setting(tmp_path, "mlp", 1, [])
    runs = runs_of(place[0], (0, 1, 2, 3))
    undisturbed = train(place, None, runs, at_once=at_once)
    looks = itertools.count(1)
    monkeypatch.setattr(Unfinished, "due", lambda self: next(looks) == written)
    assert_same(train(place, tmp_path / "kept", runs, at_once=at_once), undisturbed)


def test_without_momentum_and_with_phases_of_one_epoch(tmp_path):
    place = setting(tmp_path, "mlp", 1, [])
    runs = runs_of(place[0], (0,))
    for momentum in (0.0, 0.9):
        plan = recipe((1, 0.05), (1, 0.02), (1, 0.01), momentum=momentum)
        undisturbed = train(place, None, runs, plan)
        for killed in range(3):
            folder = tmp_path / f"{momentum}-{killed}"
            with pytest.raises(Killed):
                train(place, folder, runs, plan, report=killing_after(killed))
            assert_same(train(place, folder, runs, plan), undisturbed)


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
        plan = PLAN | {"weight_decay": 1e-3}
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

    monkeypatch.setattr(replicates, "save_file", full)
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


# Whole jobs


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def train_files(folder, data, kept, **options):
    train_block(
        data,
        folder / "weights.safetensors",
        folder / "history.csv",
        **{
            "architecture": "mlp",
            "seeds": [3, 4],
            "recipe": PLAN,
            "selection": "holdout",
            "engine": {"engine": "sequential"},
            "unfinished": kept,
        }
        | options,
    )


def compress_files(folder, data, dense, kept):
    compress_block(
        data,
        dense,
        *(folder / name for name in ("weights.safetensors", "sparsity.csv", "history.csv")),
        dataset="small",
        ratios=["4"],
        methods={"magnitude": method("magnitude"), "random": method("random")},
        count="prunable",
        recipe=PLAN,
        selection="holdout",
        engine={"engine": "vectorized", "at_once": 2},
        unfinished=kept,
    )


def test_killed_jobs_write_the_same_files_and_leave_nothing_else(tmp_path, monkeypatch):
    data = write_prepared(tmp_path / "data.safetensors")
    folders = {name: tmp_path / name for name in ("dense", "dense2", "pruned", "pruned2")}
    for folder in folders.values():
        folder.mkdir()
    dense = folders["dense"] / "weights.safetensors"
    jobs = [
        ("dense", lambda folder, kept: train_files(folder, data, kept)),
        ("pruned", lambda folder, kept: compress_files(folder, data, dense, kept)),
    ]
    epoch = loop_module._epoch
    for name, job in jobs:
        job(folders[name], None)
        count = itertools.count(1)

        def killing(*arguments, count=count):
            if next(count) == 6:
                raise Killed
            return epoch(*arguments)

        kept = tmp_path / "unfinished" / name
        monkeypatch.setattr(loop_module, "_epoch", killing)
        with pytest.raises(Killed):
            job(folders[f"{name}2"], kept)
        assert (kept / "running.safetensors").exists()
        assert files_of(folders[f"{name}2"]) == {}
        job(folders[f"{name}2"], kept)
        assert next(count) == 6 + 1 + 3  # of 8 epochs five were kept
        assert files_of(folders[f"{name}2"]) == files_of(folders[name])
        assert not (tmp_path / "unfinished").exists()


def test_a_job_that_fails_for_good_leaves_nothing(tmp_path):
    data = write_prepared(tmp_path / "data.safetensors")
    plan = recipe((30, 1e4), batch_size=4)
    with pytest.raises(TrainingError, match="no replicate"):
        train_files(tmp_path, data, tmp_path / "unfinished" / "dense", recipe=plan)
    assert not (tmp_path / "unfinished").exists()
