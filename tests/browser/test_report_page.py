"""The report in a real browser: nothing is fetched, nothing overflows, every picture shows."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recall_distortion.report import build_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WIDTHS = (1280, 390)

DRIVER = subprocess.run(
    [sys.executable, "-m", "playwright", "--version"], capture_output=True, text=True, check=False
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium on the PATH; install it or name it in CHROMIUM"
    ),
    pytest.mark.skipif(
        DRIVER.returncode != 0,
        reason=f"playwright does not start (it needs libatomic1): {DRIVER.stderr.strip()}",
    ),
]


def _load_generator() -> ModuleType:
    path = Path(__file__).with_name("synthetic_tables.py")
    spec = importlib.util.spec_from_file_location("synthetic_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with two networks, all methods, and names that attack the page."""
    folder = tmp_path_factory.mktemp("report")
    generator = _load_generator()
    names = ("<script>document.title='owned'</script>", "a" * 200, *"234567")
    generator.make_tables(folder / "tables", seeds=5, class_names=names)
    facts = {
        **generator.study_facts(),
        "selection": "test",
        "description": "<img src='https://example.org/x.png' onerror=\"document.title='owned'\">"
        + "unbroken" * 40,
        "path": "/a/very/long/path" * 20,
    }
    build_report(folder / "tables", folder / "report.html", study=facts)
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


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


def test_every_picture_is_shown(opened: Any) -> None:
    widths = opened.evaluate("Array.from(document.images, image => image.naturalWidth)")
    assert len(widths) == 9
    assert all(width > 0 for width in widths)


def test_links_of_the_navigation_lead_to_their_sections(opened: Any) -> None:
    opened.emulate_media(reduced_motion="reduce")
    links = opened.locator("nav a")
    assert links.count() == 8
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
    assert opened.locator("#table-failures summary").is_visible()
