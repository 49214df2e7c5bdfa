"""The test images themselves, where somebody gives them: small copies of those that flipped."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import escape
from PIL import Image, UnidentifiedImageError

from recall_distortion.auditing.comparison import BY_CLASS
from recall_distortion.auditing.reading import parted, read
from recall_distortion.auditing.vectors import array
from recall_distortion.report import style
from recall_distortion.system.errors import AuditError

#: Bytes of a page with images, and images of a class on it.
LARGEST, OF_A_CLASS = 2_000_000, 24
#: The longest side of a copy, in pixels, and up to which an image is shown pixel by pixel.
_SIDE, _EXACT = 96, 32
_QUALITY = 80
#: Bytes of markup that an image and its caption, and a class's heading, take at most, about.
_MARKUP, _HEADING = 450, 250
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Pictures:
    """The test images, by the names that the table ``flips`` has for them.

    ``places`` maps names to places in ``images``: an array [M, H, W] or [M, H, W, C] of bytes, or
    M paths.
    """

    places: Mapping[str, int]
    images: np.ndarray | Sequence[Path]

    def thumbnail(self, name: object) -> str:
        """Return a small copy of an image as a data URI; raises ``AuditError`` naming its file."""
        image = _open(self.images[self.places[str(name)]])
        kept = max(image.size) <= _EXACT
        if not kept:
            image.thumbnail((_SIDE, _SIDE))
        file, kind = io.BytesIO(), "PNG" if kept else "JPEG"
        image.save(file, kind, **({"optimize": True} if kept else {"quality": _QUALITY}))
        text = base64.b64encode(file.getvalue()).decode("ascii")
        return f"data:image/{kind.lower()};base64,{text}"


def pictures(given: Any, count: int, keys: np.ndarray | None) -> Pictures:
    """Return the ``count`` test images that somebody gave: an array, or the path of a folder.

    A folder has a file for each of ``keys``, or for the numbers from 0 on: of this name, with a
    suffix or without. Raises ``AuditError`` that says what was found and what is wanted.
    """
    names = list(map(str, range(count) if keys is None else keys))
    places = {name: place for place, name in enumerate(names)}
    if isinstance(given, (str, Path)):
        return Pictures(places, _files(Path(given), names, "keys" if keys is not None else ""))
    return Pictures(places, _checked(array(given, "images"), count))


def read_images(given: str) -> np.ndarray | Path:
    """Return what --images names: an array in a .npy or .npz file, or a folder."""
    if os.path.isdir(given):
        return Path(given)
    if parted(given)[0].suffix.lower() not in (".npy", ".npz"):
        raise AuditError(f"--images {given}: give a folder, or an array in a .npy or .npz file")
    return np.asanyarray(read(given))


def _checked(images: np.ndarray, count: int) -> np.ndarray:
    shape = list(images.shape)
    if images.ndim not in (3, 4) or 0 in images.shape[1:]:
        raise AuditError(
            f"images: have shape {shape}; give [{count}, height, width], or with 1, 3 or 4 "
            "channels behind these"
        )
    if len(images) != count:
        raise AuditError(
            f"images: there are {len(images)}, and {count} labels: give one for each, in the same "
            "order"
        )
    if images.ndim == 4 and images.shape[3] not in _CHANNELS:
        first = images.shape[1] in _CHANNELS
        remedy = "put them last, images.transpose(0, 2, 3, 1)" if first else "give 1, 3 or 4"
        raise AuditError(f"images: have shape {shape}: channels are the last axis; {remedy}")
    if images.dtype != np.uint8:
        raise AuditError(f"images: hold {images.dtype}; give whole numbers of 0 to 255 as uint8")
    return images


def _files(folder: Path, names: Sequence[str], keys: str) -> list[Path]:
    """Return the file of each image: its name below the folder, with a suffix or without."""
    if not folder.is_dir():
        raise AuditError(f"images: {folder}: there is no such folder")
    exact: dict[str, Path] = {}
    found: dict[str, Path] = {}
    twice: dict[str, tuple[Path, Path]] = {}
    suffixes = Image.registered_extensions()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        exact[name.as_posix()] = path
        # Beside an image may lie what somebody wrote of it.
        if name.suffix.lower() not in suffixes:
            continue
        short = name.with_suffix("").as_posix()
        if short in found:
            twice[short] = found[short], path
        else:
            found[short] = path
    found |= exact
    both = (twice[name] for name in names if name in twice and name not in exact)
    if missing := [name for name in names if name not in found]:
        what = "a key's name" if keys else "the image's number from 0 on as its name, or give keys"
        raise AuditError(
            f"images: {folder} has no file for {len(missing)} of {len(names)} images, such as "
            f"{missing[0]}: each has {what}, with a suffix as .png"
        )
    for one, other in both:
        raise AuditError(f"images: {one} and {other} are of the same key; leave one")
    return [found[name] for name in names]


def _open(given: np.ndarray | Path) -> Image.Image:
    """Return an image in grey or in three colours; what is transparent is white."""
    if isinstance(given, Path):
        try:
            with Image.open(given) as file:
                # Of a JPEG no more is decoded than the copy needs.
                file.draft("RGB", (2 * _SIDE, 2 * _SIDE))
                file.load()
                image: Image.Image = file.copy()
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise AuditError(f"images: {given}: is no image that can be read: {reason}") from None
    else:
        image = Image.fromarray(np.ascontiguousarray(given[..., 0] if _is_grey(given) else given))
    if image.mode in ("RGBA", "LA", "PA", "P") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode.startswith("I"):  # 16 bits and more, which a plain conversion would cut off
        values = np.asarray(image).astype(float)
        scale = 65535 if values.max() > 255 else 255
        image = Image.fromarray((values.clip(0, scale) * 255 / scale).astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _is_grey(image: np.ndarray) -> bool:
    return image.ndim == 3 and image.shape[2] == 1


def galleries(
    tables: Mapping[str, pd.DataFrame], given: Pictures, room: int
) -> dict[str, list[dict[str, Any]]]:
    """Return what the page shows of each candidate: its classes, each with images that flipped.

    The classes are in the order of what they lost. Every class gets its first image before any
    gets a second, while there is ``room``: bytes, divided among the candidates.
    """
    candidates = list(tables["models"]["candidate"])
    found = {}
    for place, name in enumerate(candidates):
        part = room // (len(candidates) - place)
        classes, taken = _gallery(tables, name, given, part)
        found[name], room = classes, room - taken
    return found


def _gallery(
    tables: Mapping[str, pd.DataFrame], candidate: str, given: Pictures, room: int
) -> tuple[list[dict[str, Any]], int]:
    """Return the classes of a candidate that have images to show, and the bytes these take."""
    flips = tables["flips"]
    rows = by_class(tables, candidate, flips[flips["candidate"] == candidate])
    shown: dict[str, list[dict[str, Any]]] = {}
    taken = 0
    for name, row in by_turns(rows):
        image = _described(row, given.thumbnail(row["image"]))
        size = size_of(image) + (0 if name in shown else _HEADING + _size(style.label(name, 60)))
        if taken + size > room:
            break
        taken += size
        shown.setdefault(name, []).append(image)
    classes = [
        {
            "name": style.label(name, 60),
            "images": shown[name],
            "all": f"{len(rows[name]):,}",
            "lost": sum(row["kind"] == "lost" for row in rows[name]),
        }
        for name in rows
        if name in shown
    ]
    return classes, taken


def by_class(
    tables: Mapping[str, pd.DataFrame], candidate: str, images: pd.DataFrame
) -> dict[str, list[dict[str, Any]]]:
    """Return rows of images by their class, the classes in the order of what a candidate lost."""
    groups = tables["groups"]
    own = groups[(groups["candidate"] == candidate) & (groups["grouping"] == BY_CLASS)]
    rows = {name: part.to_dict("records") for name, part in images.groupby("class", sort=False)}
    return {name: rows.get(name, []) for name in own.sort_values("change", kind="stable")["name"]}


def by_turns(rows: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Any]]:
    """Yield every class's first row, then every class's second, up to ``OF_A_CLASS`` of each."""
    firsts = (rows_of[:OF_A_CLASS] for rows_of in rows.values())
    for turn in zip_longest(*firsts):
        for name, row in zip(rows, turn, strict=True):
            if row is not None:
                yield name, row


def size_of(image: Mapping[str, str]) -> int:
    """Return about how many bytes an image and its words take on the page."""
    return _MARKUP + sum(_size(text) for part, text in image.items() if part != "key")


def _size(text: str) -> int:
    """Return the bytes of a text on the page, where a quote takes five."""
    return len(str(escape(text)).encode())


def _described(row: Mapping[str, Any], source: str) -> dict[str, str]:
    """Return an image with its words: what it shows, and what was said of it."""
    before, after = (style.label(row[when]) or "no answer" for when in ("before", "after"))
    first, second = (row[f"probability_{when}"] for when in ("before", "after"))
    known = np.isfinite([first, second]).all()
    drop = f"{style.percent(first, 0)} → {style.percent(second, 0)}" if known else ""
    name, label = style.label(row["image"], 30), style.label(row["class"])
    return {
        "key": str(row["image"]),
        "source": source,
        "alt": f"Image {name}, of class {label}: {before} before, {after} after",
        "name": name,
        "answers": f"{before} → {after}",
        "drop": drop,
        "kind": row["kind"],
    }
