"""A job's log ends in the reason, with a traceback only where it helps."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from core_helpers import REPOSITORY

from recall_distortion.system.logs import progress

JOB = """
import os, sys
from recall_distortion.system.errors import DataError
from recall_distortion.system.logs import job_log

with job_log(sys.argv[1]):
    print("said before")
    print("to the other stream", file=sys.stderr)
    os.write(1, b"from C\\n")
    {body}
print("said after")
"""


FULL = "/dev/full"  # every write to it finds no space left on the device
needs_full = pytest.mark.skipif(not os.path.exists(FULL), reason=f"this system has no {FULL}")


def run(tmp_path, body):
    """Run a job and return its exit status, its log, and what reached the outside."""
    log = tmp_path / "logs" / "job.log"
    # Buffered as in a job, so that what was printed last could come after the reason.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    environment["PYTHONPATH"] = str(REPOSITORY / "src")
    done = subprocess.run(
        [sys.executable, "-c", JOB.format(body=body), str(log)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, log.read_text(encoding="utf-8"), done.stdout + done.stderr


def test_everything_a_job_says_goes_to_its_log(tmp_path):
    status, log, outside = run(tmp_path, "pass")
    assert status == 0
    assert outside == ""
    assert sorted(log.splitlines()) == [
        "from C",
        "said after",
        "said before",
        "to the other stream",
    ]


def test_an_error_of_the_user_is_its_message_alone(tmp_path):
    status, log, outside = run(tmp_path, "raise DataError('ü.npz is missing; put it there')")
    assert status == 1
    assert outside == ""
    lines = log.splitlines()
    assert lines[-1] == "error: ü.npz is missing; put it there"
    assert set(lines[:-1]) == {"said before", "to the other stream", "from C"}
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('too odd')", "error: ValueError: too odd"),
        ("{}['key']", "error: KeyError: 'key'"),
        ("raise RuntimeError", "error: RuntimeError: no message"),
        ("import nowhere_at_all", "error: ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ],
)
def test_an_unexpected_error_has_its_traceback_and_ends_in_the_reason(tmp_path, body, reason):
    status, log, outside = run(tmp_path, body)
    assert status == 1
    assert outside == ""
    lines = log.splitlines()
    assert lines[-1].startswith(reason)
    assert "report it" in lines[-1]
    assert log.count("Traceback (most recent call last)") == 1
    assert lines.index("said before") < lines.index("Traceback (most recent call last):")


@needs_full
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "open('/dev/full', 'w').write('x' * 100_000)",
            "cannot be written (No space left on device)",
        ),
        ("os.makedirs('/proc/1/nowhere')", "report it"),  # no disk's fault, but a wrong path
        (
            # What safetensors says. It is not asked to write to the device itself: it would put a
            # file in its place.
            "raise RuntimeError('I/O error: No space left on device (os error 28)')",
            "(os error 28)). Make room",
        ),
    ],
)
def test_a_disk_to_blame_needs_no_traceback(tmp_path, body, reason):
    status, log, _ = run(tmp_path, body)
    assert status == 1
    assert reason in log
    assert ("Traceback" in log) == (reason == "report it")


def test_a_job_stopped_by_ctrl_c_says_so_in_a_line(tmp_path):
    status, log, outside = run(tmp_path, "os.kill(os.getpid(), 2); import time; time.sleep(30)")
    assert status == 130
    assert outside == ""
    assert log.splitlines()[-1].startswith("stopped by Ctrl-C")
    assert "Traceback" not in log


def test_an_earlier_log_is_replaced(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "job.log").write_text("an earlier run\n" * 100)
    _, log, _ = run(tmp_path, "raise DataError('x')")
    assert "earlier" not in log


SILENT_JOB = """
import os, sys
from recall_distortion.system.errors import DataError
from recall_distortion.system.logs import job_log

with job_log(sys.argv[1]):
    {body}
