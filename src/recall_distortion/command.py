"""The command ``recall-distortion``: one function a subcommand.

To add a subcommand, write a function here that takes the words after its name, parses them with
``_parser`` and returns the exit status, and name it in ``COMMANDS``; the first line of its
docstring is its line in ``--help``. It imports what it needs itself, so that ``--help`` is quick.

Exit status: 0 done; 1 it failed while it worked; 2 its words or files are wrong, which one line on
the error stream says; others are a subcommand's own.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from recall_distortion import __version__

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

NAME = "recall-distortion"
#: The exit status of what failed while it worked.
FAILED = 1
#: The exit status that a shell gives a tool which SIGPIPE ended.
BROKEN_PIPE = 141
#: And one that SIGINT ended.
INTERRUPTED = 130
LARGEST_INDEX = 2**31  # of a class; whatever is larger is no class, and may not fit an integer


def slope(words: Sequence[str]) -> int:
    """Print each class's recall before and after a change, and the slope between them.

    LABELS, BEFORE and AFTER are .npy or .csv files of one length: the class of each test image, and
    the class that was predicted for it before and after the network was changed. Classes are the
    numbers 0, 1, ...; a .csv file has one a line, and may begin with the name of its column.
    One pair of networks does not tell the change from chance: see the control of a study.
    """
    parser = _parser(slope)
    parser.add_argument("labels", metavar="LABELS", help="the true classes")
    parser.add_argument("before", metavar="BEFORE", help="predictions of the network as it was")
    parser.add_argument("after", metavar="AFTER", help="predictions of the changed network")
    parser.add_argument(
        "--classes",
        metavar="CLASSES",
        help="their number, or their names separated by commas (default: as many as LABELS has)",
    )
    options = parser.parse_args(words)

    from recall_distortion.measures.distortion import recall_table
    from recall_distortion.system.errors import TableError
    from recall_distortion.tables.predictions import check_classes

    labels = _classes_of(options.labels)
    names = _class_names(options.classes, labels, options.labels)
    check_classes(labels, labels, names, options.labels)
    tables = []
    for path in (options.before, options.after):
        predictions = _classes_of(path)
        if predictions.shape != labels.shape:
            raise TableError(
                f"{path}: holds {len(predictions)} predictions, but {options.labels} holds "
                f"{len(labels)} labels: give predictions for the same images in the same order"
            )
        check_classes(labels, predictions, names, path)
        tables.append(recall_table(labels, predictions, names))
    before, after = tables
    print(_recalls(before, after), end="\n\n")
    print(f"accuracy  {before['accuracy'][0]:.4f} before, {after['accuracy'][0]:.4f} after")
    print("balance   (recall - accuracy) / accuracy")
    print(f"slope     {_slope(before, after)}")
    return 0


def simulate(words: Sequence[str]) -> int:
    """Simulate studies of known truth, and write how intervals and tests do on them."""
    from recall_distortion.simulation.__main__ import main as run

    return run(words, prog=f"{NAME} {simulate.__name__}")


def audit(words: Sequence[str]) -> int:
    """Compare a model before and after it was changed, class by class; may it go out?"""
    from recall_distortion.auditing.words import run as compare

    return compare(words, prog=f"{NAME} {audit.__name__}")


def plan(words: Sequence[str]) -> int:
    """Print the jobs of a study that compute networks, for `run` on another machine."""
    from recall_distortion.run.words import plan as print_plan

    return print_plan(words, prog=f"{NAME} {plan.__name__}")


def run(words: Sequence[str]) -> int:
    """Do the jobs of a plan in one process, with torch, NumPy, pandas and safetensors alone."""
    from recall_distortion.run.words import run as do_jobs

    return do_jobs(words, prog=f"{NAME} {run.__name__}")


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    command.__name__: command for command in (audit, slope, simulate, plan, run)
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command with the words after its name, by default those it was called with.

    Returns the exit status; argparse raises ``SystemExit`` with one for ``--help``, ``--version``
    and words that it does not know.
    """
    try:
        try:
            return _run(sys.argv[1:] if words is None else words)
        finally:
            if sys.stdout is not None:  # closed, as by >&-
                sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{NAME}: stopped by Ctrl-C", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read stopped, as `head` does. What is left to flush at the end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"{NAME}: cannot write: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(words: Sequence[str]) -> int:
    """Run the command with its words, and return the exit status."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{_summary(command)}" for name, command in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="What pruning a network does to its weak classes.",
        epilog="\n".join(["commands:", *lines, "", f"{NAME} COMMAND --help says more of each."]),
        usage=f"{NAME} [--help] [--version] COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those below")
    # Options of a command are its own, so this parser sees no word behind the command's name.
    name = parser.parse_args(words[:1]).command

    from recall_distortion.system.errors import RecallDistortionError

    try:
        return COMMANDS[name](words[1:])
    except RecallDistortionError as error:
        reason = str(error)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__package__):
            raise
        reason = (
            f"needs the package {error.name}, which is not installed: install recall-distortion "
            "with its extra 'train'"
        )
    from recall_distortion.report.style import printable

    print(f"{NAME} {name}: error: {printable(reason)}", file=sys.stderr)
    return 2


def _summary(command: Callable[..., object]) -> str:
    """Return the first line of a subcommand's docstring."""
    return (command.__doc__ or "").partition("\n")[0]


