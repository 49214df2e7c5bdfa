"""Writing files so that a killed job leaves the old file or none, and never half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recall_distortion.system.errors import UnwritableError
from recall_distortion.system.processes import in_use, is_abandoned

#: What the disk or its rights can be wrong with; anything else is a mistake of the program.
_UNWRITABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.EEXIST,
}
#: What keeps a file from being read, whatever is in it.
_UNREADABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
}


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it when the block ends without error.

    The temporary keeps the suffix of ``path``, because some writers choose a format by it. An
    exception, Ctrl-C included, removes the temporary and leaves whatever was at ``path``; what a
    killed process left is removed by the next one that writes the file. Raises ``UnwritableError``
    where the disk is full or must not be written to.
    """
    path = Path(path)
    prefix = f".partial-{path.name}-"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
        temporary = Path(name)
        with in_use(handle):
            try:
                yield temporary
                # mkstemp makes the file private; a result should be as readable as any new file.
                mask = os.umask(0)
                os.umask(mask)
                temporary.chmod(0o666 & ~mask)
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise unwritable(path, error.strerror) from error
    for other in path.parent.iterdir():
        if other.name.startswith(prefix) and is_abandoned(other):
            other.unlink(missing_ok=True)


def unwritable(path: str | Path, reason: object) -> UnwritableError:
    """Return the error of a file that cannot be written."""
    return UnwritableError(
        f"{path}: cannot be written ({reason}). Make room on the disk or make the folder "
        "writable, and start the study again: it goes on from here"
    )


def unreadable(path: str | Path, error: BaseException) -> str:
    """Return why the system does not let a file be read, in words; empty for any other error.

    Such a file may be whole, so it is not called damaged.
    """
    if not isinstance(error, OSError) or error.errno not in _UNREADABLE:
        return ""
    forbidden = error.errno in (errno.EACCES, errno.EPERM)
    remedy = "; give yourself the right to read it" if forbidden else ""
    return f"{path} cannot be read: {error.strerror}{remedy}"


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, all of it or nothing."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256(*paths: str | Path) -> str:
    """Return ``sha256:<hex>`` over the contents of the files, in the given order."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"
