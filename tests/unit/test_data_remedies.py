"""Where a message says what to save instead, that is saved, and pixels and labels compared."""

from __future__ import annotations

import re

import numpy as np
import pytest
from data_helpers import LABELS, PIXELS

from recall_distortion.data.sources import arrays as arrays_source
from recall_distortion.system.errors import DataError


def followed(tmp_path, arrays):
    """Save arrays, do what the message says, and so on until they are read."""
    for _ in range(4):
        path = tmp_path / "set.npz"
        np.savez(path, **arrays)
        try:
            return arrays_source.read(path)
        except DataError as error:
            message = str(error)
        found = re.search(
            r"save (?:(class_names) = (.+?) and )?(.+?)(?:, and (\w+) alike)?$", message
        )
        assert found, message
        assert "Error" not in message
        first, names, remedy, other = found.groups()
        known = {"numpy": np, **arrays}
        name = re.search(rf"{path}: (\w+) (?:has|holds|is) ", message)[1]
        saved = {name: eval(remedy, known)}
        if first:
            saved[first] = eval(names, known)
        if other:
            saved[other] = eval(re.sub(rf"\b{name}\b", other, remedy), known)
        arrays = arrays | saved
    raise AssertionError(message)


COLOUR = np.random.default_rng(4).integers(0, 256, (12, 7, 6, 3)).astype(np.uint8)
SQUARE = np.random.default_rng(5).integers(0, 256, (12, 6, 6, 3)).astype(np.uint8)
OF_IMAGES = {
    **{
        f"whole numbers as {kind}": (PIXELS.astype(kind), PIXELS)
        for kind in ("int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4", "f4", "f8")
    },
    **{
        f"fractions as {kind}": ((PIXELS / 255).astype(kind), PIXELS)
        for kind in ("f2", "f4", "f8", ">f8")
    },
    "half around zero": (PIXELS / 255 - 0.5, PIXELS),
    "from -1 to 1": (PIXELS / 127.5 - 1, PIXELS),
    "from -1 to 1 in single precision": ((PIXELS / 127.5 - 1).astype("f4"), PIXELS),
    "truths": (PIXELS > 127, 255 * (PIXELS > 127)),
    "twelve bits": ((PIXELS.astype("u2") * 16).astype("u2"), PIXELS),
    "signed bytes": ((PIXELS.astype(int) - 128).astype("i1"), PIXELS),
    "standardized": ((PIXELS - 100.0) / 50, PIXELS),
    "channels first": (COLOUR.transpose(0, 3, 1, 2), COLOUR),
    "MATLAB's order, gray": (np.moveaxis(PIXELS, 0, -1), PIXELS),
    "MATLAB's order, colour": (np.moveaxis(COLOUR, 0, -1), COLOUR),
    "images last, channels first": (COLOUR.transpose(3, 1, 2, 0), COLOUR),
    "with opacity": (np.concatenate([COLOUR, COLOUR[..., :1]], 3), COLOUR),
    "gray with opacity": (np.stack([PIXELS, PIXELS], 3), PIXELS),
    "rows, gray": (SQUARE[..., 0].reshape(12, -1), SQUARE[..., 0]),
    "rows, colour, as in CIFAR's files": (SQUARE.transpose(0, 3, 1, 2).reshape(12, -1), SQUARE),
    "objects": (np.array([*PIXELS, None], object)[:-1], PIXELS),
    "rows of fractions": (SQUARE[..., 0].reshape(12, -1) / 255, SQUARE[..., 0]),
}
OF_LABELS = {
    "a column": LABELS[:, None],
    "a row": LABELS[None],
    "a column of floats from 1": LABELS[:, None] + 1.0,
    "one-hot": np.eye(3)[LABELS],
    "one-hot truths": np.eye(3, dtype=bool)[LABELS],
    "floats": LABELS.astype("f4"),
    "from 1": LABELS + 1,
    "from 0 with gaps": np.array([0, 10, 20])[LABELS],
    "from 1 with gaps": np.array([1, 3, 20])[LABELS],
    "negative": LABELS - 1,
    "strings": np.array(["ant", "bee", "cat"])[LABELS],
    "bytes": np.array([b"ant", b"bee", b"cat"])[LABELS],
    "objects": LABELS.astype(object),
    "strings as objects": np.array(["ant", "bee", "cat"], object)[LABELS],
}