def _parser(command: Callable[..., object]) -> argparse.ArgumentParser:
    """Return an empty parser for a subcommand, with its docstring as the description."""
    return argparse.ArgumentParser(
        prog=f"{NAME} {command.__name__}",
        description="\n".join(line.strip() for line in (command.__doc__ or "").splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _classes_of(path: str) -> np.ndarray:
    """Return the class indices [M] that a .npy or .csv file holds, M at least 1.

    Raises ``TableError`` naming the file where it is missing, damaged or holds anything else.
    """
    from pathlib import Path

    import numpy as np

    from recall_distortion.system.errors import TableError

    read = {".npy": _read_npy, ".csv": _read_csv}.get(Path(path).suffix.lower())
    if read is None:
        raise TableError(f"{path}: give a .npy or .csv file; this name ends in neither")
    try:
        found = read(path)
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such file") from None
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from None
    if found.ndim != 1:
        raise TableError(
            f"{path}: has shape {list(found.shape)}, but must be a vector with the class of each "
            "image; of a row of scores for each image save scores.argmax(1)"
        )
    if not found.size:
        raise TableError(f"{path}: is empty, but must hold the class of each image")
    if not np.issubdtype(found.dtype, np.integer):
        raise TableError(
            f"{path}: holds {found.dtype}, but classes are whole numbers: save them as integers"
        )
    return found


def _read_npy(path: str) -> np.ndarray:
    """Return the array in a .npy file; one of Python objects, which could run code, is refused."""
    import numpy as np

    from recall_distortion.system.errors import TableError

    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise TableError(f"{path}: is no whole .npy file of numbers: {reason}") from None


def _read_csv(path: str) -> np.ndarray:
    """Return the whole numbers [M] of a .csv file with one a line, a column's name above or not."""
    import numpy as np

    from recall_distortion.system.errors import TableError

    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().rstrip().splitlines()
    except UnicodeDecodeError:
        raise TableError(f"{path}: is no text in UTF-8; save it as plain text") from None
    # A number that is no class, such as 1.5, is not taken for the column's name.
    named = bool(lines) and _number(lines[0]) is None and "," not in lines[0]
    found = []
    for row, line in enumerate(lines[named:], 1 + named):
        value = _number(line)
        # As numpy.savetxt and pandas may write it, 3 is 3.000e+00 or 3.0.
        if value is None or not value.is_integer() or abs(value) > LARGEST_INDEX:
            raise TableError(
                f"{path}, line {row}: {line.strip()[:40]!r} is no class; the file must hold one "
                "column of whole numbers and nothing beside it"
            )
        found.append(int(value))
    return np.array(found, dtype=np.int64)


def _number(text: str) -> float | None:
    """Return what a line says, or None where it is no number."""
    try:
        return float(text)
    except ValueError:
        return None


def _class_names(given: str | None, labels: np.ndarray, path: str) -> list[str]:
    """Return the classes' names: those given, or numbers for as many classes as there are."""
    from recall_distortion.system.errors import TableError

    if given is None or given.isdecimal():
        count = int(labels.max()) + 1 if given is None else int(given)
        # Before a list of so many names is made; other classes without an image are found later.
        if count > len(labels):
            raise TableError(
                f"{path}: holds {len(labels)} labels of {count} classes, so some class has no "
                "image; number the classes 0, 1, ... without gaps"
            )
        return [str(i) for i in range(max(count, 1))]
    names = [name.strip() for name in given.split(",")]
    if not all(names) or len(set(names)) < len(names):
        raise TableError(
            f"--classes {given}: give their number, or different names separated by commas"
        )
    return names


def _recalls(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Return two recall tables beside each other, one line a class."""
    import pandas as pd

    columns = {
        "class": before["class_name"],
        "images": before["support"],
        "recall before": before["recall"],
        "after": after["recall"],
        "balance before": before["normalized_balance"],
        "after ": after["normalized_balance"],
    }
    text: str = pd.DataFrame(columns).to_string(index=False, float_format="{:.4f}".format)
    return text


def _slope(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """Return the slope between two recall tables in words; of one that is undefined, why."""
    from recall_distortion.measures.distortion import slope as slope_of

    for table, when in ((before, "before"), (after, "after")):
        if table["accuracy"][0] == 0:
            return f"undefined: no image was recognized {when}"
    found = slope_of(before["normalized_balance"], after["normalized_balance"])
    if math.isnan(found):
        return "undefined: before, all classes had the same recall"
    shown = round(found, 4) + 0.0  # no -0
    if shown < 0:
        return f"{shown:.4f}: the order of weak and strong classes reversed"
    what = "grew" if shown > 1 else "shrank" if shown < 1 else "stayed as they were"
    return f"{shown:.4f}: the gaps between the classes' recalls {what}"


if __name__ == "__main__":
    sys.exit(main())
