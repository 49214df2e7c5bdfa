"""The numbers that the report hands to other programs: metrics.json and plots.csv."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from report_tables import SMALL, change, make

from recall_distortion.report import exports, metrics, write_plot_data
from recall_distortion.report.tables import read, read_tables
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import CONTROL, RETRAINED, VERDICTS

FIRST_COLUMNS = [
    "dataset", "architecture", "recipe", "panel", "method", "ratio", "alpha", "low", "high",
    "accuracy",
]  # fmt: skip


def test_metrics_are_finite_numbers_only(small_tables: Path) -> None:
    found = metrics(small_tables)
    json.dumps(found, allow_nan=False)
    panel = found["digits"]["mlp"]
    recall = read(small_tables, "recall")
    dense = recall[recall["method"] == "dense"].drop_duplicates("seed")
    assert panel["dense_accuracy"] == pytest.approx(dense["accuracy"].mean())
    assert set(panel) == {"dense_accuracy", "control_alpha", "cells", "effects", "failures"}
    leading = read_tables(small_tables).leading
    cells = leading[leading["method"].isin(SMALL["methods"])]
    assert panel["cells"] == {
        verdict: (cells["alpha_verdict"] == verdict).sum() for verdict in VERDICTS
    }
    assert list(panel["effects"]) == [
        "intensifies", "de_intensifies", "as_control", "not_distinguishable"
    ]  # fmt: skip
    assert sum(panel["effects"].values()) == 4
    assert panel["effects"]["as_control"] == (cells["reading"] == "as the control").sum()
    control = leading.loc[leading["method"] == CONTROL, "alpha"]
    assert panel["control_alpha"] == control.iloc[0]
    assert panel["failures"] == 1
    assert isinstance(panel["failures"], int)


def test_metrics_are_what_the_summary_says(small_tables: Path, tmp_path: Path) -> None:
    make(tmp_path)
    summary = read(tmp_path, "summary")
    rows = (summary["section"] == "metrics") & (summary["item"] == "dense_accuracy")
    assert rows.sum() == 1
    path = tmp_path / "summary.csv"
    summary.loc[rows, "value"] = 1.0
    summary.to_csv(path, index=False)
    accuracy = metrics(tmp_path)["digits"]["mlp"]["dense_accuracy"]
    assert accuracy == 1.0
    assert isinstance(accuracy, float)
    summary[~rows].to_csv(path, index=False)
    assert "dense_accuracy" not in metrics(tmp_path)["digits"]["mlp"]


def test_without_a_control_there_are_no_effects(tmp_path: Path) -> None:
    make(tmp_path, control=False)
    panel = metrics(tmp_path)["digits"]["mlp"]
    assert "effects" not in panel
    assert "control_alpha" not in panel
    write_plot_data(tmp_path, tmp_path / "plots.csv")
    table = pd.read_csv(tmp_path / "plots.csv")
    assert list(table.columns) == exports.PLOT_COLUMNS
    assert table["difference"].isna().all()


def test_plot_data(small_tables: Path, tmp_path: Path) -> None:
    write_plot_data(small_tables, tmp_path / "plots.csv")
    table = pd.read_csv(tmp_path / "plots.csv")
    assert list(table.columns) == exports.PLOT_COLUMNS
    # The plot's template names these.
    assert list(table.columns)[:10] == FIRST_COLUMNS
    assert table.loc[table["method"] != "control", "difference"].notna().all()
    assert len(table) == 5  # four cells and the control
    assert set(table["panel"]) == {"digits / mlp"}
    recall = read(small_tables, "recall")
    cell = recall[(recall["method"] == "random") & (recall["ratio"] == 10)]
    cell = cell[cell["state"] == RETRAINED].drop_duplicates("seed")
    own = table[(table["method"] == "random") & (table["ratio"] == 10)].iloc[0]
    assert own["accuracy"] == pytest.approx(cell["accuracy"].mean())
    assert table["ratio"].dtype.kind == "i"


@pytest.mark.slow
def test_plots_show_what_leads_and_each_of_their_numbers_stands_in_estimates(
    large_tables: Path, tmp_path: Path
) -> None:
    write_plot_data(large_tables, tmp_path / "plots.csv")
    table = pd.read_csv(tmp_path / "plots.csv")
    estimates = read(large_tables, "estimates")
    means = estimates["estimator"] == "mean"
    known = estimates[estimates["leads"] | (means & (estimates["quantity"] == "accuracy"))]
    # The means of single networks' slopes are read nowhere in this study: its test set is small.
    assert set(table["basis"]) == {"cross-fitted"}
    numbers = table.drop(columns="ratio").select_dtypes("number")
    assert len(numbers.columns) == 7
    stored = set(known[["estimate", "low", "high"]].stack())
    assert [number for number in numbers.stack().dropna() if number not in stored] == []


def test_ratios_that_are_not_whole_stay(tmp_path: Path) -> None:
    make(tmp_path, ratios=(2.5, 4.0))
    write_plot_data(tmp_path, tmp_path / "plots.csv")
    assert set(pd.read_csv(tmp_path / "plots.csv")["ratio"]) == {1.0, 2.5, 4.0}


def test_metrics_need_the_summary(tmp_path: Path) -> None:
    make(tmp_path)
    change(tmp_path, "networks", lambda table: table[table["failure"] == ""])
    assert metrics(tmp_path)["digits"]["mlp"]["failures"] == 0
    (tmp_path / "summary.csv").unlink()
    with pytest.raises(TableError, match=r"summary\.csv: no such table; run the study again"):
        metrics(tmp_path)


@pytest.mark.slow
def test_several_recipes_of_a_network_are_told_apart(tmp_path: Path) -> None:
    make(tmp_path, recipes=("long", "short"))
    found = metrics(tmp_path)
    assert list(found["digits"]["mlp"]) == ["long", "short"]
    assert found["digits"]["mlp"]["long"] != found["digits"]["mlp"]["short"]
    table = exports.plot_data(read_tables(tmp_path))
    assert set(table["panel"]) == {"digits / mlp / long", "digits / mlp / short"}
