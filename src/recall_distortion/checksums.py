"""A checksum inside each safetensors file, because the format notices no bit that flips in numbers.

The metadata hold the SHA-256 of everything else in the file, header included. A file that carries
none is refused like one whose checksum differs: nothing could be said about its numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy

KEY = "sha256"
# Takes the checksum's place in the file until all else is written.
PLACEHOLDER = "0" * 64

# The format's own limit of a header's length in bytes.
_LONGEST_HEADER = 100_000_000


def save(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays and metadata as a safetensors file with its checksum.

    For predictions from elsewhere, too, which are read only if they carry one.
    """
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        path,
        {**metadata, KEY: PLACEHOLDER},
    )
    seal(path)


def seal(path: str | Path) -> None:
    """Put the checksum into a safetensors file that was written with ``{KEY: PLACEHOLDER}``.

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
