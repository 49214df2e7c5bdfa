"""The same study twice: the same tables, byte for byte, however its jobs are cut and ordered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.workflow.conftest import PROJECT, Project, copy_project

pytestmark = pytest.mark.slow


def run(folder: Path, edits: dict[str, str], *command: str, start=Project.run) -> Project:
    """Run the test study, edited, in a copy of the project; edits map whole lines to others."""
    project = copy_project(folder)
    study = folder / "config/studies/test.yaml"
    text = study.read_text()
    for old, new in edits.items():
        text, count = re.subn(rf"^{old}$", new, text, flags=re.MULTILINE)
        assert count == 1, old
    study.write_text(text)
    start(project, "snakemake", *command, "--config", "study=test", "gpus=0")
    return project


def tables(project: Project) -> dict[str, bytes]:
    """Return the test study's tables and metrics so far."""
    results = project.folder / "results/test"
    paths = [*sorted((results / "tables").glob("*.csv")), *results.glob("metrics.json")]
    return {path.name: path.read_bytes() for path in paths}


def assert_same(left: dict[str, bytes], right: dict[str, bytes], *, count: int) -> None:
    assert len(left) == count
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []


#: One after another, and as many seeds as two blocks need. What follows measuring reads its tables
#: alone, so that these say enough.
SEQUENTIAL = {"engine: auto": "engine: sequential", "seeds: 3": "seeds: 2"}


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose test study was trained one after another, in the smallest jobs."""
    edits = SEQUENTIAL | {"  replicates: 2": "  replicates: 1"}
    folder = tmp_path_factory.mktemp("sequential")
    return run(folder, edits, "--cores", "2", "measure_all", start=Project.warm)


def test_cores_order_and_jobs_change_no_byte(sequential: Project, tmp_path: Path) -> None:
    """One core, the jobs that were last in line first, and all seeds, methods and ratios in one.

    Both are warm; what another process could change is the next test's.
    """
    jobs = "  replicates: 2\n  ratios: 3\n  bundles: {both: [magnitude, control]}"
    options = ("--cores", "1", "--scheduler", "greedy", "--prioritize", "evaluate_all")
    edits = SEQUENTIAL | {"  replicates: 2": jobs}
    other = run(tmp_path, edits, "measure_all", *options, start=Project.warm)
    assert len(list((other.folder / "results/test/compressed").rglob("*.safetensors"))) == 1
    assert_same(tables(sequential), tables(other), count=3)


def test_vectorized_the_same_blocks_give_the_same_bytes(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside threads that the caller's environment grants, and another order of hashed sets.

    The first block of two, up to the measured recalls; what follows reads them and the predictions
    alone, and is compared between processes by the tests of a cluster and of kills.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", str(os.cpu_count()))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", str(os.cpu_count()))
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    other = run(tmp_path, {"seeds: 3": "seeds: 2"}, "--cores", "2", "measure_all")
    ours, theirs = (project.folder / "results/test" for project in (other, finished))
    blocks = sorted(path.relative_to(ours) for path in ours.rglob("seeds-*.safetensors"))
    # Dense, control, magnitude at two ratios; predictions of the first two and of magnitude.
    assert len(blocks) == 4 + 3
    for path in blocks:
        found, expected = (load_file(results / path) for results in (ours, theirs))
        assert found.keys() == expected.keys()
        for name, values in found.items():
            assert values.tobytes() == expected[name].tobytes(), (path, name)
    header, *rows = (theirs / "tables/recall.csv").read_text().splitlines(keepends=True)
    seed = header.split(",").index("seed")
    expected = [header, *(row for row in rows if row.split(",")[seed] != "2")]
    assert (ours / "tables/recall.csv").read_text() == "".join(expected)


#: What rounding moves a probability by, at most: as parameters and losses in
#: tests/unit/test_engines.py, of which 1e-4 is the part that grows with them. Measured: 2.4e-6.
ROUNDING = 1e-4
#: Files hold probabilities in half precision, whose steps below 1 are this wide; those of a loss,
#: relative to it, move the probability of the true class by less.
STORED = ROUNDING + 2.0**-11


def predictions(project: Project, bundle: str, seed: int) -> dict[str, np.ndarray]:
    """Return the labels and a seed's predictions by their names in the file, whatever its block."""
    folder = project.folder / "results/test/predictions/digits/mlp/tiny" / bundle
    for path in folder.glob("*.safetensors"):
        first, last = map(int, path.stem.split("-")[1:])
        if first <= seed <= last:
            found = load_file(path)
            labels = found.pop("labels")
            return {"labels": labels} | {name: row[seed - first] for name, row in found.items()}
    raise AssertionError(f"no seed {seed} in {folder}")


@pytest.mark.parametrize("bundle", ["dense", "control", "magnitude"])
def test_vectorized_predictions_turn_only_where_rounding_decides(
    finished: Project, sequential: Project, bundle: str
) -> None:
    """Rounding turns a label only where two classes are as probable, so not beyond one half."""
    for seed in range(2):
        left, right = (predictions(project, bundle, seed) for project in (finished, sequential))
        assert left.keys() == right.keys()
        for cell in {name.rpartition("/")[0] for name in left} - {""}:
            names = [f"{cell}/{name}" for name in ("predicted", "probability", "loss")]
            label, highest, loss = ((left[name], right[name]) for name in names)
            highest = tuple(values.astype(float) for values in highest)
            true = tuple(np.exp(-values.astype(float)) for values in loss)
            for one, other in (highest, true):
                # The highest of some probabilities moves by no more than they do.
                np.testing.assert_allclose(one, other, rtol=0, atol=STORED)
            clear = highest[0] > 0.5 + STORED
            assert clear.mean() > 0.5
            assert (label[0] == label[1])[clear].all()
            # A network says the truth where the other does not by twice the rounding at most.
            turned = (label[0] == left["labels"]) != (label[1] == right["labels"])
            for side in range(2):
                assert (highest[side] - true[side] <= 2 * STORED)[turned].all()


# Of the committed study: small models leave their factorization nothing to choose.
FIT = """
import hashlib, sys
from recall_distortion.system import processor
processor.fix_addresses()
from recall_distortion.inference.mixed.designs import class_level
from recall_distortion.inference.mixed.fitters import pymer4
from recall_distortion.tables.files import read_table
from recall_distortion.vocabulary import Panel
recall = read_table(sys.argv[1], "recall")
model = class_level.class_level(recall, Panel("digits", "mlp", "small"))[0]
pymer4.prepare()
found = pymer4.fit(model)
numbers = found.estimates.tobytes() + found.std_errors.tobytes() + found.df.tobytes()
print("found", hashlib.sha256(numbers).hexdigest())
"""


def test_lme4_finds_the_same_in_every_process() -> None:
    command = [sys.executable, "-c", FIT, PROJECT / "results/digits/tables/recall.csv"]
    printed = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        if "the system does not fix addresses" in done.stdout:
            pytest.skip("the system does not fix addresses")
        printed.append(re.search(r"^found (\w+)$", done.stdout, re.MULTILINE)[1])
    assert len(set(printed)) == 1