@pytest.mark.parametrize("name", OF_IMAGES)
@pytest.mark.parametrize("parts", [1, 2])
def test_a_remedy_for_images_gives_their_pixels(tmp_path, name, parts):
    given, expected = OF_IMAGES[name]
    arrays = {"images": given, "labels": LABELS}
    if parts == 2:
        arrays = {"train_images": given, "train_labels": LABELS}
        arrays |= {"test_images": given, "test_labels": LABELS}
    found = followed(tmp_path, arrays)
    for images in (found.train_images, found.test_images)[:parts]:
        pixels = images.transpose(0, 2, 3, 1).reshape(expected.shape)
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("name", OF_LABELS)
@pytest.mark.parametrize("parts", [1, 2])
def test_a_remedy_for_labels_gives_the_classes(tmp_path, name, parts):
    arrays = {"images": PIXELS, "labels": OF_LABELS[name]}
    if parts == 2:
        arrays = {"train_images": PIXELS, "train_labels": OF_LABELS[name]}
        arrays |= {"test_images": PIXELS, "test_labels": OF_LABELS[name]}
    found = followed(tmp_path, arrays)
    for labels in (found.train_labels, found.test_labels)[:parts]:
        np.testing.assert_array_equal(labels, LABELS)
    if name in ("strings", "bytes", "strings as objects"):
        assert found.class_names == ("ant", "bee", "cat")


def test_the_remedy_is_one_for_both_parts(tmp_path):
    """The test set's own range would give it another white."""
    train, test = PIXELS.astype("u2") * 16, PIXELS.astype("u2") * 8
    found = followed(
        tmp_path,
        {"train_images": train, "train_labels": LABELS, "test_images": test, "test_labels": LABELS},
    )
    np.testing.assert_array_equal(found.train_images[:, 0], PIXELS)
    np.testing.assert_array_equal(found.test_images[:, 0], np.rint(PIXELS / 2))


def test_parts_of_different_types_have_each_its_remedy(tmp_path):
    found = followed(
        tmp_path,
        {
            "train_images": PIXELS > 127,
            "train_labels": LABELS,
            "test_images": PIXELS / 255,
            "test_labels": LABELS,
        },
    )
    np.testing.assert_array_equal(found.train_images[:, 0], 255 * (PIXELS > 127))
    np.testing.assert_array_equal(found.test_images[:, 0], PIXELS)


@pytest.mark.parametrize(
    "test", [np.array(["cat", "dog", "fox"])[LABELS], np.array([1, 3, 7])[LABELS]]
)
def test_other_classes_in_the_test_set_are_not_numbered_alike(tmp_path, test):
    train = np.array(["cat", "dog", "eel"] if test.dtype.kind == "U" else [1, 3, 5])[LABELS]
    arrays = {"train_images": PIXELS, "train_labels": train}
    np.savez(tmp_path / "set.npz", **arrays, test_images=PIXELS, test_labels=test)
    with pytest.raises(DataError, match="test_labels holds other classes") as caught:
        arrays_source.read(tmp_path / "set.npz")
    assert "save" not in str(caught.value)


@pytest.mark.parametrize("kind", ["c16", "M8[s]", [("a", "u1")], "V2"])
@pytest.mark.parametrize("beside", ["u1", "f8", "U3"])
def test_images_of_other_types_are_refused_in_one_message(tmp_path, kind, beside):
    given, other = np.zeros(PIXELS.shape, kind), np.zeros(PIXELS.shape, beside)
    for train, test in ((given, other), (other, given)):
        parts = {"train_images": train, "test_images": test}
        np.savez(tmp_path / "set.npz", train_labels=LABELS, test_labels=LABELS, **parts)
        with pytest.raises(DataError, match="images must be uint8, 0 to 255"):
            arrays_source.read(tmp_path / "set.npz")


def test_a_foreign_array_of_objects_is_named(tmp_path):
    names = np.array(["a.png", None], object)
    np.savez(tmp_path / "set.npz", images=PIXELS, labels=LABELS, filenames=names)
    with pytest.raises(DataError, match=r"filenames is an array of Python objects.*leave it out"):
        arrays_source.read(tmp_path / "set.npz")


@pytest.mark.parametrize("given", [np.nan, np.inf])
def test_what_no_one_can_convert_gets_no_remedy(tmp_path, given):
    images = np.where(PIXELS == 0, given, PIXELS / 255)
    np.savez(tmp_path / "set.npz", images=images, labels=LABELS)
    with pytest.raises(DataError, match="holds NaN or infinity") as caught:
        arrays_source.read(tmp_path / "set.npz")
    assert "save" not in str(caught.value)
