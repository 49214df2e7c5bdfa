"""Inference without a mixed model, from files to files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import counted
import numpy as np
import pandas as pd
import pytest

from recall_distortion import columns
from recall_distortion.errors import TableError
from recall_distortion.inference import influence, intervals, seeds_needed, tradeoff
from recall_distortion.inference.tables import write_tests
from recall_distortion.tables import read_table

WRITTEN = {
    "intervals": columns.INTERVAL_COLUMNS,
    "tests": columns.TEST_COLUMNS,
    "pooled": columns.POOLED_COLUMNS,
    "effects": columns.EFFECT_COLUMNS,
    "equal_sparsity": columns.EQUAL_SPARSITY_COLUMNS,
    "seeds_needed": columns.SEEDS_NEEDED_COLUMNS,
    "tradeoff": columns.TRADEOFF_COLUMNS,
    "influence": columns.INFLUENCE_COLUMNS,
    "published": columns.PUBLISHED_COLUMNS,
}
Study = dict[str, pd.DataFrame]


def written(folder: Path, study: Study, level: float = 0.95) -> dict[str, pd.DataFrame]:
    study = {"sparsity": counted.sparsity(study["alpha"]), **study}
    for name, table in study.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    outputs = {name: folder / "out" / f"{name}.csv" for name in WRITTEN}
    inputs = (folder / f"{name}.csv" for name in ("recall", "alpha", "crossfit", "sparsity"))
    write_tests(*inputs, outputs, level)
    return {name: read_table(path, WRITTEN[name]) for name, path in outputs.items()}


def test_every_table_is_written_and_read_back_exactly(tmp_path: Path) -> None:
    study = counted.random_study({"magnitude": [2, 4], "random": [2, 2.5]})
    found = written(tmp_path, study)
    for name, table in found.items():
        assert list(table.columns) == WRITTEN[name]
    of_cells = intervals.intervals(study["alpha"], 0.95)
    expected = {
        "seeds_needed": seeds_needed.seeds_needed(study["alpha"], found["pooled"], 0.95),
        "tradeoff": tradeoff.tradeoff(study["recall"], study["alpha"], of_cells, 0.95),
        "influence": influence.influence(study["recall"], of_cells, 0.95),
    }
    for name, table in expected.items():
        numbers = [name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])]
        assert len(numbers) >= 6
        for column in numbers:
            np.testing.assert_array_equal(
                found[name][column].astype(float), table[column].astype(float), err_msg=column
            )
    text = (tmp_path / "out" / "seeds_needed.csv").read_text().splitlines()[1]
    assert text.split(",")[-3].isdigit()  # replicates are whole numbers
    assert len(found["published"]) == 75
    assert set(found["tests"]["question"]) == {"ratio", "method", "control"}
    assert set(found["effects"]["method"]) == {"magnitude", "random"}
    # The control's contrast and the effect are one paired difference.
    control = found["tests"][found["tests"]["question"] == "control"]
    np.testing.assert_allclose(control["estimate"], found["effects"]["difference"], atol=1e-12)
    np.testing.assert_allclose(control["p_adjusted"], found["effects"]["p_adjusted"], rtol=1e-9)


def test_a_method_that_keeps_more_weights_is_compared_at_equal_sparsity(tmp_path: Path) -> None:
    study = counted.random_study({"magnitude": [2, 4], "random": [2, 4]})
    assert written(tmp_path, study)["equal_sparsity"].empty
    study["sparsity"] = counted.sparsity(study["alpha"], {"random": 0.6})
    found = written(tmp_path, study)["equal_sparsity"]
    assert found[["method", "reference", "ratio"]].to_numpy().tolist() == [
        ["random", "magnitude", 2], ["random", "magnitude", 4],
    ]  # fmt: skip
    np.testing.assert_allclose(found["realised_ratio"], [1000 / 833, 1000 / 417])
    np.testing.assert_allclose(found["reference_ratio"], [2, 4])
    assert np.isfinite(found[["nominal_low", "equal_low", "equal_accuracy_low"]]).all(axis=None)
    # Predictions from elsewhere need not come with sparsities.
    study["sparsity"] = study["sparsity"].iloc[:0]
    assert written(tmp_path, study)["equal_sparsity"].empty


def _collapsed(counts: list[int]) -> Study:
    rng = np.random.default_rng(1)
    cells = {
        cell: {seed: rng.binomial(100, [0.95, 0.8, 0.7]).tolist() for seed in range(6)}
        for cell in (counted.DENSE, counted.CONTROL, ("magnitude", 2.0, "finetuned"))
    }
    cells["random", 2.0, "finetuned"] = dict.fromkeys(range(6), counts)
    return counted.study(cells, [100] * 3)


ODD: dict[str, Callable[[], Study]] = {
    "one seed": lambda: counted.random_study({"magnitude": [2]}, seeds=1),
    "two seeds": lambda: counted.random_study({"magnitude": [2]}, seeds=2),
    "no control": lambda: counted.random_study({"magnitude": [2]}, control=False),
    "one class": lambda: counted.random_study({"magnitude": [2]}, classes=1),
    "one class predicted": lambda: _collapsed([0, 100, 0]),
    "accuracy 0": lambda: _collapsed([0, 0, 0]),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("odd", "table", "note"),
    [
        ("one seed", "seeds_needed", "one replicate"),
        ("one seed", "tests", "fewer than two pairs of seeds"),
        ("two seeds", "pooled", "fewer than 5 replicates"),
        ("no control", "tradeoff", "no control: nothing"),
        ("no control", "effects", "no control: nothing"),
        ("one class", "intervals", "not finite"),
        ("one class", "tests", "not finite"),
        ("one class predicted", "seeds_needed", ""),
        ("accuracy 0", "seeds_needed", "not finite"),
        ("accuracy 0", "tradeoff", "6 of 6 slopes are not finite"),
    ],
)
def test_a_study_that_cannot_answer_is_written_with_notes(
    tmp_path: Path, odd: str, table: str, note: str
) -> None:
    found = written(tmp_path, ODD[odd]())
    assert found[table]["note"].str.contains(note).any()
    assert (found[table]["note"] == "").all() == (note == "")
    assert {name for name, rows in found.items() if rows.empty} <= {"tests", "equal_sparsity"}
    assert found["tests"].empty == (odd == "no control")


def test_one_ratio_has_no_question_of_ratio(tmp_path: Path) -> None:
    found = written(tmp_path, counted.random_study({"magnitude": [4]}))
    assert list(found["tests"]["question"]) == ["control"]
    assert set(found["tests"]["note"]) == {""}


def test_a_study_of_the_control_alone_has_empty_tables(tmp_path: Path) -> None:
    found = written(tmp_path, counted.random_study({}))
    for name in ("tests", "effects", "seeds_needed"):
        assert found[name].empty
        assert list(found[name].columns) == WRITTEN[name]
    assert len(found["tradeoff"]) == 1


def test_a_missing_column_names_the_file(tmp_path: Path) -> None:
    study = counted.random_study({"magnitude": [2]})
    study["recall"] = study["recall"].drop(columns="balance")
    with pytest.raises(TableError, match=r"recall\.csv lacks the column balance"):
        written(tmp_path, study)
