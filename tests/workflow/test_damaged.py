"""Damaged files and odd paths through the real workflow: its exit code, its message, the remedy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from recall_distortion.training.replicates import load_tensors, save_tensors
from tests.workflow.conftest import NOTHING, Project

pytestmark = pytest.mark.slow

STUDY = ("--config", "study=test")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("named", "damage", "words", "remade", "by"),
    [
        (
            "dense/digits/mlp/tiny/seeds-000-001.safetensors",
            flip,
            "does not match its checksum",
            ["dense/digits/mlp/tiny/seeds-000-001.safetensors"],
            "train_all",
        ),
        (
            "predictions/digits/mlp/tiny/magnitude/seeds-000-001.safetensors",
            truncate,
            "its checksum",
            ["tables/recall.csv", "tables/networks.csv"],
            "measure_all",
        ),
    ],
)
def test_a_damaged_file_is_named_and_deleting_it_mends_the_study(
    finished_copy: Project,
    finished: Project,
    named: str,
    damage,
    words: str,
    remade: list[str],
    by: str,
) -> None:
    path = finished_copy.folder / "results/test" / named
    damage(path)
    said = finished_copy.fails(*STUDY)
    told = [line for line in said.splitlines() if "error: " in line]
    assert told
    for line in told:
        assert f"results/test/{named}" in line
        assert words in line
        assert re.search("delete (it|the file) and run", line)
    assert "Traceback" not in said
    path.unlink()
    finished_copy.snakemake(by, *STUDY)
    for name in remade:
        left, right = (p.folder / "results/test" / name for p in (finished_copy, finished))
        assert left.read_bytes() == right.read_bytes()


def edit(path: Path) -> None:
    """Change one digit of a number to another possible one, as no check of a table can notice."""
    head, row, *rest = path.read_text().splitlines(keepends=True)
    changed = re.sub(r"(\.\d)(\d)", lambda m: f"{m[1]}{(int(m[2]) + 1) % 10}", row, count=1)
    assert changed != row
    path.write_text("".join([head, changed, *rest]))


def test_changed_results_are_named_and_are_not_taken_for_results(finished_copy: Project) -> None:
    """Snakemake would draw the page from them: it compares what its outputs were made of."""
    results = finished_copy.folder / "results/test"
    named = ["figures/captions.json", "figures/sparsity.png", "report.html", "tables/estimates.csv"]
    named.append("tables/recall.csv")
    before = {name: (results / name).read_bytes() for name in named}
    edit(results / "tables/estimates.csv")
    truncate(results / "tables/recall.csv")
    (results / "figures/captions.json").write_text("{}")
    (results / "figures/sparsity.png").write_bytes(b"")
    truncate(results / "report.html")
    changed = {name: (results / name).read_bytes() for name in named}
    said = finished_copy.fails(*STUDY)
    told = ", ".join(f"results/test/{name}" for name in named)
    assert f"\n{told}: not what the study wrote" in said
    assert "Traceback" not in said
    for name in named:
        assert (results / name).read_bytes() == changed[name]
        (results / name).unlink()
    finished_copy.snakemake(*STUDY)
    named.remove("report.html")  # it also says how many seconds the new fits took
    assert {name: before[name] for name in named} == {
        name: (results / name).read_bytes() for name in named
    }


def test_weights_and_predictions_of_another_study_are_not_taken_for_this_one_s(
    finished_copy: Project, finished: Project
) -> None:
    """They are whole, of these shapes and for these seeds, so that no reader could tell."""
    results = finished_copy.folder / "results/test"
    network = "digits/mlp/tiny"
    foreign = [
        f"dense/{network}/seeds-000-001.safetensors",
        f"predictions/{network}/magnitude/seeds-002-002.safetensors",
    ]
    for name in foreign:
        tensors, metadata = load_tensors(results / name)
        of_weights = name.startswith("dense")
        changed = {
            key: value * 1.5 if of_weights or key.endswith("probability") else value.roll(1)
            for key, value in tensors.items()
        }
        save_tensors(results / name, changed, metadata)
    plan = finished_copy.snakemake("-n", *STUDY)
    for name in foreign:
        told = f"results/test/{name} is not what provenance.json records, and is made again."
        assert told in plan
    said = finished_copy.snakemake(*STUDY)
    assert "train" in said
    for name in (*foreign, "tables/networks.csv", "tables/estimates.csv"):
        left, right = (p.folder / "results/test" / name for p in (finished_copy, finished))
        assert left.read_bytes() == right.read_bytes(), name
    assert NOTHING in finished_copy.snakemake("-n", *STUDY)


def test_a_path_is_never_a_command_or_a_pattern(project: Project) -> None:
    name = "own; $(touch owned) `touch owned` & touch owned #.npz"
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8)).astype(np.uint8)
    names = np.array(["<script>", "$(touch owned)", "{{ 7 * 7 }}"])
    np.savez(project.folder / name, images=images, labels=np.arange(300) % 3, class_names=names)
    study = project.folder / "config/studies/test.yaml"
    text = study.read_text()
    source = f"source: arrays, path: {json.dumps(name)}"
    assert "source: digits" in text
    study.write_text(text.replace("source: digits", source, 1))
    project.snakemake("prepare_all", *STUDY)
    assert (project.folder / "results/test/data/digits.safetensors").exists()
    assert not list(project.folder.rglob("owned"))
    study.write_text(text.replace("source: digits", source.replace("own;", "gone {x};"), 1))
    said = project.fails("prepare_all", *STUDY)
    assert "gone {x}; $(touch owned)" in said
    assert "does not exist" in said
    assert "Traceback" not in said
