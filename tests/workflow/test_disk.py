"""A disk that is really full, or read-only: one message, nothing lost, and then it goes on."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Project

RESULTS = Path("results/test")


@pytest.fixture
def disk(finished: Project, tmp_path: Path) -> Iterator[Project]:
    """Return a copy of the finished project whose results are a small file system of their own."""
    results = tmp_path / "results"
    results.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(results)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if found.returncode != 0:
        pytest.skip(f"a small file system needs root's rights ({found.stderr.strip()})")
    try:
        shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
        yield Project(tmp_path)
    finally:
        subprocess.run(["umount", str(results)], check=True)


def remount(project: Project, rights: str) -> None:
    subprocess.run(
        ["mount", "-o", f"remount,{rights}", str(project.folder / "results")], check=True
    )


def fill(project: Project, kilobytes_left: int) -> Path:
    """Write a file that leaves that much room."""
    path = project.folder / "results" / "filler"
    disk = os.statvfs(path.parent)
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - 1024 * kilobytes_left)
    return path


def remove(project: Project, pattern: str) -> None:
    found = list((project.folder / RESULTS).glob(pattern))
    assert found
    for path in found:
        path.unlink()


def contents(project: Project) -> dict[str, str]:
    """Return the checksum of every result, but not of what is written anew at each run."""
    folder = project.folder / RESULTS
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
        and path.relative_to(folder).parts[0] not in ("logs", "benchmarks", "provenance.json")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("removed", "kilobytes_left", "target"),
    [
        ("data/*.safetensors", 0, "prepare_all"),
        ("predictions/digits/mlp/tiny/control/seeds-002-002.*", 8, "evaluate_all"),
        ("figures/*", 40, "all"),
        ("report.html", 0, "all"),
    ],
)
def test_a_full_disk_is_said_once_and_what_is_missing_is_made_when_there_is_room(
    finished: Project, disk: Project, removed: str, kilobytes_left: int, target: str
):
    remove(disk, removed)
    filler = fill(disk, kilobytes_left)
    command = ("--cores", "1", target, "--config", "study=test")
    printed = disk.fails(*command)
    # On the terminal, out of the log or, where that had no room for it, in its place.
    said = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, printed
    assert "cannot be written (" in said[0]
    assert "No space left on device" in said[0]
    assert "Traceback" not in printed
    assert [path for path in filler.parent.rglob("*") if ".partial-" in path.name] == []
    filler.unlink()
    disk.snakemake(*command)
    assert contents(disk) == contents(finished)


@pytest.mark.slow
def test_a_read_only_disk_is_said_and_nothing_is_lost(finished: Project, disk: Project):
    remove(disk, "report.html")
    before = contents(disk)
    remount(disk, "ro")
    said = disk.fails("--config", "study=test")
    assert "Write-protected output files for rule report" in said
    assert "Traceback" not in said
    said = disk.fails("--config", "study=test", "seeds=2")
    assert "Failed to create output directory results/test+seeds=2/data" in said
    assert "Traceback" not in said
    # Results that came by git or DVC would get their records and times back now.
    shutil.rmtree(disk.folder / ".snakemake/metadata")
    said = disk.fails("-n", "--config", "study=test")
    assert "cannot be written (Read-only file system)" in said
    assert "provenance.py" not in said
    remount(disk, "rw")
    assert contents(disk) == before
    disk.snakemake("--config", "study=test")
    assert contents(disk) == contents(finished)
