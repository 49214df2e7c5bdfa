"""From the files of torchvision's sets under the data root to arrays.

torchvision verifies the files of some sets each time it reads them, of others only while they are
compressed; what it has a sum of, or this module, is compared here before it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recall_distortion.data.images import RawData, check_labels
from recall_distortion.data.sources import folder
from recall_distortion.data.sources._torchvision_files import compare, differs
from recall_distortion.system.errors import DataError
from recall_distortion.system.files import sha256

Arrays = tuple[np.ndarray, np.ndarray]  # images uint8 [N, C, H, W], labels int64 [N]
#: Training part, test part where there is one, names of classes.
Read = tuple[Arrays, Arrays | None, tuple[str, ...]]

DIGITS = tuple("0123456789")

#: File -> size in bytes: a header of 16 or 8, then one byte per pixel or label.
IDX_SIZES = {
    "train-images-idx3-ubyte": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}
#: SHA-256 of the files, in the order above, unpacked from archives with torchvision's MD5 sums.
_IDX_DIGESTS = {
    "MNIST": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "FashionMNIST": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
#: Images of EuroSAT; its archive alone has a sum, which is compared while it is downloaded.
_EUROSAT_IMAGES = 27_000


def mnist(name: str, data_root: Path) -> Read:
    """Return MNIST or Fashion-MNIST, each file compared with the published one."""
    place = data_root / name / "raw"
    for (file, size), digest in zip(IDX_SIZES.items(), _IDX_DIGESTS[name], strict=True):
        path = place / file
        found = path.stat().st_size
        if found != size:
            raise DataError(
                f"{path} has {found} bytes in place of {size}; it is truncated or not {name}: "
                "delete it and run this again to get it anew"
            )
        if sha256(path) != f"sha256:{digest}":
            raise differs(path, name)
    train, test, _ = idx(name, [place / file for file in IDX_SIZES], DIGITS)
    if name == "MNIST":
        return train, test, DIGITS
    from torchvision import datasets

    return train, test, tuple(datasets.FashionMNIST.classes)


def idx(
    name: str,
    files: Sequence[Path],
    class_names: tuple[str, ...],
    *,
    first_label: int = 0,
    upright: bool = True,
) -> Read:
    """Return a set of four files in MNIST's format: training images, their labels, test alike.

    Of labels with several numbers an image (QMNIST) the first is the class. ``first_label`` is
    that of the first class. Images that are not ``upright`` are stored with rows as columns.
    """
    # The classes of torchvision would prefer old processed files, which nobody has verified.
    parts = []
    for images_file, labels_file in (files[:2], files[2:]):
        images, labels = _idx(images_file, name), _idx(labels_file, name)
        if images.dtype != np.uint8 or images.ndim != 3:
            raise _damaged(images_file, name, f"holds {images.dtype} with {images.ndim} axes")
        if not upright:
            images = images.transpose(0, 2, 1)
        labels = (labels[:, 0] if labels.ndim == 2 else labels).astype(np.int64) - first_label
        labels = check_labels(labels, len(images), len(class_names), str(labels_file))
        parts.append((np.ascontiguousarray(images[:, None]), labels))
    return parts[0], parts[1], class_names


def _idx(path: Path, name: str) -> np.ndarray:
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    try:
        array: np.ndarray = read_sn3_pascalvincent_tensor(str(path)).numpy()
    except (AssertionError, KeyError, IndexError, ValueError, RuntimeError) as error:
        raise _damaged(path, name, "does not hold what its header says") from error
    return array


def _damaged(path: Path, name: str, what: str) -> DataError:
    return DataError(
        f"{path} {what}; it is truncated, damaged or not {name}: delete it and run this again to "
        "get it anew"
    )


def kmnist(data_root: Path) -> Read:
    """Return Kuzushiji-MNIST."""
    from torchvision import datasets

    files = [data_root / "KMNIST" / "raw" / file for file in IDX_SIZES]
    return idx("KMNIST", files, tuple(datasets.KMNIST.classes))


def emnist(split: str, files: Sequence[Path], data_root: Path) -> Read:
    """Return a split of EMNIST, its images upright; its letters count from 1."""
    from torchvision import datasets

    names = [name for name in datasets.EMNIST.classes_split_dict[split] if name != "N/A"]
    return idx(
        "EMNIST",
        [data_root / file for file in files],
        tuple(names),
        first_label=1 if split == "letters" else 0,
        upright=False,
    )


def qmnist(what: str, files: Sequence[Path], data_root: Path) -> Read:
    """Return QMNIST with all its test images, or its first 10,000 or others, as torchvision."""
    train, test, names = idx("QMNIST", [data_root / file for file in files], DIGITS)
    assert test is not None
    part = {"test": slice(None), "test10k": slice(10_000), "test50k": slice(10_000, None)}[what]
    return train, (test[0][part], test[1][part]), names


def cifar(name: str, data_root: Path) -> Read:
    """Return CIFAR-10 or CIFAR-100."""
    from torchvision import datasets

    kind = getattr(datasets, name)
    meta = [[kind.meta["filename"], kind.meta["md5"]]]
    for file, md5 in kind.train_list + kind.test_list + meta:
        compare(data_root / kind.base_folder / file, md5, name)
    parts = [kind(str(data_root), train=train) for train in (True, False)]
    train, test = (_channels_last(part.data, part.targets) for part in parts)
    return train, test, tuple(parts[0].classes)


def _channels_last(images: np.ndarray, labels: Any) -> Arrays:
    arranged = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return arranged, np.asarray(labels, dtype=np.int64)


def svhn(data_root: Path) -> Read:
    """Return Street View House Numbers, cropped; torchvision gives the digit 0 the label 0."""
    from torchvision import datasets

    parts = []
    for split in ("train", "test"):
        _, file, md5 = datasets.SVHN.split_list[split]
        compare(data_root / file, md5, "SVHN")
        part = datasets.SVHN(str(data_root), split=split)
        parts.append((np.ascontiguousarray(part.data), np.asarray(part.labels, dtype=np.int64)))
    return parts[0], parts[1], DIGITS


def stl10(data_root: Path) -> Read:
    """Return the labelled images of STL-10."""
    from torchvision import datasets

    class Labelled(datasets.STL10):
        """Without the unlabelled images, which are ten times as many and need not be there."""

        train_list = datasets.STL10.train_list[:2]

    for file, md5 in Labelled.train_list + Labelled.test_list:
        compare(data_root / Labelled.base_folder / file, md5, "STL10")
    train, test = (Labelled(str(data_root), split=split) for split in ("train", "test"))
    arrays = [
        (np.ascontiguousarray(part.data), np.asarray(part.labels, dtype=np.int64))
        for part in (train, test)
    ]
    return arrays[0], arrays[1], tuple(train.classes)


def usps(data_root: Path) -> Read:
    """Return the handwritten digits of the US Postal Service, 16 x 16 pixels."""
    from torchvision import datasets

    parts = []
    for split in ("train", "test"):
        _, file, md5 = datasets.USPS.split_list[split]
        compare(data_root / file, md5, "USPS")
        part = datasets.USPS(str(data_root), train=split == "train")
        parts.append((part.data[:, None], np.asarray(part.targets, dtype=np.int64)))
    return parts[0], parts[1], DIGITS


def semeion(data_root: Path) -> Read:
    """Return SEMEION's handwritten digits, black and white, without a test set."""
    from torchvision import datasets

    kind = datasets.SEMEION
    compare(data_root / kind.filename, kind.md5_checksum, "SEMEION")
    part = kind(str(data_root), download=False)
    return (part.data[:, None], np.asarray(part.labels, dtype=np.int64)), None, DIGITS


def eurosat(data_root: Path) -> RawData:
    """Return EuroSAT in RGB, without a test set: a folder of images for each class."""
    place = data_root / "eurosat" / "2750"
    raw = folder.read(place)
    if (found := len(raw.train_labels)) != _EUROSAT_IMAGES:
        what = f"holds {found:,} images in place of {_EUROSAT_IMAGES:,}"
        raise _damaged(place, "EuroSAT", what)
    return raw
