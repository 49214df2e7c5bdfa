"""The test study through the real workflow: its tables, its reruns, its errors."""

from __future__ import annotations

import json
import os
import re
import signal
import string
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file

from recall_distortion.measures.of_networks import FURTHER
from recall_distortion.study import load
from recall_distortion.tables import schema
from tests.workflow.conftest import COMMAND, NOTHING, PROJECT, Project

STUDIES = sorted(path.stem for path in (PROJECT / "config/studies").glob("*.yaml"))


def read(project: Project, name: str) -> pd.DataFrame:
    return pd.read_csv(project.folder / f"results/test/tables/{name}.csv")


def test_tables_have_the_contracts_columns(finished: Project) -> None:
    for name, table in schema.TABLES.items():
        further = (
            [column.name for column in (*FURTHER, *schema.COUNTED, *schema.STABILITY)]
            if name == "networks"
            else []
        )
        assert list(read(finished, name).columns) == [*table.names, *further]


def test_every_cell_state_and_seed_is_there(finished: Project) -> None:
    recall = read(finished, "recall")
    found = recall.groupby(["method", "ratio", "state"])["seed"].agg(lambda s: sorted(set(s)))
    expected = {
        ("dense", 1, "dense"),
        ("control", 1, "retrained"),
        *(
            ("magnitude", ratio, state)
            for ratio in (2, 10)
            for state in ("compressed", "retrained")
        ),
    }
    assert set(found.index) == expected
    assert all(seeds == [0, 1, 2] for seeds in found)
    assert (recall.groupby(["method", "ratio", "state", "seed"]).size() == 10).all()


def test_tables_follow_from_the_predictions(finished: Project) -> None:
    """Recall, balance and alpha recomputed from the files of predictions without the package."""
    folder = finished.folder / "results/test/predictions/digits/mlp/tiny"
    normalized = {}
    for path in sorted(folder.glob("*/*.safetensors")):
        first = int(path.stem.split("-")[1])
        arrays = load_file(path)
        labels = arrays["labels"]
        for key in arrays:
            if key.endswith("/predicted"):
                for row, predicted in enumerate(arrays[key]):
                    accuracy = np.mean(predicted == labels)
                    recalls = [np.mean(predicted[labels == c] == c) for c in range(10)]
                    normalized[(*key.split("/")[:3], first + row)] = (
                        np.array(recalls) - accuracy
                    ) / accuracy
    table = read(finished, "recall")
    for (method, ratio, state, seed), rows in table.groupby(["method", "ratio", "state", "seed"]):
        np.testing.assert_allclose(
            rows["normalized_balance"], normalized[method, str(ratio), state, seed], atol=1e-12
        )
    networks = read(finished, "networks")
    alpha = networks[networks["method"] != "dense"]
    # Of three dense networks the first two make a pair.
    assert list(alpha.loc[alpha["method"] == "reseed", "seed"]) == [0]
    for row in alpha.itertuples():
        before = normalized["dense", "1", "dense", row.seed]
        other = ("dense", "1", "dense", row.seed + 1)
        same = (row.method, str(row.ratio), row.state, row.seed)
        after = normalized[other if row.method == "reseed" else same]
        expected = np.linalg.lstsq(before[:, None], after, rcond=None)[0][0]
        assert row.alpha == pytest.approx(expected, rel=1e-9)


def test_sparsity_counts_the_zeros_of_the_weights(finished: Project) -> None:
    networks = read(finished, "networks")
    pruned = networks[networks["state"] == "compressed"]
    sparsity = pruned.set_index(["ratio", "seed"])
    folder = finished.folder / "results/test/compressed/digits/mlp/tiny/magnitude"
    for path in sorted(folder.glob("*/*.safetensors")):
        ratio, first = int(path.parent.name), int(path.stem.split("-")[1])
        weights = load_file(path)
        names = [name for name in weights if name.startswith(f"mask/magnitude/{ratio}/")]
        for index in range(len(weights[names[0]])):
            row = sparsity.loc[(ratio, first + index)]
            kept = sum(int(weights[name][index].sum()) for name in names)
            assert kept == row["kept_prunable"] == round(3072 / ratio)
            for name in names:
                values = weights[name.replace("mask/", "retrained/")][index]
                assert (values[weights[name][index] == 0] == 0).all()


def test_every_figure_of_the_metrics_is_a_finite_number(finished: Project) -> None:
    def numbers(value) -> list:
        if isinstance(value, dict):
            return [number for part in value.values() for number in numbers(part)]
        return [value]

    found = numbers(json.loads((finished.folder / "results/test/metrics.json").read_text()))
    assert found
    assert all(np.isfinite(found))


