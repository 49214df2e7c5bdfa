"""A user's own data set as a folder of images, one sub-folder per class.

Either ``PATH/<class>/<image>``, or ``PATH/train/<class>/<image>`` and
``PATH/test/<class>/<image>``.
All images have one size as they are shown: the orientation that a camera wrote down is applied.
Gray images stay gray where all are gray; otherwise, palettes included, everything becomes RGB. More
than 8 bits a channel are refused: only their owner knows which values are black and white. Names
that begin with a dot, and __MACOSX, are left aside; anything else unexpected is an error, so that
no image goes missing silently.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

from recall_distortion.data.images import RawData, Source, check_class_names
from recall_distortion.data.prepared import Shape
from recall_distortion.system.errors import DataError
from recall_distortion.system.files import unreadable

_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_OF_ARCHIVES = "__MACOSX"  # what macOS adds to zip files
# Pillow also knows formats that start other programs; they are not asked for.
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_BITS_PER_SAMPLE = 258  # TIFF's tag
_SAMPLE_FORMAT = 339  # likewise; 1 are numbers without a sign
_TURNED = (5, 6, 7, 8)  # orientations that are shown with width and height exchanged
_GRAY_MODES = ("1", "L")
_COLOUR_MODES = ("P", "RGB")


def describe(path: Path) -> Shape:
    """Return the shape of the data set in a folder, opening one image of each class."""
    train = next(iter(_parts(path).values()))
    probes = [_probe(files[0]) for files in train.values()]
    width, height = probes[0][0]
    return Shape(_channels(mode for _, mode in probes), min(width, height), len(train))


def read(path: Path) -> RawData:
    """Return the data set in a folder, images and classes in the order of their names.

    The checksum covers names and contents. Raises ``DataError`` naming the file or folder at
    fault and what to do.
    """
    parts = _parts(path)
    every = [file for classes in parts.values() for files in classes.values() for file in files]
    sizes, modes = [], []
    for file in every:
        size, mode = _probe(file)
        sizes.append(size)
        modes.append(mode)
        if size != sizes[0]:
            raise DataError(
                f"{every[0]} is {sizes[0][0]} x {sizes[0][1]} pixels, but {file} is "
                f"{size[0]} x {size[1]}; bring all images to one size"
            )
    width, height = sizes[0]
    channels = _channels(modes)
    digest = hashlib.sha256()
    arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for part, classes in parts.items():
        files = [file for members in classes.values() for file in members]
        try:
            images = np.empty((len(files), channels, height, width), np.uint8)
        except MemoryError as error:
            raise DataError(
                f"{path}: {len(files)} images of {width} x {height} pixels need more memory than "
                f"there is ({error}); scale the images down"
            ) from None
        for index, file in enumerate(files):
            content = _content(file)
            name = os.fsencode(file.relative_to(path).as_posix())
            digest.update(b"%d:%b%d:" % (len(name), name, len(content)))
            digest.update(content)
            images[index] = _pixels(file, content, channels)
        counts = [len(members) for members in classes.values()]
        labels = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        arrays[part] = images, labels
    test_images, test_labels = arrays.get("test", (None, None))
    return RawData(
        train_images=arrays["train"][0],
        train_labels=arrays["train"][1],
        test_images=test_images,
        test_labels=test_labels,
        class_names=tuple(parts["train"]),
        checksum=f"sha256:{digest.hexdigest()}",
    )


def _parts(path: Path) -> dict[str, dict[str, list[Path]]]:
    """Return part ("train", and "test" where there is one) -> class name -> its image files."""
    if not path.exists():
        raise DataError(
            f"{path} does not exist; 'path' of the source 'folder' must name a folder with one "
            "sub-folder of images per class"
        )
    if not path.is_dir():
        raise DataError(
            f"{path} is a file, not a folder of class folders; for an .npz file use the source "
            "'arrays'"
        )
    root = path.resolve()
    entries = {entry.name: entry for entry in _listing(path, root)}
    if "train" not in entries:
        _require_class_folders(path, entries, root)
    # Folders called train and test are two classes if images lie in them directly.
    nested = [
        name
        for name in ("train", "test")
        if name in entries and any(entry.is_dir() for entry in _listing(entries[name], root))
    ]
    if not nested:
        return {"train": _classes(path, root)}
    if set(entries) != {"train", "test"}:
        found = ", ".join(sorted(entries))
        if set(entries) == {"train"}:
            raise DataError(
                f"{path} holds train and no test; add test, or give {path / 'train'} as 'path', "
                "and a test set is drawn from it"
            )
        raise DataError(
            f"{path} holds {found}; a data set with its own test set holds exactly train and "
            "test, so rename or move the others; one without holds class folders with images "
            "directly inside"
        )
    train, test = (_classes(entries[part], root) for part in ("train", "test"))
    if different := sorted(set(train) ^ set(test)):
        raise DataError(
            f"{path}: class {different[0]!r} is in only one of train and test; both need the "
            "same classes"
        )
    return {"train": train, "test": test}


def _require_class_folders(path: Path, entries: dict[str, Path], root: Path) -> None:
    """Raise ``DataError`` with the layout that is meant if the folders in ``path`` hold folders."""
    inner = {
        name: [found for found in _listing(entry, root) if found.is_dir()]
        for name, entry in entries.items()
        if entry.is_dir()
    }
    deep = {name: found for name, found in inner.items() if found}
    if not deep:
        return
    name, held = next(iter(deep.items()))
    if len(entries) == 1:
        raise DataError(
            f"{path} holds the folder {name} alone, which holds the folders; give "
            f"{path / name} as 'path'"
        )
    parts = {
        part: [name for name in deep if name.casefold().startswith(part)]
        for part in ("train", "test")
    }
    if len(entries) == 2 and all(len(names) == 1 for names in parts.values()):
        raise DataError(
            f"{path} holds {' and '.join(entries)}; the parts of a data set are called train and "
            f"test: rename {parts['train'][0]} to train"
            + ("" if parts["test"] == ["test"] else f" and {parts['test'][0]} to test")
        )
    raise DataError(
        f"{path / name} holds the folder {held[0].name}; images lie in {path}/CLASS/IMAGE or, with "
        f"a test set of your own, in {path}/train/CLASS/IMAGE and {path}/test/CLASS/IMAGE"
    )


def _classes(folder: Path, root: Path) -> dict[str, list[Path]]:
    classes: dict[str, list[Path]] = {}
    targets: dict[Path, Path] = {}
    for entry in _listing(folder, root):
        if not entry.is_dir():
            raise DataError(
                f"{entry} lies beside the class folders; move it into its class's folder or away"
            )
        if (same := targets.setdefault(entry.resolve(), entry)) != entry:
            raise DataError(
                f"{entry} and {same} are the same folder through a link, so its images would be "
                "two classes; remove the link"
            )
        files = _listing(entry, root)
        for file in files:
            if file.is_dir():
                raise DataError(
                    f"{file} is a folder within a class folder; images lie directly in it, as "
                    f"{entry.name}/IMAGE: move them there, or make a class folder of it"
                )
            if file.suffix.lower() not in _SUFFIXES or not file.is_file():
                raise DataError(
                    f"{file} is not an image by its name; a class folder holds only files ending "
                    f"in {', '.join(_SUFFIXES)}: move it away or convert it"
                )
        if not files:
            raise DataError(f"{entry} holds no image; remove the folder or fill the class")
        classes[entry.name] = files
    check_class_names(list(classes), f"{folder}")
    return classes


def _listing(folder: Path, root: Path) -> list[Path]:
    """Return what is in a folder by name, without hidden names; links must stay under ``root``."""
    try:
        with os.scandir(folder) as scan:
            entries = [(entry.name, entry.is_symlink()) for entry in scan]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}") from error
    found = []
    for name, is_link in sorted(entries):
        if name.startswith(".") or name == _OF_ARCHIVES:
            continue
        entry = folder / name
        if is_link:
            try:
                target = entry.resolve(strict=True)
            except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
                raise DataError(f"{entry} is a link that leads nowhere; remove it") from error
            if not target.is_relative_to(root):
                raise DataError(
                    f"{entry} is a link to {target}, outside {root}; copy the images into the "
                    "folder instead"
                )
        found.append(entry)
    return found


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error


@contextmanager
def _opened(file: Path, content: bytes | None = None) -> Iterator[ImageFile.ImageFile]:
    """Open an image, from ``content`` if given; whatever goes wrong with it is a ``DataError``."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of a suspiciously large image before it refuses a huge one.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            source = file if content is None else io.BytesIO(content)
            with Image.open(source, formats=_FORMATS) as image:
                yield image
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{file} has more pixels than Pillow reads safely ({error}); scale the images down"
        ) from error
    except Exception as error:  # Decoders of damaged files raise errors of many kinds.
        if why := unreadable(file, error):
            raise DataError(why) from None
        raise DataError(
            f"{file} cannot be read as an image ({error}); it is truncated, damaged or of another "
            "format: replace or remove it"
        ) from error


