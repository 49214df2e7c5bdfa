"""The images that flipped, on an audit's page: which, in what order, how large, and from where."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import recall_distortion as rd
from recall_distortion import command
from recall_distortion.auditing import thumbnails
from recall_distortion.system.errors import AuditError

COUNT = 60
LABELS = np.arange(COUNT) % 3
#: Each image is of one grey of its own, so that it can be recognized on the page.
IMAGES = np.repeat(np.arange(COUNT, dtype=np.uint8), 64).reshape(COUNT, 8, 8)
#: What the model says afterwards of the images that it loses: three of class 0, one of class 1.
LOST = {0: [0.4, 0.05, 0.55], 3: [0.05, 0.05, 0.9], 6: [0.2, 0.1, 0.7], 1: [0.05, 0.3, 0.65]}


def scores() -> tuple[np.ndarray, np.ndarray]:
    before = np.full((COUNT, 3), 0.1)
    before[np.arange(COUNT), LABELS] = 0.8
    after = before.copy()
    after[list(LOST)] = list(LOST.values())
    return before, after


def page(folder: Path, before=None, after=None, **options: object) -> str:
    """Return the page of an audit with images."""
    if before is None:
        before, after = scores()
    rd.audit(LABELS, before, after, **options).save(folder / "out")
    return (folder / "out/report.html").read_text("utf-8")


def shown(text: str) -> list[tuple[str, Image.Image]]:
    """Return alternative texts and images of a page, in its order."""
    found = re.findall(r'<img src="data:image/\w+;base64,([^"]+)" alt="([^"]+)"', text)
    return [(alt, Image.open(io.BytesIO(base64.b64decode(data)))) for data, alt in found]


def numbers(text: str) -> list[int]:
    return [int(re.match(r"Image (\d+),", alt)[1]) for alt, _ in shown(text)]


def test_images_that_flipped_are_shown_by_class_and_by_what_they_lost(tmp_path: Path) -> None:
    text = page(tmp_path, images=IMAGES)
    assert numbers(text) == [3, 6, 0, 1]  # class 0 lost three images, class 1 one
    for number, (_, image) in zip(numbers(text), shown(text), strict=True):
        assert image.size == (8, 8)
        assert set(np.asarray(image).ravel()) == {number}
    alt, _ = shown(text)[0]
    assert alt == "Image 3, of class 0: 0 before, 2 after"
    assert "This page holds 4 of the test images themselves" in text
    assert "80\N{NO-BREAK SPACE}% → 5\N{NO-BREAK SPACE}%" in text


def test_without_images_the_page_has_none_and_says_nothing_of_them(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert "<img" not in text
    assert "This page holds" not in text


def test_where_nothing_flips_none_is_held(tmp_path: Path) -> None:
    text = page(tmp_path, LABELS, LABELS, images=IMAGES)
    assert "<img" not in text
    assert "This page holds none of the test images themselves" in text


def test_without_scores_lost_images_come_first(tmp_path: Path) -> None:
    before, after = LABELS.copy(), LABELS.copy()
    before[0] = after[9] = after[12] = 2  # gained, and lost
    text = page(tmp_path, before, after, images=IMAGES)
    assert numbers(text) == [9, 12, 0]
    assert "lost images first, since no probabilities were given" in text


def test_an_image_held_by_two_candidates_counts_once(tmp_path: Path) -> None:
    before, after = scores()
    text = page(tmp_path, before, {"a": after, "b": after + 0.0}, images=IMAGES)
    assert len(shown(text)) == 8
    assert "This page holds 4 of" in text


@pytest.mark.parametrize("candidates", [1, 3])
def test_the_page_stays_small_and_every_class_has_its_turn(tmp_path: Path, candidates: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 40
    after = {
        str(place): np.where(rng.random(4000) < 0.5, labels, (labels + 1) % 40)
        for place in range(candidates)
    }
    images = rng.integers(0, 256, (4000, 96, 96, 3), dtype=np.uint8)
    rd.audit(labels, labels, after, images=images).save(tmp_path)
    text = (tmp_path / "report.html").read_bytes()
    assert 1_900_000 < len(text) <= thumbnails.LARGEST
    found = [re.search(r"of class (\d+)", alt)[1] for alt, _ in shown(text.decode())]
    counts = np.unique(found, return_counts=True)[1]
    assert len(counts) == 40
    assert counts.max() - counts.min() <= candidates


@pytest.mark.parametrize(
    ("shape", "mode", "size"),
    [
        ((32, 20), "L", (20, 32)),
        ((32, 20, 1), "L", (20, 32)),
        ((32, 20, 3), "RGB", (20, 32)),
        ((32, 20, 4), "RGB", (20, 32)),
        ((200, 100, 3), "RGB", (48, 96)),
    ],
)
def test_the_form_of_images_is_kept_and_large_ones_are_made_small(
    shape: tuple[int, ...], mode: str, size: tuple[int, int]
) -> None:
    images = np.full((2, *shape), 200, np.uint8)
    if shape[-1] == 4:
        images[..., 3] = 0  # transparent, so that nothing but white is seen
    source = thumbnails.pictures(images, 2, None).thumbnail(1)
    image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    assert (image.mode, image.size) == (mode, size)
    assert abs(int(np.asarray(image).mean()) - (255 if shape[-1] == 4 else 200)) <= 1


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES[1:], "images: there are 59, and 60 labels: give one for each"),
        (IMAGES.astype(float), "images: hold float64; give whole numbers of 0 to 255 as uint8"),
        (IMAGES[:, 0], "images: have shape [60, 8]; give [60, height, width]"),
        (IMAGES[:, :0], "images: have shape [60, 0, 8]"),
        (
            IMAGES[:, None],
            "channels are the last axis; put them last, images.transpose(0, 2, 3, 1)",
        ),
        (IMAGES.reshape(60, 4, 8, 2).repeat(3, 1), "channels are the last axis; give 1, 3 or 4"),
        ("nowhere", "images: nowhere: there is no such folder"),
    ],
)
def test_images_that_are_none_are_refused_before_anything_is_computed(
    images: object, words: str
) -> None:
    with pytest.raises(AuditError) as found:
        rd.audit(LABELS, *scores(), images=images)
    assert words in str(found.value)
    assert "\n" not in str(found.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an image a key, some in a folder of their own."""
    for number, image in enumerate(IMAGES):
        path = tmp_path / "images" / KEYS[number]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path.with_name(path.name + ".png"))
    return tmp_path / "images"


