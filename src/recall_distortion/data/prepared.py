"""The one file that all later steps read a data set from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recall_distortion.system import sealed
from recall_distortion.system.errors import DataError

_TENSORS = {
    "train_images": (np.uint8, 4),
    "train_labels": (np.int64, 1),
    "fit_index": (np.int64, 1),
    "holdout_index": (np.int64, 1),
    "test_images": (np.uint8, 4),
    "test_labels": (np.int64, 1),
    "mean": (np.float32, 1),
    "std": (np.float32, 1),
}
_METADATA = ("class_names", "source", "checksum", "holdout", "seed")

_WHAT = "prepared data set"
_REMEDY = "delete it and run the step 'prepare' again"


@dataclass(frozen=True)
class Shape:
    """What a network must know of a data set; ``image_size`` is the shorter side in pixels."""

    channels: int
    image_size: int
    classes: int


@dataclass(frozen=True)
class PreparedData:
    """A prepared data set.

    Images are uint8 [N, C, H, W] and [M, C, H, W], labels int64 [N] and [M]; ``fit_index`` and
    ``holdout_index`` (int64, sorted) part the N training images. ``mean`` and ``std`` float32 [C]
    are those of the fit images scaled to 0..1.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    fit_index: np.ndarray
    holdout_index: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    class_names: tuple[str, ...]
    source: str
    checksum: str

    @property
    def shape(self) -> Shape:
        """Channels, shorter side in pixels and number of classes."""
        _, channels, height, width = self.train_images.shape
        return Shape(channels, min(height, width), len(self.class_names))


def load(path: str | Path) -> PreparedData:
    """Return the data set that ``prepare`` wrote at ``path``.

    Raises ``DataError`` where the file is missing, damaged or something else.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; run the step 'prepare' first")
    tensors, metadata = sealed.read(path, what=_WHAT, remedy=_REMEDY, error=DataError)
    known = isinstance(metadata, dict) and set(_METADATA) <= set(metadata)
    if not known or set(tensors) != set(_TENSORS) or not isinstance(metadata["class_names"], list):
        raise DataError(f"{path}: not a {_WHAT}; {_REMEDY}")
    class_names = tuple(metadata["class_names"])
    if problem := _problem(tensors, len(class_names)):
        raise DataError(f"{path} is not a consistent data set: {problem}; {_REMEDY}")
    return PreparedData(
        **tensors,
        class_names=class_names,
        source=metadata["source"],
        checksum=metadata["checksum"],
    )


def _problem(tensors: dict[str, np.ndarray], classes: int) -> str | None:
    """Return what is inconsistent in the tensors of a prepared data set, or None."""
    for name, (dtype, axes) in _TENSORS.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.ndim != axes:
            return f"{name} is {tensor.dtype} with {tensor.ndim} axes"
    for part in ("train", "test"):
        images, labels = tensors[f"{part}_images"], tensors[f"{part}_labels"]
        if len(images) != len(labels):
            return f"{len(images)} {part} images have {len(labels)} labels"
        if not len(labels) or labels.min() < 0 or labels.max() >= classes:
            return f"{part}_labels do not lie in 0 to {classes - 1}"
    if tensors["train_images"].shape[1:] != tensors["test_images"].shape[1:]:
        return "training and test images differ in shape"
    if len({tensors["train_images"].shape[1], len(tensors["mean"]), len(tensors["std"])}) != 1:
        return "mean and std do not have one number per channel"
    parts = np.concatenate([tensors["fit_index"], tensors["holdout_index"]])
    if not np.array_equal(np.sort(parts), np.arange(len(tensors["train_labels"]))):
        return "fit_index and holdout_index do not part the training images"
    return None
