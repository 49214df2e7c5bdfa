"""A user's .npz: what is accepted, and one clear error for everything else."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recall_distortion import data
from recall_distortion.system.errors import DataError


def gray(count=12, height=6, width=5):
    return np.random.default_rng(0).integers(0, 256, (count, height, width)).astype(np.uint8)


def colour(count=12):
    return np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3)).astype(np.uint8)


def labels(count=12, classes=3):
    return np.arange(count) % classes


def saved(tmp_path, **arrays):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    return path


def prepared(path, tmp_path, **options):
    output = tmp_path / "out.safetensors"
    settings = {"holdout": 0.5, "test_fraction": None, "seed": 0} | options
    data.prepare("arrays", output, path=str(path), data_root="", **settings)
    return data.load(output)


def test_own_test_set_colour_and_names(tmp_path):
    images, test = colour(), colour(6)[::-1]
    names = np.array(["cat", "Hund, groß", "bird"])
    path = saved(
        tmp_path,
        train_images=images,
        train_labels=labels().astype(np.uint8),
        test_images=test,
        test_labels=labels(6).astype(">i4"),
        class_names=names,
    )
    assert data.describe("arrays", path=str(path)) == data.Shape(3, 5, 3)
    result = prepared(path, tmp_path)
    assert result.shape == data.Shape(3, 5, 3)
    assert result.class_names == ("cat", "Hund, groß", "bird")
    assert np.array_equal(result.train_images, images.transpose(0, 3, 1, 2))
    assert np.array_equal(result.test_images, test.transpose(0, 3, 1, 2))
    assert np.array_equal(result.test_labels, labels(6))
    assert len(result.holdout_index) == 6


@pytest.mark.parametrize("prefix", ["", "train_"])
def test_gray_without_test_set_is_split(tmp_path, prefix):
    images = gray(20)
    path = saved(tmp_path, **{f"{prefix}images": images, f"{prefix}labels": labels(20, 2)})
    assert data.describe("arrays", path=str(path)) == data.Shape(1, 5, 2)
    result = prepared(path, tmp_path, test_fraction=0.3)
    assert result.class_names == ("0", "1")
    assert result.train_images.shape == (14, 1, 6, 5)
    assert result.test_images.shape == (6, 1, 6, 5)
    # Each image is in one part, with its own label.
    found = {
        image.tobytes(): label
        for part in ("train", "test")
        for image, label in zip(
            getattr(result, f"{part}_images"), getattr(result, f"{part}_labels"), strict=True
        )
    }
    assert found == {
        image.tobytes(): label for image, label in zip(images, labels(20, 2), strict=True)
    }


def test_channel_axis_of_one_is_gray(tmp_path):
    path = saved(tmp_path, images=gray()[..., None], labels=labels())
    assert data.describe("arrays", path=str(path)) == data.Shape(1, 5, 3)


def test_describe_does_not_read_the_images(tmp_path, monkeypatch):
    path = saved(tmp_path, images=gray(), labels=labels())
    monkeypatch.setattr("recall_distortion.data.sources.arrays._images", None)
    assert data.describe("arrays", path=str(path)).classes == 3


def changed(**changes):
    """A good data set with some arrays replaced, or left out where None."""
    good = {
        "train_images": gray(),
        "train_labels": labels(),
        "test_images": gray(6),
        "test_labels": labels(6),
        "class_names": np.array(["a", "b", "c"]),
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def with_label(value, where=0, count=12):
    changed_labels = labels(count).astype(np.int64)
    changed_labels[where] = value
    return changed_labels


BAD = {
    "float images": (
        changed(train_images=gray() / 255),
        "type float64 with values from 0 to 1; images must be uint8",
    ),
    "NaN": (
        changed(train_images=np.full((12, 6, 5), np.nan, np.float32)),
        "holds NaN or infinity; images must be uint8",
    ),
    "float labels": (changed(train_labels=labels() * 1.0), "must be whole numbers"),
    "boolean labels": (changed(train_labels=labels() > 0), "must be whole numbers"),
    "negative label": (changed(train_labels=with_label(-1)), "holds the label -1"),
    "label out of range": (changed(train_labels=with_label(3)), "label 3, but there are 3 classes"),
    "test label out of range": (changed(test_labels=with_label(7, count=6)), "test_labels holds"),
    "gap": (
        {"images": gray(), "labels": np.where(labels() == 1, 5, labels())},
        "no image of class 1 ",
    ),
    "empty class": (changed(class_names=np.array(list("abcd"))), "no image of class 3 "),
    "empty test class": (changed(test_labels=np.zeros(6, int)), "test_labels holds no image"),
    "one class": ({"images": gray(), "labels": np.zeros(12, int)}, "only one class"),
    "one name": (
        changed(class_names=np.array(["a"]), train_labels=np.zeros(12, int)),
        "has 1 class;",
    ),
    "two axes of labels": (changed(train_labels=labels()[:, None]), "must have one axis"),
    "sizes": (changed(train_labels=labels(11)), "11 labels for 12 images"),
    "test sizes": (
        changed(test_labels=labels(5)),
        r"\[6, 6, 5\] for 5 labels.*numpy.moveaxis\(test_images, -1, 0\)",
    ),
    "shapes of train and test": (changed(test_images=gray(6, 7)), "test_images 7 x 5"),
    "channels of test": (changed(test_images=colour(6)), "with 3 channels"),
    "channels first": (
        changed(train_images=colour().transpose(0, 3, 1, 2)),
        r"numpy.moveaxis\(train_images, 1, -1\)",
    ),
    "four channels": (changed(train_images=np.zeros((12, 6, 5, 4), np.uint8)), "channels last"),
    "flat images": (changed(train_images=np.zeros((12, 30), np.uint8)), r"must be \[N, H, W\]"),
    "no pixels": (changed(train_images=np.zeros((12, 0, 5), np.uint8)), "no pixel"),
    "no images": ({"images": gray(0), "labels": labels(0)}, "no pixel"),
    "duplicate names": (changed(class_names=np.array(["a", "b", "a"])), "'a' twice"),
    "names that look the same": (
        changed(class_names=np.array(["caf\u00e9", "cafe\u0301", "c"])),
        "which look the same",
    ),
    "names that differ in spaces": (
        changed(class_names=np.array(["a b", "a  b ", "c"])),
        "which look the same",
    ),
    "empty name": (changed(class_names=np.array(["a", "", "c"])), "class name ''"),
    "newline in a name": (changed(class_names=np.array(["a", "b\n", "c"])), "printable"),
    "numbers as names": (changed(class_names=np.arange(3)), "one axis of strings"),
    "bytes that are no text": (changed(class_names=np.array([b"\xff", b"a", b"b"])), "not UTF-8"),
    "object names": (
        changed(class_names=np.array(["a", "b", "c"], dtype=object)),
        "class_names is an array of Python objects",
    ),
    "object labels": (changed(train_labels=labels().astype(object)), "Python objects"),
    "half a test set": (changed(test_labels=None), "accepted are train_images"),
    "misspelt": (changed(test_image=gray()), "test_image.*accepted are"),
    "nothing": ({}, r"holds the arrays \(none\)"),
    "mixed prefixes": (
        {"images": gray(), "labels": labels(), "test_images": gray(), "test_labels": labels()},
        "accepted are",
    ),
    "too many classes": (
        {"images": np.zeros((32_768, 1, 1), np.uint8), "labels": np.arange(32_768)},
        "at most 32767",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_content_is_one_clear_error_that_leaves_no_file(tmp_path, name):
    arrays, message = BAD[name]
    path = saved(tmp_path, **arrays)
    with pytest.raises(DataError, match=message) as caught:
        prepared(path, tmp_path)
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match=message):
        data.describe("arrays", path=str(path))
    assert os.listdir(tmp_path) == ["set.npz"]


def test_object_arrays_run_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = saved(tmp_path, **changed(class_names=np.array([Evil()] * 3, dtype=object)))
    with pytest.raises(DataError, match="Python objects"):
        prepared(path, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_test_fraction_beside_an_own_test_set(tmp_path):
    path = saved(tmp_path, **changed())
    with pytest.raises(DataError, match="has its own test set"):
        prepared(path, tmp_path, test_fraction=0.5)


def test_missing_wrong_kind_or_truncated_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        prepared(tmp_path / "none.npz", tmp_path)
    with pytest.raises(DataError, match="use the source 'folder'"):
        prepared(tmp_path, tmp_path)
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path / "pipe.npz", Path("/dev/zero")):  # reading them would never end
        with pytest.raises(DataError, match="is no file"):
            prepared(path, tmp_path)
    with pytest.raises(DataError, match="needs a path"):
        data.describe("arrays")
    text = tmp_path / "text.npz"
    text.write_text("no archive")
    np.save(tmp_path / "single.npy", gray())
    whole = saved(tmp_path, **changed()).read_bytes()
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole[: len(whole) // 2])
    nested = tmp_path / "nested.npz"
    header = b"(" * 5000
    with zipfile.ZipFile(nested, "w") as archive:
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr("train_images.npy", content)
    for path in (text, tmp_path / "single.npy", cut, nested):
        with pytest.raises(DataError, match="truncated, damaged or something else") as caught:
            prepared(path, tmp_path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(("size", "message"), [(6, "Bad CRC"), (60, "train_images cannot be read")])
def test_a_flipped_bit_in_the_pixels(tmp_path, size, message):
    # In small arrays the bit is met while the header is read, in larger ones with the pixels.
    images = gray(12, size, size)
    path = saved(tmp_path, train_images=images, train_labels=labels())
    content = bytearray(path.read_bytes())
    content[content.find(images.tobytes()) + images.size - 7] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        prepared(path, tmp_path)
    assert str(path) in str(caught.value)


def test_a_header_that_promises_more_than_the_file_has(tmp_path):
    path = saved(tmp_path, **changed())
    forged = tmp_path / "forged.npz"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(forged, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            if name == "train_images.npy":
                member = member.replace(b"(12, 6, 5), }      ", b"(12000000, 6, 5), }")
                assert member != old.read(name)
            new.writestr(name, member)
    with pytest.raises(DataError, match="should hold 360000000 bytes but has 360"):
        prepared(forged, tmp_path)
