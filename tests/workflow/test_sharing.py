"""A finished study handed on by git and DVC, from a folder and from S3: nothing is left to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.conftest import NOTHING, Project

KEYS = {"access_key_id": "testing", "secret_access_key": "testing"}
WEIGHTS = "results/test/dense/digits/mlp/tiny/seeds-000-001.safetensors"
PREDICTIONS = "results/test/predictions/digits/mlp/tiny/magnitude/seeds-000-001.safetensors"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Return the address of a server on this machine that speaks S3, with a bucket in it."""
    # Not imported by every process that collects tests.
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=KEYS["access_key_id"],
        aws_secret_access_key=KEYS["secret_access_key"],
    ).create_bucket(Bucket="studies")
    yield address
    server.stop()


def clone(origin: Project, folder: Path, settings: dict[str, str]) -> Project:
    """Clone a project as a colleague would, with what the remote wants to know."""
    origin.run("git", "clone", "-q", ".", str(folder))
    colleague = Project(folder)
    for key, value in settings.items():
        colleague.warm("dvc", "remote", "modify", "--local", "storage", key, value)
    assert not (folder / PREDICTIONS).exists()
    return colleague


def publish(recorded: Project, folder: Path, url: str, settings: dict[str, str]) -> Project:
    """Return a copy of the recorded study that was pushed to a remote."""
    shutil.copytree(recorded.folder, folder, symlinks=True)
    origin = Project(folder)
    origin.warm("dvc", "remote", "add", "--default", "storage", url)
    for key, value in settings.items():
        origin.warm("dvc", "remote", "modify", "--local", "storage", key, value)
    origin.commit("remote")
    origin.warm("dvc", "push")
    return origin


def has_nothing_to_do(project: Project) -> bool:
    """Return whether Snakemake, then DVC, then Snakemake again find everything as it should be."""
    first = project.snakemake("-n")
    reproduced = project.warm("dvc", "repro").stdout
    second = project.snakemake("-n")
    return (
        NOTHING in first
        and "Running stage" not in reproduced
        and "up to date" in reproduced
        and NOTHING in second
        and project.run("git", "status", "--porcelain").stdout == ""
    )


@pytest.fixture(scope="module")
def origin(recorded: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return the study, pushed to a folder."""
    folder = tmp_path_factory.mktemp("shared")
    return publish(recorded, folder / "origin", str(folder / "storage"), {})


@pytest.fixture(scope="module")
def pulled(origin: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a clone into which everything was pulled; tests must copy it."""
    colleague = clone(origin, tmp_path_factory.mktemp("pulled") / "clone", {})
    colleague.warm("dvc", "pull")
    return colleague


@pytest.fixture
def pulled_copy(pulled: Project, tmp_path: Path) -> Project:
    """Return a clone into which everything was pulled and in which Snakemake never ran."""
    shutil.copytree(pulled.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Project(tmp_path)


@pytest.mark.slow
def test_a_study_pulled_from_a_folder_has_nothing_to_do(
    pulled_copy: Project, origin: Project
) -> None:
    for path in (WEIGHTS, PREDICTIONS):
        ours, theirs = (project.folder / path for project in (origin, pulled_copy))
        assert ours.read_bytes() == theirs.read_bytes()
    assert not (pulled_copy.folder / "results/test/inference").exists()
    assert has_nothing_to_do(pulled_copy)


@pytest.mark.slow
def test_a_study_pulled_from_s3_has_nothing_to_do(
    recorded: Project, s3: str, tmp_path: Path
) -> None:
    settings = {"endpointurl": s3, **KEYS}
    origin = publish(recorded, tmp_path / "origin", "s3://studies/recall-distortion", settings)
    colleague = clone(origin, tmp_path / "clone", settings)
    colleague.warm("dvc", "pull")
    assert (colleague.folder / WEIGHTS).read_bytes() == (origin.folder / WEIGHTS).read_bytes()
    assert has_nothing_to_do(colleague)


def test_without_what_was_pulled_everything_would_run(origin: Project, tmp_path: Path) -> None:
    colleague = clone(origin, tmp_path / "clone", {})
    assert colleague.planned()["train"] == 2
    assert not (colleague.folder / WEIGHTS).exists()


@pytest.mark.parametrize(
    ("path", "old", "new", "reruns", "stays"),
    [
        ("config/studies/test.yaml", "epochs: 4", "epochs: 5", {"train": 2}, {"prepare"}),
        ("config/studies/test.yaml", "seeds: 3", "seeds: 5", {"train": 2}, {"prepare"}),
        (
            "config/studies/test.yaml",
            "ratios: [2, 10]",
            "ratios: [2, 5, 10]",
            {"compress": 2, "evaluate": 2},
            {"prepare", "train"},
        ),
        (
            "src/recall_distortion/measures/distortion.py",
            "import annotations\n",
            "import annotations\n\nEDITED = True\n",
            {"measure": 1},
            {"prepare", "train", "compress", "evaluate"},
        ),
        (
            "workflow/scripts/figures.py",
            "from pathlib",
            "EDITED = True\nfrom pathlib",
            {"figures": 1, "report": 1},
            {"prepare", "train", "compress", "evaluate", "measure", "infer"},
        ),
    ],
)
def test_a_change_right_after_the_pull_reruns_what_it_reaches(
    pulled_copy: Project, path: str, old: str, new: str, reruns: dict[str, int], stays: set[str]
) -> None:
    file = pulled_copy.folder / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    planned = pulled_copy.planned()
    assert reruns.items() <= planned.items()
    assert not stays & set(planned)


def test_a_pulled_file_that_was_changed_is_not_taken_for_the_recorded_one(
    pulled_copy: Project,
) -> None:
    path = pulled_copy.folder / PREDICTIONS
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.unlink()
    path.write_bytes(changed)
    planned = pulled_copy.planned()
    assert planned["measure"] == 1
    assert "train" not in planned


@pytest.mark.slow
def test_what_was_not_pulled_is_made_from_what_was(origin: Project, tmp_path: Path) -> None:
    colleague = clone(origin, tmp_path / "clone", {})
    colleague.warm("dvc", "pull", "train")
    planned = colleague.planned()
    assert planned["compress"] == 6
    assert not {"prepare", "train"} & set(planned)


def test_a_damaged_record_stops_before_any_job(pulled_copy: Project) -> None:
    path = pulled_copy.folder / "results/test/provenance.json"
    path.write_text("<<<<<<< HEAD\n" + path.read_text())
    printed = pulled_copy.snakemake("-n", check=False)
    assert "results/test/provenance.json: damaged" in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_a_colleagues_added_seed_is_pulled_into_a_clone_that_has_the_rest(
    origin: Project, tmp_path: Path
) -> None:
    shutil.copytree(origin.folder, tmp_path / "origin", symlinks=True)
    ours = Project(tmp_path / "origin")
    theirs = clone(ours, tmp_path / "clone", {})
    theirs.warm("dvc", "pull")
    assert NOTHING in theirs.snakemake("-n")
    study = ours.folder / "config/studies/test.yaml"
    study.write_text(study.read_text().replace("seeds: 3", "seeds: 4"))
    before = (ours.folder / WEIGHTS).stat().st_mtime_ns
    ours.warm("dvc", "repro")
    assert (ours.folder / WEIGHTS).stat().st_mtime_ns == before
    ours.commit("a seed more")
    ours.warm("dvc", "push")
    theirs.run("git", "pull", "-q")
    theirs.warm("dvc", "pull")
    assert (theirs.folder / "results/test/dense/digits/mlp/tiny/seeds-002-003.safetensors").exists()
    assert has_nothing_to_do(theirs)
