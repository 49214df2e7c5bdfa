"""The page of an audit in a real browser: nothing is fetched or overflows, keys reach all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import NEEDS_CHROMIUM

import recall_distortion as rd

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two candidates, 60 classes, long names, a control, images."""
    folder = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(0)
    labels = np.arange(3000) % 60

    def changed(share: float) -> np.ndarray:
        return np.where(rng.random(3000) < share, (labels + 1) % 60, labels)

    names = [f"{'unbroken' * 12}{number}" for number in range(58)] + ["<b>x</b>", "Shirt"]
    images = rng.integers(0, 256, (3000, 28, 28), dtype=np.uint8)
    candidates = {"pruned" * 10: changed(0.2), "int8": changed(0.1)}
    found = rd.audit(
        *(labels, changed(0.05), candidates),
        control=changed(0.05), classes=names, images=images,
    )  # fmt: skip
    found.save(folder, max_drop=0.02, about={"labels": "/a/very/long/path" * 20})
    return folder / "report.html"


@pytest.fixture(scope="module")
def of_networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Several networks, 60 classes, long names, a control, images."""
    folder = tmp_path_factory.mktemp("networks")
    rng = np.random.default_rng(0)
    labels = np.arange(1200) % 60
    hard = rng.normal(size=1200)

    def answered(strength: float) -> np.ndarray:
        right = rng.normal(size=(6, 1200)) < strength + hard
        return np.where(right, labels, (labels + rng.integers(1, 3, right.shape)) % 60)

    names = [f"{'unbroken' * 12}{number}" for number in range(59)] + ["Shirt"]
    images = rng.integers(0, 256, (1200, 28, 28), dtype=np.uint8)
    found = rd.audit(
        *(labels, answered(1.3), answered(1.0)),
        control=answered(1.3), classes=names, images=images,
    )  # fmt: skip
    found.save(folder)
    return folder / "report.html"


@pytest.fixture(params=(1280, 390), ids=lambda width: f"{width}px")
def opened(request: pytest.FixtureRequest, browser: Any, audit: Path) -> Iterator[Any]:
    """The page at one width, with what it asked for and complained about."""
    yield from _opened(request.param, browser, audit)


@pytest.fixture(params=(1280, 390), ids=lambda width: f"{width}px")
def together(request: pytest.FixtureRequest, browser: Any, of_networks: Path) -> Iterator[Any]:
    """The page of several networks at one width, all of its parts open."""
    for tab in _opened(request.param, browser, of_networks):
        tab.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
        yield tab


def _opened(width: int, browser: Any, page: Path) -> Iterator[Any]:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.requests, tab.complaints = [], []
    tab.on("request", lambda asked: tab.requests.append(asked.url))
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.goto(page.as_uri(), wait_until="load")
    yield tab
    tab.close()


def test_nothing_is_fetched_and_nothing_complains(opened: Any, audit: Path) -> None:
    assert [url for url in opened.requests if not url.startswith("data:")] == [audit.as_uri()]
    assert opened.complaints == []


def test_the_page_never_scrolls_sideways(opened: Any) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    wide, window = opened.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
    assert wide <= window


def test_every_image_is_shown_and_says_what_it_is(opened: Any) -> None:
    images = opened.evaluate(
        "Array.from(document.images, image => [image.naturalWidth, image.alt])"
    )
    assert len(images) > 200
    assert all(width == 28 and text.startswith("Image ") for width, text in images)


def test_a_class_s_images_open_by_key(opened: Any) -> None:
    """The first three classes are open, the others are not."""
    closed = opened.locator("details:not([open]):has(.gallery)").first
    assert not closed.locator("img").first.is_visible()
    closed.evaluate("item => item.id = 'chosen'")
    opened.locator("#chosen summary").focus()
    opened.keyboard.press("Enter")
    assert opened.locator("#chosen img").first.is_visible()


def test_a_class_among_many_is_found_by_its_name(opened: Any) -> None:
    field = opened.locator("input.find").first
    row = opened.locator("table.classes").first.locator("tbody tr", has_text="Shirt")
    field.fill("shirt")
    assert row.is_visible()
    assert opened.locator("table.classes").first.locator("tbody tr:visible").count() == 1
    field.fill("")
    assert opened.locator("table.classes").first.locator("tbody tr:visible").count() == 40


def test_names_of_dots_stay_within_the_page(opened: Any) -> None:
    for box in opened.evaluate(
        "Array.from(document.querySelectorAll('.scatter .name'), name => {"
        "const box = name.getBoundingClientRect(); return [box.left, box.right]})"
    ):
        assert box[0] >= 0
        assert box[1] <= opened.viewport_size["width"]


def test_a_table_that_is_cut_says_that_it_scrolls(opened: Any) -> None:
    """And no other does; a table in a closed part is looked at when it is opened."""
    opened.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    opened.wait_for_timeout(100)
    boxes = opened.evaluate(
        "Array.from(document.querySelectorAll('.scroll'), box => "
        "[box.scrollWidth > box.clientWidth, getComputedStyle(box, '::before').content])"
    )
    assert any(is_cut for is_cut, _ in boxes)
    for is_cut, hint in boxes:
        assert ("Scroll sideways" in hint) == is_cut


def test_no_name_of_a_dot_lies_on_a_dot(opened: Any) -> None:
    covered = opened.evaluate(
        "Array.from(document.querySelectorAll('.scatter')).flatMap(figure => {"
        "const boxes = what => Array.from(figure.querySelectorAll(what), "
        "part => part.getBoundingClientRect());"
        "const dots = boxes('circle');"
        "return boxes('.name').filter("
        "box => dots.some(dot => dot.left < box.right && dot.right > box.left"
        " && dot.top < box.bottom && dot.bottom > box.top)).map(box => box.left)})"
    )
    assert covered == []


def test_a_page_of_several_networks_stays_within_its_width(
    together: Any, of_networks: Path
) -> None:
    wide, window = together.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
    assert wide <= window
    assert together.complaints == []
    assert of_networks.stat().st_size <= 2_000_000


def test_images_with_another_modal_label_are_shown(together: Any) -> None:
    images = together.evaluate(
        "Array.from(document.querySelectorAll('.pies img'), "
        "image => [image.naturalWidth, image.alt])"
    )
    assert len(images) >= 20
    assert all(width == 28 and text.startswith("Image ") for width, text in images)
    said = together.locator(".together").inner_text()
    assert "Of the control it is" in said
    assert "Two halves of the networks before, 3 each" in said


def test_a_tested_class_among_many_is_found_by_its_name(together: Any) -> None:
    table = together.locator("table.tested")
    field = together.locator("details:has(table.tested) input.find")
    assert table.locator("tbody tr:visible").count() == 40
    field.fill("shirt")
    assert table.locator("tbody tr:visible").count() == 1
    field.fill("")
    assert table.locator("tbody tr:visible").count() == 40


def test_further_measures_are_read_with_their_intervals(together: Any) -> None:
    rows = together.locator(".further tbody tr")
    assert rows.count() == 9  # without probabilities
    assert "Student" in together.locator(".further").inner_text()
    row = together.locator(".further tbody tr", has_text="worst recall").inner_text()
    assert " to " in row
