"""What is told of each cell besides its slope: accuracy, classes, sparsity, intercepts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions.accuracy import accuracy
from recall_distortion.inference.questions.classes import class_changes, dense_classes
from recall_distortion.inference.questions.intercepts import intercepts
from recall_distortion.inference.questions.sparsity import sparsity
from recall_distortion.simulation import Cell, Design
from recall_distortion.simulation import study as simulated_study
from recall_distortion.system.errors import TableError
from recall_distortion.tables.views import melt, spread
from recall_distortion.vocabulary import CELL_STATE, CONTROL, DENSE, RESEED
from tests import synthetic


def study(**options) -> synthetic.Tables:
    return synthetic.random_study({"magnitude": [2, 4]}, seeds=7, classes=3, **options)


def rows_of(table: pd.DataFrame, row: dict, *more: str) -> pd.DataFrame:
    keys = [*CELL_STATE, *more]
    return table[(table[keys] == [row[key] for key in keys]).all(axis=1)]


def same(row: dict, values: np.ndarray, estimate: str, level: float) -> None:
    """Assert that a row has mean, t interval, standard error and n of values, as scipy does."""
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert row[estimate] == pytest.approx(np.mean(values), rel=1e-9, abs=1e-15)
    assert row["std_error"] == pytest.approx(stats.sem(values), rel=1e-9)
    assert (row["n"], row["df"], row["level"]) == (len(values), len(values) - 1, level)
    assert (row.get("low", row.get("intercept_low")), row.get("high", row.get("intercept_high"))) \
        == pytest.approx((low, high), rel=1e-9)  # fmt: skip


def test_accuracies_and_variances_of_every_state() -> None:
    recall = study()["recall"]
    found = accuracy(recall, 0.9).to_dict("records")
    cells = recall[CELL_STATE].drop_duplicates().to_numpy().tolist()
    assert [[row[key] for key in CELL_STATE] for row in found] == cells
    assert len(found) == 1 + 1 + 2 * 2
    for row in found:
        own = rows_of(recall, row)
        same(row, own.groupby("seed")["accuracy"].first().to_numpy(), "mean", 0.9)
        assert row["variance"] == pytest.approx((own["balance"] ** 2).mean(), rel=1e-9)
    with pytest.raises(TableError, match="lacks the column balance"):
        accuracy(recall.drop(columns="balance"))
    with pytest.raises(TableError, match="between 0 and 1"):
        accuracy(recall, 99)


def test_what_retraining_changed_of_each_class_is_paired_by_seed() -> None:
    recall = study(names=["b", "NA", "a"])["recall"]
    lost = (recall["method"] == "magnitude") & (recall["ratio"] == 4) & (recall["seed"] == 2)
    recall = recall[~lost]
    dense = recall[recall["method"] == DENSE].set_index(["class", "seed"])["recall"]
    found = class_changes(recall, 0.9).to_dict("records")
    assert len(found) == 3 * (1 + 2 * 2)
    for row in found:
        own = rows_of(recall, row, "class").set_index(["class", "seed"])["recall"]
        before = dense[own.index]
        same(row, (own - before).to_numpy(), "change", 0.9)
        assert row["before"] == pytest.approx(before.mean())
        assert row["n"] == (6 if row["ratio"] == 4 else 7)
        assert row["class_name"] == ["b", "NA", "a"][row["class"]]


def test_recalls_of_the_dense_networks() -> None:
    recall = study()["recall"]
    found = dense_classes(recall, 0.9).to_dict("records")
    assert [row["class"] for row in found] == [0, 1, 2]
    for row in found:
        assert row["method"] == row["state"] == DENSE
        same(row, rows_of(recall, row, "class")["recall"].to_numpy(), "mean", 0.9)


def test_one_replicate_has_means_only() -> None:
    made = synthetic.random_study({"magnitude": [2]}, seeds=1)
    tables = (
        accuracy(made["recall"]),
        class_changes(made["recall"]),
        dense_classes(made["recall"]),
        intercepts(made["networks"]).rename(columns={"intercept_low": "low"}),
    )
    for table in tables:
        assert table[["low", "std_error", "df"]].isna().all(axis=None)
        assert set(table["n"]) == {1}


def test_sparsity_over_the_networks_of_a_cell() -> None:
    networks = synthetic.with_sparsity(study()["networks"])
    assert sparsity(study()["networks"]).empty
    one = (networks["method"] == "magnitude") & (networks["seed"] == 3)
    networks.loc[one, "realised_ratio"] += 0.7
    found = sparsity(networks)
    assert set(found["method"]) == {"magnitude"}
    assert len(found) == 4
    for row in found.to_dict("records"):
        own = rows_of(networks, row)
        assert row["mean_ratio"] == pytest.approx(row["ratio"] + 0.1)
        assert row["min_ratio"] == row["ratio"]
        assert row["max_ratio"] == pytest.approx(row["ratio"] + 0.7)
        assert row["kept_prunable"] == own["kept_prunable"].mean() == 1000 / row["ratio"]
        assert row["kept_fraction"] == pytest.approx(1 / row["ratio"])
        assert (row["n"], row["prunable"], row["total"]) == (7, 1000, 1200)


def test_a_note_counts_the_networks_that_lost_a_layer() -> None:
    networks = synthetic.with_sparsity(study()["networks"])
    assert set(sparsity(networks)["note"]) == {""}
    networks["empty_layers"] = np.where(networks["realised_ratio"].notna(), 0, np.nan)
    assert set(sparsity(networks)["note"]) == {""}
    lost = (networks["ratio"] == 4) & networks["seed"].isin([3, 5])
    networks.loc[lost & networks["realised_ratio"].notna(), "empty_layers"] = [1, 2] * 2
    found = sparsity(networks)
    assert dict(zip(found["ratio"], found["note"], strict=False)) == {
        2: "",
        4: "layer collapse: 2 of 7 networks have a layer without any weight",
    }
    said = melt("sparsity", found)
    assert set(said.loc[said["note"] != "", "quantity"]) == {"realised ratio"}
    assert list(spread("sparsity", said)["note"]) == list(found["note"])


def test_intercepts_have_the_t_interval_of_their_mean() -> None:
    # With as many images in each class they would be zero by construction.
    design = Design((Cell(CONTROL, 1.0, 1.3),), seeds=8, classes=3, images=(40, 70, 20))
    networks = simulated_study(design, 1)["networks"]
    (row,) = intercepts(networks, 0.9).to_dict("records")
    assert row["method"] == CONTROL
    assert RESEED in set(networks["method"])
    own = rows_of(networks, row)
    same(row, own["intercept"].to_numpy(), "intercept", 0.9)
    assert row["slope_with_intercept"] == pytest.approx(own["slope_with_intercept"].mean())
    networks.loc[own.index[2], ["intercept", "slope_with_intercept"]] = np.nan
    (row,) = intercepts(networks, 0.9).to_dict("records")
    numbers = ["intercept", "intercept_low", "intercept_high", "slope_with_intercept"]
    assert np.isnan([row[name] for name in numbers]).all()
