"""docs/your-network.md, walked: its networks through a whole study, to the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from core_helpers import REPOSITORY

from recall_distortion.compression.channel_ratios import fraction_of_channels, widths
from recall_distortion.configuration import configure
from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.fit import write_fits, write_mixed_models
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.inference.jobs.populations import write_populations
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.networks import structure
from recall_distortion.report import build_report
from recall_distortion.run import jobs, planned, work
from recall_distortion.study import Study
from recall_distortion.tables.schema import SUMMARIZED, TABLES

PAGE = REPOSITORY / "docs/your-network.md"


def block(language: str) -> str:
    return re.search(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)[1]


def infer(study: Study, results: Path) -> Path:
    """Take a study's predictions to its page, as the workflow does; one fitter is enough here."""
    folder = results / "tables"
    folder.mkdir()
    paths = {name: folder / f"{name}.csv" for name in TABLES}
    predictions = sorted(results.glob("predictions/**/*.safetensors"))
    measured = paths["recall"], paths["networks"]
    write_measures(predictions, sorted(results.glob("compressed/**/*.sparsity.csv")), *measured)
    populations = folder / "populations.csv"
    write_populations(predictions, populations, paths["images"])
    write_estimates(*measured, paths, architectures=study.series(), predictions=predictions,
                    populations=populations)  # fmt: skip
    (fit,) = study.fits().values()
    pair = folder / "coefficients", folder / "fit"
    write_fits(*measured, fit["networks"], "statsmodels", *pair)
    write_mixed_models([pair[0]], [pair[1]], paths["mixed_models"], paths["mixed_model_fits"])
    write_summary(*(paths[name] for name in (*SUMMARIZED, "summary")))
    build_report(folder, results / "report.html", study=study.facts())
    return folder


@pytest.mark.slow
def test_the_networks_of_the_page_go_through_a_whole_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    beside = Path("config/studies")
    beside.mkdir(parents=True)
    (beside / "my_models.py").write_text(block("python"), encoding="utf-8")
    (beside / "mine.yaml").write_text(block("yaml"), encoding="utf-8")
    study = configure({"study": "mine", "gpus": 0}).study
    Path("plan.json").write_text(planned.plan(study).text(), encoding="utf-8")
    plan = jobs.read_plan("plan.json")
    assert work.work(plan, gpus=0, data_root="data") == work.DONE
    results = Path("results/mine")
    assert {path.name for path in results.glob("networks/*")} == {
        "transformer-digits.json", "mobile-digits.json",
    }  # fmt: skip

    networks = pd.read_csv(infer(study, results) / "networks.csv")
    pruned = networks.query("method == 'magnitude' and state == 'retrained'")
    assert pruned.groupby("architecture").size().to_dict() == {"mobile": 3, "transformer": 3}
    for name, own in pruned.groupby("architecture"):
        found = json.loads((results / f"networks/{name}-digits.json").read_text("utf-8"))["found"]
        assert set(own["prunable"]) == {found["counts"]["prunable_weights"]}
        assert set(own["kept_prunable"]) == {round(found["counts"]["prunable_weights"] / 4)}
        assert own["alpha"].notna().all()
    smaller = networks.query("method == 'units' and state == 'retrained'")
    for name, own in smaller.groupby("architecture"):
        found = json.loads((results / f"networks/{name}-digits.json").read_text("utf-8"))["found"]
        layers = structure.read(found["layers"])
        left = widths(layers, fraction_of_channels(layers, 1.5, "prunable"))
        assert set(own["kept_total"]) == {structure.counts(layers, left).total}
        assert set(own["multiply_adds"]) == {structure.multiply_adds(layers, left)}
    assert len(smaller) == 6
    page = (results / "report.html").read_text("utf-8")
    assert "transformer on digits" in page
    assert "mobile on digits" in page

    # What is made is kept, and an edit of the code has these networks trained again.
    capsys.readouterr()
    assert work.work(planned.plan(study), gpus=0, data_root="data") == work.DONE
    assert "0 of 17 jobs are to be done" in capsys.readouterr().out
    text = (beside / "my_models.py").read_text("utf-8")
    (beside / "my_models.py").write_text(f"# Seen.\n{text}", encoding="utf-8")
    again = planned.plan(configure({"study": "mine", "gpus": 0}).study)
    assert [job.word for job in again.jobs] == [job.word for job in plan.jobs]
    (beside / "my_models.py").write_text(text.replace("nn.GELU", "nn.ReLU"), encoding="utf-8")
    again = planned.plan(configure({"study": "mine", "gpus": 0}).study)
    same = [a.word == b.word for a, b in zip(again.jobs, plan.jobs, strict=True)]
    assert same == [True] + [False] * 16  # all but the data
