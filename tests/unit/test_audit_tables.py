"""What an audit's tables and its summary hold, against their declaration."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recall_distortion as rd
from recall_distortion.auditing.decision import Limits
from recall_distortion.auditing.schema import FINDING, OF_SEVERAL, SUMMARY, TABLES, names

LABELS = np.arange(1500) % 5
_RNG = np.random.default_rng(0)


def answers(right: float) -> np.ndarray:
    return np.where(_RNG.random((3, 1500)) < right, LABELS, (LABELS + 1) % 5)


BEFORE, AFTER, CONTROL = answers(0.9), answers(0.85), answers(0.91)
KINDS = pytest.mark.parametrize("several", [False, True])


def audit(several: bool) -> rd.auditing.Audit:
    given = (BEFORE, AFTER, CONTROL) if several else (BEFORE[0], AFTER[0], CONTROL[0])
    counts = [500, 400, 300, 200, 100] if several else None
    candidates = {"a": given[1], "b": given[0]}
    return rd.audit(LABELS, given[0], candidates, control=given[2], class_counts=counts)


@KINDS
def test_every_column_is_declared(several: bool) -> None:
    found = audit(several).tables
    assert set(found) == set(TABLES) - (set() if several else set(OF_SEVERAL))
    for name, table in found.items():
        assert list(table) == list(names(TABLES[name][1], several))


@KINDS
def test_words_are_those_that_are_declared(several: bool) -> None:
    for name, table in audit(several).tables.items():
        for field in TABLES[name][1]:
            if field.words and field.name in table:
                assert set(table[field.name]) <= {"", *field.words}


@KINDS
def test_every_key_of_a_summary_is_declared(several: bool, tmp_path: Path) -> None:
    audit(several).save(tmp_path, max_drop=0.001, max_excess=0.001, max_alpha=1.01)
    said = json.loads((tmp_path / "summary.json").read_text())
    assert list(said) == [field.name for field in SUMMARY]
    assert {finding["limit"] for finding in said["findings"]} == set(said["limits"])
    for finding in said["findings"]:
        assert list(finding) == [field.name for field in FINDING]
    for candidate in said["candidates"].values():
        expected = {*names(TABLES["models"][1], several), "decision", "classes", "measures"}
        expected |= {"populations", "rare_classes"} if several else set()
        assert set(candidate) == expected - {"candidate"}
        for measure in candidate["measures"].values():
            columns = set(names(TABLES["measures"][1], several))
            assert set(measure) == columns - {"candidate", "measure"}
        if several:
            columns = set(names(TABLES["populations"][1], several))
            assert set(candidate["populations"]) == columns - {"candidate"}
            columns = set(names(TABLES["rare_classes"][1], several)) - {"candidate", "slope"}
            assert all(set(slope) == columns for slope in candidate["rare_classes"].values())
        for of_class in candidate["classes"].values():
            columns = set(names(TABLES["groups"][1], several))
            assert set(of_class) == columns - {"candidate", "grouping", "name"}


def test_a_summary_names_the_version_and_the_test_set() -> None:
    said = rd.audit(LABELS, BEFORE[0], AFTER[0]).summary()
    assert said["version"] == rd.__version__
    lines = "".join(f"{label}\n" for label in LABELS)
    checksum = hashlib.sha256(lines.encode()).hexdigest()
    assert said["test_set"] == {"images": 1500, "classes": 5, "labels": checksum}
    # The same classes in another form are the same test set, in another order they are not.
    texts = rd.audit(LABELS.astype(str), BEFORE[0].astype(str), AFTER[0].astype(str)).summary()
    assert texts["test_set"] == said["test_set"]
    turned = rd.audit(LABELS[::-1], BEFORE[0][::-1], AFTER[0][::-1]).summary()
    assert turned["test_set"]["labels"] != checksum


def test_a_summary_decides_of_each_candidate() -> None:
    said = audit(False).summary(Limits(drop=0.3))
    assert said["decision"] == "within"
    found = rd.audit(LABELS, BEFORE[0], {"same": BEFORE[0], "worse": (BEFORE[0] + 1) % 5})
    said = found.summary(Limits(drop=0.3))
    assert {name: one["decision"] for name, one in said["candidates"].items()} == {
        "same": "within",
        "worse": "beyond",
    }
    assert found.summary()["candidates"]["same"]["decision"] is None


@pytest.mark.slow
def test_the_ends_of_a_finding_are_of_the_intervals_that_it_says() -> None:
    """Those of an audit at their levels, read from its tables."""
    found = audit(False)
    for finding in found.findings(Limits(drop=0.02)):
        for level, end, column in (
            (finding.low_level, finding.low, "high"),
            (finding.high_level, finding.high, "low"),
        ):
            groups = rd.audit(
                LABELS, BEFORE[0], {"a": AFTER[0], "b": BEFORE[0]}, level=level
            ).tables["groups"]
            (row,) = groups[
                (groups["candidate"] == finding.candidate) & (groups["name"] == finding.name)
            ].to_dict("records")
            # Where all classes go together an interval may be wider, never narrower.
            if column == "low":
                assert end == -row[column]
            else:
                assert end <= -row[column]
    assert {(one.low_level, one.high_level) for one in found.findings(Limits(drop=0.02))} == {
        (1 - 0.01 / 5, 0.99)
    }


@KINDS
def test_nothing_is_less_than_zero_by_its_sign_alone(several: bool, tmp_path: Path) -> None:
    same = BEFORE if several else BEFORE[0]
    found = rd.audit(LABELS, same, same)
    found.save(tmp_path, max_drop=0.001)
    assert "-0.0," not in (tmp_path / "summary.json").read_text()
    assert np.signbit(pd.read_csv(tmp_path / "models.csv")["largest_loss"]).sum() == 0
    assert str(found.findings(Limits(drop=0.001))[0]).startswith("class 0: loss 0.0000 (between a")


def test_a_gain_is_called_one() -> None:
    found = rd.audit(LABELS, AFTER[0], BEFORE[0])
    (first, *_, last) = found.findings(Limits(drop=0.001))
    for one in (first, last):
        assert ("gain" if one.estimate < 0 else "loss") in str(one).split("(")[0]
        assert "-" not in str(one)
