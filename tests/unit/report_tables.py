"""What the tests of the report share: invented tables, changes of them, and pages as read."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd

from recall_distortion.report import build_report
from recall_distortion.report.tables import read
from recall_distortion.tables.schema import TABLES
from recall_distortion.tables.views import melt, spread
from recall_distortion.vocabulary import ONE
from tests.synthetic.report import make_tables, write_tables

# A test set too small for the slopes of single networks, and large enough for the pooled ones.
SMALL: dict[str, Any] = {
    "architectures": ("mlp",),
    "methods": ("magnitude", "random"),
    "ratios": (2.0, 10.0),
    "seeds": 6,
    "class_names": ("cat", "dog", "owl"),
    "images": 400,
}
# A test set large enough for slopes of single networks.
LARGE: dict[str, Any] = {
    **SMALL,
    "seeds": 12,
    "images": 5000,
    "class_names": ("cat", "dog", "owl", "hen", "fox", "bee", "ant", "cow"),
}


def make(folder: Path, options: dict[str, Any] = SMALL, **changed: Any) -> Path:
    """Write an invented study's tables into a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _made(tuple(sorted({**options, **changed}.items()))).items():
        (folder / name).write_bytes(content)
    return folder


@functools.cache
def _made(options: tuple[tuple[str, Any], ...]) -> dict[str, bytes]:
    """Return the files of an invented study, which are computed once in each process of tests."""
    with tempfile.TemporaryDirectory() as folder:
        make_tables(Path(folder), **dict(options))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def change(folder: Path, name: str, changed: Callable[[pd.DataFrame], Any]) -> None:
    """Change one of a folder's tables, in place or by what is returned, and its summary."""
    table = read(folder, name)
    found = changed(table)
    write_tables(folder, {name: table if found is None else found})


def change_view(folder: Path, name: str, changed: Callable[[pd.DataFrame], Any]) -> None:
    """Change a view of a folder's estimates, in place or by what is returned, and the summary."""
    key = [column for column in TABLES["estimates"].key if column != "reference"]

    def of_estimates(table: pd.DataFrame) -> pd.DataFrame:
        view = spread(name, table)
        old = melt(name, view)
        found = changed(view)
        new = melt(name, view if found is None else found)
        led = pd.MultiIndex.from_frame(table.loc[table["leads"], key])
        new["leads"] |= (new["against"] == ONE) & pd.MultiIndex.from_frame(new[key]).isin(led)
        others = ~pd.MultiIndex.from_frame(table[key]).isin(pd.MultiIndex.from_frame(old[key]))
        return pd.concat([table[others], new], ignore_index=True)

    change(folder, "estimates", of_estimates)


class Page(HTMLParser):
    """What a page's text, elements and attributes are, as a browser's parser sees them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.script: str | None = None
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and self.script is None:
            self.script = data
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def words(tables: Path, output: Path, **study: Any) -> str:
    """Return the words of the page of a folder of tables."""
    build_report(tables, output, study=study)
    return Page(output.read_text("utf-8")).words