def _probe(file: Path) -> tuple[tuple[int, int], str]:
    """Return size (width, height), as the image is shown, and mode from an image's header."""
    with _opened(file) as image:
        if (bits := _bits(image)) > 8:
            raise DataError(
                f"{file} has {bits} bits a channel; images must have 8: convert them, so that what "
                "is to be black becomes 0 and what is to be white 255"
            )
        if set(_tags(image).get(_SAMPLE_FORMAT, (1,))) != {1}:
            raise DataError(
                f"{file} has signed or fractional pixels; images must have values 0 to 255: convert"
            )
        if image.mode not in _GRAY_MODES + _COLOUR_MODES or "transparency" in image.info:
            transparent = " with transparency" if "transparency" in image.info else ""
            raise DataError(
                f"{file} has mode {image.mode}{transparent}; images must be 8-bit gray or RGB "
                "without transparency: convert them"
            )
        # A phone's JPEG may carry further pictures behind the first; those are no sequence.
        pictures = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        if pictures > 1:
            raise DataError(f"{file} holds {pictures} pictures; save one image per file")
        width, height = image.size
        # Of TIFF Pillow gives the size as shown already.
        if image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in _TURNED:
            width, height = height, width
        return (width, height), image.mode


def _tags(image: ImageFile.ImageFile) -> Mapping[int, Any]:
    """Return the tags of a TIFF; none of another image."""
    if image.format != "TIFF":
        return {}
    # Pillow loads it when it meets a TIFF.
    from PIL.TiffImagePlugin import TiffImageFile

    assert isinstance(image, TiffImageFile)
    return image.tag_v2


