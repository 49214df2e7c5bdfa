"""From a source to the one file that all later steps read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from recall_distortion.data.images import Place, RawData, Source, unusual_values
from recall_distortion.data.imbalance import held_out_of_each, long_tailed
from recall_distortion.data.prepared import Shape
from recall_distortion.data.sources import find
from recall_distortion.data.splits import stratified_split
from recall_distortion.system import sealed
from recall_distortion.system.errors import DataError
from recall_distortion.system.logs import warn

DEFAULT_TEST_FRACTION = 0.5

# Splits draw from streams of their own, so that a change of one leaves the other as it is.
_TEST_STREAM = 0
_HOLDOUT_STREAM = 1
_TAIL_STREAM = 2
_PART_STREAM = 3


def describe(
    source: str, *, path: str | None = None, name: str | None = None, split: str | None = None
) -> Shape:
    """Return channels, image size and classes of a source, without torch and without its images.

    ``path`` is the file or folder of a source of one's own data, ``name`` and ``split`` say which
    set of torchvision. Raises ``DataError`` for an unknown source or set, or a path that is missing
    or does not hold such a data set.
    """
    shape = _known(source, path, name, split).shape
    return shape if isinstance(shape, Shape) else shape(_user_path(path))


def prepare(
    source: str,
    output: Path,
    *,
    path: str | None,
    data_root: str,
    holdout: float,
    test_fraction: float | None,
    seed: int,
    imbalance: float | None = None,
    training_images: int | None = None,
    name: str | None = None,
    split: str | None = None,
    download: bool = True,
) -> None:
    """Write a source as one sealed file at ``output``, all of it or nothing.

    ``path``, ``name`` and ``split`` are as in ``describe``. ``holdout`` is the fraction of the
    training images held out of fitting, ``test_fraction`` that of all images that become the test
    set where the source has none of its own (default 0.5); both splits are stratified by class and
    follow from ``seed``. ``imbalance`` thins the training images to a long tail before
    (``data.imbalance``); 20 of each class are held out then, whatever ``holdout`` says. Before
    either only ``training_images`` of them are taken, from each class in proportion. torchvision's
    sets are looked for under ``data_root`` and, unless ``download`` is False, downloaded where
    missing. The same arguments and source give the same bytes. Raises ``DataError``.
    """
    _check_seed(seed)
    known = _known(source, path, name, split)
    if known.has_test_set and not known.needs_path:
        _refuse_test_fraction(test_fraction, name or source)
    place = Place(_user_path(path), _expanded(data_root), download)
    raw = _read(known, path, place, name or source)
    try:
        raw = _part(_tested(raw, test_fraction, seed), training_images, seed)
        raw, (fit_index, holdout_index) = _split(raw, holdout, imbalance, seed)
    except DataError as error:
        raise DataError(f"{path or name or source}: {error}") from None
    assert raw.test_images is not None  # _tested has put them there
    assert raw.test_labels is not None
    mean, std = _moments(raw.train_images, fit_index)
    tensors = {
        "train_images": raw.train_images,
        "train_labels": raw.train_labels,
        "fit_index": fit_index,
        "holdout_index": holdout_index,
        "test_images": raw.test_images,
        "test_labels": raw.test_labels,
        "mean": mean,
        "std": std,
    }
    metadata = {
        "class_names": list(raw.class_names),
        "source": " ".join(filter(None, (source, name, split))),
        "checksum": raw.checksum,
        "holdout": float(holdout),
        "seed": seed,
    }
    asked = {"imbalance": imbalance and float(imbalance), "training_images": training_images}
    metadata |= {key: value for key, value in asked.items() if value is not None}
    sealed.write(output, tensors, metadata)


def _check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DataError(f"the seed of a split is a whole number from 0 on, not {seed!r}")


def _read(known: Source, path: str | None, place: Place, name: str) -> RawData:
    raw = known.read(place)
    _check_shape(raw, known, name)
    for words in _unusual(raw, path) if known.needs_path else ():
        warn(words)
    return raw


def _known(source: str, path: str | None, name: str | None, split: str | None) -> Source:
    known = find(source, name, split)
    if known.needs_path and not path:
        raise DataError(f"the source {source!r} needs a path to {known.description}")
    if path and not known.needs_path:
        raise DataError(f"the source {source!r} takes no path, but {path!r} is given; leave it out")
    return known


def _refuse_test_fraction(test_fraction: float | None, what: str) -> None:
    if test_fraction is not None:
        raise DataError(
            f"{what} has its own test set, so a test_fraction of {test_fraction!r} has no meaning; "
            "leave test_fraction out"
        )


def _user_path(path: str | None) -> Path:
    found = _expanded(path or "")
    try:
        found.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise DataError(
            f"{found} cannot be looked up ({error.strerror}); give a path that can be read"
        ) from None
    return found


def _expanded(path: str) -> Path:
    # Path.expanduser raises an error for the home of someone unknown; this leaves it as it is.
    return Path(os.path.expanduser(path))


def _check_shape(raw: RawData, known: Source, name: str) -> None:
    """Raise ``DataError`` where data are not as their source says before it reads them."""
    _, channels, height, width = raw.train_images.shape
    found = Shape(channels, min(height, width), len(raw.class_names))
    if isinstance(known.shape, Shape) and known.shape != found:
        raise DataError(f"the source {name!r} says {known.shape}, but its data have {found}")


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream,)))


def _unusual(raw: RawData, path: str | None) -> Iterator[str]:
    for part, images in (("training", raw.train_images), ("test", raw.test_images)):
        if images is not None and (words := unusual_values(images)):
            where = f"{path}, {part} images" if raw.test_images is not None else path
            yield f"{where}: {words}"


def _split(
    raw: RawData, holdout: float, imbalance: float | None, seed: int
) -> tuple[RawData, tuple[np.ndarray, np.ndarray]]:
    """Return the data, and which training images are fitted to and held out."""
    if imbalance is None:
        return raw, _held_out(raw, holdout, seed)
    raw = _thinned(raw, imbalance, seed)
    generator = _generator(seed, _HOLDOUT_STREAM)
    return raw, held_out_of_each(raw.train_labels, generator, len(raw.class_names))


def _tested(raw: RawData, test_fraction: float | None, seed: int) -> RawData:
    """Return the data with a test set."""
    if raw.test_images is not None:
        _refuse_test_fraction(test_fraction, "the source")
        return raw
    fraction = DEFAULT_TEST_FRACTION if test_fraction is None else test_fraction
    return _with_test_set(raw, fraction, seed)


def _part(raw: RawData, count: int | None, seed: int) -> RawData:
    """Return the data with so many of the training images, or with all."""
    whole = len(raw.train_labels)
    if count is None or count == whole:
        return raw
    if not 0 < count < whole:
        raise DataError(f"training_images: there are {whole}, not {count}; choose at most these")
    _, taken = stratified_split(
        raw.train_labels,
        count / whole,
        _generator(seed, _PART_STREAM),
        part="part of the training set",
        class_names=raw.class_names,
    )
    return replace(raw, train_images=raw.train_images[taken], train_labels=raw.train_labels[taken])


def _thinned(raw: RawData, imbalance: float, seed: int) -> RawData:
    """Return the data with a long tail of training images."""
    kept = long_tailed(raw.train_labels, imbalance, _generator(seed, _TAIL_STREAM), raw.class_names)
    return replace(raw, train_images=raw.train_images[kept], train_labels=raw.train_labels[kept])


def _held_out(raw: RawData, holdout: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which training images are fitted to and which are held out."""
    return stratified_split(
        raw.train_labels,
        holdout,
        _generator(seed, _HOLDOUT_STREAM),
        part="hold-out set",
        class_names=raw.class_names,
    )


