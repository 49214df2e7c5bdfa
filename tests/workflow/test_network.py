"""A study on data that are at hand opens no connection beyond this machine."""

from __future__ import annotations

import sys

import pytest

from tests.workflow.conftest import COMMAND, Project

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


@pytest.fixture
def guarded(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project every Python process of which refuses to connect to another machine."""
    (project.folder / "src/sitecustomize.py").write_text(GUARD)
    for name in ("FORBIDDEN", "GUARDED"):
        monkeypatch.setenv(name, str(project.folder / name))
    return project


def test_the_guard_holds(guarded: Project) -> None:
    # An address of those that are reserved for documents.
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    found = guarded.run(sys.executable, "-c", code, check=False)
    assert found.returncode != 0
    assert "a connection to 192.0.2.1 was forbidden" in found.stdout
    assert (guarded.folder / "FORBIDDEN").read_text() == "socket.getaddrinfo 192.0.2.1\n"


@pytest.mark.slow
def test_a_study_opens_no_connection(guarded: Project) -> None:
    guarded.run(*COMMAND, "--config", "study=test")
    assert (guarded.folder / "results/test/report.html").exists()
    started = (guarded.folder / "GUARDED").read_text().splitlines()
    assert len([line for line in started if "scripts/" in line]) >= 10, started
    assert not (guarded.folder / "FORBIDDEN").exists()
