"""A process knows whether it is the only one alive in a folder, and ends with its parent."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from core_helpers import REPOSITORY

from recall_distortion.system.processes import hold

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
ASK = """
import sys
from recall_distortion.system.processes import only_one_alive
print(only_one_alive(sys.argv[1]), flush=True)
if len(sys.argv) > 2:
    sys.stdin.read()
"""
HOLD = """
import sys
from recall_distortion.system.processes import hold
print(hold(sys.argv[1]), flush=True)
sys.stdin.read()
"""


def ask(path: Path) -> str:
    found = subprocess.run(
        [sys.executable, "-c", ASK, path],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


def stay(path: Path) -> tuple[subprocess.Popen, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", ASK, path, "stay"],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


def test_only_one_is_alive_until_a_second_comes_and_after_the_first_was_killed(tmp_path):
    path = tmp_path / "new" / "alive"
    first, answer = stay(path)
    second = None
    try:
        assert answer == "True"
        assert ask(path) == "False"
        second, answer = stay(path)
        assert answer == "False"
        first.kill()
        first.wait()
        assert ask(path) == "False"  # the second lives
        second.kill()
        second.wait()
        assert ask(path) == "True"
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.communicate()


def test_after_another_machine_s_process_nothing_is_known(tmp_path):
    path = tmp_path / "alive"
    path.write_text("elsewhere")
    assert ask(path) == "False"
    assert path.read_text() == "elsewhere"


def test_where_nothing_can_be_written_nothing_is_known(tmp_path):
    (tmp_path / "folder").write_text("a file")
    assert ask(tmp_path / "folder" / "alive") == "False"


def test_a_file_is_held_by_one_process_until_it_ends(tmp_path):
    path = tmp_path / "new" / "held"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline().strip() == "True"
        assert not hold(path)
        holder.kill()
        holder.wait()
        assert hold(path)
    finally:
        holder.kill()
        holder.communicate()


def test_where_there_are_no_locks_a_file_counts_as_held_by_none(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert hold(tmp_path / "held")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_job_ends_when_its_parent_is_killed(tmp_path):
    parent = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]])
child.wait()
"""
    child = """
import os, sys, time
from recall_distortion.system.logs import job_log
with job_log(sys.argv[1]):
    print(os.getpid(), flush=True)
    time.sleep(60)
"""
    log = tmp_path / "log"
    process = subprocess.Popen([sys.executable, "-c", parent, child, log], env=ENVIRONMENT)
    try:
        last = time.monotonic() + 60
        while not (log.exists() and log.read_text().endswith("\n")):
            assert time.monotonic() < last
            time.sleep(0.05)
        job = int(log.read_text())
        os.kill(job, 0)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = time.monotonic() + 10
    while Path(f"/proc/{job}/cmdline").exists() and Path(f"/proc/{job}/cmdline").read_bytes():
        assert time.monotonic() < last, "the job outlived its parent"
        time.sleep(0.05)
