"""A study among what surrounds it: its folder's name, its caller's environment, its machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from recall_distortion.system.environment import FURTHER

from .conftest import COMMAND, TABLES, Project, copy_project

PREPARE = ("prepare_all", "--config", "study=test")


def named(folder: Path, environment: Mapping[str, str] | None = None) -> Project:
    folder.mkdir(parents=True)
    return copy_project(folder, environment)


def refused(project: Project, *command: str) -> str:
    """Return the message with which a call ends that leaves nothing behind."""
    found = project.run(*command, *PREPARE, "--cores", "1", check=False)
    assert found.returncode == 1
    assert "Traceback" not in found.stdout
    assert not (project.folder / "results").exists()
    return found.stdout


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_study_runs_in_a_folder_of_an_odd_name(tmp_path: Path, locale: str) -> None:
    """One within the other, since each must do wherever it stands in a path."""
    name = 'a b/it\'s "$HOME" (1) & so;on #2/jürgen/a\nb'
    project = named(tmp_path / name, {"LC_ALL": locale})
    project.run(*COMMAND, *PREPARE)
    assert (project.folder / "results/test/data/digits.safetensors").exists()


def test_a_study_runs_in_a_folder_behind_a_link(tmp_path: Path) -> None:
    named(tmp_path / "there")
    (tmp_path / "link").symlink_to("there")
    Project(tmp_path / "link").run(*COMMAND, *PREPARE)
    assert (tmp_path / "there/results/test/data/digits.safetensors").exists()


@pytest.mark.slow
def test_a_whole_study_runs_in_a_folder_with_an_odd_name(confined: Project) -> None:
    assert not set(" \"'ü$(;&") - set(confined.folder.name)
    assert len(list((confined.folder / "results/test/tables").glob("*.csv"))) == TABLES
    assert (confined.folder / "results/test/report.html").exists()


@pytest.mark.parametrize("name", ["a{b}c", "a:b"])
def test_a_folder_in_which_no_job_could_start_is_refused(tmp_path: Path, name: str) -> None:
    message = refused(named(tmp_path / name), "snakemake")
    assert "this path holds" in message
    assert "Move the project to a folder with a plainer path" in message


@pytest.mark.parametrize("name", ["a b", "a(b)", "a$b"])
def test_an_environment_in_a_folder_that_a_shell_would_misread_is_refused(
    project: Project, tmp_path: Path, name: str
) -> None:
    # As good as another environment: the same packages, by way of links.
    other = tmp_path / name
    (other / "bin").mkdir(parents=True)
    (other / "bin/python").symlink_to(Path(sys.executable).resolve())
    shutil.copy2(Path(sys.prefix) / "pyvenv.cfg", other)
    (other / "lib").symlink_to(Path(sys.prefix) / "lib")
    message = refused(project, str(other / "bin/python"), "-m", "snakemake")
    assert f"{other}/bin/python: the path of this Python holds" in message
    assert "use an environment in such a folder" in message


def test_another_clone_s_code_does_not_run(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "recall_distortion").mkdir(parents=True)
    for module in ("recall_distortion/__init__", "safetensors"):  # the second in jobs alone
        (other / f"{module}.py").write_text(f"raise SystemExit('{module} of the wrong folder')\n")
    settings = {
        "BASH_ENV": str(tmp_path / "trap"),
        "PYTHONOPTIMIZE": "1",
        "PYTHONPATH": str(other),
        "R_HOME": "/nowhere",
    }
    (tmp_path / "trap").write_text("echo sprung; exit 3\n")
    elsewhere = Project(project.folder, settings)
    said = elsewhere.run("snakemake", "--cores", "1", *PREPARE, stdin=subprocess.DEVNULL).stdout
    assert "Jobs ignore of your environment: BASH_ENV, PYTHONOPTIMIZE, PYTHONPATH, R_HOME." in said
    assert "wrong folder" not in said
    # Whoever wants another folder's code says so.
    on_purpose = Project(project.folder, {**settings, FURTHER: str(other)})
    (project.folder / "results/test/data/digits.safetensors").unlink()
    said = on_purpose.run(*COMMAND, *PREPARE, check=False).stdout
    assert "safetensors of the wrong folder" in said


def faked(project: Project, files: Mapping[str, str]) -> Project:
    """Let a copy of the project see another system's files."""
    for name, text in files.items():
        path = project.folder / "system" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    module = project.folder / "src/recall_distortion/system/machine.py"
    text = module.read_text()
    assert text.count('SYSTEM = Path("/")') == 1
    module.write_text(text.replace('Path("/")', f'Path("{project.folder / "system"}")'))
    return project


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core cannot become fewer")
def test_all_cores_and_the_memory_are_those_of_the_container(project: Project) -> None:
    container = faked(
        project,
        {
            "proc/self/cgroup": "0::/\n",
            "proc/meminfo": "MemAvailable:   64000000 kB\n",
            "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
            "sys/fs/cgroup/cpu.max": "100000 100000\n",
            "sys/fs/cgroup/memory.max": "3000000000\n",
            "sys/fs/cgroup/memory.current": "100000000\n",
        },
    )
    said = container.run("snakemake", "--cores", "all", *PREPARE).stdout
    assert "Provided cores: 1 " in said
    assert 'mem_mb=Resource("mem_mb", 2900)' in said
    # A number that is given counts, and so does what is said of memory.
    (project.folder / "results/test/data/digits.safetensors").unlink()
    processors = len(os.sched_getaffinity(0))
    given = ("--resources", "mem_mb=5000", "--cores", str(processors + 1))
    said = container.run("snakemake", *given, *PREPARE).stdout
    assert f"Provided cores: {processors + 1}\n" in said
    assert 'mem_mb=Resource("mem_mb", 5000)' in said


@pytest.mark.slow
def test_where_memory_is_short_a_study_runs_job_by_job(project: Project) -> None:
    faked(project, {"proc/meminfo": "MemAvailable:   900000 kB\n"})
    said = project.run(*COMMAND, "train_all", "--config", "study=test").stdout
    assert 'mem_mb=Resource("mem_mb", 921)' in said
    # Both blocks of seeds could be trained at once by the cores that there are.
    assert said.count("Execute 1 jobs...") == 4
