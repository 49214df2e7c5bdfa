"""torchvision's sets by name: small files in the formats of each, read, missing, damaged, got."""

from __future__ import annotations

import bz2
import hashlib
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import scipy.io
from PIL import Image
from torchvision import datasets

from recall_distortion import data
from recall_distortion.data.sources import SOURCES, _torchvision_read
from recall_distortion.study.datasets import Dataset
from recall_distortion.system.errors import DataError

COLLECTION = SOURCES["torchvision"]


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def random_part(generator, classes, shape, copies=4):
    """Random images [N, C, H, W] and shuffled labels, every class ``copies`` times."""
    labels = generator.permutation(np.tile(np.arange(classes), copies))
    return generator.integers(0, 256, (len(labels), *shape)).astype(np.uint8), labels


def write_idx(path, array, kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    path.write_bytes(head + array.astype({8: ">u1", 12: ">i4"}[kind]).tobytes())


def write_mnist_like(root, name, files, parts, *, first=0, turned=False, wide=False):
    for (images, labels), pair in zip(parts, files, strict=True):
        pixels = images[:, 0].transpose(0, 2, 1) if turned else images[:, 0]
        write_idx(root / name / "raw" / pair[0], pixels, 8)
        if wide:
            others = np.arange(7) + np.zeros((len(labels), 1), int)
            write_idx(root / name / "raw" / pair[1], np.hstack([labels[:, None], others]), 12)
        else:
            write_idx(root / name / "raw" / pair[1], labels + first, 8)


def write_kmnist(root, parts, monkeypatch):
    pairs = [(f"{p}-images-idx3-ubyte", f"{p}-labels-idx1-ubyte") for p in ("train", "t10k")]
    write_mnist_like(root, "KMNIST", pairs, parts)


def write_emnist(split, root, parts, monkeypatch):
    names = [f"emnist-{split}-{part}" for part in ("train", "test")]
    pairs = [(f"{n}-images-idx3-ubyte", f"{n}-labels-idx1-ubyte") for n in names]
    first = 1 if split == "letters" else 0
    write_mnist_like(root, "EMNIST", pairs, parts, first=first, turned=True)


def write_qmnist(root, parts, monkeypatch):
    names = [f"qmnist-{part}" for part in ("train", "test")]
    pairs = [(f"{n}-images-idx3-ubyte", f"{n}-labels-idx2-int") for n in names]
    write_mnist_like(root, "QMNIST", pairs, parts, wide=True)


def write_svhn(root, parts, monkeypatch):
    changed = dict(datasets.SVHN.split_list)
    for split, (images, labels) in zip(("train", "test"), parts, strict=True):
        path = root / f"{split}_32x32.mat"
        labels = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        scipy.io.savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": labels})
        changed[split] = [changed[split][0], path.name, md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", changed)


def write_stl10(root, parts, monkeypatch):
    folder = root / "stl10_binary"
    folder.mkdir()
    for part, (images, labels) in zip(("train", "test"), parts, strict=True):
        (folder / f"{part}_X.bin").write_bytes(images.transpose(0, 1, 3, 2).tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels + 1).astype(np.uint8).tobytes())
        sums = [[file, md5(folder / file)] for file in (f"{part}_X.bin", f"{part}_y.bin")]
        if part == "train":
            sums.append(["unlabeled_X.bin", "of a file that is not there"])
        monkeypatch.setattr(datasets.STL10, f"{part}_list", sums)
    (folder / "class_names.txt").write_text("".join(f"thing {n}\n" for n in range(10)))


def write_usps(root, parts, monkeypatch):
    changed = {}
    for split, (images, labels) in zip(("train", "test"), parts, strict=True):
        # A hundredth above each level, which torchvision rounds down to.
        values = (images.reshape(len(images), -1) + 0.01) / 255 * 2 - 1
        lines = [
            f"{label + 1} " + " ".join(f"{n}:{value:.6f}" for n, value in enumerate(row, 1))
            for label, row in zip(labels, values, strict=True)
        ]
        path = root / {"train": "usps.bz2", "test": "usps.t.bz2"}[split]
        path.write_bytes(bz2.compress("\n".join(lines).encode()))
        changed[split] = [datasets.USPS.split_list[split][0], path.name, md5(path)]
    monkeypatch.setattr(datasets.USPS, "split_list", changed)


def write_semeion(root, parts, monkeypatch):
    ((images, labels),) = parts
    images[:] = np.where(images > 127, 255, 0)
    rows = np.hstack([images.reshape(len(images), -1) / 255, np.eye(10)[labels]])
    path = root / "semeion.data"
    np.savetxt(path, rows, fmt="%.4f")
    monkeypatch.setattr(datasets.SEMEION, "md5_checksum", md5(path))


def write_eurosat(root, parts, monkeypatch):
    ((images, labels),) = parts
    order = np.argsort(labels, kind="stable")
    images[:], labels[:] = images[order], labels[order]
    images[:] = images[:, :, :1, :1]  # a JPEG keeps one colour to a few levels
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / "eurosat" / "2750" / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{index:03}.jpg", quality=95)
    monkeypatch.setattr(_torchvision_read, "_EUROSAT_IMAGES", len(images))


DIGITS = tuple("0123456789")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MERGED = (*DIGITS, *LETTERS.upper(), *"abdefghnqrt")
#: Name, split, what writes it, names of its classes.
CASES = [
    ("KMNIST", None, write_kmnist, ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    ("EMNIST", "letters", partial(write_emnist, "letters"), tuple(LETTERS)),
    ("EMNIST", "balanced", partial(write_emnist, "balanced"), MERGED),
    ("QMNIST", "test", write_qmnist, DIGITS),
    ("SVHN", None, write_svhn, DIGITS),
    ("STL10", None, write_stl10, tuple(f"thing {n}" for n in range(10))),
    ("USPS", None, write_usps, DIGITS),
    ("SEMEION", None, write_semeion, DIGITS),
    ("EuroSAT", None, write_eurosat, tuple(f"class {n}" for n in range(10))),
]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that writes a set's files, and returns their root and what they hold."""

    def make(name, split, write):
        root = tmp_path / "root"
        root.mkdir()
        facts = COLLECTION.find(name, split)
        shape = (facts.shape.channels, facts.shape.image_size, facts.shape.image_size)
        generator = np.random.default_rng(0)
        parts = [
            random_part(generator, facts.shape.classes, shape)
            for _ in range(1 + facts.has_test_set)
        ]
        write(root, parts, monkeypatch)
        return root, parts

    return make


def prepare(tmp_path, name, split, root, *, download=False, **options):
    output = tmp_path / "out" / "data.safetensors"
    dataset = Dataset(source="torchvision", name=name, split=split, holdout=0.5, **options)
    data.prepare(output=output, data_root=str(root), download=download, **dataset.preparation())
    return data.load(output)


@pytest.mark.parametrize(("name", "split", "write", "class_names"), CASES)
def test_reads_the_format(tmp_path, made, name, split, write, class_names):
    root, parts = made(name, split, write)
    found = prepare(tmp_path, name, split, root)
    assert found.shape == data.describe("torchvision", name=name, split=split)
    assert found.class_names == class_names
    assert found.source == " ".join(filter(None, ("torchvision", name, split)))
    if len(parts) == 1:  # the test set was split off, so images stand in another order
        images = np.concatenate([found.train_images, found.test_images])
        labels = np.concatenate([found.train_labels, found.test_labels])
        own = {image.tobytes(): label for image, label in zip(*parts[0], strict=True)}
        if name == "EuroSAT":
            near = np.abs(images[:, None].astype(int) - parts[0][0]).max((2, 3, 4))
            assert near.min(1).max() <= 4
            assert np.array_equal(parts[0][1][near.argmin(1)], labels)
        else:
            assert [own[image.tobytes()] for image in images] == labels.tolist()
        return
    for part, (images, labels) in zip(("train", "test"), parts, strict=True):
        assert np.array_equal(getattr(found, f"{part}_images"), images)
        assert np.array_equal(getattr(found, f"{part}_labels"), labels)


@pytest.mark.parametrize(("name", "split", "write", "class_names"), CASES)
def test_what_is_missing_or_damaged_is_named(tmp_path, made, name, split, write, class_names):
    root, _ = made(name, split, write)
    file = max((f for f in root.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    content = file.read_bytes()
    file.write_bytes(content[:-7])
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, name, split, root)
    assert str(file) in str(caught.value)
    file.unlink()
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, name, split, root)
    assert ("in place of" if name == "EuroSAT" else f"{file} is missing") in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_parts_of_qmnist_share_its_files(tmp_path, monkeypatch):
    generator = np.random.default_rng(1)
    train = random_part(generator, 10, (1, 28, 28))
    test = random_part(generator, 10, (1, 28, 28), 1_002)
    write_qmnist(tmp_path, [train, test], monkeypatch)
    for split, part in (("test10k", slice(10_000)), ("test50k", slice(10_000, None))):
        found = prepare(tmp_path, "QMNIST", split, tmp_path)
        assert np.array_equal(found.test_labels, test[1][part])
        assert np.array_equal(found.test_images, test[0][part])
        assert np.array_equal(found.train_images, train[0])


def test_labels_that_no_class_has_are_refused(tmp_path, made):
    root, parts = made("KMNIST", None, write_kmnist)
    file = root / "KMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    write_idx(file, parts[1][1] + 1, 8)
    with pytest.raises(DataError, match="holds the label 10, but there are 10 classes") as caught:
        prepare(tmp_path, "KMNIST", None, root)
    assert str(file) in str(caught.value)


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Keep the requests out of the tests' output."""


def test_a_part_that_is_missing_is_downloaded_alone(tmp_path, made, monkeypatch):
    root, parts = made("SVHN", None, write_svhn)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    test_file = root / "test_32x32.mat"
    test_file.rename(mirror / test_file.name)
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_QuietHandler, directory=str(mirror))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/{test_file.name}"
        whole = datasets.SVHN.split_list
        changed = {"train": ["http://127.0.0.1:9/", *whole["train"][1:]]}
        # What arrives is not what the sum is of: nothing of it stays.
        monkeypatch.setattr(
            datasets.SVHN, "split_list", changed | {"test": [address, test_file.name, "0" * 32]}
        )
        with pytest.raises(DataError, match=r"downloading failed .*corrupted") as caught:
            prepare(tmp_path, "SVHN", None, root, download=True)
        call = "torchvision.datasets.SVHN(data_root, split='test', download=True)"
        assert str(caught.value).endswith(call)
        assert [path.name for path in root.iterdir()] == ["train_32x32.mat"]
        monkeypatch.setattr(
            datasets.SVHN, "split_list", changed | {"test": [address, *whole["test"][1:]]}
        )
        found = prepare(tmp_path, "SVHN", None, root, download=True)
        server.shutdown()
    assert np.array_equal(found.test_images, parts[1][0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "torchvision"}, "a name is missing .* valid: MNIST, .*SVHN"),
        ({"source": "torchvision", "name": "GTSRB"}, "several sizes.*the source 'folder'"),
        ({"source": "torchvision", "name": "EMNIST"}, "needs a split; valid: byclass, .*letters"),
        ({"source": "torchvision", "name": "QMNIST", "split": "letters"}, "valid: test, test10k"),
        ({"source": "torchvision", "name": "SVHN", "split": "test"}, "SVHN has no splits"),
        ({"source": "torchvision", "name": "SVHN", "path": "here"}, "takes no path"),
        ({"source": "torchvision", "name": "USPS", "test_fraction": 0.5}, "'USPS' has a test set"),
        ({"source": "digits", "name": "SVHN"}, "takes no name; only torchvision does"),
        ({"source": "torchvision", "name": "ImageNet21k"}, "Input should be 'MNIST'"),
    ],
)
def test_a_study_names_a_set_that_there_is(values, message):
    with pytest.raises(ValueError, match=message):
        Dataset(**values)


def test_one_registry():
    """Names are torchvision's; older sources are entries, and studies of them are as before."""
    for name in (*COLLECTION.sets, *COLLECTION.refused):
        assert name in datasets.__all__
    for source, name in (("mnist", "MNIST"), ("cifar100", "CIFAR100")):
        assert SOURCES[source] is COLLECTION.find(name, None)
    assert "name" not in Dataset(source="mnist").preparation()
    known = set(datasets.EMNIST.splits)
    assert set(COLLECTION.sets["EMNIST"]) == known
    for split, names in datasets.EMNIST.classes_split_dict.items():
        classes = len([name for name in names if name != "N/A"])
        assert COLLECTION.find("EMNIST", split).shape.classes == classes
