"""A job's log: where its output goes, a line per epoch, and how an error ends it."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from recall_distortion import __version__
from recall_distortion.system.errors import RecallDistortionError, UnwritableError
from recall_distortion.system.files import unwritable
from recall_distortion.system.processes import end_with_parent

#: What no program is to blame for: the disk is full, or must not be written to.
_NO_MISTAKE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
#: Seconds between two lines on the terminal of how far a job is.
PATIENCE = 60.0
#: Names the process and the file descriptor on which it printed before it had a log.
_TERMINAL = "RECALL_DISTORTION_TERMINAL"
#: The job that this process is, and the file descriptor on which it printed before it had a log.
_job: list[tuple[str, int]] = []


@contextlib.contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Send everything the block prints to a log; an error ends the process with status 1.

    The redirection is made on the file descriptors, so that R and C++ libraries are caught too. An
    error meant for the user is logged as its message alone, any other with its traceback and its
    message last, so that the log always ends in the reason. Where the disk is too full for that, or
    the log cannot be made, the reason goes where the process printed before, as does once a minute
    how far a long training is. Ctrl-C is a line too. The process ends with its parent.
    """
    end_with_parent()
    path = Path(path)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = _terminal()
    _job.append((path.stem, terminal))
    try:
        _redirect(path)
        yield
        sys.stdout.flush()
    except RecallDistortionError as error:
        _last_words(f"error: {error}", terminal)
        sys.exit(1)
    except KeyboardInterrupt:
        _last_words("stopped by Ctrl-C; the study, started again, goes on from here", terminal)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if (of_disk := _of_disk(error, path)) is not None:
            words = f"error: {of_disk}"
        else:
            words = (
                f"{traceback.format_exc()}error: {type(error).__name__}: "
                f"{str(error) or 'no message'} (unexpected; please report it with this log)"
            )
        _last_words(words, terminal)
        sys.exit(1)


def _of_disk(error: Exception, log: Path) -> UnwritableError | None:
    """Return what an error says of the disk, where that alone is to blame."""
    if isinstance(error, OSError) and error.errno in _NO_MISTAKE:
        # A line that the log has no room for comes here too; that error names no file.
        return unwritable(error.filename or log, error.strerror)
    # Libraries written in Rust, safetensors among them, have the number in their text alone.
    number = re.search(r"\(os error (\d+)\)", str(error))
    if number is not None and int(number[1]) in _NO_MISTAKE:
        return unwritable("a file of this job", error)
    return None


def _terminal() -> int:
    """Return a copy of the standard error that this process was started with.

    It outlives ``exec``: a process that starts itself again finds its log in the place of it.
    """
    process, _, known = os.environ.get(_TERMINAL, "").partition(":")
    if process == str(os.getpid()):
        return int(known)
    terminal = os.dup(2)
    os.set_inheritable(terminal, True)
    os.environ[_TERMINAL] = f"{os.getpid()}:{terminal}"
    return terminal


def _redirect(path: Path) -> None:
    """Let the process print to a file from here on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = open(path, "w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise unwritable(path, error.strerror) from error
    with log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _last_words(words: str, terminal: int) -> None:
    """Print why the process ends, after what was printed before: to the log if it has room."""
    try:
        _say(words)
    except OSError:
        # What is still in the streams goes there too, else the process would fail to flush it.
        os.dup2(terminal, 1)
        os.dup2(terminal, 2)
        _say(words)


def _say(words: str) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    # A stream of its own, because one that fails keeps its words and says them again.
    with open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False) as stream:
        print(words, file=stream)


def warn(words: str) -> None:
    """Say what a user should look at: in a job's log and on its terminal, else as a warning."""
    if not _job:
        warnings.warn(words, stacklevel=3)
        return
    print(f"warning: {words}", flush=True)
    _tell(f"warning: {words}")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a study's numbers depend on."""
    packages = ("torch", "numpy", "pandas", "scipy", "statsmodels", "pymer4", "snakemake")
    found = {"recall_distortion": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in packages}


def progress(labels: Sequence[str], epochs: int) -> Callable[[list[dict[str, Any]], range], None]:
    """Return a function that prints one line an epoch, and in a job once a minute on the terminal.

    ``labels`` name all the networks to train, in their order. The function is given each network's
    row of its history, and the places among ``labels`` of those that are trained at the time. Where
    they are several the line has their means. On the terminal the line says how much time is left,
    if the rest takes as long as what was trained since the first call.
    """
    start = told = time.monotonic()
    first_call: tuple[float, float] | None = None

    def report(rows: list[dict[str, Any]], places: range) -> None:
        nonlocal first_call, told
        mean = {
            name: sum(row[name] for row in rows) / len(rows)
            for name in ("training_loss", "validation_loss", "validation_accuracy")
        }
        first, last = places.start, places.stop
        what = f"{labels[first]} ({first + 1} of {len(labels)})"
        if last - first > 1:
            what = (
                f"{labels[first]} to {labels[last - 1]} ({first + 1} to {last} of {len(labels)}), "
                f"means of {len(rows)}"
            )
        print(
            f"{what}: epoch {rows[0]['epoch']}/{epochs}, "
            f"training loss {mean['training_loss']:.4f}, "
            f"validation loss {mean['validation_loss']:.4f}, "
            f"validation accuracy {mean['validation_accuracy']:.4f}, "
            f"{time.monotonic() - start:.1f} s",
            flush=True,
        )
        now = time.monotonic()
        done = (first + (last - first) * rows[0]["epoch"] / epochs) / len(labels)
        first_call = first_call or (now, done)
        if now - told >= PATIENCE:
            told = now
            networks = f"network {last} of {len(labels)}, " if last - first < len(labels) else ""
            seconds, more = now - first_call[0], done - first_call[1]
            left = f", {duration(seconds * (1 - done) / more)} left" if more > 0 else ""
            _tell(f"{networks}epoch {rows[0]['epoch']} of {epochs}{left}")

    return report


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds >= 5400:
        return f"about {seconds / 3600:.1f} h"
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"


def _tell(words: str) -> None:
    """Print a line where the job's process printed before it had a log."""
    for name, terminal in _job:
        line = f"{name}: {words}\n".encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):  # a terminal that was closed is no reason to stop
            os.write(terminal, line)
