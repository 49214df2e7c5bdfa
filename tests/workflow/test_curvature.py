"""A study that measures curvature and dead units, by the workflow: its jobs, what they write."""

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
