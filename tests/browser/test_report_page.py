"""The report in a real browser: nothing is fetched, nothing overflows, tables sort and download."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from chromium import NEEDS_CHROMIUM

from recall_distortion.inference.questions.influence import CHANGES
from recall_distortion.report import build_report
from recall_distortion.report.html_tables import MOST_ROWS
from recall_distortion.report.tables import read_tables
from tests.synthetic.report import make_tables, study_facts

WIDTHS = (1280, 390)
pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with two networks, all methods, and names that attack the page."""
    folder = tmp_path_factory.mktemp("report")
    names = ("<script>document.title='owned'</script>", "a" * 200, *"234567")
    make_tables(folder / "tables", seeds=5, class_names=names)
    facts = {
        **study_facts(),
        "selection": "test",
        "description": "<img src='https://example.org/x.png' onerror=\"document.title='owned'\">"
        + "unbroken" * 40,
        "path": "/a/very/long/path" * 20,
    }
    build_report(folder / "tables", folder / "report.html", study=facts)
    return folder / "report.html"


@pytest.fixture(params=WIDTHS, ids=lambda width: f"{width}px")
def opened(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Any]:
    """The page at one width, with what it asked for and complained about."""
    tab = browser.new_page(viewport={"width": request.param, "height": 900})
    tab.requests, tab.complaints = [], []
    tab.on("request", lambda asked: tab.requests.append(asked.url))
    tab.on("console", lambda message: tab.complaints.append(message.text))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.goto(report.as_uri(), wait_until="load")
    yield tab
    tab.close()


def test_nothing_is_fetched_and_nothing_complains(opened: Any, report: Path) -> None:
    asked = [url for url in opened.requests if not url.startswith("data:")]
    assert asked == [report.as_uri()]
    assert opened.complaints == []
    assert opened.title().startswith("Recall distortion")


def test_the_page_never_scrolls_sideways(opened: Any) -> None:
    opened.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    wide, window = opened.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
    assert wide <= window


