"""A study on data that are at hand opens no connection beyond this machine."""

from __future__ import annotations

import sys

import pytest

from tests.workflow.conftest import FORBIDDEN, GUARDED, Project, guard


def test_the_guard_holds(project: Project) -> None:
    # An address of those that are reserved for documents.
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    found = guard(project).run(sys.executable, "-c", code, check=False)
    assert found.returncode != 0
    assert "a connection to 192.0.2.1 was forbidden" in found.stdout
    assert (project.folder / FORBIDDEN).read_text() == "socket.getaddrinfo 192.0.2.1\n"


@pytest.mark.slow
def test_a_study_opens_no_connection(confined: Project) -> None:
    assert (confined.folder / "results/test/report.html").exists()
    started = (confined.folder / GUARDED).read_text().splitlines()
    assert len([line for line in started if "scripts/" in line]) >= 10, started
    assert not (confined.folder / FORBIDDEN).exists()
