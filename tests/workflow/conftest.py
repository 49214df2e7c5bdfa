"""A copy of the project in a temporary folder, and the test study run there once."""

from __future__ import annotations

import compileall
import dataclasses
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.workflow.warm import commands

PROJECT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "workflow", "profiles", "config", "src", "dvc.yaml", ".dvcignore")
COMMAND = ("snakemake", "--cores", "2")  # as a user gives it
NOTHING = "Nothing to be done"
TABLES = 10  # files in the tables folder of a finished study
#: One block of seeds, all methods and ratios in one job: every rule, in few jobs.
FEW_JOBS = "  replicates: 3\n  ratios: 3\n  bundles: {both: [magnitude, control]}\n"
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@localhost")


#: Where a guarded project notes connections that were tried, and processes that were started.
FORBIDDEN, GUARDED = "FORBIDDEN", "GUARDED"
# Python imports a sitecustomize at every start, that of each job's process too.
GUARD = """
import os, socket, sys

def forbid(event, arguments):
    if event == "socket.connect" and arguments[0].family != socket.AF_UNIX:
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host not in (None, "", "127.0.0.1", "::1", "localhost", socket.gethostname()):
        with open(os.environ["FORBIDDEN"], "a") as log:
            log.write(f"{event} {host}\\n")
        raise OSError(f"a connection to {host} was forbidden")

sys.addaudithook(forbid)
with open(os.environ["GUARDED"], "a") as log:
    log.write(" ".join(sys.orig_argv)[:200].replace("\\n", " ") + "\\n")
"""


@dataclass(frozen=True)
class Project:
    """A copy of the project in which commands are run as a user would."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)  # beyond the caller's

    def run(self, *command: str, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Run a command in the folder; its output is part of a failure's message."""
        found = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=600,
            check=False,
            **options,
        )
        if check:
            assert found.returncode == 0, f"{command} failed:\n{found.stdout[-6000:]}"
        return found

    def start(self, *command: str, **options) -> subprocess.Popen:
        """Start a command in the folder and do not wait for it."""
        return subprocess.Popen(command, cwd=self.folder, env=self._environment(), **options)

    def _environment(self) -> dict[str, str]:
        # The copied package must be the one that runs, not the installed one.
        here = {"PYTHONPATH": str(self.folder / "src"), "NO_COLOR": "1"}
        # Bytecode came with the copy. Python tells it by a second's time and a size, which an edit
        # that is taken back at once has, too: so that none is written of edits.
        here["PYTHONDONTWRITEBYTECODE"] = "1"
        return {**os.environ, **here, **self.environment}

    def warm(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        """Run a command; where it is Snakemake or DVC, or calls them, they cost no imports."""
        path = os.pathsep.join([commands(), self._environment()["PATH"]])
        found = dataclasses.replace(self, environment={**self.environment, "PATH": path})
        return found.run(*command, check=check)

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Run a warm snakemake on two cores and return what it printed."""
        return self.warm(*COMMAND, *arguments, check=check).stdout

    def fails(self, *arguments: str) -> str:
        """Run a warm snakemake, which shall end with status 1, and return what it printed."""
        found = self.warm(*COMMAND, *arguments, check=False)
        assert found.returncode == 1, found.stdout[-6000:]
        return found.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule a dry run lists; none where there is nothing to do."""
        plan = self.snakemake("-n", *arguments)
        if NOTHING in plan:
            return {}
        table = plan.partition("Job stats:")[2].partition("\ntotal ")[0]
        found = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
        assert found, plan
        return {rule: count for rule, count in found.items() if not rule.startswith("all")}

    def commit(self, message: str) -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", *IDENTITY, "commit", "-qm", message)


def copy_project(folder: Path, environment: Mapping[str, str] | None = None) -> Project:
    """Copy what a study needs, without results; bytecode too, or each process would compile."""
    others = shutil.ignore_patterns("*.pyc.*", "*.nb[ci]*")  # as they are written, and Numba's
    for part in PARTS:
        source, target = PROJECT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=others)
        else:
            shutil.copy2(source, target)
    return Project(folder, environment or {})


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """Have the project's package compiled, so that its copies are."""
    compileall.compile_dir(PROJECT / "src", quiet=2)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a fresh copy of the project, nothing run in it."""
    return copy_project(tmp_path)


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Project:
    """Return the project that ``make`` puts into a folder, one for all processes of a test run."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of the run; each process has its own within it
    made = folder / name
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / f"{name}.made").exists():
            shutil.rmtree(made, ignore_errors=True)  # what a failure left
            made.mkdir()
            make(made)
            (folder / f"{name}.made").touch()
    return Project(made)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy in which the test study has run; tests must leave it as it is."""
    return made_once(
        tmp_path_factory,
        "finished",
        lambda folder: copy_project(folder).snakemake("--config", "study=test"),
    )


@pytest.fixture(scope="session")
def confined(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project, run in few jobs in an odd folder, that could reach no other machine."""

    def make(folder: Path) -> None:
        project = guard(copy_project(folder, {"LC_ALL": "C"}))
        in_few_jobs(project)
        project.run(*COMMAND, "--config", "study=test")

    return made_once(tmp_path_factory, 'the "jürgen\'s" $HOME (1) & so;on', make)


def in_few_jobs(project: Project) -> None:
    """Let the test study have as few jobs as its rules need."""
    study = project.folder / "config/studies/test.yaml"
    text = study.read_text()
    assert text.count("  replicates: 2\n") == 1
    study.write_text(text.replace("  replicates: 2\n", FEW_JOBS))


def guard(project: Project) -> Project:
    """Let no Python process of a project connect to another machine."""
    (project.folder / "src/sitecustomize.py").write_text(GUARD)
    noted = {name: str(project.folder / name) for name in (FORBIDDEN, GUARDED)}
    return dataclasses.replace(project, environment={**project.environment, **noted})


@pytest.fixture
def finished_copy(finished: Project, tmp_path: Path) -> Project:
    """Return a copy of the finished project that a test may change."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    return Project(tmp_path)


@pytest.fixture(scope="session")
def recorded(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a finished copy under git and DVC, reproduced once; tests must leave it as it is."""
    return made_once(tmp_path_factory, "recorded", lambda folder: record(finished, folder))


def record(finished: Project, folder: Path) -> None:
    """Copy a finished project into a folder, put it under git and DVC and reproduce it once."""
    shutil.copytree(finished.folder, folder, dirs_exist_ok=True, symlinks=True)
    local = shutil.ignore_patterns("tmp", "cache", "config.local")
    shutil.copytree(PROJECT / ".dvc", folder / ".dvc", ignore=local)
    shutil.copy2(PROJECT / ".gitignore", folder / ".gitignore")
    configuration = folder / "config/config.yaml"
    configuration.write_text(re.sub("study: .*", "study: test", configuration.read_text(), count=1))
    project = Project(folder)
    project.run("git", "init", "-q")
    project.commit("start")
    project.warm("dvc", "repro")
    project.commit("results")