@pytest.fixture(scope="module")
def uncontrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report without a control, which says often and long why something is missing."""
    folder = tmp_path_factory.mktemp("uncontrolled")
    make_tables(folder / "tables", seeds=3, control=False)
    build_report(folder / "tables", folder / "report.html", study=study_facts())
    return folder / "report.html"


@pytest.mark.parametrize("width", [390, 420])
def test_neither_does_one_without_a_control(browser: Any, uncontrolled: Path, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.goto(uncontrolled.as_uri(), wait_until="load")
    wide, window = tab.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
    tab.close()
    assert window == width
    assert wide <= window


def test_every_picture_is_shown(opened: Any) -> None:
    widths = opened.evaluate("Array.from(document.images, image => image.naturalWidth)")
    assert len(widths) == 15
    assert all(width > 0 for width in widths)


def test_links_of_the_navigation_lead_to_their_sections(opened: Any) -> None:
    opened.emulate_media(reduced_motion="reduce")
    links = opened.locator("nav a")
    assert links.count() == 13
    for place in range(links.count()):
        target = links.nth(place).get_attribute("href")
        links.nth(place).click()
        assert opened.evaluate("location.hash") == target
        top = opened.evaluate(f"document.querySelector('{target}').getBoundingClientRect().top")
        at_end = opened.evaluate(
            "innerHeight + scrollY >= document.scrollingElement.scrollHeight - 2"
        )
        assert -1 <= top <= 120 or at_end


def test_a_table_opens_by_a_click_and_scrolls_in_itself(opened: Any) -> None:
    table = opened.locator("#table-verdicts")
    assert not table.locator("table").is_visible()
    table.locator("summary").click()
    assert table.locator("table").is_visible()
    inner, outer = table.locator(".scroll").evaluate("box => [box.scrollWidth, box.clientWidth]")
    assert inner > outer or opened.viewport_size["width"] > 1000


def test_a_link_opens_the_table_it_leads_to(opened: Any) -> None:
    opened.locator("a[href='#table-failures']").first.click()
    assert opened.evaluate("location.hash") == "#table-failures"
    # The event of the changed address comes a moment later.
    opened.locator("#table-failures table").wait_for(state="visible")


def _column(table: Any, name: str) -> list[str]:
    """Return the texts of a column, top to bottom."""
    place = table.locator("thead th").evaluate_all(
        "(cells, name) => cells.findIndex(cell => cell.dataset.name === name)", name
    )
    return table.locator(f"tbody td:nth-child({place + 1})").all_text_contents()


def _sort_button(table: Any, name: str) -> Any:
    return table.locator(f"th[data-name='{name}'] button")


def _open(tab: Any, key: str) -> Any:
    table = tab.locator(f"#table-{key}")
    table.locator("summary").click()
    return table


def test_a_heading_sorts_by_full_value_and_back(opened: Any, report: Path) -> None:
    table = _open(opened, "effects")
    effects = read_tables(report.parent / "tables").view("effects")
    before = _column(table, "p")
    button = _sort_button(table, "p")
    heading = table.locator("th[data-name='p']")
    assert heading.get_attribute("aria-sort") == "none"
    for direction, values in (
        ("ascending", effects["p"].sort_values(kind="stable")),
        ("descending", effects["p"].sort_values(kind="stable", ascending=False)),
    ):
        button.click()
        assert heading.get_attribute("aria-sort") == direction
        titles = table.locator("tbody tr").evaluate_all(
            "(rows, place) => rows.map(row => row.cells[place].title)",
            table.locator("thead th").evaluate_all(
                "cells => cells.findIndex(cell => cell.dataset.name === 'p')"
            ),
        )
        # Many of them read "< 0.001": only the full values have this order.
        np.testing.assert_array_equal(np.array(titles, dtype=float), values.to_numpy())
    button.click()
    assert heading.get_attribute("aria-sort") == "none"
    assert _column(table, "p") == before


def test_missing_numbers_come_last_and_ties_keep_their_order(opened: Any) -> None:
    table = _open(opened, "tradeoff")
    _sort_button(table, "over_control_low").click()
    first = _column(table, "over_control_low")
    assert "–" in first
    assert set(first[first.index("–") :]) == {"–"}
    _sort_button(table, "over_control_low").click()
    last = _column(table, "over_control_low")
    assert set(last[last.index("–") :]) == {"–"}
    assert first.index("–") == last.index("–")
    # Sorted by the network alone, methods and ratios stay as they were in each.
    _sort_button(table, "over_control_low").click()
    original = list(zip(_column(table, "architecture"), _column(table, "method"), strict=True))
    _sort_button(table, "architecture").click()
    _sort_button(table, "architecture").click()
    found = list(zip(_column(table, "architecture"), _column(table, "method"), strict=True))
    assert found == [row for name in ("mlp", "cnn") for row in original if row[0] == name]


def test_a_heading_sorts_by_the_keyboard(opened: Any) -> None:
    table = _open(opened, "effects")
    _sort_button(table, "difference").focus()
    heading = table.locator("th[data-name='difference']")
    outline = heading.locator("button").evaluate("item => getComputedStyle(item).outlineStyle")
    opened.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    opened.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "descending"
    opened.keyboard.press("Tab")
    focused = opened.evaluate("document.activeElement.closest('th').dataset.name")
    assert focused == "low"  # the next column
    outline = opened.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@pytest.mark.parametrize("key", ["effects", "pooled", "tradeoff", "influence", "equal_sparsity"])
def test_a_download_is_the_table(opened: Any, report: Path, tmp_path: Path, key: str) -> None:
    table = _open(opened, key)
    # What is shown is sorted; the file keeps the table's own order.
    table.locator("thead th button").first.click()
    with opened.expect_download() as waiting:
        table.get_by_role("button", name="Download").click()
    assert waiting.value.suggested_filename == f"digits-{key}.csv"
    waiting.value.save_as(tmp_path / "found.csv")
    wanted = read_tables(report.parent / "tables").view(key)
    if key == "influence":
        wanted = wanted.iloc[(wanted["changes"] != CHANGES).argsort(kind="stable")]
        wanted = wanted[:MOST_ROWS]  # of a table with a row a class, as the page says
        assert "those first that change a verdict; all are in estimates.csv" in table.inner_text()
    if key == "pooled":
        wanted = wanted[wanted["state"] != "compressed"]
    found = pd.read_csv(tmp_path / "found.csv", keep_default_na=False, na_values=None, dtype=str)
    # Beside the view's own columns may stand what other views say of the same cells.
    assert [name for name in found.columns if name in wanted] == list(wanted.columns)
    for name in wanted.columns:
        if wanted[name].dtype.kind == "f":
            # Every digit, not only those that the page shows.
            numbers = np.array([float(text or "nan") for text in found[name]])
            np.testing.assert_array_equal(numbers, wanted[name].to_numpy(), err_msg=name)
        else:
            assert list(found[name]) == list(wanted[name].astype(str)), name
    assert opened.complaints == []


def test_without_scripts_everything_is_there_but_the_buttons(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(report.as_uri(), wait_until="load")
    assert tab.locator("button").count() == 0
    tab.locator("#table-effects summary").click()
    assert tab.locator("#table-effects tbody tr").count() == 60
    assert tab.locator("#table-effects th").first.inner_text() == "network"
    assert not tab.locator(".scripted").is_visible()
    context.close()


def test_the_first_tab_leads_past_the_navigation(opened: Any) -> None:
    opened.keyboard.press("Tab")
    link = opened.locator("a.skip")
    assert link.evaluate("item => item === document.activeElement")
    assert link.bounding_box()["y"] >= 0
    opened.keyboard.press("Enter")
    assert opened.evaluate("location.hash") == "#answer"


def test_the_answer_stands_on_the_first_screen(opened: Any) -> None:
    # This description is a page of letters, and the banner a matter of the study.
    opened.evaluate("document.querySelectorAll('header .lede, .banner').forEach(e => e.remove())")
    box = opened.locator("#answer .lede").bounding_box()
    assert box["y"] + box["height"] <= 900


def test_print_fits_the_paper_and_leaves_the_buttons_out(opened: Any, tmp_path: Path) -> None:
    opened.emulate_media(media="print")
    # A4 between the margins of 12 mm, in CSS pixels.
    opened.set_viewport_size({"width": 703, "height": 1000})
    assert not opened.locator("nav").is_visible()
    assert not opened.locator("button.download").first.is_visible()
    grid = opened.locator(".grid").first.bounding_box()
    assert grid["x"] >= 0
    assert grid["x"] + grid["width"] <= 703
    opened.pdf(path=tmp_path / "report.pdf", format="A4", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
