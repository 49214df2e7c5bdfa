"""One replicate of a study, audited by name from its files of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import recall_distortion as rd
from recall_distortion import command
from recall_distortion.auditing.of_study import audit_replicate
from recall_distortion.system.errors import AuditError
from recall_distortion.tables.predictions import Predictions, read_predictions, write_predictions
from recall_distortion.vocabulary import COMPRESSED, CONTROL, DENSE, RETRAINED, Panel

CLASSES = ["cat", "dog", "eel"]
LABELS = np.arange(900) % 3
SEEDS = [3, 4]


def write(
    folder: Path, architecture: str = "cnn", seeds: Sequence[int] = SEEDS
) -> dict[str, np.ndarray]:
    """Write a study's predictions; return those of seed 4, by their names."""
    rng = np.random.default_rng(0)
    panel = Panel("pets", architecture, "usual")
    found: dict[str, np.ndarray] = {}

    def part(method: str, ratio: str, state: str, right: float) -> Predictions:
        predicted = np.where(rng.random((len(seeds), 900)) < right, LABELS, (LABELS + 1) % 3)
        found[f"{method} at {ratio}, {state}"] = predicted[1]
        loss = np.where(predicted == LABELS, 0.25, 3.0).astype(np.float16)
        return Predictions(
            panel, method, ratio, state, [*seeds], CLASSES, LABELS, predicted, {}, loss=loss
        )

    for bundle, parts in {
        DENSE: [part(DENSE, "1", DENSE, 0.9)],
        CONTROL: [part(CONTROL, "1", RETRAINED, 0.92)],
        "magnitude": [
            part("magnitude", ratio, state, right)
            for ratio, state, right in [
                *(("2", COMPRESSED, 0.5), ("2", RETRAINED, 0.88)),
                *(("10", COMPRESSED, 0.3), ("10", RETRAINED, 0.7)),
            ]
        ],
        "float16": [part("float16", "2", COMPRESSED, 0.9)],
    }.items():
        path = folder / "predictions" / "/".join(panel) / bundle / "seeds-003-004.safetensors"
        write_predictions(path, parts)
    return found


def test_it_is_the_audit_of_the_same_predictions_from_files(tmp_path: Path) -> None:
    predicted = write(tmp_path)
    found = audit_replicate(tmp_path, method="magnitude", ratios=[], seed=4)
    expected = rd.audit(
        LABELS,
        predicted["dense at 1, dense"],
        {f"magnitude at {r}": predicted[f"magnitude at {r}, retrained"] for r in ("2", "10")},
        control=predicted["control at 1, retrained"],
        classes=CLASSES,
    )
    for name in ("models", "groups", "flows"):
        pd.testing.assert_frame_equal(found.tables[name], expected.tables[name])
    drop = found.tables["flips"].query("kind == 'lost'")["probability_before"]
    np.testing.assert_allclose(drop, np.exp(-0.25), rtol=1e-3)


def test_all_seeds_are_an_audit_of_several_networks(tmp_path: Path) -> None:
    write(tmp_path)
    found = audit_replicate(tmp_path, method="magnitude", ratios=[10], seed=None)
    predicted = {
        part.method: part.predicted
        for path in sorted(tmp_path.glob("predictions/**/*.safetensors"))
        for part in read_predictions(path)[0]
        if part.state != COMPRESSED
    }  # the last of a method: that at 10
    expected = rd.audit(
        LABELS,
        predicted[DENSE],
        {"magnitude at 10": predicted["magnitude"]},
        control=predicted[CONTROL],
        classes=CLASSES,
    )
    for name in ("models", "groups", "flows"):
        pd.testing.assert_frame_equal(found.tables[name], expected.tables[name])
    drop = found.tables["flips"]["probability_before"]
    assert drop.between(np.exp(-3.0) * 0.99, np.exp(-0.25) * 1.01).all()


