"""A study that quantizes, by the workflow and by one process, from its file to its page."""

from __future__ import annotations

import sys

import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import NOTHING, Project

METHODS = ["control", "magnitude", "float16", "int8_static", "int4_weights", "magnitude_int8"]
STUDY = ("--config", "study=test")


def quantize(project: Project) -> None:
    """Let the test study quantize, besides what it does, in few jobs."""
    path = project.folder / "config/studies/test.yaml"
    study = yaml.safe_load(path.read_text())
    own = {"weights": "int8", "activations": "static", "of": "magnitude"}
    study["methods"] = {"magnitude_int8": own}
    study["panels"][0]["methods"] = METHODS
    study["jobs"] = {
        "replicates": 3,
        "ratios": 3,
        "bundles": {"both": METHODS[:2], "few_bits": METHODS[2:]},
    }
    path.write_text(yaml.safe_dump(study, sort_keys=False))


@pytest.mark.slow
def test_a_study_that_quantizes_runs_to_its_page_and_by_one_process(project: Project) -> None:
    quantize(project)
    assert project.planned(*STUDY)["quantize"] == 2  # ratios 2, 4 and 8; then 40
    project.snakemake(*STUDY)
    results = project.folder / "results/test"
    page = (results / "report.html").read_text("utf-8")
    section = page.partition('<section id="quantized">')[2].partition("</section>")[0]
    assert "<td>magnitude at 10</td>" in section
    networks = pd.read_csv(results / "tables/networks.csv")
    assert set(networks.loc[networks["bits"].notna(), "method"]) == set(METHODS[2:])
    assert NOTHING in project.snakemake("-n", *STUDY)

    # Editing what quantizes trains nothing and leaves all other predictions.
    code = project.folder / "src/recall_distortion/compression/quantization/arithmetic.py"
    before = code.read_text()
    code.write_text(before + "\n\nEDITED = 1\n")
    planned = project.planned(*STUDY)
    assert (planned["quantize"], planned["evaluate"]) == (2, 1)
    assert not planned.keys() & {"train", "compress"}
    code.write_text(before)

    made = [*results.glob("predictions/**/*.safetensors"), *results.glob("compressed/**/*.*")]
    made = [path for path in made if not path.name.endswith("history.csv")]
    assert len(made) == 3 + 1 + 2 * 3  # predictions; what was counted at removals
    wanted = {path: path.read_bytes() for path in made}
    for path in made:
        path.unlink()
    command = (sys.executable, "-m", "recall_distortion.command")
    plan = project.run(*command, "plan", "test", "--untimed").stdout
    (project.folder / "plan.json").write_text(plan[plan.index("{") : plan.rindex("}") + 1])
    project.run(*command, "run", "plan.json", "--gpus", "0")
    assert {path: path.read_bytes() for path in made} == wanted
