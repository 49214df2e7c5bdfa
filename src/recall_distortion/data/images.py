"""What every reader of a source returns, and the checks on labels and class names they share."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recall_distortion.errors import DataError

#: Predicted labels are stored as int16.
MAXIMUM_CLASSES = 32_767


@dataclass(frozen=True)
class Shape:
    """What a network must know of a data set; ``image_size`` is the shorter side in pixels."""

    channels: int
    image_size: int
    classes: int


@dataclass(frozen=True)
class RawData:
    """A source as read: images uint8 [N, C, H, W], labels int64 [N] in 0..classes-1.

    The test arrays are None where the source has no test set of its own. ``checksum`` is
    ``sha256:<hex>`` over the source's files.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray | None
    test_labels: np.ndarray | None
    class_names: tuple[str, ...]
    checksum: str


def check_class_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the names as a tuple; ``where`` says in an error what holds them.

    Raises ``DataError`` for fewer than two, too many, repeated, empty or unprintable names, and for
    two that look the same on a page.
    """
    names = tuple(names)
    if len(names) < 2:
        raise DataError(
            f"{where} has {len(names)} class{'' if len(names) == 1 else 'es'}; recall can be "
            "compared between classes only from two classes on"
        )
    if len(names) > MAXIMUM_CLASSES:
        raise DataError(f"{where} has {len(names)} classes; at most {MAXIMUM_CLASSES} are possible")
    seen: dict[str, str] = {}
    for name in names:
        if not name.strip() or not name.isprintable():
            raise DataError(
                f"{where} has the class name {name!r}; a name must be printable and not empty"
            )
        # A page shows one space for several, and the same letter however it is composed.
        shown = " ".join(unicodedata.normalize("NFC", name).split())
        if (same := seen.get(shown)) is not None:
            what = "twice" if same == name else f"and {same!r}, which look the same"
            raise DataError(f"{where} has the class name {name!r} {what}; give each class its own")
        seen[shown] = name
    return names


def check_labels(labels: np.ndarray, images: int, classes: int | None, where: str) -> np.ndarray:
    """Return integer labels [images] as int64, every class of 0..classes-1 present.

    ``classes`` None takes the largest label plus one. Raises ``DataError``, its message beginning
    with ``where``, for another shape or type, a label out of range or a class without image.
    """
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{where} has type {labels.dtype}; labels must be whole numbers 0, 1, ... "
            "of an integer type"
        )
    if labels.ndim != 1:
        raise DataError(f"{where} has shape {list(labels.shape)}; labels must have one axis, [N]")
    if len(labels) != images:
        raise DataError(f"{where} holds {len(labels)} labels for {images} images; they must match")
    if images == 0:
        raise DataError(f"{where} is empty; at least two images of each class are needed")
    present = np.unique(labels)
    lowest, highest = int(present[0]), int(present[-1])
    if lowest < 0:
        raise DataError(f"{where} holds the label {lowest}; labels must be 0, 1, ..., classes - 1")
    if classes is None:
        classes = highest + 1
    elif highest >= classes:
        raise DataError(
            f"{where} holds the label {highest}, but there are {classes} classes; labels must be "
            f"0 to {classes - 1}"
        )
    if len(present) < classes:
        gaps = np.flatnonzero(present != np.arange(len(present)))
        missing = int(gaps[0]) if len(gaps) else len(present)
        raise DataError(
            f"{where} holds no image of class {missing} (of classes 0 to {classes - 1}); number "
            "the classes without gaps and give each at least one image"
        )
    if classes < 2:
        raise DataError(
            f"{where} has only one class; recall can be compared between classes only from two "
            "classes on"
        )
    return labels.astype(np.int64)
