"""A folder of images: layouts, order, modes, and the errors."""

from __future__ import annotations

import os
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from recall_distortion import data
from recall_distortion.system.errors import DataError


def picture(path, seed=0, mode="L", size=(5, 6)):
    """Write a random image of size (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode != "RGB" else (size[1], size[0], 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    image = Image.fromarray(pixels)
    if mode not in ("L", "RGB"):
        image = image.convert(mode)
    image.save(path)
    return pixels


@pytest.fixture
def root(tmp_path):
    """Two classes of six gray images."""
    folder = tmp_path / "set"
    for index in range(12):
        picture(folder / ("zebra" if index % 2 else "ant") / f"{index:02}.png", index)
    return folder


def prepared(root, **options):
    output = root.parent / "out.safetensors"
    settings = {"holdout": 0.5, "test_fraction": None, "seed": 0} | options
    data.prepare("folder", output, path=str(root), data_root="", **settings)
    return data.load(output)


def refused(root, message):
    with pytest.raises(DataError, match=message) as caught:
        prepared(root)
    assert os.listdir(root.parent) == [root.name]
    return str(caught.value)


def test_class_folders(root):
    (root / ".DS_Store").write_text("hidden")
    (root / "ant" / ".thumbs").write_text("hidden")
    assert data.describe("folder", path=str(root)) == data.Shape(1, 5, 2)
    result = prepared(root)
    assert result.class_names == ("ant", "zebra")
    assert result.train_images.shape == result.test_images.shape == (6, 1, 6, 5)
    expected = np.asarray(Image.open(root / "ant" / "00.png"))
    images = np.concatenate([result.train_images, result.test_images])[:, 0]
    labels = np.concatenate([result.train_labels, result.test_labels])
    assert labels[[np.array_equal(image, expected) for image in images]].tolist() == [0]


def test_train_and_test_folders(tmp_path):
    root = tmp_path / "set"
    for index in range(8):
        picture(root / "train" / "ab"[index % 2] / f"{index}.png", index, "RGB")
    last = [picture(root / "test" / name / "9.png", 9, "RGB") for name in "ab"]
    assert data.describe("folder", path=str(root)) == data.Shape(3, 5, 2)
    result = prepared(root)
    assert np.array_equal(result.test_images, np.stack(last).transpose(0, 3, 1, 2))
    assert result.test_labels.tolist() == [0, 1]
    with pytest.raises(DataError, match="has its own test set"):
        prepared(root, test_fraction=0.5)
    picture(root / "test" / "c" / "1.png", 1, "RGB")
    with pytest.raises(DataError, match="class 'c' is in only one of train and test"):
        prepared(root)
    picture(root / "val" / "a" / "1.png", 1, "RGB")
    with pytest.raises(DataError, match="holds test, train, val;"):
        prepared(root)


def test_classes_called_train_and_test(tmp_path):
    root = tmp_path / "set"
    for index in range(8):
        picture(root / ("train", "test")[index % 2] / f"{index}.png", index)
    assert prepared(root).class_names == ("test", "train")


def test_order_of_creation_does_not_matter(root):
    copy = root.parent / "copy"
    for file in sorted(root.rglob("*.png"), reverse=True):
        target = copy / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    outputs = []
    for folder in (root, copy):
        prepared(folder)
        outputs.append((root.parent / "out.safetensors").read_bytes())
    assert outputs[0] == outputs[1]
    # The checksum knows an image's class, not only its content.
    before = prepared(root).checksum
    os.rename(root / "ant" / "00.png", root / "zebra" / "00.png")
    assert prepared(root).checksum != before


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("P", 3), ("RGB", 3)])
def test_one_coloured_image_makes_all_of_them_rgb(root, mode, channels):
    picture(root / "zebra" / "00.png", 77, mode)
    assert data.describe("folder", path=str(root)).channels == channels
    result = prepared(root)
    assert result.shape.channels == channels
    expected = Image.open(root / "ant" / "00.png").convert("L" if channels == 1 else "RGB")
    expected = np.atleast_3d(np.asarray(expected)).transpose(2, 0, 1)
    images = np.concatenate([result.train_images, result.test_images])
    assert any(np.array_equal(image, expected) for image in images)


@pytest.mark.parametrize("suffix", [".bmp", ".JPG", ".jpeg", ".pgm", ".tif", ".webp"])
def test_other_formats(root, suffix):
    picture(root / "ant" / f"extra{suffix}", 1)
    result = prepared(root)
    assert len(result.train_images) + len(result.test_images) == 13


def test_mixed_sizes_name_two_files(root):
    picture(root / "zebra" / "99.png", 1, size=(6, 5))
    message = refused(root, "bring all images to one size")
    assert str(root / "ant" / "00.png") in message
    assert str(root / "zebra" / "99.png") in message


@pytest.mark.parametrize("mode", ["RGBA", "LA", "CMYK"])
def test_modes_that_would_lose_something(root, mode):
    path = root / "ant" / ("x.tif" if mode == "CMYK" else "x.png")
    picture(path, 1, mode)
    assert str(path) in refused(root, f"has mode {mode}; images must be 8-bit")


def test_transparent_palette_and_animation(root):
    path = root / "ant" / "x.png"
    Image.new("P", (5, 6)).save(path, transparency=0)
    assert str(path) in refused(root, "mode P with transparency")
    frames = [Image.new("L", (5, 6), shade) for shade in (0, 99)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert str(path) in refused(root, "holds 2 pictures")


def test_damaged_images(root):
    path = root / "zebra" / "11.png"
    whole = path.read_bytes()
    for content in (b"", b"no image", whole[:60], whole[: len(whole) - 25]):
        path.write_bytes(content)
        assert str(path) in refused(root, "cannot be read as an image")


def test_truncated_jpeg(root):
    path = root / "ant" / "x.jpg"
    picture(path, 1)
    path.write_bytes(path.read_bytes()[:-40])
    assert str(path) in refused(root, "cannot be read as an image")


@pytest.mark.parametrize("limit", [20, 10])
def test_more_pixels_than_pillow_thinks_safe(root, monkeypatch, limit):
    # 30 pixels: above the first limit Pillow warns, above twice the second it refuses.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(root, "more pixels than Pillow reads safely")


def test_files_that_do_not_belong(root):
    stray = root / "ant" / "notes.txt"
    stray.write_text("x")
    assert str(stray) in refused(root, "not an image by its name")
    stray.unlink()
    nested = root / "ant" / "more.png"
    nested.mkdir()
    refused(root, "ant holds the folder more.png; images lie in .*/CLASS/IMAGE")
    nested.rmdir()
    os.mkfifo(root / "ant" / "pipe.png")
    refused(root, "not an image by its name")
    (root / "ant" / "pipe.png").unlink()
    picture(root / "loose.png")
    assert str(root / "loose.png") in refused(root, "beside the class folders")


def test_empty_single_and_unprintable_classes(root):
    (root / "void").mkdir()
    assert str(root / "void") in refused(root, "holds no image")
    (root / "void").rmdir()
    os.rename(root / "ant", root / "a\nt")
    refused(root, "printable")
    shutil.rmtree(root / "a\nt")
    refused(root, "has 1 class;")
    shutil.rmtree(root / "zebra")
    refused(root, "has 0 classes;")


def test_links(root):
    link = root / "ant" / "link.png"
    link.symlink_to(root / "ant" / "00.png")
    assert len(prepared(root).train_images) == 7
    (root.parent / "out.safetensors").unlink()
    link.unlink()
    link.symlink_to(root / "ant" / "nowhere.png")
    assert str(link) in refused(root, "leads nowhere")
    link.unlink()
    link.symlink_to(link)
    assert str(link) in refused(root, "leads nowhere")
    link.unlink()
    link.symlink_to("/etc/hostname")
    assert str(link) in refused(root, "outside")
    link.unlink()
    (root / "out").symlink_to("/etc")
    assert str(root / "out") in refused(root, "outside")


def test_missing_or_a_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        data.describe("folder", path=str(tmp_path / "none"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is a file, not a folder"):
        data.describe("folder", path=str(tmp_path / "file"))
