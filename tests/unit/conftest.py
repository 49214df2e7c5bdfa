"""Lets the tests of this folder import the helpers that lie beside them; tables for the report's.

What these fixtures need is imported by them, so that other tests do not wait for it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def small_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of a study whose test set is too small for the slopes of single networks."""
    from report_tables import SMALL, make

    return make(tmp_path_factory.mktemp("small") / "tables", SMALL)


@pytest.fixture(scope="session")
def large_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of a study whose test set is large enough for them."""
    from report_tables import LARGE, make

    return make(tmp_path_factory.mktemp("large") / "tables", LARGE)


@pytest.fixture(scope="session")
def small_page(small_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of ``small_tables``."""
    from recall_distortion.report import build_report
    from tests.synthetic.report import study_facts

    output = tmp_path_factory.mktemp("page") / "report.html"
    build_report(small_tables, output, study=study_facts())
    return output.read_text("utf-8")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch, small_page: str) -> None:
    """The words of a page alone: its figures are blank, since drawing them takes seconds."""
    import io

    from PIL import Image

    from recall_distortion.report import page
    from recall_distortion.report.pictures import Picture

    pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(pixel, format="PNG")
    blank = Picture(pixel.getvalue(), 1, 1)
    monkeypatch.setattr(page, "_drawn", lambda tables: defaultdict(lambda: blank))
