"""The container of a study's arrays: a safetensors file with JSON metadata and a checksum.

The format notices no bit that flips in numbers. The metadata therefore hold the SHA-256 of
everything else in the file, header included. A file that carries none is refused like one whose
checksum differs: nothing could be said about its numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from recall_distortion.system.errors import RecallDistortionError, TableError
from recall_distortion.system.files import replacing, unreadable, unwritable

#: The keys of a file's metadata: what its writer says of the arrays, as JSON, and the checksum.
CONTENT = "recall_distortion"
KEY = "sha256"
# Takes the checksum's place in the file until all else is written.
PLACEHOLDER = "0" * 64

REMEDY = "delete the file and run the study again"

# The format's own limit of a header's length in bytes.
_LONGEST_HEADER = 100_000_000


def write(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Any) -> None:
    """Write arrays, with JSON metadata, as one sealed file, all of it or nothing.

    The same content gives the same bytes. Raises ``UnwritableError``.
    """
    with replacing(path) as temporary:
        try:
            safetensors.numpy.save_file(
                {name: np.asarray(array, order="C") for name, array in arrays.items()},
                temporary,
                {CONTENT: json.dumps(metadata), KEY: PLACEHOLDER},
            )
        except SafetensorError as error:  # an error of the system is one of these, too
            raise unwritable(path, error) from error
        seal(temporary)


def read(
    path: str | Path,
    *,
    what: str = "file of this project",
    remedy: str = REMEDY,
    error: type[RecallDistortionError] = TableError,
) -> tuple[dict[str, np.ndarray], Any]:
    """Return the arrays and metadata that ``write`` put into a file.

    Raises ``error`` naming the file where it is missing, damaged or no such file: none with a
    checksum, or without what it should be (``what``); ``remedy`` ends the message.
    """
    try:
        verify(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            content = (file.metadata() or {}).get(CONTENT)
            if content is None:
                raise error(f"{path}: not a {what}; {remedy}")
            # keys() of a safe_open file is a method call of its own, not a mapping's.
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, json.loads(content)
    except FileNotFoundError:
        raise error(f"{path}: no such file; run the study again") from None
    except (SafetensorError, ValueError, OSError, RecursionError) as found:
        if why := unreadable(path, found):
            raise error(why) from None
        raise error(f"{path}: damaged ({found}); {remedy}") from None


def seal(path: str | Path) -> None:
    """Put the checksum into a safetensors file whose metadata hold ``{KEY: PLACEHOLDER}``.

    The metadata are sorted as well, which the library writes in an order that changes from run to
    run: the same content then gives the same bytes.
    """
    with open(path, "r+b") as file:
        size, header = _header(file)
        metadata = header.pop("__metadata__")
        if metadata.pop(KEY) != PLACEHOLDER:
            raise ValueError("the file is sealed already")
        digest = _digest(header, metadata, file)
        header = {"__metadata__": {**dict(sorted(metadata.items())), KEY: digest}, **header}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > size:
            raise ValueError("the header is longer than the library wrote it")
        file.seek(8)
        file.write(text.ljust(size))


def verify(path: str | Path) -> None:
    """Raise ``ValueError`` with what is wrong unless the file is as ``seal`` left it.

    Raises ``OSError`` where it cannot be read.
    """
    with open(path, "rb") as file:
        _, header = _header(file)
        metadata = header.pop("__metadata__", None)
        if not isinstance(metadata, dict) or KEY not in metadata:
            raise ValueError("it holds no checksum, so another program or version wrote it")
        stored = metadata.pop(KEY)
        if stored != _digest(header, metadata, file):
            raise ValueError("its content does not match its checksum")


def _header(file: BinaryIO) -> tuple[int, dict[str, Any]]:
    """Return length and content of the header; leaves ``file`` where the tensors begin."""
    size = int.from_bytes(file.read(8), "little")
    if size > _LONGEST_HEADER:
        raise ValueError("it is no safetensors file")
    try:
        header = json.loads(file.read(size))
    except (ValueError, RecursionError):
        raise ValueError("its header cannot be read, so it is cut off or foreign") from None
    if not isinstance(header, dict):
        raise ValueError("its header cannot be read, so it is cut off or foreign")
    return size, header


def _digest(header: dict[str, Any], metadata: dict[str, Any], file: BinaryIO) -> str:
    digest = hashlib.sha256(json.dumps([metadata, header], sort_keys=True).encode())
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
