"""Where the command ``audit`` may write, and a file of class names.

Whether a path is there is asked of ``os.path``, which takes one that no system allows, such as a
list of many names, for one that is not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from recall_distortion.auditing.of_models import WRITTEN
from recall_distortion.auditing.reading import parted
from recall_distortion.system.errors import AuditError
from recall_distortion.system.files import unreadable


def check_out(folder: Path, read: Iterable[str]) -> None:
    """Raise ``AuditError`` where a folder cannot be written to, before all is computed for it.

    Nor may what is written there replace one of the files that are ``read``.
    """
    if os.path.exists(folder) and not folder.is_dir():
        raise AuditError(f"--out {folder}: is a file; name a folder")
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    if not there.is_dir():
        raise AuditError(f"--out {folder}: cannot be written to: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise AuditError(f"--out {folder}: cannot be written to: {there} is not writable")
    written = [folder / name for name in WRITTEN]
    for given in read:
        path = parted(given)[0]
        if os.path.exists(path) and any(
            os.path.exists(one) and os.path.samefile(one, path) for one in written
        ):
            raise AuditError(
                f"--out {folder}: would replace {path}, which is read; name another folder"
            )


def class_names(given: str) -> list[str]:
    """Return the names of classes: in a file one a line, or separated by commas."""
    path = Path(given)
    if not os.path.isfile(path):
        if path.suffix in (".txt", ".csv"):
            raise AuditError(f"--classes {given}: there is no such file")
        return [name.strip() for name in given.split(",")]
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise AuditError(f"--classes {given}: is no text in UTF-8; save it as plain text") from None
    except OSError as error:
        raise AuditError(unreadable(path, error) or f"{path}: cannot be read: {error}") from None
    return [line.strip() for line in text.rstrip().splitlines()]
