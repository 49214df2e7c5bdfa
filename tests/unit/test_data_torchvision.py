"""torchvision's sets: the real files, missing and damaged ones, and downloads."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import shutil
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from recall_distortion import data
from recall_distortion.system.errors import DataError


def prepare(tmp_path, source, root, **options):
    output = tmp_path / "out" / f"{source}.safetensors"
    settings = {"holdout": 0.1, "test_fraction": None, "seed": 0} | options
    data.prepare(source, output, path=None, data_root=str(root), **settings)
    return data.load(output)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["mnist", "fashion_mnist"])
def test_real_files(tmp_path, real_data, source):
    result = prepare(tmp_path, source, real_data, download=False)
    assert result.shape == data.describe(source)
    assert len(result.train_images) == 60_000
    assert len(result.test_images) == 10_000
    assert len(result.holdout_index) == 6_000
    folder = real_data / {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[source] / "raw"
    for part, name in (("train", "train"), ("test", "t10k")):
        pixels = (folder / f"{name}-images-idx3-ubyte").read_bytes()[16:]
        labels = (folder / f"{name}-labels-idx1-ubyte").read_bytes()[8:]
        assert getattr(result, f"{part}_images").tobytes() == pixels
        assert getattr(result, f"{part}_labels").astype(np.uint8).tobytes() == labels
    fit = result.train_images[result.fit_index]
    assert result.mean[0] == pytest.approx(fit.mean() / 255, rel=1e-6)
    if source == "fashion_mnist":
        assert np.all(np.bincount(result.train_labels[result.holdout_index]) == 600)
        assert result.class_names[9] == "Ankle boot"
    else:
        assert result.class_names == tuple("0123456789")


@pytest.fixture
def copy(tmp_path, real_data):
    """A data root with MNIST whose files may be damaged; the large ones are links."""
    root = tmp_path / "root"
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for file in (real_data / "MNIST" / "raw").glob("*ubyte"):
        if file.stat().st_size > 1_000_000:
            (folder / file.name).symlink_to(file)
        else:
            shutil.copyfile(file, folder / file.name)
    return root


def test_damaged_files(tmp_path, copy):
    folder = copy / "MNIST" / "raw"
    labels = folder / "train-labels-idx1-ubyte"
    whole = labels.read_bytes()
    for content, message in (
        (b"", "has 0 bytes in place of 60008"),
        (whole[:30_000], "has 30000 bytes in place of 60008"),
        (whole[:5_000] + b"\x0b" + whole[5_001:], "differs from the published file"),
    ):
        labels.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            prepare(tmp_path, "mnist", copy)
        assert str(labels) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_files_are_named(tmp_path, copy):
    labels = copy / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    labels.unlink()
    with pytest.raises(DataError, match="downloading is switched off") as caught:
        prepare(tmp_path, "mnist", copy, download=False)
    assert str(labels) in str(caught.value)
    assert "data_root" in str(caught.value)
    for source in ("fashion_mnist", "cifar10", "cifar100"):
        with pytest.raises(DataError, match=r"not complete under .* are missing"):
            prepare(tmp_path, source, copy, download=False)


def test_missing_and_no_network(tmp_path, monkeypatch):
    from torchvision import datasets

    monkeypatch.setenv("no_proxy", "*")
    # Port 9 of this machine answers to nobody.
    for kind in (datasets.MNIST, datasets.FashionMNIST):
        monkeypatch.setattr(kind, "mirrors", ["http://127.0.0.1:9/"])
    for kind in (datasets.CIFAR10, datasets.CIFAR100):
        monkeypatch.setattr(kind, "url", "http://127.0.0.1:9/archive.tar.gz")
    root = tmp_path / "root"
    for source in ("mnist", "fashion_mnist", "cifar10", "cifar100"):
        with pytest.raises(DataError, match="downloading failed"):
            prepare(tmp_path, source, root)
    assert os.listdir(root) == []


@pytest.fixture
def mirror(tmp_path, real_data, monkeypatch):
    """A folder with MNIST's archives, served on this machine with the checksums they have here."""
    from torchvision import datasets

    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for name, _ in datasets.MNIST.resources:
        content = (real_data / "MNIST" / "raw" / name.removesuffix(".gz")).read_bytes()
        packed = gzip.compress(content, 1, mtime=0)
        (folder / name).write_bytes(packed)
        resources.append((name, hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("no_proxy", "*")
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        yield folder
        server.shutdown()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Keep the requests out of the tests' output."""


@pytest.mark.slow
def test_downloads_what_is_missing(tmp_path, mirror):
    root = tmp_path / "root"
    assert len(prepare(tmp_path, "mnist", root).train_images) == 60_000
    assert os.listdir(root) == ["MNIST"]
    assert len(os.listdir(root / "MNIST" / "raw")) == 4
    # Archives that are there already are unpacked without a network.
    shutil.rmtree(root)
    (root / "MNIST").mkdir(parents=True)
    os.rename(mirror, root / "MNIST" / "raw")
    assert len(prepare(tmp_path, "mnist", root).train_images) == 60_000


@pytest.mark.parametrize("failure", ["wrong content", "interrupted"])
def test_a_failed_download_leaves_no_half_file(tmp_path, mirror, monkeypatch, failure):
    root = tmp_path / "root"
    if failure == "wrong content":
        (mirror / "t10k-images-idx3-ubyte.gz").write_bytes(b"cut")
        error = DataError
    else:

        def interrupt(*arguments, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr(
            "recall_distortion.data.sources._torchvision_files.os.replace", interrupt
        )
        error = KeyboardInterrupt
    with pytest.raises(error):
        prepare(tmp_path, "mnist", root)
    assert not list(root.rglob("*ubyte*"))
    assert not (tmp_path / "out").exists()


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """CIFAR-100's layout with 200 random images, its checksums put in place of the real ones."""
    from torchvision import datasets

    kind = datasets.CIFAR100
    folder = tmp_path / "root" / kind.base_folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    arrays = {}
    digests = {}
    for name, count in (("train", 400), ("test", 200)):
        pixels = generator.integers(0, 256, (count, 3 * 32 * 32)).astype(np.uint8)
        labels = [index % 100 for index in range(count)]
        arrays[name] = pixels.reshape(count, 3, 32, 32), labels
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "fine_labels": labels}))
    names = [f"class {index}" for index in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}))
    for name in ("train", "test", "meta"):
        digests[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(kind, "train_list", [["train", digests["train"]]])
    monkeypatch.setattr(kind, "test_list", [["test", digests["test"]]])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": digests["meta"]})
    return tmp_path / "root", arrays


def test_cifar(tmp_path, small_cifar, monkeypatch):
    from torchvision import datasets

    root, arrays = small_cifar
    result = prepare(tmp_path, "cifar100", root, holdout=0.25)
    assert result.shape == data.describe("cifar100")
    assert result.class_names[99] == "class 99"
    for part in ("train", "test"):
        assert np.array_equal(getattr(result, f"{part}_images"), arrays[part][0])
        assert getattr(result, f"{part}_labels").tolist() == arrays[part][1]
    folder = root / datasets.CIFAR100.base_folder
    # An archive that lies there already is unpacked without a network.
    archive = root / datasets.CIFAR100.filename
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, folder.name)
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", digest)
    shutil.rmtree(folder)
    again = prepare(tmp_path, "cifar100", root, holdout=0.25)
    assert np.array_equal(again.train_images, result.train_images)
    for name in ("train", "test", "meta"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1])
        with pytest.raises(DataError, match="differs from the published file") as caught:
            prepare(tmp_path, "cifar100", root)
        assert str(folder / name) in str(caught.value)
        (folder / name).write_bytes(whole)