def test_all_seeds_are_those_that_have_every_network(tmp_path: Path) -> None:
    """Seed 5 has no pruned network: it is left out, though it lies in a file of its own."""
    write(tmp_path)
    panel, rng = Panel("pets", "cnn", "usual"), np.random.default_rng(1)
    for bundle, state in ((DENSE, DENSE), (CONTROL, RETRAINED)):
        part = Predictions(
            panel, bundle, "1", state, [5], CLASSES, LABELS, rng.integers(0, 3, (1, 900)), {}
        )
        path = tmp_path / "predictions" / "/".join(panel) / bundle / "seeds-005-005.safetensors"
        write_predictions(path, [part])
    found = audit_replicate(tmp_path, method="magnitude", ratios=[2, 10], seed=None)
    assert found.tables["models"]["networks"].tolist() == [2, 2]
    assert len(audit_replicate(tmp_path, method="control", ratios=[], seed=None).warnings) > 0
    of_three = audit_replicate(tmp_path, method="control", ratios=[], seed=None).tables["models"]
    assert of_three["networks"].tolist() == [3]


def test_the_command_takes_all_seeds(tmp_path: Path, capsys) -> None:
    write(tmp_path)
    words = ["audit", str(tmp_path), "--method", "magnitude", "--ratio", "10", "--seed"]
    assert command.main([*words, "all", "--out", str(tmp_path / "out")]) == 0
    out, _ = capsys.readouterr()
    assert "2 networks: intervals are over other seeds and other images" in out
    assert "all seeds" in (tmp_path / "out/report.html").read_text("utf-8")
    with pytest.raises(SystemExit):
        command.main([*words, "some"])
    assert "a whole number or all, not 'some'" in capsys.readouterr().err


def test_what_is_never_retrained_is_audited_as_it_is(tmp_path: Path) -> None:
    predicted = write(tmp_path)
    found = audit_replicate(tmp_path, method="float16", ratios=[2], seed=4)
    right = (predicted["float16 at 2, compressed"] == LABELS).mean()
    assert found.tables["models"]["after"][0] == right


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "gradient"}, "has no method 'gradient' of seed 4; there are control, dense"),
        ({"ratios": [4]}, "has no magnitude at 4 of seed 4; there are 2, 10"),
        ({"seed": 9}, "has no dense network of seed 9"),
        ({"network": "pets/mlp/usual"}, "has no network 'pets/mlp/usual'; name one"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, options: dict, words: str) -> None:
    write(tmp_path)
    asked = {"method": "magnitude", "ratios": [2], "seed": 4} | options
    with pytest.raises(AuditError) as found:
        audit_replicate(tmp_path, **asked)
    assert words in str(found.value)


def test_of_several_networks_one_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "mlp")
    with pytest.raises(AuditError, match="several networks; name one with --network"):
        audit_replicate(tmp_path, method="magnitude", ratios=[2], seed=4)
    audit_replicate(tmp_path, method="magnitude", ratios=[2], seed=4, network="pets/mlp/usual")


def test_tables_alone_are_not_enough(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="holds no predictions; they are not in git"):
        audit_replicate(tmp_path, method="magnitude", ratios=[2], seed=4)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--method", "magnitude", "--ratio", "10", "--seed", "4"), 0, "less control's"),
        (
            ("--method", "magnitude", "--seed", "4", "--max-drop", "0.02"),
            3,
            "decision: beyond: a limit is exceeded",
        ),
        ((), 2, "name the method to audit with --method"),
        (("--method", "magnitude", "--before", "b.npy"), 2, "name a study or files, not both"),
    ],
)
def test_the_command_takes_a_study_by_name(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    write(tmp_path)
    assert command.main(["audit", str(tmp_path), *words]) == status
    assert said in "".join(capsys.readouterr())


def test_without_a_study_all_files_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["audit", "--labels", "y.npy"]) == 2
    assert "--before is missing: give --labels, --before and --after" in capsys.readouterr().err
