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

from recall_distortion.data.images import RawData, Source, check_class_names, check_labels
from recall_distortion.data.prepared import Shape
from recall_distortion.system.errors import DataError
from recall_distortion.system.files import sha256, unreadable

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
    _check_types(path, headers)
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
    of_test = {"test_labels": _array(path, "test_labels")} if has_test_set else {}
    train_labels = check_labels(
        _array(path, f"{prefix}labels"),
        headers[f"{prefix}images"].shape[0],
        len(names) if names else None,
        str(path),
        f"{prefix}labels",
        of_test,
    )
    if names is None:
        # The labels are checked, so they are few enough to be spelled out only if the limit holds.
        names = check_class_names(
            [str(index) for index in range(int(train_labels.max()) + 1)], f"{path}: {prefix}labels"
        )
    test_labels = None
    if has_test_set:
        test_labels = check_labels(
            of_test["test_labels"],
            headers["test_images"].shape[0],
            len(names),
            str(path),
            "test_labels",
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
        if why := unreadable(path, error):
            raise DataError(why) from None
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
                f"could run code from the file; {_without_objects(name)}"
            )
        # A header may claim any shape: believe it only if the bytes are there.
        promised, stored = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
        if promised != stored:
            raise DataError(
                f"{path}: {name} should hold {promised} bytes but has {stored}; the file is "
                "damaged: write it again with numpy.savez"
            )
    return _Header(shape, dtype)


def _without_objects(name: str) -> str:
    """Return what makes a plain array of one of objects, in words."""
    if name.endswith("images"):
        return f"save numpy.stack({name})"
    if name.endswith("labels"):
        return f"save numpy.array({name}.tolist())"
    if name == "class_names":
        return f"save numpy.array({name}.tolist(), dtype=str)"
    return "leave it out"


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
    shape = headers[name].shape
    of_labels = headers[f"{name.removesuffix('images')}labels"].shape
    images = math.prod(of_labels) if 1 in of_labels else of_labels[0] if of_labels else 0
    remedy = _reordered(name, shape, images)
    if len(shape) == 3:
        shape = (*shape, 1)
    # Images that are as many as their labels lie where they should.
    if len(shape) != 4 or shape[3] not in (1, 3) or (remedy and shape[0] != images):
        raise DataError(
            f"{path}: {name} has shape {list(headers[name].shape)} for {images} labels; it must be "
            f"[N, H, W] for gray images or [N, H, W, C] with 1 or 3 channels last{remedy}"
        )
    if 0 in shape:
        raise DataError(f"{path}: {name} has shape {list(shape)}, so it holds no pixel")
    return shape[1], shape[2], shape[3]


def _reordered(name: str, shape: tuple[int, ...], images: int) -> str:
    """Return what brings the axes of ``images`` images into order, as words; empty if nothing."""
    if len(shape) in (3, 4) and shape[-1] == images != shape[0]:
        if len(shape) == 4 and shape[0] in (1, 3) and shape[2] not in (1, 3):
            return f"; if images come last, save {name}.transpose(3, 1, 2, 0)"
        return f"; if images come last, as in MATLAB, save numpy.moveaxis({name}, -1, 0)"
    if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3):
        return f"; if channels come first, save numpy.moveaxis({name}, 1, -1)"
    if len(shape) == 4 and shape[3] in (2, 4):
        return f"; if the last channel is opacity, save {name}[..., :-1]"
    if len(shape) == 2:
        for channels in (1, 3):
            side = math.isqrt(shape[1] // channels)
            if channels * side * side == shape[1]:
                row = f"; if a row is an image of {side} x {side}"
                if channels == 1:
                    return f"{row}, save {name}.reshape(-1, {side}, {side})"
                return (
                    f"{row}, one channel after the other, save "
                    f"numpy.moveaxis({name}.reshape(-1, 3, {side}, {side}), 1, -1)"
                )
    return ""


def _check_types(path: Path, headers: dict[str, _Header]) -> None:
    """Raise ``DataError`` with what makes images uint8 where they are something else."""
    wrong = [name for name in headers if name.endswith("images")
             and headers[name].dtype != np.uint8]  # fmt: skip
    if not wrong:
        return
    name, kind = wrong[0], headers[wrong[0]].dtype.kind
    # One remedy for all that are alike, or the parts would differ.
    alike = [other for other in wrong if headers[other].dtype.kind == kind]
    values = [_array(path, other) for other in alike] if kind in "biuf" else []
    found, remedy = "", ""
    if values and all(array.size for array in values):
        found, remedy = _as_bytes(name, values)
    others = f", and {alike[1]} alike" if remedy and len(alike) > 1 else ""
    raise DataError(
        f"{path}: {name} has type {headers[name].dtype}{found}; images must be uint8, 0 to 255"
        f"{remedy}{others}"
    )


def _as_bytes(name: str, arrays: list[np.ndarray]) -> tuple[str, str]:
    """Return what values the arrays hold and what makes them uint8, as words."""
    if arrays[0].dtype.kind == "b":
        return "", f": save 255 * {name}.astype(numpy.uint8)"
    if not all(np.isfinite(array).all() for array in arrays):
        return " and holds NaN or infinity", ""
    low, high = min(array.min() for array in arrays), max(array.max() for array in arrays)
    low, high = (value.item() for value in (low, high))
    whole = all(array.dtype.kind in "iu" or (array == np.rint(array)).all() for array in arrays)
    found = f" with {'whole numbers' if whole else 'values'} from {low:g} to {high:g}"
    of_fractions = arrays[0].dtype.kind == "f" and high <= 1
    if whole and low >= 0 and high <= 255 and not of_fractions:
        return found, f": save {name}.astype(numpy.uint8)"
    if of_fractions and low >= 0:
        return found, f": save numpy.rint(255.0 * {name}).astype(numpy.uint8)"
    if of_fractions and -1 <= low < -0.9:
        return found, (
            f"; if -1 is to be black and 1 white, save numpy.rint(127.5 * ({name} + 1.0))"
            ".astype(numpy.uint8)"
        )
    if low == high or not math.isfinite(high - low):
        return found, ""
    return found, (
        f"; if {low:g} is to be black and {high:g} white, save "
        f"numpy.rint(255 / ({high!r} - {low!r}) * ({name}.astype(float) - {low!r}))"
        ".astype(numpy.uint8)"
    )


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
            array: np.ndarray = archive[name]
            return array
    except _READ_ERRORS as error:
        if why := unreadable(path, error):
            raise DataError(why) from None
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


SOURCES = {"arrays": Source("an .npz file of arrays", lambda place: read(place.path), describe)}
