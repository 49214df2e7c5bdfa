"""Data as other people have them: turned photos, deep images, few values, other layouts."""

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
from data_helpers import LABELS, PIXELS, few, prepared
from PIL import ExifTags, Image

from recall_distortion import data
from recall_distortion.data.sources import arrays as arrays_source
from recall_distortion.data.sources import folder as folder_source
from recall_distortion.system import logs, sealed
from recall_distortion.system.errors import DataError, TableError
from recall_distortion.tables import files

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


def test_few_values_of_the_test_set_are_told_too(tmp_path):
    parts = {"train_images": few(200), "train_labels": np.arange(24) % 3}
    parts |= {"test_images": few(2) // 255, "test_labels": np.arange(24) % 3}
    with pytest.warns(UserWarning, match="test images: no pixel is above 1"):
        prepared(tmp_path, **parts)


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
    sealed.write(readable / "prepared.safetensors", {"x": LABELS}, {})
    (readable / "table.csv").write_text("a,b\n1,2\n")
    for path in readable.rglob("*"):
        path.chmod(0o700 if path.is_dir() and path.name != "dog" else 0o000)
        if path.is_dir():
            os.chown(path, 65534 if os.geteuid() == 0 else -1, -1)
    readers = {
        "set.npz": lambda: arrays_source.read(readable / "set.npz"),
        "pets": lambda: folder_source.read(readable / "pets"),
        "prepared": lambda: data.load(readable / "prepared.safetensors"),
        "table.csv": lambda: files.read_table(readable / "table.csv", "recall"),
    }
    with another_user():
        for name, read in readers.items():
            with pytest.raises((DataError, TableError)) as caught:
                read()
            assert "Permission denied" in str(caught.value), name
            assert "damaged" not in str(caught.value), name
    for path in readable.rglob("*"):
        path.chmod(0o700)
