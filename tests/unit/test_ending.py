"""What stands last on the terminal when the workflow's engine ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from core_helpers import REPOSITORY

# As the engine does: it logs, is told to stop while it works, and has its own words after that.
ENGINE = """
import logging, pathlib, signal
from recall_distortion.system.ending import LastLine

log = logging.getLogger("engine")
log.setLevel("INFO")
line = LastLine(pathlib.Path("report.html"), "nothing")
log.addHandler(line)
try:
    {what}
except KeyboardInterrupt:
    pass
print("the engine's last words", flush=True)
"""
STOPPED = "Stopped by Ctrl-C. The same command goes on from here."
SAID = {
    "log.info('something')": "",
    "log.info('nothing')": "The report: {folder}/report.html",
    "line.done()": "The report: {folder}/report.html",
    "line.done(); signal.raise_signal(signal.SIGINT)": STOPPED,
}


def run(what: str, folder: Path, at_ctrl_c: signal.Handlers = signal.SIG_DFL) -> list[str]:
    """Return the lines that a process says which does ``what``.

    ``at_ctrl_c`` is what it was started to do then; tests in the background have it ignored.
    """
    return subprocess.run(
        [sys.executable, "-c", ENGINE.format(what=what)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, at_ctrl_c),
    ).stdout.splitlines()


@pytest.mark.parametrize("what", SAID)
def test_the_last_line_says_where_the_page_lies_or_how_to_go_on(what: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").touch()
    expected = ["the engine's last words", SAID[what].format(folder=tmp_path.resolve())]
    assert run(what, tmp_path) == list(filter(None, expected))


def test_a_page_that_is_not_there_lies_nowhere(tmp_path: Path) -> None:
    assert run("line.done()", tmp_path) == ["the engine's last words"]


def test_in_the_background_ctrl_c_stays_ignored(tmp_path: Path) -> None:
    found = run("signal.raise_signal(signal.SIGINT)", tmp_path, signal.SIG_IGN)
    assert found == ["the engine's last words"]
