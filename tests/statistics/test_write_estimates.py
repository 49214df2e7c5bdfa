"""Inference without a mixed model, from files to files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recall_distortion.inference.estimates import answers
from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.questions import contrasts
from recall_distortion.measures.of_networks import FURTHER
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.learning import SHARE_THAT_LEARNS
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.tables.views import SEEDS_NEEDED, VIEWS, spread
from recall_distortion.vocabulary import CELL_STATE, CONTROL, DENSE, RESEED, RETRAINED
from tests import synthetic

WRITTEN = ("estimates", "tests", "published")
ARCHITECTURES = {"mlp": ("mlp", 2)}
Study = dict[str, pd.DataFrame]
# What only single predictions tell (tests/statistics/test_other_images.py).
OF_PREDICTIONS = {"slopes_over_both", "classes_over_both"}
# Of unbalanced data sets alone.
OF_IMAGES = {"frequency"}
# Where a study names pairs.
OF_PAIRS = {"overlaps", "pair_equivalence"}
# Of a job of its own.
OF_POPULATIONS = {"populations", "population_classes"}


def written(folder: Path, study: Study, level: float = 0.95) -> dict[str, pd.DataFrame]:
    """Return what is written of a study, and what every view sees of its estimates."""
    for name, table in study.items():
        write_table(folder / f"{name}.csv", name, table, FURTHER if name == "networks" else ())
    outputs = {name: folder / "out" / f"{name}.csv" for name in WRITTEN}
    inputs = (folder / f"{name}.csv" for name in ("recall", "networks"))
    write_estimates(*inputs, outputs, architectures=ARCHITECTURES, level=level)
    found = {name: read_table(path, name) for name, path in outputs.items()}
    return found | {view: spread(view, found["estimates"]) for view in VIEWS}


def sparse(study: Study, shares: dict[str, float] | None = None) -> Study:
    return study | {"networks": synthetic.with_sparsity(study["networks"], shares)}


@pytest.mark.slow
def test_every_table_is_written_and_read_back_exactly(tmp_path: Path) -> None:
    study = sparse(synthetic.random_study({"magnitude": [2, 4], "random": [2, 2.5]}))
    found = written(tmp_path, study)
    for name in WRITTEN:
        assert list(found[name].columns) == COLUMNS[name]
    expected = answers(study["recall"], study["networks"], 0.95)
    assert set(expected) | OF_POPULATIONS == set(VIEWS)
    for name, table in expected.items():
        # Every network of the study learned.
        if name in OF_PREDICTIONS | OF_IMAGES | OF_PAIRS | {"learning"}:
            assert table.empty
            continue
        numbers = [name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])]
        assert len(numbers) >= {"accuracy": 5, "deviations": 3}.get(name, 6)
        # The cells' order is the file's, where dense networks come behind what is compared.
        keys = [*CELL_STATE, *VIEWS[name].places.values()]
        in_file, here = (rows.set_index(keys).sort_index() for rows in (found[name], table))
        assert len(in_file) == len(here)
        # What retraining leads to stands in the view of accuracies.
        elsewhere = {"accuracy_after", "variance_after"} if name == "tradeoff" else set()
        for column in set(numbers) - set(keys) - elsewhere:
            np.testing.assert_array_equal(
                in_file[column].astype(float), here[column].astype(float), err_msg=column
            )
    tests = contrasts.tests(study["networks"], ARCHITECTURES)
    for column in ("estimate", "t", "df", "p", "p_adjusted"):
        np.testing.assert_array_equal(found["tests"][column], tests[column], err_msg=column)
    lines = (tmp_path / "out" / "estimates.csv").read_text().splitlines()
    place = COLUMNS["estimates"].index("estimate")
    needed = [line.split(",")[place] for line in lines if f",{SEEDS_NEEDED}," in line]
    assert len(needed) == 4 * 6 * 2
    assert all(float(number).is_integer() for number in needed)  # replicates are whole numbers
    assert len(found["published"]) == 75
    assert set(found["tests"]["question"]) == {"ratio", "method", "control"}
    assert set(found["effects"]["method"]) == {"magnitude", "random"}
    # The control's contrast and the effect are one paired difference.
    control = found["tests"][found["tests"]["question"] == CONTROL]
    np.testing.assert_allclose(control["estimate"], found["effects"]["difference"], atol=1e-12)
    np.testing.assert_allclose(control["p_adjusted"], found["effects"]["p_adjusted"], rtol=1e-9)


@pytest.mark.slow
def test_a_method_that_keeps_more_weights_is_compared_at_equal_sparsity(tmp_path: Path) -> None:
    study = synthetic.random_study({"magnitude": [2, 4], "random": [2, 4]})
    assert written(tmp_path, sparse(study))["equal_sparsity"].empty
    found = written(tmp_path, sparse(study, {"random": 0.6}))["equal_sparsity"]
    assert found[["method", "reference", "ratio"]].to_numpy().tolist() == [
        ["random", "magnitude", 2], ["random", "magnitude", 4],
    ]  # fmt: skip
    np.testing.assert_allclose(found["realised_ratio"], [1000 / 833, 1000 / 417])
    np.testing.assert_allclose(found["reference_ratio"], [2, 4])
    assert np.isfinite(found[["nominal_low", "equal_low", "equal_accuracy_low"]]).all(axis=None)
    # Predictions from elsewhere need not come with sparsities.
    assert written(tmp_path, study)["equal_sparsity"].empty


def _collapsed(counts: list[int]) -> Study:
    random = ("random", 2.0, RETRAINED)
    methods = {"magnitude": [2], "random": [2]}
    return synthetic.random_study(methods, classes=3, images=100, collapsed={random: counts})


ODD: dict[str, Callable[[], Study]] = {
    "one seed": lambda: synthetic.random_study({"magnitude": [2]}, seeds=1),
    "two seeds": lambda: synthetic.random_study({"magnitude": [2]}, seeds=2),
    "no control": lambda: synthetic.random_study({"magnitude": [2]}, control=False),
    "one class": lambda: synthetic.random_study({"magnitude": [2]}, classes=1),
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
        ("one class", "slopes", "not finite"),
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
    empty = {name for name, rows in found.items() if rows.empty}
    # Of one seed there is no deviation; of one class there is no fit either.
    nothing = OF_PREDICTIONS | OF_IMAGES | OF_POPULATIONS | OF_PAIRS
    nothing |= {"deviations"} if odd in ("one seed", "one class") else set()
    nothing |= {"class_counts"} if odd == "one seed" else set()
    nothing |= {"intercepts"} if odd == "one class" else set()
    nothing |= {"instability"} if odd == "no control" else set()
    nothing |= {"tests", "equal_sparsity", "equal_accuracy", "sparsity", "quantized"}
    # One takes a margin, the other networks that learn nothing.
    assert empty <= nothing | {"equivalence", "learning"}
    assert found["tests"].empty == (odd == "no control")


def test_one_ratio_has_no_question_of_ratio(tmp_path: Path) -> None:
    found = written(tmp_path, synthetic.random_study({"magnitude": [4]}))
    assert list(found["tests"]["question"]) == ["control"]
    assert set(found["tests"]["note"]) == {""}


def test_a_study_of_the_control_alone_has_empty_tables(tmp_path: Path) -> None:
    found = written(tmp_path, synthetic.random_study({}))
    for name in ("tests", "effects", "seeds_needed"):
        assert found[name].empty
    assert list(found["tests"].columns) == COLUMNS["tests"]
    assert set(found["estimates"]["method"]) == {"dense", CONTROL, RESEED}
    assert len(found["tradeoff"]) == 1


@pytest.mark.parametrize("networks", [0, 1, 4])
def test_a_study_of_dense_networks_alone_has_no_slopes(tmp_path: Path, networks: int) -> None:
    """None is left where every fine-tuning failed, and none at all where all training did."""
    study = synthetic.random_study({})
    of_dense = {
        name: rows[(rows["method"] == DENSE) & (rows["seed"] < networks)]
        for name, rows in study.items()
    }
    lost = study["networks"][study["networks"]["method"] == CONTROL].assign(
        accuracy=np.nan, alpha=np.nan, failure="the loss is nan"
    )
    of_dense["networks"] = pd.concat([of_dense["networks"], lost], ignore_index=True)
    found = written(tmp_path, of_dense)
    assert len(found["accuracy"]) == (1 if networks else 0)
    assert len(found["dense_classes"]) == (4 if networks else 0)
    # A network that failed has not learned.
    assert found["learning"]["learn"].tolist() == ([1.0, 0.0] if networks else [0.0])
    of_dense_too = {
        "accuracy",
        "dense_classes",
        "measures",
        "class_tests",
        "class_counts",
        "learning",
    }
    others = set(VIEWS) - of_dense_too - {"class_measures"}
    assert all(found[name].empty for name in (*others, "tests"))
    assert not found["estimates"]["leads"].any()
    of_others = found["estimates"][found["estimates"]["quantity"] != SHARE_THAT_LEARNS]
    assert set(of_others["method"]) <= {DENSE, RESEED}


def test_a_missing_column_names_the_file(tmp_path: Path) -> None:
    study = synthetic.random_study({"magnitude": [2]})
    paths = {name: tmp_path / f"{name}.csv" for name in study}
    study["recall"].drop(columns="balance").to_csv(paths["recall"], index=False)
    write_table(paths["networks"], "networks", study["networks"])
    with pytest.raises(TableError, match=r"recall\.csv lacks the column balance"):
        write_estimates(*paths.values(), {}, architectures=ARCHITECTURES)
