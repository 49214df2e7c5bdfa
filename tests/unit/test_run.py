"""What ./run refuses, and what it leaves out, before it sets anything up."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from core_helpers import REPOSITORY

from recall_distortion.system.environment import leave_out

INSTALLERS = {"PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_PREFIX", "UV_PYTHON"}
BASH_S = {"BASH_ENV", "CDPATH", "GLOBIGNORE", "GREP_OPTIONS"}
PYTHON_S = {
    *("PYTHONHOME", "PYTHONINSPECT", "PYTHONOPTIMIZE", "PYTHONPATH", "PYTHONSAFEPATH"),
    *("PYTHONSTARTUP", "PYTHONUTF8", "PYTHONWARNINGS"),
}
R_S = {
    *("R_DEFAULT_PACKAGES", "R_ENVIRON", "R_ENVIRON_USER", "R_HOME", "R_PROFILE"),
    "R_PROFILE_USER",
}
KEPT = {
    *("PIP_INDEX_URL", "PIP_CERT", "PIP_FIND_LINKS", "PIP_DEFAULT_TIMEOUT", "UV_DEFAULT_INDEX"),
    *("UV_CACHE_DIR", "UV_INDEX_URL", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "R_LIBS"),
    *("R_LIBS_USER", "PYTHON_VERSION"),
}


def copy(folder: Path) -> Path:
    """Put into a folder what ./run reads before it sets anything up."""
    folder.mkdir(parents=True)
    shutil.copy2(REPOSITORY / "run", folder)
    shutil.copytree(REPOSITORY / "config", folder / "config")
    return folder


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call ./run where nothing could be set up: there is no Python that it would take."""
    tools = folder.parent / "tools"
    if not tools.exists():
        tools.mkdir()
        for name in ("bash", "dirname", "env", "grep", "locale", "mkdir", "mktemp", "rm", "sed"):
            (tools / name).symlink_to(str(shutil.which(name)))
    return subprocess.run(
        [folder / "run", *words],
        env={"PATH": str(tools), "HOME": str(folder.parent), "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy(tmp_path / "project")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("test seeds=2", "./run study test --config seeds=2"),
        ("seeds=2", "./run study --config seeds=2"),
        ("seeds=2 level=0.9", "./run study --config seeds=2 level=0.9"),
        ("test sedes=2", "./run study test --config sedes=2"),
        ("study=test", "./run study test"),
        ("study=test seeds=2", "./run study test --config seeds=2"),
        ("test study=test", "./run study test"),
        ("test -n seeds=2", "./run study test -n --config seeds=2"),
        ("test train_all seeds=2", "./run study test train_all --config seeds=2"),
        ("test seeds=2 --config level=0.9", "./run study test --config seeds=2 level=0.9"),
        ("seeds=2 --config study=test", "./run study test --config seeds=2"),
        ("test --cores 2 gpus=0", "./run study test --cores 2 --config gpus=0"),
        ("test ratios=[2,4]", r"./run study test --config ratios=\[2\,4\]"),
    ],
)
def test_an_override_without_config_is_told_what_was_meant(
    project: Path, words: str, meant: str
) -> None:
    found = run(project, "study", *words.split())
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1] == f"  {meant}"
    assert len(found.stderr.splitlines()) == 2
    assert found.stdout == ""


@pytest.mark.parametrize("words", ["test study=mnist", "test --config study=mnist"])
def test_two_studies_are_refused(project: Path, words: str) -> None:
    found = run(project, "study", *words.split())
    assert (found.returncode, found.stderr) == (
        1,
        "Two studies are named, test and mnist. Name one: ./run study test\n",
    )


@pytest.mark.parametrize(
    "words",
    [
        "test",
        "test --config seeds=2",
        "test -C seeds=2 level=0.9",
        "--config study=test seeds=2",
        "test --config study=test",
        "test results/test+seeds=2/report.html",
        "test --resources gpu=1 mem_mb=4000",
        "test --set-threads train=2",
        "test nonsense",
    ],
)
def test_other_words_are_snakemake_s(project: Path, words: str) -> None:
    found = run(project, "study", *words.split())
    assert found.stderr.startswith("Python 3.11 to 3.14 is needed")


def test_what_decides_which_code_runs_is_left_out_and_said(project: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text("echo sprung >&2\nexit 3\n")
    names = INSTALLERS | BASH_S | PYTHON_S | R_S | {"SNAKEMAKE_PROFILE"}
    found = run(project, **dict.fromkeys(names | KEPT, str(trap)))
    first, usage = found.stderr.split("\n", 1)
    assert first == f"Ignored of your environment: {', '.join(sorted(names))}."
    assert usage.startswith("usage: ./run study")
    assert found.returncode == 2
    # Of Python's, R's and bash's own it is what the workflow leaves out too.
    both = leave_out(dict.fromkeys(names | KEPT, str(trap)), Path("/project/src"))
    assert set(both) == PYTHON_S | R_S | {"BASH_ENV"}


def test_functions_and_options_of_the_caller_s_shell_do_not_count(project: Path) -> None:
    trap = {"BASH_FUNC_dirname%%": "() { echo sprung; }", "SHELLOPTS": "xtrace:noexec"}
    found = run(project, **trap)
    assert (found.returncode, found.stderr[:6]) == (2, "usage:")


def test_a_locale_that_cannot_name_every_folder_is_replaced(tmp_path: Path) -> None:
    project = copy(tmp_path / "jürgen")
    for value in ("C", "POSIX", "de_DE.ISO-8859-1"):
        found = run(project, "setup", LC_ALL=value)
        assert "Ignored of your environment: LC_ALL." in found.stderr
        assert found.stderr.splitlines()[-3].startswith("Python 3.11 to 3.14 is needed")
    assert run(project, "setup", LC_ALL="", LANG="C").stderr.startswith("Python 3.11 to 3.14")


@pytest.mark.parametrize("character", [*" \t\n\"'$&;()<>|`\\*?[]{}:", "\udcff"])
def test_a_folder_whose_path_would_be_misread_is_refused(tmp_path: Path, character: str) -> None:
    project = copy(tmp_path / f"a{character}b")
    for command in ("study", "test", "setup"):
        found = run(project, command)
        assert found.returncode == 1
        assert "the path of this folder holds" in found.stderr
        assert "Move the project to a folder with a plainer path" in found.stderr
        assert {path.name for path in project.iterdir()} == {"run", "config"}


def test_a_home_that_cannot_be_written_to_is_replaced(project: Path) -> None:
    found = run(project, "setup", HOME="/dev/null/home")
    assert found.stderr.splitlines()[0] == (
        f"HOME (/dev/null/home) is no folder that can be written to: {project}/.home takes its "
        "place."
    )
    assert (project / ".home").is_dir()
    assert os.listdir(project / ".home") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["study", "nope"], "There is no config/studies/nope.yaml. The studies are:\n  cifar\n"),
        (["test", "--quick", "tests/nope.py"], "tests/nope.py: there is no such file or folder"),
        (["test", "unit/test_nope.py::test_it"], "unit/test_nope.py: there is no such file"),
        (["setup", "all"], "usage: ./run study"),
    ],
)
def test_what_is_not_there_is_named_before_anything_is_done(
    project: Path, words: list[str], said: str
) -> None:
    found = run(project, *words)
    assert found.returncode == 1
    assert found.stderr.startswith(said)


def test_help_is_no_error(project: Path) -> None:
    found = run(project, "--help")
    assert found.returncode == 0
    assert found.stdout.startswith("usage: ./run study")