"""


def run_with_full_log(body):
    """Run a job whose log takes not a byte; return its exit status and what reached the outside."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    environment["PYTHONPATH"] = str(REPOSITORY / "src")
    done = subprocess.run(
        [sys.executable, "-c", SILENT_JOB.format(body=body), FULL],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout.splitlines()


@needs_full
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("print('line'); raise DataError('the reason')", "error: the reason"),
        ("raise ValueError('too odd')", "error: ValueError: too odd (unexpected; please report"),
        ("print('line', flush=True)", "error: /dev/full: cannot be written (No space left on"),
        ("print('line')", "error: /dev/full: cannot be written (No space left on device)"),
        # A job that starts itself again has its log in the place of the terminal by then.
        (
            "from recall_distortion.system import processor; processor.fix_addresses();"
            " raise DataError('the reason')",
            "error: the reason",
        ),
    ],
)
def test_a_reason_that_the_log_has_no_room_for_is_said_outside(body, reason):
    status, lines = run_with_full_log(body)
    assert status == 1
    assert lines[-1].startswith(reason)
    assert sum("error: " in line for line in lines) == 1
    assert not any("Exception ignored" in line for line in lines)


def test_a_log_that_cannot_be_made_is_said_in_one_line(tmp_path):
    (tmp_path / "logs").write_text("a file in the folder's place")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    log = tmp_path / "logs" / "job.log"
    done = subprocess.run(
        [sys.executable, "-c", JOB.format(body="pass"), str(log)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {log}: cannot be written (")


ROW = {"training_loss": 0.51234, "validation_loss": 1.5, "validation_accuracy": 0.875}


def test_an_epoch_is_one_line(capsys):
    report = progress(["mlp seed 3", "mlp seed 4"], 20)
    for place, epoch in ((0, 1), (0, 2), (1, 1)):
        report([ROW | {"epoch": epoch}], range(place, place + 1))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(
        "mlp seed 3 (1 of 2): epoch 2/20, training loss 0.5123, validation loss 1.5000, "
        "validation accuracy 0.8750, "
    )
    assert lines[2].startswith("mlp seed 4 (2 of 2): epoch 1/20, ")


def test_an_epoch_of_several_networks_is_one_line_of_means(capsys):
    report = progress([f"seed {seed}" for seed in range(5)], 9)
    report([ROW | {"epoch": 1}, ROW | {"epoch": 1}], range(2))
    rows = [ROW | {"epoch": 1, "training_loss": loss} for loss in (0.1, 0.2, 0.6)]
    report(rows, range(2, 5))
    rows = [ROW | {"epoch": 2, "training_loss": loss} for loss in (0.2, 0.6)]  # one has failed
    report(rows, range(2, 5))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 0 to seed 1 (1 to 2 of 5), means of 2: epoch 1/9, ")
    where = "seed 2 to seed 4 (3 to 5 of 5)"
    assert lines[1].startswith(f"{where}, means of 3: epoch 1/9, training loss 0.3000, ")
    assert lines[2].startswith(f"{where}, means of 2: epoch 2/9, training loss 0.4000, ")


LONG = """
    from unittest import mock
    from recall_distortion.system import logs
    row = {"training_loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 0.5}
    with mock.patch("time.monotonic") as clock:
        clock.return_value = 0.0
        report = logs.progress(["a", "b", "c", "d"], 10)
        for epoch in range(1, 11):
            clock.return_value += 30.0
            report([row | {"epoch": epoch}] * NETWORKS, range(NETWORKS))
"""


@pytest.mark.parametrize(
    ("networks", "first", "last"),
    [
        (4, "job: epoch 2 of 10, about 4 min left", "job: epoch 10 of 10, about 0 s left"),
        # Half of the networks are left after the last epoch of the first half.
        (2, "job: network 2 of 4, epoch 2 of 10, about 9 min left", "about 5 min left"),
    ],
)
def test_a_long_job_says_once_a_minute_how_far_it_is(tmp_path, networks, first, last):
    body = LONG.strip().replace("NETWORKS", str(networks))
    status, log, outside = run(tmp_path, body)
    assert status == 0
    assert len([line for line in log.splitlines() if "epoch" in line]) == 10
    lines = outside.splitlines()
    assert len(lines) == 5
    assert lines[0] == first
    assert lines[-1].endswith(last)


def test_a_short_job_says_nothing_on_the_terminal(tmp_path):
    body = """
    from recall_distortion.system import logs
    row = {"training_loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 0.5}
    logs.progress(["a"], 1)([row | {"epoch": 1}], range(1))"""
    status, log, outside = run(tmp_path, body.strip())
    assert status == 0
    assert "epoch 1/1" in log
    assert outside == ""
