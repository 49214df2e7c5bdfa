"""The section of the page about forgotten images and classes: its numbers are the tables'."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from test_population_tables import cells  # noqa: F401

from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.inference.jobs.populations import write_populations
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.report import build_report
from recall_distortion.report.html_tables import listing
from recall_distortion.report.tables import read_tables
from recall_distortion.tables.arranged import fairness_side_by_side
from recall_distortion.tables.files import write_table
from recall_distortion.tables.predictions import Predictions, write_predictions
from recall_distortion.tables.schema import COLUMNS, SUMMARIZED
from recall_distortion.vocabulary import CONTROL, RETRAINED


@pytest.fixture(scope="module")
def tables(cells: list[Predictions], tmp_path_factory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("tables")
    write_predictions(folder / "all.safetensors", cells)
    paths = {name: folder / f"{name}.csv" for name in (*SUMMARIZED, "summary", "images")}
    measured = paths["recall"], paths["networks"]
    write_measures([folder / "all.safetensors"], [], *measured, splits=2)
    write_populations([folder / "all.safetensors"], folder / "populations", paths["images"])
    images = {"fit": [1000, 300, 100, 30], "holdout": 20, "test": 40}
    classes = {"dataset": "digits", "class": range(4), "class_name": list("abcd")}
    frequencies = pd.DataFrame(classes | images)
    write_table(folder / "frequencies", "frequencies", frequencies)
    write_estimates(*measured, paths, architectures={}, populations=folder / "populations",
                    frequencies=folder / "frequencies")  # fmt: skip
    for name in ("mixed_models", "mixed_model_fits"):
        write_table(paths[name], name, pd.DataFrame(columns=COLUMNS[name]))
    write_summary(*(paths[name] for name in (*SUMMARIZED, "summary")))
    return folder


@pytest.fixture(scope="module")
def section(tables: Path) -> str:
    build_report(tables, tables / "report.html", study={})
    text = (tables / "report.html").read_text("utf-8")
    (found,) = re.findall(r'<section id="forgotten">(.*?)</section>', text, re.DOTALL)
    return found


@pytest.mark.slow
def test_the_first_thing_is_what_happens_without_compression(tables: Path, section: str) -> None:
    view = read_tables(tables).view("populations")
    control = view[(view["method"] == CONTROL) & (view["state"] == RETRAINED)].iloc[0]
    first = re.search(r"<p[^>]*><b>(.*?)</b>", section).group(1)
    share = f"{100 * control['share']:.1f}\N{NO-BREAK SPACE}%"
    assert first == (
        f"{control['pies']:.0f} of 150 test images ({share}) change their modal label without any "
        "compression"
    )
    reseed = view[view["method"] == "reseed"].iloc[0]
    assert f"differ on <b>{reseed['disjoint_median']:.0f}</b> images" in section
    compared = view["reading"] != ""
    assert compared.sum() == 1  # the others have too few seeds in common with the control
    assert "Of 1 pruned and fine-tuned cell," in section
    assert "Rare classes." in section


def test_its_counts_are_those_of_the_tables(tables: Path) -> None:
    data = read_tables(tables, (*SUMMARIZED, "summary"))
    found = data.numbers[data.panels[0]]
    counts = data.view("class_counts")
    counts = counts[counts["method"].isin(data.methods) & (counts["state"] == RETRAINED)]
    for test in ("published", "own", "paired", "control"):
        known = counts[counts[f"{test}_moved"].notna()]
        assert found["class_tests"][f"{test}/moved"] == known[f"{test}_moved"].sum()
        assert found["class_tests"][f"{test}/classes"] == 4 * len(known)
    measures = data.view("measures")
    worse = measures[measures["verdict"] == "worse"].groupby("measure").size()
    for measure, count in worse.items():
        assert found["fairness"][f"{measure}/worse"] == count


def test_measures_stand_side_by_side(tables: Path) -> None:
    measures = read_tables(tables).view("measures")
    wide = fairness_side_by_side(measures)
    said = measures[measures["verdict"] != ""]
    assert set(said["measure"]) <= set(wide.columns)
    for row in wide.to_dict("records"):
        own = said[(said["method"] == row["method"]) & (said["ratio"] == row["ratio"])]
        assert row["worse_by"] == (own["verdict"] == "worse").sum()
    assert listing("fairness", wide, columns=[]).title
    assert fairness_side_by_side(measures.iloc[:0]).empty
