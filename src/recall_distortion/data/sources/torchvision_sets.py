"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 as torchvision lays them out.

Files are looked for under the data root and downloaded by torchvision only where they are
missing. torchvision verifies the files of CIFAR each time it reads them, but those of the MNISTs
only while they are compressed, so their contents are verified here.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recall_distortion.data.images import Place, RawData, Source
from recall_distortion.data.prepared import Shape
from recall_distortion.system.errors import DataError
from recall_distortion.system.files import sha256

#: File -> size in bytes: a header of 16 or 8, then one byte per pixel or label.
_IDX_SIZES = {
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
_CIFAR_FILES = {
    "CIFAR10": [
        Path("cifar-10-batches-py", name)
        for name in (
            *(f"data_batch_{index}" for index in range(1, 6)),
            "test_batch",
            "batches.meta",
        )
    ],
    "CIFAR100": [Path("cifar-100-python", name) for name in ("train", "test", "meta")],
}
_ARCHIVES = {
    **{
        name: [Path(name, "raw", f"{file}.gz") for file in _IDX_SIZES]
        for name in ("MNIST", "FashionMNIST")
    },
    "CIFAR10": [Path("cifar-10-python.tar.gz")],
    "CIFAR100": [Path("cifar-100-python.tar.gz")],
}
#: Seconds without an answer before a server counts as out of reach.
_TIMEOUT = 30.0
_DOWNLOAD_ERRORS = (
    OSError,  # no route, no space, no permission, time-outs
    RuntimeError,  # torchvision: every mirror failed, or a checksum differs
    EOFError,
    http.client.HTTPException,
    tarfile.TarError,
    zlib.error,
)


def read(name: str, data_root: Path, *, download: bool) -> RawData:
    """Return a set from ``data_root``, by the name of torchvision's class.

    Missing files are downloaded if ``download``. Raises ``DataError`` for files that stay missing
    or are damaged, naming them.
    """
    is_idx = name in _IDX_DIGESTS
    files = [Path(name, "raw", file) for file in _IDX_SIZES] if is_idx else _CIFAR_FILES[name]
    missing = [file for file in files if not (data_root / file).is_file()]
    if missing:
        reason = "downloading is switched off"
        if download:
            reason = _download(name, data_root, missing)
        missing = [file for file in files if not (data_root / file).is_file()]
        if missing:
            raise DataError(
                f"{name} is not complete under {data_root}: "
                f"{', '.join(str(data_root / file) for file in missing)} "
                f"{'is' if len(missing) == 1 else 'are'} missing, and {reason}. Set data_root to "
                f"where torchvision's {name} lies, or fill it on a machine with a network by "
                f"torchvision.datasets.{name}(data_root, download=True)"
            )
    (train_images, train_labels), (test_images, test_labels), class_names = (
        _read_idx(name, data_root) if is_idx else _read_cifar(name, data_root)
    )
    return RawData(
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=class_names,
        checksum=sha256(*(data_root / file for file in files)),
    )


def _download(name: str, data_root: Path, missing: list[Path]) -> str:
    """Put missing files under ``data_root``, each complete or not at all; return why if not.

    torchvision writes and unpacks in place, where a killed download would leave half a file that
    it takes for a whole one later. So it works in a folder of its own, beside the archives that
    are already here.
    """
    from torchvision import datasets

    try:
        data_root.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".partial-", dir=data_root) as folder,
            _socket_timeout(_TIMEOUT),
        ):
            temporary = Path(folder)
            for archive in _ARCHIVES[name]:
                if (data_root / archive).is_file():
                    (temporary / archive).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(data_root / archive, temporary / archive)
            getattr(datasets, name)(folder, train=True, download=True)
            for file in missing:
                (data_root / file).parent.mkdir(parents=True, exist_ok=True)
                os.replace(temporary / file, data_root / file)
    except _DOWNLOAD_ERRORS as error:
        return f"downloading failed ({' '.join(str(error).split()) or type(error).__name__})"
    return "the download did not bring them"


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


_Part = tuple[np.ndarray, np.ndarray]


def _read_idx(name: str, data_root: Path) -> tuple[_Part, _Part, tuple[str, ...]]:
    folder = data_root / name / "raw"
    for (file, size), digest in zip(_IDX_SIZES.items(), _IDX_DIGESTS[name], strict=True):
        path = folder / file
        found = path.stat().st_size
        if found != size:
            raise DataError(
                f"{path} has {found} bytes in place of {size}; it is truncated or not {name}: "
                "delete it and run this again to get it anew"
            )
        if sha256(path) != f"sha256:{digest}":
            raise DataError(
                f"{path} differs from the published file; it is damaged or not {name}: delete it "
                "and run this again to get it anew"
            )
    from torchvision import datasets

    # The classes themselves would prefer old processed files, which nobody has verified.
    read_images, read_labels = datasets.mnist.read_image_file, datasets.mnist.read_label_file
    train, test = (
        (
            read_images(str(folder / f"{part}-images-idx3-ubyte")).numpy()[:, None],
            read_labels(str(folder / f"{part}-labels-idx1-ubyte")).numpy(),
        )
        for part in ("train", "t10k")
    )
    if name == "MNIST":
        return train, test, tuple("0123456789")
    return train, test, tuple(datasets.FashionMNIST.classes)


def _read_cifar(name: str, data_root: Path) -> tuple[_Part, _Part, tuple[str, ...]]:
    from torchvision import datasets

    kind = getattr(datasets, name)
    meta = [[kind.meta["filename"], kind.meta["md5"]]]
    for file, md5 in kind.train_list + kind.test_list + meta:
        path = data_root / kind.base_folder / file
        if not datasets.utils.check_integrity(path, md5):
            raise DataError(
                f"{path} differs from the published file; it is damaged or not {name}: delete it "
                "and run this again to get it anew"
            )
    parts = [kind(str(data_root), train=train) for train in (True, False)]
    train, test = (_cifar_arrays(part) for part in parts)
    return train, test, tuple(parts[0].classes)


def _cifar_arrays(part: Any) -> _Part:
    images = np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))
    return images, np.asarray(part.targets, dtype=np.int64)


def _source(title: str, name: str, shape: Shape) -> Source:
    def read_from(place: Place) -> RawData:
        return read(name, place.data_root, download=place.download)

    return Source(f"{title} through torchvision", read_from, shape)


SOURCES = {
    "mnist": _source("MNIST", "MNIST", Shape(1, 28, 10)),
    "fashion_mnist": _source("Fashion-MNIST", "FashionMNIST", Shape(1, 28, 10)),
    "cifar10": _source("CIFAR-10", "CIFAR10", Shape(3, 32, 10)),
    "cifar100": _source("CIFAR-100", "CIFAR100", Shape(3, 32, 100)),
}
