"""The same study twice: the same tables, byte for byte, however its jobs are cut and ordered."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.workflow.conftest import PROJECT, Project, copy_project

pytestmark = pytest.mark.slow

#: What a fit took, which no two runs share.
CLOCK = {"mixed_model_fits.csv": ["seconds"]}


def run(
    folder: Path, *, engine: str, replicates: int, cores: int, options: tuple[str, ...] = ()
) -> Project:
    """Run the test study in a copy of the project, cut and ordered as said."""
    project = copy_project(folder)
    study = folder / "config/studies/test.yaml"
    text = study.read_text()
    text, engines = re.subn(r"^engine: .*$", f"engine: {engine}", text, flags=re.MULTILINE)
    text, sizes = re.subn(r"replicates: \d+", f"replicates: {replicates}", text)
    assert (engines, sizes) == (1, 1)
    study.write_text(text)
    command = ["snakemake", "--cores", str(cores), *options]
    project.run(*command, "--config", "study=test", "gpus=0")
    return project


def tables(project: Project) -> dict[str, bytes]:
    """Return the tables and the metrics of the test study, without the columns of ``CLOCK``."""
    results = project.folder / "results/test"
    found = {}
    for path in [*sorted((results / "tables").glob("*.csv")), results / "metrics.json"]:
        content = path.read_bytes()
        if path.name in CLOCK:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            content = table.drop(columns=CLOCK[path.name]).to_csv(index=False).encode()
        found[path.name] = content
    return found


def assert_same(left: dict[str, bytes], right: dict[str, bytes]) -> None:
    assert len(left) == 18
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose test study was trained one after another, on two cores."""
    folder = tmp_path_factory.mktemp("sequential")
    return run(folder, engine="sequential", replicates=1, cores=2)


def test_cores_order_and_blocks_change_no_byte(sequential: Project, tmp_path: Path) -> None:
    """One core, the jobs that were last in line first, and all seeds in one block."""
    options = ("--scheduler", "greedy", "--prioritize", "compress_all", "evaluate_all")
    other = run(tmp_path, engine="sequential", replicates=3, cores=1, options=options)
    assert_same(tables(sequential), tables(other))


def test_vectorized_the_same_blocks_give_the_same_bytes(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside threads that the caller's environment grants, and another order of hashed sets."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(os.cpu_count()))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", str(os.cpu_count()))
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    other = run(tmp_path, engine="auto", replicates=2, cores=1)
    assert_same(tables(finished), tables(other))


def test_vectorized_in_other_blocks_slopes_move_by_rounding_alone(
    finished: Project, sequential: Project
) -> None:
    keys = ["dataset", "architecture", "method", "ratio", "state", "seed"]
    left, right = (
        pd.read_csv(project.folder / "results/test/tables/recall.csv").set_index([*keys, "class"])
        for project in (finished, sequential)
    )
    assert (left.index == right.index).all()
    # Rounding can turn a prediction that hangs on it: one of the fifty thousand or so, at most few.
    assert (left["correct"] - right["correct"]).abs().sum() <= 5


# Of the committed study: small models leave their factorization nothing to choose.
FIT = """
import hashlib, sys
from recall_distortion import processor
processor.fix_addresses()
from recall_distortion.inference import class_level, class_rows
from recall_distortion.inference.engines import pymer4
from recall_distortion.tables import read_table
recall = read_table(sys.argv[1], class_rows.RECALL_COLUMNS)
model = class_level.class_level(recall, "digits", "mlp")[0]
pymer4.prepare()
found = pymer4.fit(model)
numbers = found.estimates.tobytes() + found.std_errors.tobytes() + found.df.tobytes()
print("found", hashlib.sha256(numbers).hexdigest())
"""


def test_lme4_finds_the_same_in_every_process() -> None:
    command = [sys.executable, "-c", FIT, PROJECT / "results/digits/tables/recall.csv"]
    printed = []
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        if "the system does not fix addresses" in done.stdout:
            pytest.skip("the system does not fix addresses")
        printed.append(re.search(r"^found (\w+)$", done.stdout, re.MULTILINE)[1])
    assert len(set(printed)) == 1
