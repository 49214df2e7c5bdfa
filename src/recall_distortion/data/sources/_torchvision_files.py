"""Files of torchvision's data sets under the data root: what is missing, got, whole.

Files are looked for where torchvision puts them, and downloaded by it only where they are missing.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recall_distortion.system.errors import DataError

#: Seconds without an answer before a server counts as out of reach.
_TIMEOUT = 30.0
_DOWNLOAD_ERRORS = (
    OSError,  # no route, no space, no permission, time-outs
    RuntimeError,  # torchvision: every mirror failed, or a checksum differs
    EOFError,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Part:
    """Files of a set, by their paths under the data root, that one call of its class downloads.

    The call has ``arguments`` beside the root. ``archives``, where they lie there already, are
    unpacked without a network.
    """

    files: tuple[Path, ...]
    arguments: Mapping[str, Any]
    archives: tuple[Path, ...] = ()

    def call(self, name: str) -> str:
        """Return the call as a user would write it."""
        own = "".join(f"{key}={value!r}, " for key, value in self.arguments.items())
        return f"torchvision.datasets.{name}(data_root, {own}download=True)"


def provide(name: str, parts: tuple[Part, ...], data_root: Path, *, download: bool) -> None:
    """See that all files of the set of torchvision's class ``name`` lie under ``data_root``.

    Missing ones are downloaded if ``download``. Raises ``DataError``, naming those that stay
    missing.
    """
    lacking = [part for part in parts if _missing(part, data_root)]
    if not lacking:
        return
    reason = "downloading is switched off"
    if download:
        reason = _download(name, lacking, data_root)
    missing = [str(data_root / file) for part in lacking for file in _missing(part, data_root)]
    if missing:
        calls = " and ".join(part.call(name) for part in lacking)
        raise DataError(
            f"{name} is not complete under {data_root}: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing, and {reason}. Set data_root to "
            f"where torchvision's {name} lies, or fill it on a machine with a network by {calls}"
        )


def compare(path: Path, md5: str, name: str) -> None:
    """Raise ``DataError`` for a file that is not the published one, by torchvision's sum of it."""
    from torchvision.datasets.utils import check_integrity

    if not check_integrity(path, md5):
        raise differs(path, name)


def differs(path: Path, name: str) -> DataError:
    """Return the error that a file is not the published one of a set."""
    return DataError(
        f"{path} differs from the published file; it is damaged or not {name}: delete it and run "
        "this again to get it anew"
    )


def _missing(part: Part, data_root: Path) -> list[Path]:
    return [file for file in part.files if not (data_root / file).exists()]


def _download(name: str, parts: list[Part], data_root: Path) -> str:
    """Put missing files under ``data_root``, each complete or not at all; return why if not.

    torchvision writes and unpacks in place, where a killed download would leave half a file that
    it takes for a whole one later. So it works in a folder of its own, beside the archives that
    are already here.
    """
    from torchvision import datasets

    try:
        data_root.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".partial-", dir=data_root) as folder,
            _socket_timeout(_TIMEOUT),
        ):
            temporary = Path(folder)
            for part in parts:
                for archive in part.archives:
                    if (data_root / archive).is_file():
                        (temporary / archive).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(data_root / archive, temporary / archive)
                getattr(datasets, name)(folder, download=True, **part.arguments)
                for file in _missing(part, data_root):
                    (data_root / file).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(temporary / file, data_root / file)
    except _DOWNLOAD_ERRORS as error:
        return f"downloading failed ({' '.join(str(error).split()) or type(error).__name__})"
    return "the download did not bring them"


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
