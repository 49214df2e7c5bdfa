"""The table "What reruns" of docs/running.md, row by row, and results that stay apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.workflow.conftest import PROJECT, Project

# Jobs of the test study: one network, control and magnitude at two ratios, two blocks of seeds.
AFTER = {
    "estimate": 1,
    "fit": 2,
    "compare_fits": 1,
    "summarize": 1,
    "figures": 1,
    "report": 1,
}
RECOUNTED = {"measure": 1, **AFTER}
# Of other predictions.
MEASURED = {"populations": 1, "thumbnails": 1, **RECOUNTED}
COMPRESSED = {"compress": 6, "evaluate": 4, **MEASURED}
TRAINED = {"train": 2, "compress": 6, "evaluate": 6, **MEASURED}
PREPARED = {"prepare": 1, "frequencies": 1, **TRAINED}
# Of an edit of one module.
PRUNED = {"compress": 4, "evaluate": 2, **MEASURED}
REFITTED = {"fit": 2, "compare_fits": 1}
ESTIMATED = {"estimate": 1, "summarize": 1, "figures": 1, "report": 1}

# For each change of the table: edits of the study file (old text, new text, what runs again).
ROWS: dict[str, list[tuple[str, str, dict[str, int]]]] = {
    "gallery of a data set": [
        (
            "test_fraction: 0.7}",
            "test_fraction: 0.7, gallery: false}",
            {"thumbnails": 1, "report": 1},
        )
    ],
    "description": [("for the project's own tests", "in other words", {"report": 1})],
    "level": [("level: 0.99", "level: 0.95", AFTER)],
    "crossfit_splits": [("crossfit_splits: 20", "crossfit_splits: 10", RECOUNTED)],
    "a ratio added": [
        ("ratios: [2, 10]", "ratios: [2, 5, 10]", {"compress": 2, "evaluate": 2, **MEASURED})
    ],
    "a method added": [
        (
            "[control, magnitude]",
            "[control, magnitude, random]",
            {"compress": 4, "evaluate": 2, **MEASURED},
        )
    ],
    "seeds raised": [
        # The last block was not full: it is made anew, under another name.
        ("seeds: 3", "seeds: 4", {"train": 1, "compress": 3, "evaluate": 3, **MEASURED}),
        ("seeds: 3", "seeds: 6", TRAINED),
    ],
    "seeds lowered, a ratio or a method taken away": [
        ("seeds: 3", "seeds: 2", MEASURED),
        ("seeds: 3", "seeds: 1", {"train": 1, "compress": 3, "evaluate": 3, **MEASURED}),
        ("ratios: [2, 10]", "ratios: [10]", {"evaluate": 2, **MEASURED}),
        ("[control, magnitude]", "[magnitude]", MEASURED),
    ],
    "finetuning of a recipe": [("epochs: 2", "epochs: 3", COMPRESSED)],
    "training of a recipe, selection": [
        ("epochs: 4", "epochs: 5", TRAINED),
        ("selection: holdout", "selection: test", TRAINED),
    ],
    "count": [("count: prunable", "count: total", COMPRESSED)],
    "engine, precision, deterministic, jobs: at_once": [
        ("engine: auto", "engine: sequential", TRAINED),
        ("precision: float32", "precision: bfloat16", TRAINED),
        ("deterministic: false", "deterministic: true", TRAINED),
        ("  replicates: 2\n", "  replicates: 2\n  at_once: 1\n", TRAINED),
    ],
    "a network or panel added": [("[mlp]", "[mlp, cnn]", TRAINED)],
    "jobs: replicates": [
        (
            "replicates: 2",
            "replicates: 3",
            {"train": 1, "compress": 3, "evaluate": 3, **MEASURED},
        )
    ],
    "jobs: ratios": [
        (
            "  replicates: 2\n",
            "  replicates: 2\n  ratios: 2\n",
            {"compress": 2, "evaluate": 2, **MEASURED},
        )
    ],
    "jobs: bundles": [
        (
            "  replicates: 2\n",
            "  replicates: 2\n  bundles:\n    both: [magnitude, control]\n",
            {"compress": 6, "evaluate": 2, **MEASURED},
        )
    ],
}
# Rows that tests of their own hold, further down.
OWN_TESTS = {
    "a method's epsilon, scope, gradient_examples, schedule, begin, end, retraining, rewind_epochs",
    "a method's ratios or sparsities",
    "source, holdout, test_fraction, seed, imbalance, training_images; your own file",
    "gpus, jobs_per_gpu, data_root, --cores",
    "a file of the package that decides numbers, a rule's script",
    "comments, docstrings, messages; errors, logs, files; other networks and criteria",
    "a file's time, by git, dvc pull or touch",
    "curvature, dead_units",  # tests/workflow/test_curvature.py
    "pairs",  # the same
}


def documented() -> list[str]:
    """Return the changes that the table lists."""
    text = (PROJECT / "docs/running.md").read_text()
    table = text.partition("## What reruns")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    return [row.replace("`", "").strip() for row in rows[1:]]


def test_every_row_of_the_table_is_held_by_a_test() -> None:
    assert sorted(documented()) == sorted([*ROWS, *OWN_TESTS])


@pytest.fixture(scope="module")
def study(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a finished copy whose files tests edit and put back; only dry runs happen in it."""
    folder = tmp_path_factory.mktemp("reruns")
    shutil.copytree(finished.folder, folder, dirs_exist_ok=True, symlinks=True)
    return Project(folder)


