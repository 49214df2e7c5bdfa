"""Image classification sets of torchvision, as it lays them out under the data root.

One registry, ``SETS``, has them by the name of torchvision's class and by split, where a set has
several. Sets whose images differ in size, which no network here takes, are named with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from recall_distortion.data.images import Collection, Place, RawData, Source
from recall_distortion.data.prepared import Shape
from recall_distortion.data.sources._torchvision_files import Part, provide
from recall_distortion.data.sources._torchvision_read import (
    IDX_SIZES,
    Read,
    cifar,
    emnist,
    eurosat,
    kmnist,
    mnist,
    qmnist,
    semeion,
    stl10,
    svhn,
    usps,
)
from recall_distortion.system.files import sha256

_Reader = Callable[[Path], Read]


def _source(
    title: str,
    name: str,
    shape: Shape,
    parts: Sequence[Part],
    read: _Reader,
    *,
    has_test_set: bool = True,
) -> Source:
    """Return the source of the set of torchvision's class ``name``, made of ``parts``."""
    parts = tuple(parts)

    def read_from(place: Place) -> RawData:
        provide(name, parts, place.data_root, download=place.download)
        train, test, class_names = read(place.data_root)
        return RawData(
            train_images=train[0],
            train_labels=train[1],
            test_images=None if test is None else test[0],
            test_labels=None if test is None else test[1],
            class_names=class_names,
            checksum=sha256(*(place.data_root / file for part in parts for file in part.files)),
        )

    return Source(f"{title} through torchvision", read_from, shape, has_test_set)


def _idx_parts(name: str) -> tuple[Part, ...]:
    place = Path(name, "raw")
    archives = tuple(place / f"{file}.gz" for file in IDX_SIZES)
    return (Part(tuple(place / file for file in IDX_SIZES), {}, archives),)


def _mnist(title: str, name: str) -> Source:
    return _source(title, name, Shape(1, 28, 10), _idx_parts(name), partial(mnist, name))


def _cifar(title: str, name: str, classes: int, folder: str, files: Sequence[str]) -> Source:
    archive = Path(f"{folder.removesuffix('-batches-py').removesuffix('-python')}-python.tar.gz")
    part = Part(tuple(Path(folder, file) for file in files), {}, (archive,))
    return _source(title, name, Shape(3, 32, classes), [part], partial(cifar, name))


def _emnist(split: str, classes: int) -> Source:
    files = tuple(
        Path("EMNIST", "raw", f"emnist-{split}-{part}-{kind}-ubyte")
        for part in ("train", "test")
        for kind in ("images-idx3", "labels-idx1")
    )
    part = Part(files, {"split": split}, (Path("EMNIST", "raw", "gzip.zip"),))
    read = partial(emnist, split, files)
    return _source(f"EMNIST {split}", "EMNIST", Shape(1, 28, classes), [part], read)


def _qmnist(what: str) -> Source:
    parts = []
    for part in ("train", "test"):
        names = (f"qmnist-{part}-images-idx3-ubyte", f"qmnist-{part}-labels-idx2-int")
        files = tuple(Path("QMNIST", "raw", name) for name in names)
        parts.append(Part(files, {"what": part}, tuple(Path(f"{file}.gz") for file in files)))
    files = tuple(file for part in parts for file in part.files)
    read = partial(qmnist, what, files)
    return _source(f"QMNIST, {what},", "QMNIST", Shape(1, 28, 10), parts, read)


def _eurosat() -> Source:
    part = Part((Path("eurosat", "2750"),), {}, (Path("eurosat", "EuroSAT.zip"),))

    def read_from(place: Place) -> RawData:
        provide("EuroSAT", (part,), place.data_root, download=place.download)
        return eurosat(place.data_root)

    return Source("EuroSAT through torchvision", read_from, Shape(3, 64, 10), has_test_set=False)


_CIFAR10 = [*(f"data_batch_{index}" for index in range(1, 6)), "test_batch", "batches.meta"]
_CIFAR100 = ("train", "test", "meta")
_STL10 = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt")
_SVHN = [Part((Path(f"{split}_32x32.mat"),), {"split": split}) for split in ("train", "test")]
_USPS = [
    Part((Path("usps.bz2"),), {"train": True}),
    Part((Path("usps.t.bz2"),), {"train": False}),
]
_UNSPLIT = ""

#: Name of torchvision's class -> split -> source; the split is "" where a set has but one.
SETS: dict[str, dict[str, Source]] = {
    "MNIST": {_UNSPLIT: _mnist("MNIST", "MNIST")},
    "FashionMNIST": {_UNSPLIT: _mnist("Fashion-MNIST", "FashionMNIST")},
    "KMNIST": {
        _UNSPLIT: _source(
            "Kuzushiji-MNIST", "KMNIST", Shape(1, 28, 10), _idx_parts("KMNIST"), kmnist
        )
    },
    "EMNIST": {
        split: _emnist(split, classes)
        for split, classes in (
            ("byclass", 62),
            ("bymerge", 47),
            ("balanced", 47),
            ("letters", 26),
            ("digits", 10),
            ("mnist", 10),
        )
    },
    "QMNIST": {what: _qmnist(what) for what in ("test", "test10k", "test50k")},
    "CIFAR10": {_UNSPLIT: _cifar("CIFAR-10", "CIFAR10", 10, "cifar-10-batches-py", _CIFAR10)},
    "CIFAR100": {
        _UNSPLIT: _cifar(
            "CIFAR-100", "CIFAR100", 100, "cifar-100-python", ("train", "test", "meta")
        )
    },
    "SVHN": {_UNSPLIT: _source("SVHN", "SVHN", Shape(3, 32, 10), _SVHN, svhn)},
    "STL10": {
        _UNSPLIT: _source(
            "STL-10",
            "STL10",
            Shape(3, 96, 10),
            [
                Part(
                    tuple(Path("stl10_binary", file) for file in _STL10),
                    {},
                    (Path("stl10_binary.tar.gz"),),
                )
            ],
            stl10,
        )
    },
    "USPS": {_UNSPLIT: _source("USPS", "USPS", Shape(1, 16, 10), _USPS, usps)},
    "SEMEION": {
        _UNSPLIT: _source(
            "SEMEION",
            "SEMEION",
            Shape(1, 16, 10),
            [Part((Path("semeion.data"),), {})],
            semeion,
            has_test_set=False,
        )
    },
    "EuroSAT": {_UNSPLIT: _eurosat()},
}
#: Classes of torchvision whose images have several sizes.
_SEVERAL_SIZES = (
    "Caltech101",
    "Caltech256",
    "Country211",
    "DTD",
    "FGVCAircraft",
    "Flowers102",
    "Food101",
    "GTSRB",
    "INaturalist",
    "ImageNet",
    "Imagenette",
    "OxfordIIITPet",
    "SUN397",
    "StanfordCars",
)

SOURCES: dict[str, Source | Collection] = {
    "mnist": SETS["MNIST"][_UNSPLIT],
    "fashion_mnist": SETS["FashionMNIST"][_UNSPLIT],
    "cifar10": SETS["CIFAR10"][_UNSPLIT],
    "cifar100": SETS["CIFAR100"][_UNSPLIT],
    "torchvision": Collection(
        "a classification set of torchvision, by the name of its class",
        SETS,
        dict.fromkeys(
            _SEVERAL_SIZES,
            "has images of several sizes, and networks take one: save them at one size as a folder "
            "with one sub-folder of images per class, and use the source 'folder'",
        ),
    ),
}