def _bits(image: ImageFile.ImageFile) -> int:
    """Return how many bits a channel has in the file; of colour Pillow reads 8, whatever it has."""
    if image.format == "TIFF":
        bits: tuple[int, ...] | int = _tags(image).get(_BITS_PER_SAMPLE, 1)
        return max(bits) if isinstance(bits, tuple) else bits
    assert image.fp is not None
    place = image.fp.tell()
    image.fp.seek(0)
    head = image.fp.read(1 << 16)
    image.fp.seek(place)
    if image.format == "PNG":
        return head[24]
    if image.format == "PPM":
        kind, _, _, *highest = re.sub(rb"#[^\n]*", b"", head).split()[:4]
        return int(highest[0]).bit_length() if kind in (b"P2", b"P3", b"P5", b"P6") else 1
    return 8


def _channels(modes: Iterable[str]) -> int:
    return 1 if all(mode in _GRAY_MODES for mode in modes) else 3


def _pixels(file: Path, content: bytes, channels: int) -> np.ndarray:
    """Return an image as uint8 [channels, H, W]."""
    with _opened(file, content) as opened:
        image = ImageOps.exif_transpose(opened)
        pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


SOURCES = {
    "folder": Source(
        "a folder with one sub-folder of images per class",
        lambda place: read(place.path),
        describe,
    )
}
