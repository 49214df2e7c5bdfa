"""Which images the page shows, their pictures, and that nobody's own images get into it unasked."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recall_distortion.data import thumbnails
from recall_distortion.data.preparing import prepare
from recall_distortion.report import build_report
from recall_distortion.report.gallery import read_thumbnails
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import write_table
from recall_distortion.tables.gallery import DRAWN, MOST, NULL, PIE, chosen
from recall_distortion.vocabulary import COMPRESSED, CONTROL, DENSE, RESEED, RETRAINED

PLACE = {"dataset": "digits", "architecture": "mlp", "recipe": "usual"}


def row(method: str, ratio: float, state: str, image: int, **more) -> dict:
    return {
        **PLACE, "method": method, "ratio": ratio, "state": state, "image": image,
        "label": image % 3, "dense_label": 0, "own_label": 1, "dense_agreement": 0.5,
        "agreement": ratio / 100, "distance": 0.5, "dense_probability": 0.5, "probability": 0.5,
        "is_pie": method != DENSE, **more,
    }  # fmt: skip


@pytest.fixture
def images() -> pd.DataFrame:
    rows = [row(DENSE, 1.0, DENSE, image) for image in range(0, 120, 2)]
    rows += [
        row(CONTROL, 1.0, RETRAINED, 7),
        row(RESEED, 1.0, DENSE, 7),
        row(RESEED, 1.0, DENSE, 8),
    ]
    rows += [row("magnitude", 10.0, RETRAINED, image) for image in (1, 2, 4, 5)]
    rows += [row("magnitude", 2.0, RETRAINED, image) for image in (1, 5)]
    rows += [row("magnitude", 2.0, COMPRESSED, 3), row("random", 2.0, RETRAINED, 1)]
    rows += [row("random", 2.0, RETRAINED, 6, is_pie=False), row("int8", 4.0, COMPRESSED, 9)]
    return pd.DataFrame(rows)


def test_images_are_those_of_most_cells_of_each_class_in_turn(images) -> None:
    found = chosen(images)
    pies = found[found["group"] == PIE]
    # Of class 1 (1, 4), class 2 (5, 2) and class 0 (9): first of each, then second.
    assert pies["image"].tolist() == [1, 5, 9, 2, 4]
    first = pies.iloc[0]
    assert first["number"] == 3
    assert first["cells"] == "magnitude at 2, 10; random at 2"
    assert first["agreement"] == 0.02  # of its lowest ratio
    assert pies.iloc[2]["cells"] == "int8 at 4"  # which is never retrained
    null = found[found["group"] == NULL].set_index("image")
    assert null["cells"].to_dict() == {7: "control; reseed", 8: "reseed"}
    drawn = found.loc[found["group"] == DRAWN, "image"]
    assert len(drawn) == MOST
    assert drawn.min() == 0
    assert drawn.max() == 118
    assert chosen(images.iloc[:0]).empty


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "digits.safetensors"
    prepare("digits", path, path=None, data_root="", holdout=0.1, test_fraction=0.7, seed=0)
    return path


def written(tmp_path: Path, images: pd.DataFrame, data: Path, *, shown: bool = True) -> Path:
    write_table(tmp_path / "images.csv", "images", images)
    path = tmp_path / "thumbnails.json"
    thumbnails.write_thumbnails(
        tmp_path / "images.csv", {"digits": data}, path, shown={"digits": shown}
    )
    return path


def test_pictures_are_the_test_images(images, data: Path, tmp_path: Path) -> None:
    found = json.loads(written(tmp_path, images, data).read_text())
    assert set(map(int, found["pictures"]["digits"])) == set(chosen(images)["image"])
    from recall_distortion.data.prepared import load

    kind, text = found["pictures"]["digits"]["5"].split(",")
    assert kind == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    assert np.array_equal(pixels, load(data).test_images[5, 0])


def test_large_photographs_are_made_small() -> None:
    rng = np.random.default_rng(0)
    text = thumbnails.picture(rng.integers(0, 256, (3, 224, 180), np.uint8))
    found = Image.open(io.BytesIO(base64.b64decode(text.split(",")[1])))
    assert max(found.size) == thumbnails.LARGEST_SIDE
    assert len(text) < 10_000
    assert thumbnails.picture(np.zeros((2, 8, 8), np.uint8)).startswith("data:image/png")


def test_a_page_never_gets_too_large(images, data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(thumbnails, "LARGEST", 1000)
    found = json.loads(written(tmp_path, images, data).read_text())
    assert sum(map(len, found["pictures"]["digits"].values())) <= 1000
    assert found["left_out"] > 0


def page(small_tables: Path, tmp_path: Path, pictures: Path | None, images=None) -> str:
    tables = tmp_path / "tables"
    tables.mkdir()
    for path in small_tables.glob("*.csv"):
        (tables / path.name).write_bytes(path.read_bytes())
    if images is not None:
        write_table(tables / "images.csv", "images", images)
    build_report(tables, tmp_path / "report.html", study={}, thumbnails=pictures)
    return (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_page_shows_them_with_labels_and_cells(
    images, data: Path, tmp_path: Path, small_tables: Path
) -> None:
    text = page(small_tables, tmp_path, written(tmp_path, images, data), images)
    (gallery,) = re.findall(r'<div class="gallery">.*?</div>\s*</div>', text, re.DOTALL)
    assert "This page holds test images of digits" in text
    assert gallery.count("<img ") == 5 + 2 + MOST
    assert "magnitude at 2, 10; random at 2" in gallery
    assert "<summary>3 cells</summary>" in gallery


@pytest.mark.slow
def test_ones_own_images_are_not_in_the_page_unasked(
    images, data: Path, tmp_path: Path, small_tables: Path
) -> None:
    pictures = written(tmp_path, images, data, shown=False)
    assert "base64" not in pictures.read_text()
    text = page(small_tables, tmp_path, pictures, images)
    assert "Images of digits are not shown" in text
    assert '<div class="gallery">' not in text


@pytest.mark.slow
def test_without_pictures_there_is_no_gallery(tmp_path: Path, small_tables: Path, images) -> None:
    assert 'id="gallery"' not in page(small_tables, tmp_path, None, images)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"pictures": {"digits": {"1": "javascript:x"}}, "left_out": 0}']
)
def test_damaged_pictures_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "thumbnails.json"
    path.write_text(text)
    with pytest.raises(TableError, match=r"thumbnails.json: damaged"):
        read_thumbnails(path)
