"""The command ``recall-distortion``: what it prints, and how it refuses what it cannot use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recall_distortion import __version__, command

LABELS = np.repeat([0, 1], 10)
BEFORE = np.array([0] * 9 + [1] * 8 + [0] * 3)
AFTER = np.array([0] * 7 + [1] * 8 + [0] * 5)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the README as files in the working folder."""
    monkeypatch.chdir(tmp_path)
    np.save("labels.npy", LABELS)
    np.save("before.npy", BEFORE)
    np.save("after.npy", AFTER)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Return the exit status and what was printed and complained."""
    try:
        status = command.main(words)
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_slope_and_the_recalls_that_it_is_made_of(capsys) -> None:
    words = ("slope", "labels.npy", "before.npy", "after.npy", "--classes", "cat, dog")
    assert run(capsys, *words) == (
        0,
        "class  images  recall before  after  balance before  after \n"
        "  cat      10         0.9000 0.7000          0.1250  0.1667\n"
        "  dog      10         0.7000 0.5000         -0.1250 -0.1667\n"
        "\n"
        "accuracy  0.8000 before, 0.6000 after\n"
        "balance   (recall - accuracy) / accuracy\n"
        "slope     1.3333: the gaps between the classes' recalls grew\n",
        "",
    )


@pytest.mark.parametrize(
    ("before", "after", "reading"),
    [
        (AFTER, BEFORE, "0.7500: the gaps between the classes' recalls shrank"),
        (BEFORE, BEFORE, "1.0000: the gaps between the classes' recalls stayed as they were"),
        (BEFORE, 1 - BEFORE, "-4.0000: the order of weak and strong classes reversed"),
        (LABELS, BEFORE, "undefined: before, all classes had the same recall"),
        (BEFORE, 1 - LABELS, "undefined: no image was recognized after"),
        (1 - LABELS, BEFORE, "undefined: no image was recognized before"),
    ],
)
def test_a_slope_in_words(capsys, before, after, reading) -> None:
    np.save("before.npy", before)
    np.save("after.npy", after)
    status, printed, _ = run(capsys, "slope", "labels.npy", "before.npy", "after.npy")
    assert status == 0
    assert printed.splitlines()[-1] == f"slope     {reading}"


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(map(str, BEFORE)),
        "predicted\r\n" + "\r\n".join(map(str, BEFORE)) + "\r\n\r\n",
        "\ufeff" + "\n".join(f"{value:.18e}" for value in BEFORE),
    ],
    ids=["bare", "named", "numpy's"],
)
def test_a_csv_file_as_programs_write_it(capsys, text) -> None:
    Path("before.csv").write_bytes(text.encode("utf-8"))
    status, printed, complained = run(capsys, "slope", "labels.npy", "before.csv", "after.npy")
    assert (status, complained) == (0, "")
    assert "slope     1.3333" in printed


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.npy", None, "nowhere.npy: there is no such file"),
        ("before.txt", "0", "before.txt: give a .npy or .csv file"),
        (".", None, ".: give a .npy or .csv file"),
        ("scores.npy", np.zeros((20, 2)), "scores.npy: has shape [20, 2], but must be a vector"),
        ("one.npy", np.array(3), "one.npy: has shape [], but must be a vector"),
        ("none.npy", np.zeros(0, int), "none.npy: is empty"),
        ("none.csv", "", "none.csv: is empty"),
        ("named.csv", "predicted\n", "named.csv: is empty"),
        ("real.npy", np.zeros(20), "real.npy: holds float64, but classes are whole numbers"),
        ("words.npy", np.array(["cat"] * 20), "words.npy: holds <U3, but classes are whole"),
        ("objects.npy", np.array([0, "x"], object), "objects.npy: is no whole .npy file"),
        ("cut.npy", b"\x93NUMPY", "cut.npy: is no whole .npy file of numbers"),
        ("short.npy", AFTER[:5], "short.npy: holds 5 predictions, but labels.npy holds 20 labels"),
        ("outside.npy", AFTER + 1, "outside.npy: a prediction lies outside 0 to 1: 1 to 2"),
        ("two.csv", "0,1\n1,1\n", "two.csv, line 1: '0,1' is no class"),
        ("names.csv", "predicted\ncat\ndog\n", "names.csv, line 2: 'cat' is no class"),
        ("half.csv", "0.5\n1\n", "half.csv, line 1: '0.5' is no class"),
        ("gap.csv", "0\n\n1\n", "gap.csv, line 2: '' is no class"),
        ("nan.csv", "0\nnan\n", "nan.csv, line 2: 'nan' is no class"),
        ("large.csv", "0\n1e30\n", "large.csv, line 2: '1e30' is no class"),
        ("latin.csv", b"pr\xe9dit\n0\n", "latin.csv: is no text in UTF-8"),
    ],
)
def test_predictions_that_cannot_be_used_are_named_in_one_line(
    capsys, name, content, message
) -> None:
    if isinstance(content, np.ndarray):
        np.save(name, content, allow_pickle=True)
    elif content is not None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    status, printed, complained = run(capsys, "slope", "labels.npy", name, "after.npy")
    assert (status, printed) == (2, "")
    assert complained.startswith(f"recall-distortion slope: error: {message}")
    assert complained.count("\n") == 1


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (LABELS - 1, None, "labels.npy: a label lies outside 0 to 0: -1 to 0"),
        (LABELS * 2, None, "labels.npy: the test set has no image of class '1'"),
        (LABELS * 10**9, None, "labels.npy: holds 20 labels of 1000000001 classes"),
        (LABELS, "1", "labels.npy: a label lies outside 0 to 0: 0 to 1"),
        (LABELS, "3", "labels.npy: the test set has no image of class '2'"),
        (LABELS, "cat,cat", "--classes cat,cat: give their number, or different names"),
        (LABELS, "cat,", "--classes cat,: give their number, or different names"),
    ],
)
def test_labels_and_classes_that_cannot_be_are_named(capsys, labels, classes, message) -> None:
    np.save("labels.npy", labels)
    words = [] if classes is None else ["--classes", classes]
    status, printed, complained = run(
        capsys, "slope", "labels.npy", "before.npy", "after.npy", *words
    )
    assert (status, printed) == (2, "")
    assert complained.startswith(f"recall-distortion slope: error: {message}")


def test_help_names_every_command_and_each_has_its_own(capsys) -> None:
    status, printed, _ = run(capsys, "--help")
    assert status == 0
    for name in command.COMMANDS:
        assert f"\n  {name} " in printed
        status, own, _ = run(capsys, name, "--help")
        assert status == 0
        assert own.startswith(f"usage: recall-distortion {name} ")
    assert run(capsys, "--version") == (0, f"recall-distortion {__version__}\n", "")


@pytest.mark.parametrize("words", [[], ["unknown"], ["--unknown"], ["slope"], ["simulate", "x"]])
def test_words_that_no_command_knows_end_with_its_usage(capsys, words) -> None:
    status, printed, complained = run(capsys, *words)
    assert (status, printed) == (2, "")
    assert complained.startswith("usage: recall-distortion")


def test_the_simulation_is_the_one_of_its_module(capsys) -> None:
    status, _, complained = run(capsys, "simulate", "made.csv", "--families", "none")
    assert status == 2
    assert "recall-distortion simulate: error: argument --families" in complained


def test_help_imports_nothing_that_takes_time() -> None:
    check = (
        "import sys\n"
        "from recall_distortion import command\n"
        "try:\n"
        "    command.main(['--help'])\n"
        "except SystemExit:\n"
        "    found = {'numpy', 'pandas', 'scipy', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "    assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60, stdout=subprocess.DEVNULL)