def plan_after(project: Project, path: str, old: str, new: str) -> dict[str, int]:
    """Return what a dry run lists while a file is edited."""
    file = project.folder / path
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new, 1))
    try:
        return project.planned("--config", "study=test")
    finally:
        file.write_text(before)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(*edit, id=f"{row}-{number}")
        for row, edits in ROWS.items()
        for number, edit in enumerate(edits)
    ],
)
def test_a_change_of_the_study_reruns_what_it_reaches(
    study: Project, old: str, new: str, expected: dict[str, int]
) -> None:
    assert plan_after(study, "config/studies/test.yaml", old, new) == expected


@pytest.mark.parametrize("key", ["holdout: 0.2", "seed: 1", "test_fraction: 0.6"])
def test_a_change_of_the_data_reruns_everything_of_the_data_set(study: Project, key: str) -> None:
    new = "source: digits, test_fraction: 0.7".replace("test_fraction: 0.7", key)
    edit = ("source: digits, test_fraction: 0.7", new)
    assert plan_after(study, "config/studies/test.yaml", *edit) == PREPARED


def test_a_changed_file_of_own_data_reruns_everything_and_a_touched_one_nothing(
    project: Project,
) -> None:
    generator = np.random.default_rng(0)
    path = project.folder / "own.npz"

    def write(labels: np.ndarray) -> None:
        images = generator.integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
        np.savez(path, images=images, labels=labels)

    write(np.arange(600) % 10)
    study = project.folder / "config/studies/test.yaml"
    own = "{source: arrays, path: own.npz, test_fraction: 0.7}"
    study.write_text(study.read_text().replace("{source: digits, test_fraction: 0.7}", own))
    project.snakemake("prepare_all", "--config", "study=test")
    path.touch()
    assert project.planned("prepare_all", "--config", "study=test") == {}
    write(np.arange(600) % 10)
    planned = project.planned("--config", "study=test")
    assert planned == PREPARED


def test_settings_of_the_machine_and_times_rerun_nothing(study: Project) -> None:
    for path in study.folder.rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            path.touch()
    arguments = ["--cores", "1", "--config", "study=test", "gpus=1", "jobs_per_gpu=2"]
    assert study.planned(*arguments, "data_root=elsewhere") == {}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/recall_distortion/system/processor.py", {**TRAINED, **REFITTED}),
        ("src/recall_distortion/data/sources/digits.py", PREPARED),
        ("src/recall_distortion/training/loop.py", TRAINED),
        ("src/recall_distortion/networks/mlp.py", TRAINED),
        ("src/recall_distortion/compression/pruning/criteria.py", COMPRESSED),
        ("src/recall_distortion/compression/files.py", {**COMPRESSED, "evaluate": 6}),
        ("src/recall_distortion/compression/schedules/one_shot.py", PRUNED),
        ("src/recall_distortion/compression/pruning/scores/magnitude.py", PRUNED),
        ("src/recall_distortion/measures/networks.py", MEASURED),
        ("src/recall_distortion/inference/questions/pooled.py", ESTIMATED),
        ("src/recall_distortion/report/answer.py", {"figures": 1, "report": 1}),
        ("workflow/scripts/train.py", TRAINED),
        ("workflow/scripts/compare_fits.py", {"compare_fits": 1, "summarize": 1, "report": 1}),
    ],
)
def test_an_edited_file_reruns_the_rules_that_depend_on_it(
    study: Project, path: str, expected: dict[str, int]
) -> None:
    last = (study.folder / path).read_text()[-20:]
    assert plan_after(study, path, last, f"{last}\n_EDITED = True\n") == expected


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("training/loop.py", "from __future__", "# In other words.\nfrom __future__"),
        ("training/blocks.py", "Try a smaller learning rate", "Try another one"),
        ("data/sources/folder.py", "if size != sizes[0]", "if sizes[0] != size"),
        ("data/sources/arrays.py", "class_names is optional", "so is class_names"),
        ("system/errors.py", "import annotations\n", "import annotations\n\nEDITED = True\n"),
        ("networks/resnet.py", "kaiming_normal = True", "kaiming_normal = False"),
        ("networks/cnn.py", '"cnn": CNN', '"cnn": CNN, "cnn2": CNN'),
        (
            "networks/plans.py",
            '    "mlp": ',
            '    "other": Architecture("mlp", 9, 8, _mlp),\n    "mlp": ',
        ),
        ("compression/pruning/scores/undecayed.py", ".abs()", ".square()"),
        ("simulation/levels.py", "NETWORKS = 5", "NETWORKS = 6"),
    ],
)
def test_an_edit_that_decides_no_number_of_the_study_reruns_nothing(
    study: Project, path: str, old: str, new: str
) -> None:
    assert plan_after(study, f"src/recall_distortion/{path}", old, new) == {}


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("tables/schema.py", "accuracy over all test images", "accuracy on the test set"),
        ("compression/facts.py", "The smallest weights go", "Small weights go"),
    ],
)
def test_a_better_description_retrains_nothing(
    study: Project, path: str, old: str, new: str
) -> None:
    planned = plan_after(study, f"src/recall_distortion/{path}", old, new)
    assert not {"prepare", "train", "compress", "evaluate"} & planned.keys()


