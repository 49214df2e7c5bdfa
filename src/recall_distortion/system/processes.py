"""What processes of a study know of each other: who is at work in a folder, whose parent is dead.

Where the system or the file system has no such means, nothing is known and nothing is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]

_PR_SET_PDEATHSIG = 1  # Linux's number (sys/prctl.h)
_held: list[int] = []  # open files whose locks are kept until the process ends, however it does


def end_with_parent() -> None:
    """Have this process killed when its parent dies, on Linux.

    A job whose Snakemake was killed would go on, and write what a new start is about to write. What
    it has written is whole at any moment.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def only_one_alive(path: str | Path) -> bool:
    """Return whether no other living process has called this with the same file.

    The file is locked until this process ends. It names the machine, because a file system may keep
    the locks of each machine to itself: after a process on another one the answer is no.
    """
    file = _open_for_locks(path)
    if file is None:  # a folder that cannot be written to holds no one's work
        return False
    machine = socket.gethostname().encode()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = os.pread(file, 256, 0) in (b"", machine)
        if alone:
            os.pwrite(file, machine, 0)
    except OSError:  # another one has it, or there are no locks, or no room for the name
        alone = False
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:
        return False
    return alone


def hold(path: str | Path) -> bool:
    """Return whether this process has a file from here on until it ends, and no other living one.

    Where there are no locks, or no file can be made, the answer is yes: nobody is known to have it.
    """
    file = _open_for_locks(path)
    if file is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # another one has it, or there are no locks here
        return not isinstance(error, BlockingIOError)
    return True


def _open_for_locks(path: str | Path) -> int | None:
    """Return a file that stays open until this process ends; nothing where there can be none."""
    if fcntl is None:
        return None
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return None
    _held.append(file)
    return file


@contextlib.contextmanager
def in_use(file: int) -> Iterator[None]:
    """Mark an open file as being written by a living process, and close it at the end."""
    try:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # no locks here: `is_abandoned` says no
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def is_abandoned(path: Path) -> bool:
    """Return whether a file was ``in_use`` by a process that has ended."""
    if fcntl is None:
        return False
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:  # its process has just finished it
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(file)
