"""A job's log: where its output goes, a line per epoch, and how an error ends it."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from recall_distortion import __version__
from recall_distortion.errors import RecallDistortionError
from recall_distortion.processes import end_with_parent


@contextlib.contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Send everything the block prints to a log; an error ends the process with status 1.

    The redirection is made on the file descriptors, so that R and C++ libraries are caught too. An
    error meant for the user is logged as its message alone, any other with its traceback and its
    message last, so that the log always ends in the reason. The process ends with its parent.
    """
    end_with_parent()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with open(path, "w", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    except RecallDistortionError as error:
        sys.stdout.flush()  # what was printed before the error stands before it
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except Exception as error:
        sys.stdout.flush()
        traceback.print_exc()
        print(
            f"error: {type(error).__name__}: {str(error) or 'no message'} (unexpected; please "
            "report it with this log)",
            file=sys.stderr,
            flush=True,
        )
        sys.exit(1)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a study's numbers depend on."""
    packages = ("torch", "numpy", "pandas", "scipy", "statsmodels", "pymer4", "snakemake")
    found = {"recall_distortion": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in packages}


def progress(labels: Sequence[str], epochs: int) -> Callable[[list[dict[str, Any]], range], None]:
    """Return a function that prints one line an epoch.

    ``labels`` name all the networks to train, in their order. The function is given each network's
    row of its history, and the places among ``labels`` of those that are trained at the time. Where
    they are several the line has their means.
    """
    start = time.monotonic()

    def report(rows: list[dict[str, Any]], places: range) -> None:
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

    return report