def test_a_second_run_does_nothing_and_a_touched_file_neither(finished_copy: Project) -> None:
    os.utime(finished_copy.folder / "src/recall_distortion/training/loop.py")
    said = finished_copy.run(*COMMAND, "--config", "study=test").stdout
    assert NOTHING in said
    page = finished_copy.folder / "results/test/report.html"
    assert said.splitlines()[-1] == f"The report: {page.resolve()}"


def test_an_added_ratio_reruns_only_what_depends_on_it(finished_copy: Project) -> None:
    study = finished_copy.folder / "config/studies/test.yaml"
    study.write_text(study.read_text().replace("ratios: [2, 10]", "ratios: [2, 5, 10]"))
    plan = finished_copy.snakemake("-n", "--config", "study=test")
    compressed = [line for line in plan.splitlines() if "Compressing" in line]
    assert len(compressed) == 2  # two blocks of seeds
    assert all("ratio 5" in line for line in compressed)
    assert not [line for line in plan.splitlines() if "Training" in line or "Preparing" in line]


def test_a_bundle_with_the_control_gives_the_same_tables_in_fewer_jobs(
    finished_copy: Project, finished: Project
) -> None:
    study = finished_copy.folder / "config/studies/test.yaml"
    text = study.read_text()
    assert text.endswith("jobs:\n  replicates: 2\n")
    text += "  bundles:\n    both: [magnitude, control]\n"

    def compressing(printed: str) -> list[str]:
        assert "Training" not in printed
        found = re.findall(r"Compressing mlp on digits \(tiny\) by (.*), seeds-000-001", printed)
        return sorted(set(found))

    study.write_text(text + "  ratios: 2\n")
    printed = finished_copy.snakemake("measure_all", "--config", "study=test")
    assert compressing(printed) == ["both at ratio 1-2", "both at ratio 10"]
    recall, before = (read(one, "recall") for one in (finished_copy, finished))
    # Other networks at once round otherwise, which moves no label here, and a loss, kept in half
    # precision, by a step at most.
    soft = ["mean_loss", "confidence"]
    # A probability at the boundary of a bin may fall into the next.
    binned = ["calibration_error"]
    assert recall.drop(columns=soft + binned).equals(before.drop(columns=soft + binned))
    np.testing.assert_allclose(recall[binned], before[binned], atol=0.05)
    np.testing.assert_allclose(recall[soft], before[soft], rtol=2**-10, atol=2**-10)
    # How many networks are vectorized at once follows from how many a job has.
    networks, before = (read(one, "networks") for one in (finished_copy, finished))
    soft = ["calibration_error", "uncertainty", "excess_loss_range"]
    exact = ["engine", *soft]
    assert networks.drop(columns=exact).equals(before.drop(columns=exact))
    np.testing.assert_allclose(networks[soft], before[soft], atol=0.01)
    # One ratio a job again: that of ratio 10 carried it alone before, too.
    study.write_text(text)
    plan = finished_copy.snakemake("-n", "measure_all", "--config", "study=test")
    assert compressing(plan) == ["both at ratio 1", "both at ratio 2"]


@pytest.mark.slow
def test_a_method_with_ratios_of_its_own_is_run_and_shown_at_these(finished_copy: Project) -> None:
    """At one that the others lack, and not at all of theirs; tables, figures and the page cope."""
    path = finished_copy.folder / "config/studies/test.yaml"
    own = "methods:\n  few: {criterion: random, ratios: [5, 2]}\n"
    text = path.read_text().replace("methods: {}\n", own)
    path.write_text(text.replace("[control, magnitude]", "[control, magnitude, few]"))
    planned = finished_copy.planned("--config", "study=test")
    assert (planned["compress"], planned["evaluate"]) == (4, 2)
    assert "train" not in planned
    finished_copy.snakemake("--config", "study=test")
    networks = read(finished_copy, "networks")
    cells = networks[networks["state"] == "retrained"].groupby("method")["ratio"].unique()
    assert {method: sorted(ratios) for method, ratios in cells.items()} == {
        "control": [1],
        "few": [2, 5],
        "magnitude": [2, 10],
    }
    tests = read(finished_copy, "tests")
    compared = tests[tests["question"] == "method"]
    assert set(compared["ratio"]) == {2}  # where both are
    page = (finished_copy.folder / "results/test/report.html").read_text(encoding="utf-8")
    assert "at ratios of its own: 2 and 5" in page
    assert NOTHING in finished_copy.snakemake("-n", "--config", "study=test")


def test_added_seeds_train_only_their_own_block(finished_copy: Project) -> None:
    study = finished_copy.folder / "config/studies/test.yaml"
    study.write_text(study.read_text().replace("seeds: 3", "seeds: 4"))
    plan = finished_copy.snakemake("-n", "--config", "study=test")
    trained = [line for line in plan.splitlines() if "Training" in line]
    assert len(trained) == 1
    assert "seeds-002-003" in trained[0]


