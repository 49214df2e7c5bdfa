"""Whether rare classes lose more: slopes computed here once more, and what counts are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import recall_distortion as rd
from recall_distortion import command
from recall_distortion.system.errors import AuditError

NETWORKS, CLASSES, OF_A_CLASS = 8, 6, 60
LABELS = np.repeat(np.arange(CLASSES), OF_A_CLASS)
COUNTS = np.array([6000, 2000, 700, 250, 80, 30])
NAMES = [f"class {c}" for c in range(CLASSES)]


def answers(loss: float, seed: int) -> np.ndarray:
    """Return answers [K, M]; a class loses the share ``loss`` of its recall per tenfold images."""
    rng = np.random.default_rng(seed)
    share = 0.95 - loss * np.log10(6000 / COUNTS)
    right = rng.random((NETWORKS, len(LABELS))) < share[LABELS]
    return np.where(right, LABELS, (LABELS + 1) % CLASSES)


BEFORE, AFTER, CONTROL = answers(0.05, 0), answers(0.2, 1), answers(0.06, 2)


def slopes(own: np.ndarray) -> np.ndarray:
    """Return the four slopes [K, 4] of networks, by the normal equations."""

    def recall(side: np.ndarray) -> np.ndarray:
        return (side == LABELS).reshape(NETWORKS, CLASSES, OF_A_CLASS).mean(2)

    before, change = recall(BEFORE), recall(own) - recall(BEFORE)
    found = []
    for network in range(NETWORKS):
        others = np.delete(before, network, axis=0).mean(0)
        row = []
        for columns in ([np.log10(COUNTS)], [others], [np.log10(COUNTS), others]):
            x = np.column_stack([np.ones(CLASSES), *columns])
            row += np.linalg.solve(x.T @ x, x.T @ change[network])[1:].tolist()
        found.append(row)
    return np.array(found)


def test_slopes_are_those_of_least_squares() -> None:
    found = rd.audit(LABELS, BEFORE, AFTER, control=CONTROL, class_counts=COUNTS, level=0.95)
    table = found.tables["rare_classes"]
    own, other = slopes(AFTER), slopes(CONTROL)
    assert len(table) == 4
    np.testing.assert_allclose(table["after"], own.mean(0))
    np.testing.assert_allclose(table["control"], other.mean(0))
    np.testing.assert_allclose(table["over_control"], (own - other).mean(0))
    np.testing.assert_allclose(table["p"], stats.ttest_rel(own, other).pvalue)
    ends = stats.t.interval(0.95, NETWORKS - 1, (own - other).mean(0), stats.sem(own - other))
    np.testing.assert_allclose(table[["over_control_low", "over_control_high"]].T, ends)
    ends = stats.t.interval(0.95, NETWORKS - 1, own.mean(0), stats.sem(own))
    np.testing.assert_allclose(table[["after_low", "after_high"]].T, ends)
    said = found.summary()["candidates"]["after"]["rare_classes"]
    assert said["per tenfold training images"]["after"] == table["after"][0]


def test_page_and_terminal_say_it(tmp_path: Path) -> None:
    found = rd.audit(LABELS, BEFORE, AFTER, control=CONTROL, class_counts=COUNTS)
    assert "of a class, above 0 where rare ones lose more: +0.1" in str(found)
    found.save(tmp_path)
    assert "<b>rare classes lose more, +1" in (tmp_path / "report.html").read_text("utf-8")
    same = rd.audit(LABELS, BEFORE, BEFORE, control=BEFORE, class_counts=COUNTS)
    same.save(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<b>it cannot be told, 0.0 points (0.0 to 0.0)</b>" in text
    alone = rd.audit(LABELS, BEFORE, AFTER, class_counts=COUNTS)
    alone.save(tmp_path)
    assert "without a control that part is unknown" in (tmp_path / "report.html").read_text("utf-8")


def test_counts_by_name_are_those_in_order() -> None:
    ordered = rd.audit(LABELS, BEFORE, AFTER, classes=NAMES, class_counts=COUNTS)
    named = dict(reversed(list(zip(NAMES, COUNTS.tolist(), strict=True)))) | {"of no image": 5}
    by_name = rd.audit(LABELS, BEFORE, AFTER, classes=NAMES, class_counts=named)
    pd.testing.assert_frame_equal(by_name.tables["rare_classes"], ordered.tables["rare_classes"])
    # A class without a test image is left out.
    more = rd.audit(LABELS, BEFORE, AFTER, classes=[*NAMES, "none"], class_counts=[*COUNTS, 0])
    pd.testing.assert_frame_equal(more.tables["rare_classes"], ordered.tables["rare_classes"])


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (COUNTS[:5], "have shape [5], and there are 6 classes"),
        ({"0": 10, "1": 100}, "have none of 4 classes: 2"),
        ([*COUNTS[:5], 0], "5 has 0 training images; give how many"),
        ([*COUNTS[:5], np.nan], "5 has nan training images"),
        (["many"] * CLASSES, "hold <U4, but they are numbers of images"),
        (np.full(CLASSES, 500), "run from 500 to 500; rare classes can be told"),
    ],
)
def test_counts_that_are_none_are_refused(counts, words: str) -> None:
    with pytest.raises(AuditError) as found:
        rd.audit(LABELS, BEFORE, AFTER, class_counts=counts)
    assert str(found.value).startswith("class counts: ")
    assert words in str(found.value)


def test_what_has_no_slope_is_refused() -> None:
    with pytest.raises(AuditError, match="class counts: need several networks"):
        rd.audit(LABELS, BEFORE[0], AFTER[0], class_counts=COUNTS)
    few = LABELS < 3
    with pytest.raises(AuditError, match="there are 3 classes with a test image; a slope over"):
        rd.audit(LABELS[few], BEFORE[:, few] % 3, AFTER[:, few] % 3, class_counts=COUNTS)
    texts = np.array(NAMES)[LABELS]
    with pytest.raises(AuditError, match="and the labels are texts: give them by name"):
        rd.audit(texts, np.array(NAMES)[BEFORE], np.array(NAMES)[AFTER], class_counts=COUNTS)


def test_the_command_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, values in {"y": LABELS, "b": BEFORE, "a": AFTER, "n": COUNTS}.items():
        np.save(f"{name}.npy", values)
    table = pd.DataFrame({"class": range(CLASSES), "count": COUNTS, "more": 0})
    table.to_csv("n.csv", index=False)
    given = ["audit", "--labels", "y.npy", "--before", "b.npy", "--after", "a.npy"]
    printed = []
    for counts in ("n.npy", "n.csv", "n.csv:count"):
        assert command.main([*given, "--class-counts", counts, "--out", "out"]) == 0
        assert Path("out/rare_classes.csv").exists()
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] == printed[2]
    pd.concat([table, table]).to_csv("twice.csv", index=False)
    table.rename(columns={"count": "images"}).to_csv("other.csv", index=False)
    for counts, said in (
        ("twice.csv", "class counts (twice.csv): a class stands in several lines"),
        ("other.csv", "other.csv: has no column 'count'"),
        ("none.csv", "none.csv: there is no such file"),
    ):
        assert command.main([*given, "--class-counts", counts]) == 2
        assert said in capsys.readouterr().err
    assert command.main(["audit", ".", "--method", "m", "--class-counts", "n.csv"]) == 2
    assert "name a study or files, not both" in capsys.readouterr().err