KEYS = np.array([f"{'left' if number % 2 else 'right'}/{number:03}" for number in range(COUNT)])


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_a_folder_has_an_image_a_key(tmp_path: Path, folder: Path, suffix: str) -> None:
    text = page(tmp_path, images=folder, keys=np.char.add(KEYS, suffix))
    greys = [int(np.asarray(image)[0, 0]) for _, image in shown(text)]
    assert greys == [3, 6, 0, 1]
    assert f"Image left/003{suffix}, of class 0" in text


def test_what_a_folder_lacks_or_has_twice_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(AuditError, match="no file for 60 of 60 images, such as 0: each has the"):
        rd.audit(LABELS, *scores(), images=folder)
    (folder / "left/003.png").rename(folder / "left/003.jpg")
    Image.fromarray(IMAGES[5]).save(folder / "left/005.jpg")
    with pytest.raises(AuditError, match=r"left/005\.jpg and .*left/005\.png are of the same key"):
        rd.audit(LABELS, *scores(), images=folder, keys=KEYS)
    (folder / "left/005.jpg").unlink()
    (folder / "left/003.jpg").write_bytes(b"no image")
    with pytest.raises(AuditError, match=r"left/003\.jpg: is no image that can be read"):
        page(tmp_path, images=folder, keys=KEYS)
    (folder / "left/003.jpg").unlink()
    with pytest.raises(AuditError, match="no file for 1 of 60 images, such as left/003"):
        rd.audit(LABELS, *scores(), images=folder, keys=KEYS)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "LA", "CMYK"])
def test_any_image_file_is_shown(tmp_path: Path, mode: str) -> None:
    """16 bits, as X-rays have, are not cut off: grey stays grey."""
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 32768, np.uint16))
    else:
        image = Image.new("L", (8, 8), 128).convert(mode)
    suffix = ".tif" if mode == "CMYK" else ".png"
    image.save(tmp_path / f"0{suffix}")
    source = thumbnails.pictures(tmp_path, 1, None).thumbnail(0)
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
    if mode != "1":  # which is dithered
        assert abs(int(grey.mean()) - 128) <= 1


def test_the_command_takes_an_array_or_a_folder(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    before, after = scores()
    for name, values in {"y": LABELS, "b": before, "a": after, "x": IMAGES, "keys": KEYS}.items():
        np.save(f"{name}.npy", values)
    np.savez("all.npz", x=IMAGES, y=LABELS)
    given = ["audit", "--labels", "y.npy", "--before", "b.npy", "--after", "a.npy"]
    pages = []
    for images in (["x.npy"], ["all.npz:x"], [str(folder), "--keys", "keys.npy"]):
        assert command.main([*given, "--images", *images, "--out", "out"]) == 0
        pages.append(shown(Path("out/report.html").read_text("utf-8")))
    assert [len(page) for page in pages] == [4, 4, 4]
    capsys.readouterr()
    for words, said in (
        (["x.npy"], "--images: the page shows them; say where to write it with --out"),
        (["t.csv", "--out", "no"], "--images t.csv: give a folder, or an array in a .npy or .npz"),
        (["y.npy", "--out", "no"], "images (y.npy): have shape [60]; give [60, height, width]"),
        (["none.npy", "--out", "no"], "none.npy: there is no such file"),
    ):
        assert command.main([*given, "--images", *words]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert said in printed.err
    assert not Path("no").exists()
