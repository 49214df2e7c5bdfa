"""Mistakes that an audit's users make: none of them may pass, and each is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recall_distortion as rd
from recall_distortion import command
from recall_distortion.auditing.decision import Limits
from recall_distortion.auditing.reading import read
from recall_distortion.auditing.text import decision_text
from recall_distortion.system.errors import AuditError

LABELS = np.arange(4000) % 10
_RNG = np.random.default_rng(0)
BEFORE = np.where(_RNG.random(4000) < 0.9, LABELS, (LABELS + 1) % 10)
NETWORKS = np.stack(
    [np.where(_RNG.random(4000) < right, LABELS, (LABELS + 1) % 10) for right in (0.88, 0.9, 0.92)]
)


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
    for name, values in {"y": LABELS, "before": BEFORE, "networks": NETWORKS}.items():
        np.save(f"{name}.npy", values)
    return tmp_path


GIVEN = ("--labels", "y.npy", "--before", "before.npy")


def test_the_labels_in_place_of_answers_are_never_within(files: Path, capsys) -> None:
    words = (*GIVEN, "--after", "lab=y.npy", "--max-drop", "0.05")
    for more in ((), ("--undecided-passes",)):
        status, out, _ = run(capsys, *words, *more)
        assert status == 4
        assert "lab is right everywhere: are these the labels? Nothing is within a limit" in out
        assert "lab: undecided: its answers are doubted" in out
    assert rd.audit(LABELS, BEFORE, LABELS).doubted == ["after"]


def test_one_network_that_is_the_labels_leaves_nothing_within() -> None:
    after = NETWORKS.copy()
    after[1], after[[0, 2]] = LABELS, after[[2, 0]]
    found = rd.audit(LABELS, NETWORKS, after)
    assert found.doubted == ["after"]
    assert "network 1 of after is right everywhere" in " ".join(found.warnings)


def test_a_model_that_stays_right_everywhere_is_not_doubted() -> None:
    found = rd.audit(LABELS, LABELS, LABELS)
    assert found.doubted == []
    assert found.decide(max_drop=0.1) == "within"


def test_the_same_file_twice_passes_and_can_be_seen(files: Path, capsys) -> None:
    words = (*GIVEN, "--after", "same=before.npy", "--max-drop", "0.05", "--out", "out")
    status, _, _ = run(capsys, *words)
    assert status == 0
    said = json.loads(Path("out/summary.json").read_text())
    assert "same gives the same answers as before" in said["warnings"][0]


@pytest.mark.parametrize("networks", [False, True])
def test_an_alpha_without_ends_is_in_no_table(networks: bool, tmp_path: Path) -> None:
    """The classes have one recall: how far their gaps grew nobody can say."""
    before, after = (NETWORKS, NETWORKS[[1, 2, 0]]) if networks else (BEFORE, NETWORKS[0])
    found = rd.audit(LABELS, before, after, control=after)
    assert "alpha is not known" in str(found)
    found.save(tmp_path, max_alpha=1.5)
    (row,) = pd.read_csv(tmp_path / "models.csv").to_dict("records")
    (candidate,) = json.loads((tmp_path / "summary.json").read_text())["candidates"].values()
    for name in ("alpha", "alpha_control", "alpha_over_control"):
        assert np.isnan(row[name])
        assert candidate[name] is None
    (finding,) = found.findings(Limits(alpha=1.5))
    assert np.isnan(finding.estimate)


def test_few_networks_are_told_how_many_it_takes() -> None:
    """By the definition: the fewest whose interval over seeds alone, about no change, is short."""
    from scipy import stats

    from recall_distortion.auditing.decision import networks_needed

    def reach(networks: int) -> float:
        return stats.t.ppf(0.995, networks - 1) * 0.03 / np.sqrt(networks)

    needed = networks_needed(0.02, 0.03, 0.99)
    assert reach(needed) < 0.02 <= reach(needed - 1)
    assert networks_needed(0.02, 0.0, 0.99) == 2
    labels = np.repeat(np.arange(2), 2000)
    shares = np.array([0.86, 0.9, 0.94])
    before = np.stack([np.where(np.arange(4000) % 2000 < 1800, labels, 1 - labels)] * 3)
    kept = (2000 * shares)[:, None]
    after = np.where(np.arange(4000) % 2000 < kept, labels, 1 - labels)
    found = rd.audit(labels, before, after)
    limits = Limits(drop=0.02)
    shown = decision_text(found.tables, found.findings(limits), limits, found.level, [])
    # The standard deviation of the classes' changes over the networks is 4 points.
    many = networks_needed(0.02, 0.04, 0.99)
    assert f"about {many} networks" in shown
    assert "standard deviation of 4.0 points" in shown
    assert "images in a class" not in shown  # 2,000 are enough


def unread(*words: str) -> tuple[int, bytes]:
    """Run the command with a reader who has stopped; return its status and what it complains of."""
    code = "from recall_distortion.command import main; exit(main())"
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}  # argparse passes over what it cannot say
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    ) as process:  # fmt: skip
        process.stdout.close()
        complaint = process.stderr.read()
    return process.returncode, complaint


@pytest.mark.slow
def test_a_reader_who_stops_reading_gets_the_files_and_no_traceback(files: Path) -> None:
    found = unread("audit", *GIVEN, "--after", "same=before.npy", "--out", "out")
    assert found == (141, b"")  # what a shell says of a tool that SIGPIPE ended
    assert Path("out/report.html").exists()


@pytest.mark.parametrize("words", [["--help"], ["slope", "y.npy", "before.npy", "before.npy"]])
def test_other_commands_end_as_quietly(files: Path, words: list[str]) -> None:
    assert unread(*words) == (141, b"")


def scores(answers: np.ndarray, columns: int) -> np.ndarray:
    """Return logits [M, columns] whose highest are these answers."""
    return np.where(np.arange(columns) == answers[:, None], 2.5, -1.0)


def message(*given: object, **options: object) -> str:
    with pytest.raises(AuditError) as found:
        rd.audit(*given, **options)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_scores_have_as_many_columns_before_and_after() -> None:
    ten, eleven = scores(BEFORE, 10), scores(BEFORE, 11)
    assert "after: has 11 columns of scores, and before has 10" in message(LABELS, ten, eleven)
    assert "control: has 11 columns" in message(LABELS, ten, ten, control=eleven)
    names = [f"class {number}" for number in range(10)]
    said = message(LABELS, eleven, eleven, classes=names)
    assert "before: has 11 columns, and there are 10 classes" in said
    both = {"a": ten, "b": eleven}
    assert "network b: has 11 columns of scores, and network a has 10" in message(
        LABELS, both, both
    )
    # Answers alone have no columns to compare.
    assert rd.audit(LABELS, BEFORE, ten).tables["models"]["flipped"][0] == 0


def test_classes_counted_from_one_are_noticed_and_their_row_is_empty() -> None:
    found = rd.audit(LABELS + 1, BEFORE + 1, BEFORE + 1)
    assert found.warnings[0] == (
        "1 of 11 classes have no test image (0): nothing is known of them. Where classes are "
        "counted from 1, subtract 1 of labels and answers."
    )
    assert "nan" not in str(found)
    (row,) = [line for line in str(found).splitlines() if line.split()[:2] == ["0", "0"]]
    assert row.split() == ["0", "0", "-", "-", "-", "no", "image", "no", "image", "-"]
    missing = rd.audit([1, 2] * 50, [1, 2] * 50, [1, 2] * 50, classes=["none", "cat", "dog"])
    assert "subtract" not in missing.warnings[0]


@pytest.mark.parametrize("dtype", [int, float, str])
@pytest.mark.parametrize("classes", [5, 10])
def test_networks_across_are_no_scores(dtype: type, classes: int) -> None:
    """Five networks as columns [M, 5] look like scores of five classes."""
    labels = np.arange(4000) % classes
    across = np.stack([(labels + (np.arange(4000) % 9 == k)) % classes for k in range(5)], 1)
    names = labels.astype(str) if dtype is str else labels
    said = message(names, across.astype(dtype), across.astype(dtype))
    assert said.startswith("before: ")
    assert "[networks, images]" in said


def test_scores_may_be_whole_numbers() -> None:
    """One-hot answers, and the sums of a quantized network; others where somebody says so."""
    for values in (np.eye(10)[BEFORE], np.round(40 * scores(BEFORE, 10)).astype(np.int8)):
        assert rd.audit(LABELS, values, BEFORE).tables["models"]["flipped"][0] == 0
    few = np.where(scores(BEFORE, 10) > 0, 3, 1)
    found = rd.audit(LABELS, few, BEFORE, scores="logits")
    assert found.tables["models"]["flipped"][0] == 0


def test_a_column_beside_the_scores_is_named(files: Path, capsys) -> None:
    names = [f"class {number}" for number in range(10)]
    table = pd.DataFrame(scores(BEFORE, 10), columns=names)
    texts = np.array(names)[LABELS]
    said = message(texts, table.assign(score=0.5), BEFORE, classes=names)
    assert "has the column score beside those of the classes: remove it" in said
    said = message(texts, table.drop(columns=names[3]), BEFORE, classes=names)
    assert "has no column class 3" in said
    table.assign(file=[f"{number}.png" for number in range(4000)]).to_csv("t.csv", index=False)
    status, out, err = run(capsys, *GIVEN[:2], "--before", "t.csv", "--after", "before.npy")
    assert (status, out) == (2, "")
    assert "t.csv: its column file holds no numbers beside 10 that do" in err


def test_what_shows_is_said_by_which_interval(files: Path, capsys) -> None:
    _, out, _ = run(capsys, *GIVEN, "--after", "same=before.npy")
    assert "shows: by the interval of all classes together" in out
    _, out, _ = run(capsys, "--help")
    assert "interval of all classes together" in " ".join(out.split())


def test_the_page_has_the_interval_that_decides_in_digits(tmp_path: Path) -> None:
    found = rd.audit(LABELS, BEFORE, NETWORKS[0])
    found.save(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8").replace("−", "-")
    assert '<th scope="col">all classes</th>' in text
    for row in found.tables["groups"].itertuples():
        ends = (f"{100 * end:+.1f}" for end in (row.simultaneous_low, row.simultaneous_high))
        assert " to ".join(ends) in text


def test_a_table_that_was_written_again_is_read_again(files: Path) -> None:
    for values in (BEFORE, NETWORKS[0]):
        pd.DataFrame({"answer": values, "more": "x"}).to_csv("t.csv", index=False)
        np.testing.assert_array_equal(read("t.csv:answer"), values)


def test_several_files_by_a_name_with_a_star_are_networks(files: Path, capsys) -> None:
    """Paired by what the star stands for, 10 after 2."""
    for number, (one, other) in enumerate(zip(NETWORKS, NETWORKS[[1, 2, 0]], strict=True)):
        np.save(f"run{5 * number}_b.npy", one)
        pd.DataFrame({"answer": other, "more": "x"}).to_csv(f"run{5 * number}_a.csv", index=False)
    words = ("--labels", "y.npy", "--before", "run*_b.npy", "--after")
    status, out, err = run(capsys, *words, "run*_a.csv:answer")
    assert (status, err) == (0, "")
    names = ["0", "5", "10"]
    before, after = (
        dict(zip(names, part, strict=True)) for part in (NETWORKS, NETWORKS[[1, 2, 0]])
    )
    expected = rd.audit(LABELS, before, {"answer": after})
    assert out.strip() == str(expected).strip()
    status, out, _ = run(
        capsys, "--labels", "y.npy", "--before", "run*_b.npy", "--after", "run*_b.npy"
    )
    assert "run_b: accuracy" in out
    for given, said in (
        ("none*.npy", "none*.npy: there is no file of such a name"),
        ("nowhere/run*.npy", "nowhere: there is no such folder"),
        ("run*_a.csv:ans*", "run*_a.csv:ans*: has a star in the file's name and in the column's"),
    ):
        status, out, err = run(capsys, *words, given)
        assert (status, out) == (2, "")
        assert said in err
    Path("run5_a.csv").unlink()
    _, _, err = run(capsys, *words, "a=run*_a.csv:answer")
    assert "a (run*_a.csv:answer): holds 2 networks, and before holds 3 networks" in err
    assert "network k of a must come from network k of before" in err


def test_messages_name_the_option_as_it_is_given(files: Path, capsys) -> None:
    texts = np.array([f"class {number}" for number in range(10)])[LABELS]
    said = message(texts, scores(BEFORE, 10), BEFORE)
    assert "(classes=)" in said
    assert "--" not in said
    np.save("texts.npy", texts)
    np.save("scores.npy", scores(BEFORE, 10))
    words = ("--labels", "texts.npy", "--before", "scores.npy", "--after", "scores.npy")
    _, _, err = run(capsys, *words)
    assert "(--classes)" in err
    assert "classes=" not in err
    half = scores(BEFORE, 10) * 0 + 0.3
    assert "(scores='logits')" in message(LABELS, half, half)
    np.save("half.npy", half)
    _, _, err = run(capsys, *GIVEN[:2], "--before", "half.npy", "--after", "half.npy")
    assert "(--scores logits)" in err


def test_texts_as_objects_are_texts() -> None:
    """As pandas gives them, of one network or of several."""
    names = np.array([f"class {number}" for number in range(10)])
    expected = rd.audit(LABELS, NETWORKS, NETWORKS[[1, 2, 0]], classes=list(names))
    texts = (names[values].astype(object) for values in (LABELS, NETWORKS, NETWORKS[[1, 2, 0]]))
    found = rd.audit(*texts, classes=pd.Series(names, dtype=object).to_numpy())
    pd.testing.assert_frame_equal(found.tables["groups"], expected.tables["groups"])


def test_answers_that_differ_are_lost_gained_or_neither(capsys) -> None:
    after = BEFORE.copy()
    wrong = np.flatnonzero(BEFORE != LABELS)
    after[wrong[:9]] = (LABELS[wrong[:9]] + 2) % 10
    after[wrong[9:13]] = LABELS[wrong[9:13]]
    after[np.flatnonzero(BEFORE == LABELS)[:105]] += 1
    after %= 10
    said = "118 answers differ (2.9%): 105 lost, 4 gained, 9 neither"
    assert said in str(rd.audit(LABELS, BEFORE, after))
    several = rd.audit(LABELS, np.stack([BEFORE, BEFORE]), np.stack([after, BEFORE]))
    assert "59 answers differ (1.5%): 52.5 lost, 2 gained, 4.5 neither, a network" in str(several)
    # Among the first two the true class may stay while the first answer changes.
    first = np.array([[3.0, 2, 1]] * 4)
    one = rd.audit([1, 1, 0, 2], first, np.array([[2.0, 3, 1]] * 4), top_k=2)
    assert "4 answers differ (100.0%): 0 lost, 0 gained, 4 neither" in str(one)


def test_a_folder_that_cannot_be_written_is_found_before_the_audit(
    files: Path, capsys, monkeypatch
) -> None:
    def fails(*given: object, **options: object) -> None:
        raise AssertionError("the audit began")

    monkeypatch.setattr("recall_distortion.auditing.words.audit", fails)
    status, _, err = run(capsys, *GIVEN, "--after", "y.npy", "--out", "y.npy/below")
    assert status == 2
    assert "--out y.npy/below: cannot be written to" in err
    monkeypatch.setattr("os.access", lambda path, mode: False)
    status, _, err = run(capsys, *GIVEN, "--after", "y.npy", "--out", "new/folder")
    assert status == 2
    assert "--out new/folder: cannot be written to" in err
    assert not Path("new").exists()


@pytest.mark.parametrize(("separator", "name"), [(";", "';'"), ("\t", "a tab"), ("|", "'|'")])
def test_another_separator_is_named(files: Path, capsys, separator: str, name: str) -> None:
    table = pd.DataFrame({"label": LABELS, "answer": BEFORE})
    table.to_csv("t.csv", sep=separator, index=False)
    _, _, err = run(capsys, "--labels", "t.csv:label", *GIVEN[2:], "--after", "before.npy")
    assert f"t.csv: its columns are separated by {name}" in err
    assert "commas" in err


def test_an_audit_in_a_notebook_is_a_line() -> None:
    found = rd.audit(LABELS, BEFORE, {"int8": BEFORE, "pruned": NETWORKS[0]})
    assert repr(found) == "<Audit of int8, pruned: 4,000 images, 10 classes, level 0.99>"


def test_an_empty_line_of_one_column_is_no_image(monkeypatch, tmp_path: Path, capsys) -> None:
    """pandas would leave it out, and what comes behind would count for the image before."""
    monkeypatch.chdir(tmp_path)
    Path("y.csv").write_text("label\n0\n1\n0\n1\n")
    given = ["audit", "--labels", "y.csv", "--after", "y.csv", "--before"]
    for text in ("old\n0\n\n0\n1\n0\n", 'old\n"0"\n  \n0\n1\n0\n', "old\n0\r\n\r\n0\r\n1\r\n0"):
        Path("b.csv").write_text(text, newline="")
        assert command.main([*given, "b.csv"]) == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1
        assert "b.csv: line 3 is empty, and lines of one column are images" in printed.err
    # None of these is an empty line between images.
    for text in ('old\n0\n""\n0\n1\n', "\nold\n0\n1\n0\n1\n", "old\n0\n1\n0\n1\n\n\n"):
        Path("b.csv").write_text(text)
        assert command.main([*given, "b.csv"]) == 0, text
    Path("b.csv").write_text("old,more\n0,1\n\n1,1\n0,1\n1,1\n")
    assert command.main([*given, "b.csv:old"]) == 0


def test_a_name_of_several_columns_is_none(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("label,old,old,new,,\n0,0,1,0,,\n1,1,0,1,,\n0,0,1,1,,\n")
    labels = ["audit", "--labels", "t.csv:label", "--after", "t.csv:new", "--before"]
    for column in ("old", "old.1"):
        assert command.main([*labels, f"t.csv:{column}"]) == 2
        said = "t.csv: several columns are called old: give each a name of its own"
        assert said in capsys.readouterr().err
    assert command.main([*labels, "t.csv:label"]) == 0
    Path("s.csv").write_text("x,y,y\n0.2,0.7,0.1\n0.3,0.3,0.4\n0.1,0.8,0.1\n")
    assert command.main(["audit", *labels[1:], "s.csv"]) == 2
    assert "several columns are called y" in capsys.readouterr().err