def test_a_new_source_reruns_nothing(study: Project) -> None:
    sources = study.folder / "src/recall_distortion/data/sources"
    added = sources / "ones.py"
    added.write_text((sources / "digits.py").read_text().replace('"digits": ', '"ones": '))
    try:
        assert study.planned("--config", "study=test") == {}
    finally:
        added.unlink()


def test_a_new_criterion_reruns_nothing(study: Project) -> None:
    scores = study.folder / "src/recall_distortion/compression/pruning/scores"
    added = scores / "squared.py"
    added.write_text((scores / "magnitude.py").read_text().replace("abs()", "square()"))
    first = '        Criterion(\n            "magnitude",'
    facts = f'        Criterion("squared", "θ²", "Small squares go.", "a test"),\n{first}'
    try:
        planned = plan_after(study, "src/recall_distortion/compression/facts.py", first, facts)
    finally:
        added.unlink()
    assert planned.keys() <= {"figures", "report"}


@pytest.mark.slow
def test_an_own_methods_settings_rerun_its_pruning_alone(finished_copy: Project) -> None:
    path = finished_copy.folder / "config/studies/test.yaml"
    own = "{criterion: regularized_gradient, scope: global, epsilon: 0.1, gradient_examples: 100}"
    text = path.read_text().replace("methods: {}", f"methods:\n  mine: {own}")
    path.write_text(text.replace("[control, magnitude]", "[control, magnitude, mine]"))
    finished_copy.snakemake("measure_all", "--config", "study=test")
    for old, new in (
        ("scope: global", "scope: layer"),
        ("epsilon: 0.1", "epsilon: 0.2"),
        ("gradient_examples: 100", "gradient_examples: 50"),
        ("scope: global", "scope: global, retraining: rewind_rate"),
    ):
        planned = plan_after(finished_copy, "config/studies/test.yaml", old, new)
        assert planned == {"compress": 4, "evaluate": 2, **MEASURED}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return time and content of every file under a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_two_studies_in_one_checkout_leave_each_other_alone(finished_copy: Project) -> None:
    """Three that look alike: a study, an override of it, and a study whose file is so named."""
    results = finished_copy.folder / "results"
    studies = finished_copy.folder / "config/studies"
    text = (studies / "test.yaml").read_text()
    (studies / "test-seeds-2.yaml").write_text(text.replace("seeds: 3", "seeds: 2"))
    first = snapshot(results / "test")
    finished_copy.snakemake("measure_all", "--config", "study=test", "seeds=2")
    assert snapshot(results / "test") == first
    second = snapshot(results / "test+seeds=2")
    finished_copy.snakemake("measure_all", "--config", "study=test-seeds-2")
    assert sorted(path.name for path in results.iterdir()) == [
        "test",
        "test+seeds=2",
        "test-seeds-2",
    ]
    assert snapshot(results / "test") == first
    assert snapshot(results / "test+seeds=2") == second
    # Of the same content, and each its own.
    for name in ("recall", "networks"):
        path = f"tables/{name}.csv"
        third = (results / "test-seeds-2" / path).read_bytes()
        assert third == second[path][1] != first[path][1]
    assert finished_copy.planned("--config", "study=test") == {}
    assert finished_copy.planned("measure_all", "--config", "study=test", "seeds=2") == {}


@pytest.mark.parametrize("name", ["test+seeds=2", "test seeds", "test.2", "..", "test=2"])
def test_a_study_file_that_is_named_like_an_override_is_refused(
    project: Project, name: str
) -> None:
    shutil.copy2(
        project.folder / "config/studies/test.yaml", project.folder / f"config/studies/{name}.yaml"
    )
    printed = project.snakemake("-n", "--config", f"study={name}", check=False)
    assert "is named by letters, digits" in printed
    assert not (project.folder / "results").exists()
