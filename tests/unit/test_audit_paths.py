"""What an audit is told to read and to write: odd paths, odd names, a folder that is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recall_distortion as rd
from recall_distortion import command
from recall_distortion.auditing.reading import read
from recall_distortion.system.errors import AuditError

LABELS = np.arange(600) % 3
BEFORE = np.where(np.random.default_rng(0).random(600) < 0.9, LABELS, (LABELS + 1) % 3)
GIVEN = ("--labels", "y.npy", "--before", "before.npy", "--after", "after.npy")
#: Longer than the name of any file may be.
LONG = "n" * 300


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = command.main(["audit", *words])
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("y.npy", LABELS)
    for name in ("before", "after"):
        np.save(f"{name}.npy", BEFORE)
    return tmp_path


def test_names_of_classes_may_be_longer_than_those_of_files(files: Path, capsys) -> None:
    names = [f"{word}{LONG}" for word in "abc"]
    status, out, _ = run(capsys, *GIVEN, "--classes", ",".join(names))
    assert status == 0
    assert "\na" + "n" * 20 in out.replace(" ", "")


@pytest.mark.parametrize(
    "words",
    [
        ("--after", f"{LONG}.npy"),
        ("--after", f"{LONG}*.npy"),
        ("--groups", f"site={LONG}.npy"),
        ("--images", f"{LONG}.npy", "--out", "out"),
        ("--classes", f"{LONG}.txt"),
    ],
)
def test_a_path_that_no_system_allows_is_not_there(files: Path, capsys, words) -> None:
    status, _, error = run(capsys, *GIVEN, *words)
    assert status == 2
    assert LONG in error
    assert "there is no" in error


def test_a_candidate_may_have_a_long_name(files: Path, capsys) -> None:
    assert run(capsys, *GIVEN[:4], "--after", f"{LONG}=before.npy")[0] == 0


def test_a_folder_that_no_system_allows_is_named(files: Path, capsys) -> None:
    status, _, error = run(capsys, *GIVEN, "--out", LONG)
    assert status == 2
    assert f"--out {LONG}: cannot be written to: File name too long" in error


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_of_names_may_begin_with_a_mark_and_end_with_empty_lines(
    files: Path, capsys, mark: str
) -> None:
    Path("names.txt").write_bytes(f"{mark}cat\r\ndog\r\neel\r\n\r\n".encode())
    status, out, _ = run(capsys, *GIVEN, "--classes", "names.txt", "--out", "out")
    assert status == 0
    assert "\n  cat " in out
    assert set(pd.read_csv("out/groups.csv")["name"]) == {"cat", "dog", "eel"}


def test_a_file_of_names_in_another_encoding_is_named(files: Path, capsys) -> None:
    Path("names.txt").write_bytes("caf\xe9\ndog\neel".encode("latin-1"))
    status, _, error = run(capsys, *GIVEN, "--classes", "names.txt")
    assert status == 2
    assert "--classes names.txt: is no text in UTF-8" in error


def test_an_empty_line_among_names_moves_none(files: Path, capsys) -> None:
    Path("names.txt").write_text("cat\n\ndog\neel\n")
    status, _, error = run(capsys, *GIVEN, "--classes", "names.txt")
    assert status == 2
    assert "classes: class 1 has an empty name" in error
    with pytest.raises(AuditError, match="class 1 has an empty name"):
        rd.audit(LABELS, BEFORE, BEFORE, classes=["cat", "", "dog", "eel"])


@pytest.mark.parametrize("name", ["groups.csv", "flips.csv"])
def test_no_file_that_is_read_is_replaced(files: Path, capsys, name: str) -> None:
    table = pd.DataFrame({"site": ["a", "b"] * 300, "label": LABELS})
    table.to_csv(name, index=False)
    before = Path(name).read_bytes()
    for words in (
        ("--groups", f"site={name}:site"),
        ("--labels", f"{name}:label"),
        ("--keys", name),
    ):
        for folder in (".", str(files)):
            status, _, error = run(capsys, *GIVEN, *words, "--out", folder)
            assert status == 2
            assert f"--out {folder}: would replace {name}, which is read" in error
    assert Path(name).read_bytes() == before
    assert run(capsys, *GIVEN, "--groups", f"site={name}:site", "--out", "out")[0] == 0


def test_a_folder_without_a_name_is_refused(files: Path, capsys) -> None:
    status, _, error = run(capsys, *GIVEN, "--out", "")
    assert status == 2
    assert "--out: the name of a folder, not an empty one" in error
    assert sorted(os.listdir()) == ["after.npy", "before.npy", "y.npy"]


def test_what_is_no_npz_file_is_not_to_be_loaded_otherwise(files: Path) -> None:
    Path("a.npz").write_bytes(b"x")
    np.savez("b.npz", a=np.array([{}]))
    for name in ("a.npz", "b.npz"):
        with pytest.raises(AuditError, match=r"holds Python objects or is no \.npz file"):
            read(name)


def test_answers_that_say_whether_they_are_right_are_no_classes() -> None:
    with pytest.raises(AuditError, match="after: holds true and false, and there are 3 classes"):
        rd.audit(LABELS, BEFORE, BEFORE == LABELS)
    two = LABELS == 1
    assert rd.audit(two, two, ~two).tables["models"]["lost"].item() == 600


@pytest.mark.filterwarnings("error")
def test_logits_without_end_are_named() -> None:
    scores = np.where(np.eye(3)[BEFORE] > 0, 5.0, -np.inf)
    with pytest.raises(AuditError, match="image 0 has scores that are no finite numbers"):
        rd.audit(LABELS, BEFORE, scores)


def test_a_level_is_not_so_near_to_one_that_no_number_is_left() -> None:
    found = rd.audit(LABELS, BEFORE, BEFORE, level=0.99999999)
    assert found.decide(max_drop=0.02) == "undecided"
    with pytest.raises(AuditError, match="level: between 0 and 1"):
        rd.audit(LABELS, BEFORE, BEFORE, level=1 - 1e-16)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full device")
def test_a_full_disk_behind_what_is_printed_is_one_line(files: Path) -> None:
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "recall_distortion.command", "audit", *GIVEN, "--out", "out"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert found.returncode == 1
    assert found.stderr == "recall-distortion: cannot write: No space left on device\n"
    assert Path("out/summary.json").is_file()
