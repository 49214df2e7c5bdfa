"""What a source of data is, what every one of them returns, and the checks that they share."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recall_distortion.data.prepared import Shape
from recall_distortion.system.errors import DataError

#: Predicted labels are stored as int16.
MAXIMUM_CLASSES = 32_767
#: Images with no more than so many different values are worth a word.
FEW_LEVELS = 16


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


@dataclass(frozen=True)
class Place:
    """Where data lie: a user's own file or folder, or the root of torchvision's sets.

    What is missing under the root may be downloaded if ``download``.
    """

    path: Path
    data_root: Path
    download: bool = False


@dataclass(frozen=True)
class Source:
    """A kind of data set: what it is, how it is read, and its shape.

    ``description`` is a phrase that stands within a sentence, ``read`` returns what lies in a
    place. A source of a user's own data has as ``shape`` a function that finds it at a path,
    without reading all images. ``has_test_set`` is False where a test set is to be split off.
    """

    description: str
    read: Callable[[Place], RawData]
    shape: Shape | Callable[[Path], Shape]
    has_test_set: bool = True

    @property
    def needs_path(self) -> bool:
        """Whether it reads a user's own data."""
        return not isinstance(self.shape, Shape)


@dataclass(frozen=True)
class Collection:
    """Data sets of one kind by name, and by split where a set has several.

    ``sets`` has them by name and split, which is "" where a set has but one. ``refused`` says of
    names that somebody may try why they cannot be used, and what can be done.
    """

    description: str
    sets: Mapping[str, Mapping[str, Source]]
    refused: Mapping[str, str]

    def find(self, name: str | None, split: str | None) -> Source:
        """Return a set; raises ``DataError`` for what there is not, naming what there is."""
        if name is not None and name in self.refused:
            raise DataError(f"{name} {self.refused[name]}")
        if name is None or name not in self.sets:
            what = f"there is no name {name!r}" if name else "a name is missing"
            raise DataError(f"{what} for {self.description}; valid: {', '.join(self.sets)}")
        splits = self.sets[name]
        if (split or "") in splits:
            return splits[split or ""]
        if split and "" in splits:
            raise DataError(f"{name} has no splits to choose from; remove split")
        what = f"has no split {split!r}" if split else "needs a split"
        raise DataError(f"{name} {what}; valid: {', '.join(splits)}")


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


def check_labels(
    labels: np.ndarray,
    images: int,
    classes: int | None,
    where: str,
    name: str = "labels",
    beside: dict[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Return integer labels [images] as int64, every class of 0..classes-1 present.

    ``classes`` None takes the largest label plus one. Raises ``DataError`` for another shape or
    type, a label out of range or a class without image. Its message says what, from ``where``, is
    wrong with the array ``name`` and, where that can be seen, what makes right labels of it and
    of those ``beside`` it that are alike.
    """
    said = _Said(labels, f"{where}: {name}", name, beside or {})
    _check_form(labels, images, said)
    present = np.unique(labels)
    lowest, highest = int(present[0]), int(present[-1])
    remedy = "" if classes not in (None, len(present)) else f"save {said.numbered}"
    if lowest == 1 and highest == len(present) and remedy:
        remedy = f"they begin at 1, so save {name} - 1"
    if lowest < 0:
        raise said.error(f"holds the label {lowest}; labels must be 0, 1, ..., classes - 1", remedy)
    if classes is None:
        classes = highest + 1
    elif highest >= classes:
        raise said.error(
            f"holds the label {highest}, but there are {classes} classes; labels must be 0 to "
            f"{classes - 1}",
            remedy,
        )
    if len(present) < classes:
        gaps = np.flatnonzero(present != np.arange(len(present)))
        missing = int(gaps[0]) if len(gaps) else len(present)
        raise said.error(
            f"holds no image of class {missing} (of classes 0 to {classes - 1}); number the "
            "classes without gaps and give each at least one image",
            remedy,
        )
    if classes < 2:
        raise said.error(
            "has only one class; recall can be compared between classes only from two classes on"
        )
    return labels.astype(np.int64)


@dataclass(frozen=True)
class _Said:
    """How an error of labels is put, with what makes right ones of them and of those beside."""

    labels: np.ndarray
    what: str
    name: str
    beside: dict[str, np.ndarray]

    @property
    def numbered(self) -> str:
        """What numbers the classes that are there."""
        return f"numpy.searchsorted(numpy.unique({self.name}), {self.name})"

    def error(self, words: str, remedy: str = "") -> DataError:
        for other, values in self.beside.items():
            if (values.ndim, values.dtype.kind) != (self.labels.ndim, self.labels.dtype.kind):
                continue
            # Numbered by what is there, different classes would become the same.
            if "unique" in remedy and set(values.tolist()) != set(self.labels.tolist()):
                remedy = f"{other} holds other classes, and both need the same"
            elif remedy:
                remedy += f", and {other} alike"
        return DataError(f"{self.what} {words}: {remedy}" if remedy else f"{self.what} {words}")


def _check_form(labels: np.ndarray, images: int, said: _Said) -> None:
    """Raise ``DataError`` for labels that are no whole numbers, one an image."""
    if labels.ndim != 1:
        raise said.error(
            f"has shape {list(labels.shape)}; labels must have one axis, [N]",
            _one_axis(labels, said.name),
        )
    if labels.dtype.kind in "US":
        raise said.error(
            "holds strings; labels must be whole numbers",
            f"save class_names = numpy.unique({said.name}) and {said.numbered}",
        )
    if labels.dtype.kind not in "iu":
        exact = labels.dtype.kind in "bf" and np.isfinite(labels).all()
        exact = exact and (labels == np.rint(labels.astype(float))).all()
        raise said.error(
            f"has type {labels.dtype}; labels must be whole numbers 0, 1, ... of an integer type",
            f"save {said.name}.astype(int)" if exact else "",
        )
    if len(labels) != images:
        raise said.error(f"holds {len(labels)} labels for {images} images; they must match")
    if images == 0:
        raise said.error("is empty; at least two images of each class are needed")


def _one_axis(labels: np.ndarray, name: str) -> str:
    """Return what makes one axis of labels that have two, as words; empty where nothing does."""
    if labels.ndim == 2 and 1 in labels.shape:
        return f"save {name}.ravel()"
    one_hot = labels.ndim == 2 and labels.dtype.kind in "biuf" and labels.size
    if one_hot and ((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all():
        return f"with a 1 for each image's class, save {name}.argmax(1)"
    return ""


def unusual_values(images: np.ndarray) -> str:
    """Return what is unusual about the values of uint8 images [N, ...], in words, or "".

    Few of the 256 may be right, and may be what a conversion left of a finer scale.
    """
    counts = np.zeros(256, np.int64)
    for image in images:
        counts += np.bincount(image.ravel(), minlength=256)
    levels = np.flatnonzero(counts)
    if levels[-1] <= 1:
        return f"no pixel is above {levels[-1]}, of 255: if 1 is to be white, multiply by 255"
    if len(levels) <= FEW_LEVELS:
        shown = ", ".join(map(str, levels))
        return (
            f"the pixels have {len(levels)} of 256 values ({shown}): right for drawings, but not "
            "for what had more before it was converted"
        )
    return ""
