"""A study's jobs without Snakemake: the same files as with it, where little is installed."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.workflow.conftest import PROJECT, Project

RESULTS = "results/test"
COMPUTED = ("data", "dense", "compressed", "predictions")
# A process finds torch, NumPy, pandas, safetensors and what these need, and nothing else.
HIDING = """
import re
import sys
from importlib import metadata
from importlib.machinery import PathFinder

def needed(names):
    found = set()
    while names:
        name = names.pop()
        try:
            parts = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another system
        found.add(name)
        plain = [part for part in parts if "extra ==" not in part]
        names |= {re.match(r"[\\w.-]+", part)[0] for part in plain} - found
    return {name.lower().replace("-", "_") for name in found}

KEPT = needed({"torch", "numpy", "pandas", "safetensors"})
OWNERS = metadata.packages_distributions()

def is_hidden(module):
    owners = {name.lower().replace("-", "_") for name in OWNERS.get(module, [])}
    return bool(owners) and owners.isdisjoint(KEPT | {"recall_distortion"})

class Rest(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if is_hidden(name.partition(".")[0]):
            return None
        return super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *context):
        for found in PathFinder.find_distributions(*context):
            if found.name.lower().replace("-", "_") in KEPT:
                yield found

sys.meta_path = [Rest if finder is PathFinder else finder for finder in sys.meta_path]
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the plan of the test study, as the command printed it."""
    command = [sys.executable, "-m", "recall_distortion.command", "plan", "test", "--untimed"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "test: 15 jobs\n"
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    path.write_text(done.stdout)
    return path


@pytest.fixture
def rented(tmp_path: Path, plan: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the command ``run`` in an empty folder of a machine that has four packages."""
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text(HIDING)
    path = os.pathsep.join([str(hiding), str(PROJECT / "src")])
    folder = tmp_path / "rented"
    folder.mkdir()

    def start(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "recall_distortion.command", "run", str(plan)]
        return subprocess.Popen(
            [*command, "--gpus", "0", *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def files(folder: Path) -> Iterator[Path]:
    """Yield the files that compute or hold networks, relative to a study's folder."""
    for part in COMPUTED:
        for path in sorted((folder / part).rglob("*")):
            if path.is_file():
                yield path.relative_to(folder)


def test_a_plan_says_of_each_job_what_snakemake_records(finished: Project, plan: Path) -> None:
    """Rule, inputs, outputs and parameters; a rule's code is Snakemake's alone."""
    jobs = json.loads(plan.read_text())["jobs"]
    recorded = json.loads((finished.folder / RESULTS / "provenance.json").read_text())["jobs"]
    expected = {}
    for made in recorded:
        record = made["record"]
        if record["rule"] not in ("prepare", "train", "compress", "evaluate"):
            continue
        values = [ast.literal_eval(text) for text in record["params"]]
        # Of these the plan has one for all its jobs, or none.
        values = [value for value in values if not is_code(value) and value is not False]
        expected[frozenset(made["outputs"])] = record["rule"], sorted(record["input"]), values
    assert len(expected) == len(jobs) == 15
    for job in jobs:
        rule, inputs, values = expected[frozenset(job["outputs"].values())]
        assert job["rule"] == rule
        read = [
            path
            for value in job["inputs"].values()
            for path in ([value] if isinstance(value, str) else value)
        ]
        assert sorted(read) == inputs
        own = [job["parameters"]] if rule == "prepare" else list(job["parameters"].values())
        assert sorted(map(repr, own)) == sorted(map(repr, values))


def is_code(value: object) -> bool:
    """Return whether a parameter is the words of a rule's code."""
    return isinstance(value, dict) and any(str(key).endswith(".py") for key in value)


@pytest.mark.slow
def test_broken_off_and_continued_it_makes_snakemake_s_bytes_with_four_packages(
    finished: Project, rented: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    results = tmp_path / "rented" / RESULTS
    # The digits come with scikit-learn, which is not there.
    refused = rented()
    said = refused.communicate(timeout=120)[0]
    assert refused.returncode == 1
    assert "preparing data needs" in said
    assert f"bring {RESULTS}/data/digits.safetensors" in said
    assert "15 jobs failed or need what failed" in said
    shutil.copytree(finished.folder / RESULTS / "data", results / "data")
    # Killed as soon as a job is done, then out of time wherever that is.
    killed = rented()
    for line in killed.stdout:
        if line.startswith("done"):
            killed.kill()
            break
    killed.wait()
    killed.stdout.close()
    assert json.loads((results / "made.json").read_text())
    brief = rented("--seconds", "0.01")
    said = brief.communicate(timeout=120)[0]
    assert brief.returncode == 3, said
    assert "the time is over" in said
    went_on = rented()
    said = went_on.communicate(timeout=120)[0]
    assert went_on.returncode == 0, said
    assert (
        said.splitlines()[-1] == f"everything is made; the predictions lie in {RESULTS}/predictions"
    )
    assert list(files(results)) == list(files(finished.folder / RESULTS))
    for path in files(results):
        same = (results / path).read_bytes() == (finished.folder / RESULTS / path).read_bytes()
        assert same, path
    assert not (results / "unfinished").exists()
    again = rented()
    assert "0 of 15 jobs are to be done" in again.communicate(timeout=120)[0]


@pytest.mark.slow
def test_predictions_alone_become_the_same_tables_and_the_page_says_so(
    finished: Project, project: Project
) -> None:
    """Nothing is trained for what is measured on weights, either, as dead units are."""
    source, results = finished.folder / RESULTS, project.folder / RESULTS
    study = project.folder / "config/studies/test.yaml"
    study.write_text(study.read_text().replace("dead_units: false", "dead_units: true"))
    for path in files(source):
        if path.parts[0] == "predictions" or path.name.endswith((".sparsity.csv", ".events.csv")):
            (results / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / path, results / path)
    said = project.snakemake("report_all", "--config", "study=test")
    assert "Training" not in said
    assert "No table of dead units was brought where weights were not" in said
    for path in (source / "tables").glob("*.csv"):
        if path.name != "mixed_model_fits.csv":  # it also holds run times
            assert (results / "tables" / path.name).read_bytes() == path.read_bytes(), path.name
    words = "6 of 6 files were computed elsewhere: the weights that they are of are not here"
    assert words in (results / "report.html").read_text()
    assert words not in (source / "report.html").read_text()
