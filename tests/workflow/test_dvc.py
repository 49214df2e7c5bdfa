"""dvc.yaml against the Snakefile and the study files, and DVC's own runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from recall_distortion.compression.facts import CHANNEL_CRITERIA, CRITERIA, SCHEDULES, UNITS
from recall_distortion.data.sources import MODULES
from recall_distortion.networks.plans import ARCHITECTURES, SIZED
from recall_distortion.study import Study, quantizing, transferring
from recall_distortion.system.code import deciding
from tests.workflow.conftest import NOTHING, PROJECT, Project

PIPELINE = yaml.safe_load((PROJECT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
# Those that ship; a user's own study may leave out what has a default.
STUDIES = [
    PROJECT / f"config/studies/{name}.yaml"
    for name in (
        "cifar",
        "cifar10_jpeg_gpu",
        "digits",
        "fashion_mnist",
        "fashion_mnist_equal_sparsity",
        "fashion_mnist_gpu",
        "fashion_mnist_long_tail",
        "fashion_mnist_no_decay",
        "fashion_mnist_test_selection",
        "mnist",
        "test",
    )
]
# Which rules a stage's target runs, those of the stages before it left out.
RULES_OF = {
    "train": ("prepare", "train"),
    "compress": ("compress", "quantize"),
    "evaluate": ("evaluate", "curvature", "dead_units", "mask_overlap"),
    "measure": ("measure",),
    "infer": ("populations", "frequencies", "estimate", "fit", "compare_fits", "summarize"),
    "report": ("report", "figures", "thumbnails"),
}
# What rules read beside code, by the function that names it in the workflow.
READ_BESIDES = {
    "get_published_facts": "recall_distortion/inference/questions/published_facts",
    "get_templates": "recall_distortion/report/templates",
}
FACTS = [
    PROJECT / f"src/recall_distortion/{name}"
    for name in ("networks/plans.py", "networks/structure.py", "data/sources/__init__.py")
]
SUFFIXES = {".py", ".csv", ".j2", ".css", ".html", ".js"}
ROOMS_OF_NETWORKS = ("networks", "fast.cpu", "fast.gpu")


def entries(stage: dict, *kinds: str) -> list[str]:
    """Return a stage's paths of the given kinds, without their settings."""
    return [
        next(iter(entry)) if isinstance(entry, dict) else entry
        for kind in kinds
        for entry in stage.get(kind, [])
    ]


def parameters(stage: dict) -> set[str]:
    return {key for entry in stage.get("params", []) for keys in entry.values() for key in keys}


