"""A study that measures curvature, by the workflow: which jobs it adds, and what they write."""

from __future__ import annotations

import pandas as pd
import pytest

from recall_distortion.tables.schema import CURVATURE
from tests.workflow.conftest import NOTHING, Project

STUDY = ("--config", "study=test")


@pytest.mark.slow
def test_a_finished_study_that_asks_for_it_computes_that_alone(finished_copy: Project) -> None:
    study = finished_copy.folder / "config/studies/test.yaml"
    text = study.read_text()
    assert text.count("curvature: null\n") == 1
    results = finished_copy.folder / "results/test"
    plain = pd.read_csv(results / "tables/networks.csv")
    study.write_text(text.replace("curvature: null", "curvature: {images: 60, eigenvalues: 3}"))
    planned = finished_copy.planned(*STUDY)
    assert planned["curvature"] == 2 * 3  # blocks; dense, control, magnitude
    assert {"measure", "estimate", "report"} <= planned.keys()
    assert not {"prepare", "train", "compress", "evaluate"} & planned.keys()

    finished_copy.snakemake(*STUDY)
    names = [column.name for column in CURVATURE]
    networks = pd.read_csv(results / "tables/networks.csv")
    pd.testing.assert_frame_equal(networks.drop(columns=names), plain)
    assert networks[names].notna().all(axis=None)
    assert "Curvature of the loss" in (results / "report.html").read_text("utf-8")
    assert not (results / "unfinished").exists()
    assert NOTHING in finished_copy.snakemake("-n", *STUDY)

    # More eigenvalues are measured anew; without the key the tables are what they were.
    study.write_text(text.replace("curvature: null", "curvature: {images: 60, eigenvalues: 4}"))
    assert finished_copy.planned(*STUDY)["curvature"] == 6
    study.write_text(text)
    planned = finished_copy.planned(*STUDY)
    assert "measure" in planned
    assert not {"curvature", "prepare", "train", "compress", "evaluate"} & planned.keys()
