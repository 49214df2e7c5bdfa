"""A user's own data set as one NumPy ``.npz`` file.

Its arrays: ``train_images`` uint8, [N, H, W] for gray or [N, H, W, C] with C = 1 or 3 (channels
last), ``train_labels`` [N] of an integer type, 0, 1, ... without gaps, and where there is a test
set ``test_images`` and ``test_labels`` alike. Without a test set the names ``images`` and
``labels`` do as well. ``class_names`` (strings, one per class) is optional. Object arrays are not
read, since that would run code from the file.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recall_distortion.data.images import RawData, Shape, check_class_names, check_labels
from recall_distortion.errors import DataError
from recall_distortion.files import sha256

_ACCEPTED = (
    "train_images and train_labels, with or without test_images and test_labels; or images and "
    "labels; class_names is optional"
)
_READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # an encrypted member; NotImplementedError: an unknown compression
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,  # a header that is no Python literal
)
# A header is a Python literal, and its parser has these for one that is nested without end.
_HEADER_ERRORS = (*_READ_ERRORS, RecursionError, MemoryError)


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class _Contents:
    """Everything but the pixels, checked."""

    prefix: str
    image_shape: tuple[int, int, int]
    train_labels: np.ndarray
    test_labels: np.ndarray | None
    class_names: tuple[str, ...]


def describe(path: Path) -> Shape:
    """Return the shape of the data set in an ``.npz`` file, without reading its images."""
    contents = _inspect(path)
    height, width, channels = contents.image_shape
    return Shape(channels, min(height, width), len(contents.class_names))


def read(path: Path) -> RawData:
    """Return the data set in an ``.npz`` file.

    Raises ``DataError`` naming the file, what is wrong and what to do.
    """
    contents = _inspect(path)
    has_test_set = contents.test_labels is not None
    return RawData(
        train_images=_images(path, f"{contents.prefix}images", contents.image_shape),
        train_labels=contents.train_labels,
        test_images=_images(path, "test_images", contents.image_shape) if has_test_set else None,
        test_labels=contents.test_labels,
        class_names=contents.class_names,
        checksum=sha256(path),
    )


def _inspect(path: Path) -> _Contents:
    headers = _headers(path)
    prefix = _prefix(path, set(headers))
    image_shape = _image_shape(path, f"{prefix}images", headers)
    has_test_set = "test_images" in headers
    if has_test_set and (test_shape := _image_shape(path, "test_images", headers)) != image_shape:
        raise DataError(
            f"{path}: train_images are {_size(image_shape)}, but test_images "
            f"{_size(test_shape)}; bring them to one size"
        )
    names = None
    if "class_names" in headers:
        names = check_class_names(
            _class_names(path, headers["class_names"]), f"{path}: class_names"
        )
    train_labels = check_labels(
        _array(path, f"{prefix}labels"),
        headers[f"{prefix}images"].shape[0],
        len(names) if names else None,
        f"{path}: {prefix}labels",
    )
    if names is None:
        # The labels are checked, so they are few enough to be spelled out only if the limit holds.
        names = check_class_names(
            [str(index) for index in range(int(train_labels.max()) + 1)], f"{path}: {prefix}labels"
        )
    test_labels = None
    if has_test_set:
        test_labels = check_labels(
            _array(path, "test_labels"),
            headers["test_images"].shape[0],
            len(names),
            f"{path}: test_labels",
        )
    return _Contents(prefix, image_shape, train_labels, test_labels, names)


def _headers(path: Path) -> dict[str, _Header]:
    """Return shape and type of each array, held against the bytes that the archive has for it."""
    if not path.exists():
        raise DataError(
            f"{path} does not exist; 'path' of the source 'arrays' must name an .npz file"
        )
    if path.is_dir():
        raise DataError(
            f"{path} is a folder, not an .npz file; for a folder of images use the source 'folder'"
        )
    if not path.is_file():  # reading a pipe or a device would wait or read for ever
        raise DataError(f"{path} is no file; 'path' of the source 'arrays' must name an .npz file")
    headers: dict[str, _Header] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name == member.filename or name in headers:
                    raise DataError(
                        f"{path}: unexpected member {member.filename!r}; write the file with "
                        "numpy.savez"
                    )
                headers[name] = _header(path, name, archive, member)
    except _HEADER_ERRORS as error:
        raise DataError(
            f"{path} cannot be read as an .npz file ({error}); it is truncated, damaged or "
            "something else: write it again with numpy.savez"
        ) from error
    return headers


def _header(path: Path, name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Header:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise DataError(f"{path}: {name} is not a plain array; save numbers or strings")
        if dtype.hasobject:
            raise DataError(
                f"{path}: {name} is an array of Python objects, which is not read because that "
                "could run code from the file; save it as numbers or strings, for example "
                "class_names as numpy.array(names, dtype=str)"
            )
        # A header may claim any shape: believe it only if the bytes are there.
        promised, stored = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
        if promised != stored:
            raise DataError(
                f"{path}: {name} should hold {promised} bytes but has {stored}; the file is "
                "damaged: write it again with numpy.savez"
            )
    return _Header(shape, dtype)


def _prefix(path: Path, names: set[str]) -> str:
    """Return what stands before images and labels of the training set: ``train_`` or nothing."""
    for prefix, allowed in (
        ("train_", {"train_images", "train_labels", "test_images", "test_labels", "class_names"}),
        ("", {"images", "labels", "class_names"}),
    ):
        needed = {f"{prefix}images", f"{prefix}labels"}
        halves = {"test_images", "test_labels"} & names
        if needed <= names <= allowed and len(halves) != 1:
            return prefix
    raise DataError(
        f"{path} holds the arrays {', '.join(sorted(names)) or '(none)'}; accepted are {_ACCEPTED}"
    )


def _image_shape(path: Path, name: str, headers: dict[str, _Header]) -> tuple[int, int, int]:
    """Return (height, width, channels)."""
    header = headers[name]
    if header.dtype != np.uint8:
        raise DataError(
            f"{path}: {name} has type {header.dtype}; images must be uint8, 0 to 255. Numbers "
            "from 0 to 1 without NaN become that by (255 * x).round().astype(numpy.uint8)"
        )
    shape = header.shape
    if len(shape) == 3:
        shape = (*shape, 1)
    if len(shape) != 4 or shape[3] not in (1, 3):
        hint = (
            f"; if channels come first, save numpy.moveaxis({name}, 1, -1)"
            if len(shape) == 4 and shape[1] in (1, 3)
            else ""
        )
        raise DataError(
            f"{path}: {name} has shape {list(header.shape)}; it must be [N, H, W] for gray images "
            f"or [N, H, W, C] with 1 or 3 channels last{hint}"
        )
    if 0 in shape:
        raise DataError(f"{path}: {name} has shape {list(header.shape)}, so it holds no pixel")
    return shape[1], shape[2], shape[3]


def _size(image_shape: tuple[int, int, int]) -> str:
    height, width, channels = image_shape
    return f"{height} x {width} with {channels} channel{'' if channels == 1 else 's'}"


def _class_names(path: Path, header: _Header) -> list[str]:
    if header.dtype.kind not in "US" or len(header.shape) != 1:
        raise DataError(
            f"{path}: class_names has type {header.dtype} and shape {list(header.shape)}; it must "
            "be one axis of strings, numpy.array(names, dtype=str)"
        )
    names = _array(path, "class_names")
    try:
        return [name.decode() if isinstance(name, bytes) else name for name in names.tolist()]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: class_names holds bytes that are not UTF-8 ({error}); save "
            "numpy.array(names, dtype=str)"
        ) from error


def _array(path: Path, name: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]
    except _READ_ERRORS as error:
        raise DataError(
            f"{path}: {name} cannot be read ({error}); the file is damaged: write it again with "
            "numpy.savez"
        ) from error
    except MemoryError as error:
        raise DataError(
            f"{path}: {name} needs more memory than there is ({error}); save fewer or smaller "
            "images"
        ) from None


def _images(path: Path, name: str, image_shape: tuple[int, int, int]) -> np.ndarray:
    images = _array(path, name).reshape(-1, *image_shape)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