def _with_test_set(raw: RawData, fraction: float, seed: int) -> RawData:
    rest, taken = stratified_split(
        raw.train_labels,
        fraction,
        _generator(seed, _TEST_STREAM),
        part="test set",
        class_names=raw.class_names,
    )
    return RawData(
        train_images=raw.train_images[rest],
        train_labels=raw.train_labels[rest],
        test_images=raw.train_images[taken],
        test_labels=raw.train_labels[taken],
        class_names=raw.class_names,
        checksum=raw.checksum,
    )


def _moments(images: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation [C], float32, of images[index] scaled to 0..1.

    Sums are whole numbers, hence exact in any order. A constant channel gets 1 in place of 0, so
    that it can be divided by.
    """
    _, channels, height, width = images.shape
    total, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    step = max(1, (1 << 22) // (channels * height * width))
    for start in range(0, len(index), step):
        values = images[index[start : start + step]].astype(np.uint32)
        total += values.sum(axis=(0, 2, 3), dtype=np.int64)
        squares += (values * values).sum(axis=(0, 2, 3), dtype=np.int64)
    count = len(index) * height * width
    mean = total / (255 * count)
    variance = [
        (count * int(square) - int(value) ** 2) / (255 * count) ** 2
        for value, square in zip(total, squares, strict=True)
    ]
    std = np.sqrt(variance)
    std[std == 0] = 1
    return mean.astype(np.float32), std.astype(np.float32)
