"""Data as other people have them: turned photos, deep images, labels and arrays of other makes.

Where a message says what to save instead, a test saves that and compares pixels and labels.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from recall_distortion import checksums, data, logs, tables
from recall_distortion.data import arrays as arrays_source
from recall_distortion.data import folder as folder_source
from recall_distortion.errors import DataError, TableError

# --- photos that a camera turned

# What EXIF's values of the orientation ask of a viewer (TIFF 6.0, section 8).
SHOWN = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.swapaxes(np.rot90(pixels, 2), 0, 1),
    8: np.rot90,
}
#: What JPEG, at its best quality, changes of a corner's black and white.
OF_JPEG = 3


def turned(path, orientation, mode="RGB"):
    """Write a photo, 8 wide and 12 high as stored, and return it as viewers show it."""
    pixels = np.zeros((12, 8, 3), np.uint8)
    pixels[:3, :4] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    best = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}
    image = Image.fromarray(pixels).convert(mode)
    image.save(path, exif=exif, **best.get(path.suffix, {}))
    return SHOWN[orientation](pixels)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_photos_are_read_as_they_are_shown(tmp_path, suffix, orientation, mode):
    for name in ("cat", "dog"):
        shown = turned(tmp_path / name / f"0.{suffix}", orientation, mode)
    assert shown.shape[:2] == ((12, 8) if orientation < 5 else (8, 12))
    shape = folder_source.describe(tmp_path)
    found = folder_source.read(tmp_path).train_images
    assert shape.image_size == 8
    assert found.shape == (2, shape.channels, *shown.shape[:2])
    for image in found.astype(int):
        expected = shown[..., : shape.channels].transpose(2, 0, 1)
        assert np.abs(image - expected).max() <= (OF_JPEG if suffix == "jpg" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 255])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, suffix, orientation):
    for name in ("cat", "dog"):
        path = tmp_path / name / f"0.{suffix}"
        turned(path, 1)
        with Image.open(path) as opened:
            image = opened.copy()
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        image.save(path, exif=exif)
    assert folder_source.read(tmp_path).train_images.shape == (2, 3, 12, 8)


def test_sizes_are_compared_as_shown(tmp_path):
    """Stored alike, one of them to be turned, two photos differ in size."""
    turned(tmp_path / "cat" / "0.jpg", 1)
    turned(tmp_path / "dog" / "0.jpg", 6)
    with pytest.raises(DataError, match=r"is 8 x 12 pixels, but .*dog/0.jpg is 12 x 8"):
        folder_source.read(tmp_path)


# --- bits a channel


def png(depth, colour, pixels):
    """Return a PNG file of [H, W, C] pixels, 8 or 16 bits a channel."""

    def chunk(kind, content):
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff(depth, pixels, order="<", sample_format=1):
    """Return an uncompressed TIFF file of [H, W, C] pixels."""
    height, width, channels = pixels.shape
    content = pixels.astype(f"{order}u{depth // 8}").tobytes()
    at = 8 + len(content)
    bits = struct.pack(f"{order}{channels}H", *[depth] * channels)
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, at), (259, 3, 1, 1),
        (262, 3, 1, 2 if channels == 3 else 1), (273, 4, 1, 8), (277, 3, 1, channels),
        (278, 3, 1, height), (279, 4, 1, len(content)),
    ]  # fmt: skip
    if channels == 1:
        entries[2] = (258, 3, 1, depth)
    if sample_format != 1:
        entries.append((339, 3, 1, sample_format))
    table = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        form = f"{order}HHIHH" if kind == 3 and count == 1 else f"{order}HHII"
        table += struct.pack(form, tag, kind, count, *([value, 0] if "HH" in form[4:] else [value]))
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(f"{order}I", at + len(bits))
    return head + content + bits + table + struct.pack(f"{order}I", 0)


def pnm(kind, highest, pixels):
    height, width = pixels.shape[:2]
    head = f"{kind}\n# a microscope's\n{width} {height}\n{highest}\n".encode()
    if kind in ("P2", "P3"):
        return head + " ".join(map(str, pixels.ravel())).encode()
    return head + pixels.astype(">u2" if highest > 255 else "u1").tobytes()


DEEP = np.random.default_rng(0).integers(0, 4096, (6, 5, 3))
TOO_DEEP = {
    "colour.png": png(16, 2, DEEP),
    "gray.png": png(16, 0, DEEP[..., :1]),
    "opaque.png": png(16, 6, np.dstack([DEEP, DEEP[..., :1]])),
    "gray_opaque.png": png(16, 4, DEEP[..., :2]),
    "colour.tif": tiff(16, DEEP),
    "colour_big_endian.tiff": tiff(16, DEEP, ">"),
    "gray.tif": tiff(16, DEEP[..., :1]),
    "colour.ppm": pnm("P6", 65535, DEEP),
    "colour_of_a_sensor.ppm": pnm("P6", 4095, DEEP),
    "gray.pgm": pnm("P5", 4095, DEEP[..., 0]),
    "written_out.ppm": pnm("P3", 4095, DEEP),
    "written_out.pgm": pnm("P2", 256, DEEP[..., 0] % 257),
}


@pytest.mark.parametrize("name", TOO_DEEP)
def test_more_than_eight_bits_a_channel_are_refused(tmp_path, name):
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(TOO_DEEP[name])
    with pytest.raises(DataError, match=rf"{name} has \d+ bits a channel; images must have 8"):
        folder_source.read(tmp_path)
    with pytest.raises(DataError, match="bits a channel"):
        folder_source.describe(tmp_path)


def test_pixels_with_a_sign_are_refused(tmp_path):
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        signed = tiff(8, DEEP[..., :1] % 256, sample_format=2)
        (tmp_path / folder / "0.tif").write_bytes(signed)
    with pytest.raises(DataError, match="has signed or fractional pixels"):
        folder_source.read(tmp_path)


SHALLOW = np.random.default_rng(1).integers(0, 256, (6, 5, 3))
FITTING = {
    "colour.png": (png(8, 2, SHALLOW), SHALLOW),
    "colour.tif": (tiff(8, SHALLOW), SHALLOW),
    "colour_big_endian.tif": (tiff(8, SHALLOW, ">"), SHALLOW),
    "colour.ppm": (pnm("P6", 255, SHALLOW), SHALLOW),
    "written_out.ppm": (pnm("P3", 255, SHALLOW), SHALLOW),
    # Of fewer levels each keeps its own, the highest being white.
    "levels.pgm": (pnm("P5", 15, SHALLOW[..., 0] % 16), 17 * (SHALLOW[..., :1] % 16)),
    "levels.ppm": (pnm("P6", 3, SHALLOW % 4), 85 * (SHALLOW % 4)),
}


@pytest.mark.parametrize("name", FITTING)
def test_up_to_eight_bits_a_channel_are_read_without_loss(tmp_path, name):
    content, expected = FITTING[name]
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(content)
    found = folder_source.read(tmp_path).train_images
    np.testing.assert_array_equal(found[0].transpose(1, 2, 0), expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_and_few_bits_of_gray_are_read_without_loss(tmp_path, bits):
    levels = 1 << bits
    indices = (np.arange(30).reshape(6, 5) % levels).astype(np.uint8)
    colours = np.random.default_rng(2).integers(0, 256, (levels, 3)).astype(np.uint8)
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        image = Image.fromarray(indices).convert("P")
        image.putpalette(colours.ravel().tolist())
        image.save(tmp_path / folder / "0.png", bits=bits)
        image.save(tmp_path / folder / "1.bmp")
    found = folder_source.read(tmp_path).train_images
    for image in found:
        np.testing.assert_array_equal(image.transpose(1, 2, 0), colours[indices])


# --- values


def few(count):
    levels = np.linspace(0, 255, count).astype(np.uint8)
    return levels[np.random.default_rng(0).integers(0, count, (24, 6, 5))]


UNUSUAL = {
    "none above 1": (few(2) // 255, "no pixel is above 1, of 255"),
    "black": (few(2) * 0, "no pixel is above 0, of 255"),
    "two values": (few(2), r"the pixels have 2 of 256 values \(0, 255\)"),
    "sixteen values": (few(16), "the pixels have 16 of 256 values"),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_few_values_are_accepted_with_a_warning(tmp_path, name):
    images, words = UNUSUAL[name]
    with pytest.warns(UserWarning, match=words):
        found = prepared(tmp_path, images=images, labels=np.arange(24) % 3)
    pixels = np.concatenate([found.train_images, found.test_images])
    assert sorted(map(bytes, pixels)) == sorted(map(bytes, images))


def test_seventeen_values_are_no_news(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepared(tmp_path, images=few(17), labels=np.arange(24) % 3)


def test_a_job_warns_in_its_log_and_on_its_terminal(tmp_path, monkeypatch):
    read, write = os.pipe()
    monkeypatch.setattr(logs, "_job", [("own", write)])
    with contextlib.redirect_stdout(open(tmp_path / "log", "w")) as log, log:
        prepared(tmp_path, images=few(2), labels=np.arange(24) % 3)
    os.close(write)
    with open(read) as terminal:
        said = terminal.read()
    assert re.match(r"own: warning: .*set.npz: the pixels have 2 of 256", said)
    assert said.removeprefix("own: ") == (tmp_path / "log").read_text()


# --- remedies that are followed


def prepared(tmp_path, **arrays):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    output = tmp_path / "out.safetensors"
    settings = {"data_root": "", "holdout": 0.5, "test_fraction": None, "seed": 0}
    data.prepare("arrays", output, path=str(path), **settings)
    return data.load(output)


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


PIXELS = np.random.default_rng(3).integers(0, 256, (12, 7, 6)).astype(np.uint8)
PIXELS[0, 0, :2] = 0, 255
COLOUR = np.random.default_rng(4).integers(0, 256, (12, 7, 6, 3)).astype(np.uint8)
SQUARE = np.random.default_rng(5).integers(0, 256, (12, 6, 6, 3)).astype(np.uint8)
LABELS = np.arange(12) % 3
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


def test_few_values_of_the_test_set_are_told_too(tmp_path):
    parts = {"train_images": few(200), "train_labels": np.arange(24) % 3}
    parts |= {"test_images": few(2) // 255, "test_labels": np.arange(24) % 3}
    with pytest.warns(UserWarning, match="test images: no pixel is above 1"):
        prepared(tmp_path, **parts)


@pytest.mark.parametrize("given", [np.nan, np.inf])
def test_what_no_one_can_convert_gets_no_remedy(tmp_path, given):
    images = np.where(PIXELS == 0, given, PIXELS / 255)
    np.savez(tmp_path / "set.npz", images=images, labels=LABELS)
    with pytest.raises(DataError, match="holds NaN or infinity") as caught:
        arrays_source.read(tmp_path / "set.npz")
    assert "save" not in str(caught.value)


# --- folders of another layout


def classes(*folders):
    for folder in folders:
        for name in ("cat", "dog"):
            for index in range(2):
                (folder / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(PIXELS[index]).save(folder / name / f"{index}.png")


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("Train_png", "Test_png"), ("training", "testing"), ("TRAIN", "test")],
)
def test_parts_by_another_name_are_told_theirs(tmp_path, train, test):
    classes(tmp_path / train, tmp_path / test)
    with pytest.raises(DataError) as caught:
        folder_source.read(tmp_path)
    renamed = re.findall(r"(\S+) to (train|test)\b", str(caught.value))
    assert renamed
    for old, new in renamed:
        (tmp_path / old).rename(tmp_path / new)
    assert len(folder_source.read(tmp_path).test_images) == 4


@pytest.mark.parametrize("inside", ["", "train"])
def test_one_level_too_deep_is_told_the_path(tmp_path, inside):
    classes(tmp_path / "pets" / inside)
    if inside:
        classes(tmp_path / "pets" / "test")
    with pytest.raises(DataError, match="holds the folder pets alone") as caught:
        folder_source.read(tmp_path)
    path = re.search(r"give (\S+) as 'path'", str(caught.value))[1]
    assert folder_source.read(type(tmp_path)(path)).class_names == ("cat", "dog")


@pytest.mark.parametrize("names", [("train", "val"), ("train", "test", "val"), ("Train", "Val")])
def test_other_parts_are_told_the_layout(tmp_path, names):
    classes(*(tmp_path / name for name in names))
    with pytest.raises(DataError, match=r"exactly train and test|CLASS/IMAGE") as caught:
        folder_source.read(tmp_path)
    assert "not an image" not in str(caught.value)


def test_a_folder_in_a_class_of_a_part_is_called_one(tmp_path):
    classes(tmp_path / "train", tmp_path / "test")
    (tmp_path / "train" / "cat" / "more").mkdir()
    with pytest.raises(DataError, match="cat/more is a folder within a class folder"):
        folder_source.read(tmp_path)


# --- files that one may not read


@contextlib.contextmanager
def another_user():
    """Be nobody for a while where one is root, whom no file's mode keeps out."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def readable():
    """A folder that anyone may enter, whatever may be read in it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_may_not_be_read_is_not_called_damaged(readable):
    np.savez(readable / "set.npz", images=PIXELS, labels=LABELS)
    classes(readable / "pets")
    checksums.save(readable / "prepared.safetensors", {"x": LABELS}, {})
    (readable / "table.csv").write_text("a,b\n1,2\n")
    for path in readable.rglob("*"):
        path.chmod(0o700 if path.is_dir() and path.name != "dog" else 0o000)
        if path.is_dir():
            os.chown(path, 65534 if os.geteuid() == 0 else -1, -1)
    readers = {
        "set.npz": lambda: arrays_source.read(readable / "set.npz"),
        "pets": lambda: folder_source.read(readable / "pets"),
        "prepared": lambda: data.load(readable / "prepared.safetensors"),
        "table.csv": lambda: tables.read_table(readable / "table.csv", ["a"]),
    }
    with another_user():
        for name, read in readers.items():
            with pytest.raises((DataError, TableError)) as caught:
                read()
            assert "Permission denied" in str(caught.value), name
            assert "damaged" not in str(caught.value), name
    for path in readable.rglob("*"):
        path.chmod(0o700)
