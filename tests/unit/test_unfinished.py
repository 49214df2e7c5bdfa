"""A killed job's training goes on where it stopped, with the results of an undisturbed one."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from core_helpers import (
    compression_plan,
    method,
    ratios_of,
    recipe,
    training_plan,
    write_prepared,
)
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

from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.system.errors import TrainingError
from recall_distortion.training import (
    NonFiniteLoss,
    Unfinished,
    train_block,
)
from recall_distortion.training.passes import Pass
from recall_distortion.vocabulary import Panel

CASES = [
    # architecture, channels, augmentation, at once, seeds
    ("mlp", 1, [], 1, (0, 1)),
    ("mlp", 1, [], 2, (0, 1, 2, 2)),
    ("cnn", 3, ["flip", "crop"], 1, (0, 1)),
    ("cnn", 3, ["flip", "crop"], 2, (0, 1, 2, 2)),
    ("resnet20", 3, ["crop"], 1, (0,)),
    ("resnet20", 3, [], 2, (0, 1)),
]


@pytest.fixture(autouse=True)
def _always(monkeypatch):
    yield from always_kept(monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "channels", "augmentation", "at_once", "seeds"), CASES)
def test_training_killed_after_any_epoch_ends_as_an_undisturbed_one(
    tmp_path, name, channels, augmentation, at_once, seeds
):
    place = setting(tmp_path, name, channels, augmentation)
    runs = runs_of(place[0], seeds)
    plan = replace(PLAN, augmentation=tuple(augmentation))
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


# Whole jobs


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def train_files(folder, data, kept, plan=PLAN):
    train_block(
        data,
        folder / "weights.safetensors",
        folder / "history.csv",
        training_plan(plan, engine={"engine": "sequential"}),
        architecture="mlp",
        seeds=[3, 4],
        unfinished=kept,
    )


def compress_files(folder, data, dense, kept):
    files = [folder / name for name in ("weights.safetensors", "sparsity.csv", "history.csv")]
    methods = {"magnitude": method("magnitude"), "random": method("random")}
    compress_block(
        Paths(data, dense, *files),
        compression_plan(methods, PLAN, engine={"engine": "vectorized", "at_once": 2}),
        panel=Panel("small", "mlp", "usual"),
        ratios=ratios_of(methods, ["4"]),
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
    epoch = Pass.run
    for name, job in jobs:
        job(folders[name], None)
        count = itertools.count(1)

        def killing(*arguments, count=count):
            if next(count) == 6:
                raise Killed
            return epoch(*arguments)

        kept = tmp_path / "unfinished" / name
        monkeypatch.setattr(Pass, "run", killing)
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
        train_files(tmp_path, data, tmp_path / "unfinished" / "dense", plan)
    assert not (tmp_path / "unfinished").exists()
