"""Pictures of PIEs on an audit's page, beside null ones and a random draw."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import recall_distortion as rd
from recall_distortion.auditing import thumbnails
from recall_distortion.tables.gallery import MOST

NETWORKS, CLASSES, COUNT = 6, 4, 400
LABELS = np.arange(COUNT) % CLASSES
IMAGES = (np.arange(COUNT)[:, None, None] % 251 * np.ones((1, 8, 8))).astype(np.uint8)


def answers(strength: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(99).normal(size=COUNT)
    right = rng.normal(size=(NETWORKS, COUNT)) < strength + hard
    return np.where(right, LABELS, (LABELS + 1) % CLASSES)


BEFORE, AFTER, CONTROL = answers(1.2, 0), answers(0.7, 1), answers(1.2, 2)


def modes(side: np.ndarray) -> np.ndarray:
    return np.array([np.bincount(one, minlength=CLASSES).argmax() for one in side.T])


def groups(folder: Path, **options: object) -> tuple[dict[str, list[int]], str]:
    """Return the images that each group of the page shows, and the page."""
    rd.audit(LABELS, BEFORE, AFTER, images=IMAGES, **options).save(folder)
    text = (folder / "report.html").read_text("utf-8")
    parts = re.split(r'<div role="group" aria-label="([^"]*)">', text)[1:]
    found = {}
    for title, part in zip(parts[::2], parts[1::2], strict=True):
        images = part.partition("</div>")[0]
        found[title] = [int(number) for number in re.findall(r'alt="Image (\d+),', images)]
    return found, text


def test_null_pies_and_a_random_draw_stand_beside_them(tmp_path: Path) -> None:
    found, text = groups(tmp_path, control=CONTROL)
    pies, null, drawn = found.values()
    changed = modes(BEFORE) != modes(AFTER)
    of_control = modes(BEFORE) != modes(CONTROL)
    assert set(pies) <= set(np.flatnonzero(changed))
    assert len(pies) == min(MOST, changed.sum())
    assert [*found][1].startswith("Null: the control")
    assert set(null) <= set(np.flatnonzero(of_control))
    assert len(null) == min(of_control.sum(), len(pies)) > 0
    assert len(drawn) == len(pies)
    assert f"{len(null)} of {of_control.sum()} shown" in text
    held = re.search(r"This page holds (\d+) of the test images", text)
    assert int(held[1]) == len({*re.findall(r'alt="Image (\d+),', text)})


def test_without_a_control_they_are_of_two_halves(tmp_path: Path) -> None:
    found, text = groups(tmp_path)
    null = [*found.values()][1]
    halves = modes(BEFORE[0::2]) != modes(BEFORE[1::2])
    assert set(null) <= set(np.flatnonzero(halves))
    assert len(null) > 0
    assert re.search(r"Image \d+, of class \d: \d by one half of the networks before, \d by", text)


def test_the_table_has_every_one_of_them() -> None:
    found = rd.audit(LABELS, BEFORE, AFTER, control=CONTROL).tables["beside_pies"]
    null = found[found["group"] == "control"]
    of_control = np.flatnonzero(modes(BEFORE) != modes(CONTROL))
    assert sorted(null["image"]) == of_control.tolist()
    assert null["before"].tolist() == [str(modes(BEFORE)[image]) for image in null["image"]]
    assert null["after"].tolist() == [str(modes(CONTROL)[image]) for image in null["image"]]
    drawn = found[found["group"] == "drawn"]
    assert drawn["image"].nunique() == 60
    assert (drawn["before"] == drawn["after"]).all()
    assert drawn["agreement_before"].tolist() == [
        (BEFORE[:, image] == modes(BEFORE)[image]).mean() for image in drawn["image"]
    ]


def test_a_control_without_pies_has_none_to_show(tmp_path: Path) -> None:
    found, text = groups(tmp_path, control=BEFORE)
    assert [*found.values()][1] == []
    assert '<p class="note">None.</p>' in text


def test_without_pies_nothing_stands_beside_them(tmp_path: Path) -> None:
    rd.audit(LABELS, BEFORE, BEFORE, control=CONTROL, images=IMAGES).save(tmp_path)
    assert "Drawn at random" not in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize("candidates", [1, 3])
def test_the_page_stays_small(tmp_path: Path, candidates: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    after = {f"c{number}": answers(0.2, 10 + number) for number in range(candidates)}
    rd.audit(LABELS, BEFORE, after, control=CONTROL, images=noise).save(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert len(text.encode()) <= thumbnails.LARGEST
    parts = re.findall(r"<h4>(.*?) <span class=\"count\">(\d+)", text)
    assert len(parts) == 3 * candidates
    for start in range(0, len(parts), 3):
        pies, null, drawn = (int(number) for _, number in parts[start : start + 3])
        assert pies >= 20  # of 4 kB each, MOST at most
        assert max(null, drawn) <= pies