def test_an_edit_of_the_code_reruns_what_it_decides(finished_copy: Project) -> None:
    path = finished_copy.folder / "src/recall_distortion/measures/distortion.py"
    path.write_text(path.read_text() + "\nEDITED = True\n")
    plan = finished_copy.snakemake("-n", "--config", "study=test")
    assert "Measuring recall distortion" in plan
    assert "Training" not in plan
    assert "Evaluating" not in plan


@pytest.mark.parametrize("study", STUDIES)
def test_every_shipped_study_can_be_planned(project: Project, study: str) -> None:
    for dataset in load(PROJECT / f"config/studies/{study}.yaml").datasets.values():
        if dataset.path:  # of images that are not part of the project
            for name in string.ascii_lowercase[:10]:
                for part in ("train", "test"):
                    image = project.folder / dataset.path / part / name / "1.png"
                    image.parent.mkdir(parents=True)
                    Image.new("RGB", (32, 32)).save(image)
    plan = project.snakemake("-n", "--config", f"study={study}", "gpus=0")
    cells = len(list(load(PROJECT / f"config/studies/{study}.yaml").cells()))
    assert cells > 1
    assert "Compressing" in plan


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["study=nowhere"], ["no study 'nowhere'", "digits", "fashion_mnist"]),
        (["study=test", "seeds=0"], ["key 'seeds'", "greater than or equal to 1"]),
        (["study=test", "sedes=4"], ["'sedes' is unknown", "seeds"]),
        (["study=test", "ratios=[2,10000]"], ["'ratios'", "mlp on digits", "largest feasible"]),
        (["study=test", "seeds=[1"], ["'seeds'", "is not a value"]),
        (["study=test", "panels=[]"], ["'panels'", "config/studies"]),
        (["study=test", "data_root="], ["data_root"]),
    ],
)
def test_a_wrong_override_stops_before_any_job(
    project: Project, arguments: list[str], expected: list[str]
) -> None:
    printed = project.snakemake("--config", *arguments, check=False)
    for part in expected:
        assert part in printed
    assert "Traceback" not in printed
    assert not (project.folder / "results").exists()


def test_a_list_can_be_overridden(project: Project) -> None:
    plan = project.snakemake("-n", "--config", "study=test", "ratios=[2,4]")
    assert "results/test+ratios=2,4/compressed/digits/mlp/tiny/magnitude/4/" in plan


def test_an_overridden_list_of_ratios_is_grouped_anew(project: Project) -> None:
    plan = project.snakemake("-n", "--config", "study=digits", "ratios=[2,4.5]", "seeds=3")
    results = "results/digits+ratios=2,4.5+seeds=3"
    assert f"{results}/compressed/digits/cnn/small/all/1-2-4.5/seeds-000-002.safetensors" in plan
    assert plan.count("Compressing") == 2  # one job a network


def test_an_override_has_its_own_folder(project: Project) -> None:
    plan = project.snakemake("-n", "--config", "study=test", "seeds=2")
    assert "results/test+seeds=2/" in plan
    assert "results/test/" not in plan


def test_a_failing_job_ends_in_the_reason(finished_copy: Project) -> None:
    path = finished_copy.folder / "results/test/dense/digits/mlp/tiny/seeds-000-001.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    printed = finished_copy.snakemake(
        "--config", "study=test", "--forcerun", "evaluate", "--rerun-triggers", "mtime", check=False
    )
    assert f"error: {path.relative_to(finished_copy.folder)}: damaged" in printed
    assert "run the study again" in printed


def test_an_interrupted_study_is_finished_by_the_next_run(
    project: Project, finished: Project
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(project.folder / "src")}
    with open(project.folder / "first.log", "w") as log:
        process = subprocess.Popen(
            ["snakemake", "--cores", "2", "--config", "study=test"],
            cwd=project.folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Whoever runs the tests in the background has Ctrl-C ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        trained = project.folder / "results/test/dense/digits/mlp/tiny/seeds-000-001.safetensors"
        deadline = time.monotonic() + 300
        while not trained.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        # What Ctrl-C in a terminal sends: an interrupt to the whole process group.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=300)
    assert process.returncode != 0
    said = (project.folder / "first.log").read_text().splitlines()
    assert said[-1] == "Stopped by Ctrl-C. The same command goes on from here."
    assert not list(project.folder.rglob(".partial-*"))
    project.snakemake("measure_all", "--config", "study=test")
    for name in ("recall", "networks"):
        path = Path(f"results/test/tables/{name}.csv")
        assert (project.folder / path).read_bytes() == (finished.folder / path).read_bytes()


def test_snakemakes_own_report_has_captions(finished_copy: Project) -> None:
    finished_copy.snakemake("--config", "study=test", "--report", "snakemake.html")
    page = (finished_copy.folder / "snakemake.html").read_text()
    assert "Slope alpha of the normalized recall balances" in page
