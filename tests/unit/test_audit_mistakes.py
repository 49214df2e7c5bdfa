"""Mistakes that an audit's users make: none of them may pass, and each is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recall_distortion as rd
from recall_distortion import command
from recall_distortion.auditing.decision import Limits
from recall_distortion.auditing.text import decision_text

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