def rules() -> dict[str, str]:
    """Return the text of every rule of the workflow."""
    text = "\n".join(path.read_text() for path in (PROJECT / "workflow/rules").glob("*.smk"))
    parts = re.split(r"^rule (\w+):\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_stage_runs_a_target_of_the_workflow() -> None:
    for name, stage in STAGES.items():
        # Without a value in it: DVC hands the line to a shell as it is.
        assert stage["cmd"] == f"snakemake --cores all {name}_all"
        assert f"{name}_all" in rules()


def test_expensive_stages_persist_and_cheap_ones_stay_in_git() -> None:
    for name, stage in STAGES.items():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                settings = next(iter(entry.values()))
                expensive = name in ("train", "compress", "evaluate")
                assert settings.get("persist", False) == expensive
                assert settings.get("cache", True) == expensive


def test_stages_outputs_are_the_rules_outputs(finished: Project) -> None:
    declared = {path for stage in STAGES.values() for path in entries(stage, "outs")}
    declared |= {path for stage in STAGES.values() for path in entries(stage, "metrics", "plots")}
    made = finished.folder / "results/test"
    # Rebuilt by Snakemake, read by nobody else; the last one checks itself against the files.
    undeclared = {"logs", "benchmarks", "inference", "provenance.json"}
    for path in made.rglob("*"):
        relative = Path("results/${study}") / path.relative_to(made)
        if path.is_file() and relative.parts[2] not in undeclared:
            assert {str(relative), *map(str, relative.parents)} & declared, relative
    for path in declared:
        assert (finished.folder / path.replace("${study}", "test")).exists(), path


def wanted_code(stage: str) -> list[str]:
    """Return the files that decide what a stage computes, whatever its networks and criteria.

    A folder stands for its files where they all do; DVC refuses a file beside its folder. Facts of
    networks and sources stand with their modules: Snakemake then finds nothing to do, and none of
    them needs a line of its own.
    """
    source = PROJECT / "src"
    families = {*(facts.family for facts in ARCHITECTURES.values()), *SIZED}
    networks = [
        f"recall_distortion.{room}.{name}" for room in ROOMS_OF_NETWORKS for name in families
    ]
    methods = [f"recall_distortion.compression.pruning.scores.{name}" for name in CRITERIA]
    pruning = "recall_distortion.compression.pruning"
    methods += [f"{pruning}.channel_scores.{name}" for name in CHANNEL_CRITERIA]
    methods += [f"recall_distortion.compression.schedules.{name}" for name in SCHEDULES]
    methods += [f"recall_distortion.compression.pruning.units.{name}" for name in UNITS]
    told = {
        "get_source_modules": set(MODULES.values()),
        "get_network_modules": networks,
        "get_compression_modules": [*networks, *methods, transferring.MODULE],
        "get_evaluation_modules": [*networks, quantizing.EVALUATION],
    }
    files: set[Path] = set()
    for rule in RULES_OF[stage]:
        (call,) = re.findall(r"get_code\((.*?)\)", rules()[rule])
        script, *modules = re.findall(r"\w+", call)
        assert f"../scripts/{script}.py" in rules()[rule]
        names = [name for get in modules for name in told[get]]
        found = deciding(PROJECT / f"workflow/scripts/{script}.py", source, names)
        files |= {source / name for name in found}
        for read, folder in READ_BESIDES.items():
            files |= set((source / folder).glob("*")) if f"{read}()" in rules()[rule] else set()
    folders = [path for path in source.rglob("*") if path.is_dir() and path.name != "__pycache__"]
    whole = {
        folder
        for folder in folders
        if all(path in {*files, *FACTS} for path in folder.rglob("*") if path.suffix in SUFFIXES)
        and any(path in files for path in folder.rglob("*"))
    }
    named = {path for path in files | whole if not whole & set(path.parents)}
    return sorted(path.relative_to(PROJECT).as_posix() for path in named)


@pytest.mark.parametrize("stage", RULES_OF)
def test_stages_depend_on_the_code_that_decides_their_numbers(stage: str) -> None:
    found = [path for path in entries(STAGES[stage], "deps") if not path.startswith("results/")]
    assert sorted(found) == wanted_code(stage)


def test_every_key_of_a_study_is_a_parameter_of_a_stage_and_stands_in_every_study() -> None:
    listed = set().union(*(parameters(stage) for stage in STAGES.values()))
    assert listed == set(Study.model_fields)
    for path in STUDIES:
        assert set(yaml.safe_load(path.read_text())) == listed, path.name


def test_a_ratio_is_no_parameter_of_training() -> None:
    assert "ratios" not in parameters(STAGES["train"])
    assert "ratios" in parameters(STAGES["compress"])


@pytest.mark.slow
def test_dvc_works_without_git_after_the_command_of_the_documents(
    finished_copy: Project,
) -> None:
    """As a downloaded archive is: what git tracks, and no git.

    Two stages, of which one needs the other's files, say it; all are reproduced for ``recorded``.
    """
    local = shutil.ignore_patterns("tmp", "cache", "config.local")
    shutil.copytree(PROJECT / ".dvc", finished_copy.folder / ".dvc", ignore=local)
    configuration = finished_copy.folder / "config/config.yaml"
    configuration.write_text(configuration.read_text().replace("study: digits", "study: test"))
    found = finished_copy.warm("dvc", "status", check=False)
    assert found.returncode != 0
    assert "is not a git repository" in found.stdout
    command = "dvc config --local core.no_scm true"
    for document in ("README.md", "docs/running.md", "docs/troubleshooting.md"):
        assert command in (PROJECT / document).read_text("utf-8"), document
    finished_copy.run(*command.split())
    assert "train:" in finished_copy.warm("dvc", "status").stdout
    assert "snakemake --cores all train_all" in finished_copy.warm("dvc", "repro", "--dry").stdout
    said = finished_copy.warm("dvc", "repro", "compress").stdout
    assert re.findall("Running stage '(\\w+)'", said) == ["train", "compress"]
    assert "up to date" in finished_copy.warm("dvc", "status", "compress", "--with-deps").stdout
    assert "dense_accuracy" in finished_copy.warm("dvc", "metrics", "show", "--json").stdout


@pytest.fixture(scope="module")
def pipeline(recorded: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the project under git and DVC, reproduced once."""
    folder = tmp_path_factory.mktemp("dvc")
    shutil.copytree(recorded.folder, folder, dirs_exist_ok=True, symlinks=True)
    return Project(folder)


def test_reproducing_twice_runs_nothing_the_second_time(pipeline: Project) -> None:
    printed = pipeline.warm("dvc", "repro").stdout
    assert "Running stage" not in printed
    assert "up to date" in printed


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("seeds: 3", "seeds: 2", "measure"),
        ("first_seed: 0\n", "first_seed: 1\n", "train"),
        ("ratios: [2, 10]", "ratios: [10]", "evaluate"),
        ("[control, magnitude]", "[magnitude]", "measure"),
        ("  tiny:\n", "  small:\n", "train"),
        ("description: The", "description: Now the", "report"),
        ("level: 0.99", "level: 0.95", "infer"),
    ],
)
def test_dvc_begins_where_snakemake_does(pipeline: Project, old: str, new: str, first: str) -> None:
    """Where the files of a stage before stay as they are, only a parameter can say so."""
    file = pipeline.folder / "config/studies/test.yaml"
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new, 1))
    try:
        planned = pipeline.planned()
        changed = json.loads(pipeline.warm("dvc", "status", "--json").stdout)
    finally:
        file.write_text(before)
    assert next(name for name, names in RULES_OF.items() if set(names) & planned.keys()) == first
    assert first in changed


@pytest.mark.slow
def test_fewer_seeds_reach_the_tables_and_a_comment_in_a_script_its_stage(
    recorded: Project, tmp_path: Path
) -> None:
    shutil.copytree(recorded.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    project = Project(tmp_path)
    study, script = (
        tmp_path / name for name in ("config/studies/test.yaml", "workflow/scripts/measure.py")
    )
    study.write_text(study.read_text().replace("seeds: 3", "seeds: 2"))
    script.write_text("# Edited.\n" + script.read_text())
    printed = project.warm("dvc", "repro").stdout
    assert "Training" not in printed
    assert set(pd.read_csv(tmp_path / "results/test/tables/networks.csv")["seed"]) == {0, 1}
    assert NOTHING in project.snakemake("-n")
    script.write_text("# Edited again.\n" + script.read_text())
    assert set(json.loads(project.warm("dvc", "status", "--json").stdout)) == {"measure"}


def test_metrics_and_plots_are_shown(pipeline: Project) -> None:
    shown = json.loads(pipeline.warm("dvc", "metrics", "show", "--json").stdout)
    assert "results/test/metrics.json" in json.dumps(shown)
    pipeline.warm("dvc", "plots", "show", "--out", "plots")
    page = (pipeline.folder / "plots/index.html").read_text()
    assert '"field": "alpha"' in page
    assert "Recall distortion after pruning and fine-tuning" in page


def test_a_changed_ratio_reruns_no_training(pipeline: Project) -> None:
    study = pipeline.folder / "config/studies/test.yaml"
    study.write_text(study.read_text().replace("ratios: [2, 10]", "ratios: [2, 5]"))
    dense = pipeline.folder / "results/test/dense/digits/mlp/tiny/seeds-000-001.safetensors"
    kept = pipeline.folder / "results/test/compressed/digits/mlp/tiny/magnitude/2"
    files = [dense, *sorted(kept.iterdir())]
    before = [path.stat().st_mtime_ns for path in files]
    printed = pipeline.warm("dvc", "repro").stdout
    assert "Running stage 'compress'" in printed
    assert "Running stage 'train'" not in printed
    assert [path.stat().st_mtime_ns for path in files] == before
    plots = pd.read_csv(pipeline.folder / "results/test/plots.csv")
    assert set(plots.loc[plots["method"] == "magnitude", "ratio"]) == {2, 5}
