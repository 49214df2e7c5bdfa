"""A study that measures curvature, dead units, masks, by the workflow: its jobs and their files."""

from __future__ import annotations

import pandas as pd
import pytest

from recall_distortion.tables.schema import CURVATURE, DEAD_UNITS
from tests.workflow.conftest import NOTHING, Project

STUDY = ("--config", "study=test")


@pytest.mark.slow
def test_a_finished_study_that_asks_for_it_computes_that_alone(finished_copy: Project) -> None:
    study = finished_copy.folder / "config/studies/test.yaml"
    text = study.read_text()
    assert text.count("curvature: null\n") == 1
    results = finished_copy.folder / "results/test"
    plain = pd.read_csv(results / "tables/networks.csv")
    counting = text.replace("dead_units: false", "dead_units: true")
    asked = counting.replace("curvature: null", "curvature: {images: 60, eigenvalues: 3}")
    study.write_text(asked)
    planned = finished_copy.planned(*STUDY)
    assert planned["curvature"] == planned["dead_units"] == 2 * 3  # dense, control, magnitude
    assert {"measure", "estimate", "report"} <= planned.keys()
    assert not {"prepare", "train", "compress", "evaluate"} & planned.keys()

    finished_copy.snakemake(*STUDY)
    names = [column.name for column in (*CURVATURE, *DEAD_UNITS)]
    networks = pd.read_csv(results / "tables/networks.csv")
    pd.testing.assert_frame_equal(networks.drop(columns=names), plain)
    assert networks[names].notna().all(axis=None)
    assert "Curvature of the loss" in (results / "report.html").read_text("utf-8")
    assert not (results / "unfinished").exists()
    assert NOTHING in finished_copy.snakemake("-n", *STUDY)

    # More eigenvalues are measured anew; without the keys the tables are what they were.
    study.write_text(asked.replace("eigenvalues: 3", "eigenvalues: 4"))
    planned = finished_copy.planned(*STUDY)
    assert planned["curvature"] == 6
    assert "dead_units" not in planned
    study.write_text(text)
    planned = finished_copy.planned(*STUDY)
    assert "measure" in planned
    others = {"curvature", "dead_units", "prepare", "train", "compress", "evaluate"}
    assert not others & planned.keys()


@pytest.mark.slow
def test_a_finished_study_compares_masks_where_it_names_pairs(finished_copy: Project) -> None:
    study = finished_copy.folder / "config/studies/test.yaml"
    text = study.read_text().replace("[control, magnitude]", "[control, magnitude, mine]")
    text = text.replace("methods: {}", "methods: {mine: {criterion: random, ratios: [2]}}")
    study.write_text(text.replace("pairs: []", "pairs: [[magnitude, mine]]"))
    planned = finished_copy.planned(*STUDY)
    # What the added method needs in two blocks, and one job that compares.
    assert [planned[name] for name in ("compress", "evaluate", "mask_overlap")] == [2, 2, 1]
    assert {"measure", "estimate", "report"} <= planned.keys()
    path = "results/test/predictions/digits/mlp/tiny/mask_overlap.csv"
    finished_copy.snakemake(path, *STUDY)
    table = pd.read_csv(finished_copy.folder / path)
    assert table["seed"].tolist() == [0, 1, 2]
    assert set(table["mask_other"]) == {"mine"}
    # A pair the other way round is compared anew; without pairs nothing is.
    study.write_text(text.replace("pairs: []", "pairs: [[mine, magnitude]]"))
    assert finished_copy.planned(*STUDY)["mask_overlap"] == 1
    study.write_text(text)
    assert "mask_overlap" not in finished_copy.planned(*STUDY)
