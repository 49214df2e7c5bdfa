"""Tables as the page shows them: few digits to read, every digit in the cell's title."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from recall_distortion.report import style
from recall_distortion.report.forgotten_listings import EVERY
from recall_distortion.report.listings import ONCE, Column
from recall_distortion.tables.study import as_they_end
from recall_distortion.vocabulary import (
    CELL_STATE,
    CONTROL,
    DEINTENSIFICATION,
    INCONCLUSIVE,
    INTENSIFICATION,
    ONE,
    CellState,
    format_ratio,
)


@dataclass(frozen=True)
class HtmlCell:
    """Text of a cell, the full value behind a rounded number, its CSS class, its raw text.

    ``raw`` is the value as the table's file has it, where neither text nor title is that.
    """

    text: str
    title: str = ""
    kind: str = ""
    raw: str | None = None

    @property
    def markup(self) -> Markup:
        """The cell's HTML, without the end tag and the quotes that HTML lets be left out.

        A report has tens of thousands of cells; what is left out is a tenth of its size.
        """
        if self.kind == "n" and not self.raw:
            title = Markup(" title={}").format(self.title) if self.title else ""
            return Markup("<td class=n{}>{}").format(title, self.text)
        kind = Markup(' class="{}"').format(self.kind) if self.kind else ""
        raw = "" if self.raw is None else Markup(' data-v="{}"').format(self.raw)
        return Markup("<td{}{}>{}").format(kind, raw, self.text)


#: Rows that the page shows of a table with a row a class of each cell.
MOST_ROWS = 60


@dataclass(frozen=True)
class Heading:
    """A column's heading, its name in the table, whether it holds numbers, and what it means."""

    text: str
    name: str
    number: bool
    title: str = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table ready to be written.

    ``columns`` are the names of all its columns in the order of the table's file, as the downloaded
    one has them, ``same`` the values of those that the page does not show, because they are the
    same in every row.
    """

    key: str
    title: str
    note: str
    headings: list[Heading]
    rows: list[list[HtmlCell]]
    columns: str = "[]"
    same: str = "{}"


def _whole(value: float) -> str:
    if math.isfinite(value) and value != round(value):
        return style.number(value, 1)
    return style.number(value, 0)


def _points(value: float) -> str:
    return style.signed(100 * value, 2) if math.isfinite(value) else "–"


_NUMBERS: dict[str, Callable[[float], str]] = {
    "ratio": lambda value: format_ratio(value) or "–",
    "whole": _whole,
    "two": lambda value: style.number(value, 2),
    "three": lambda value: style.number(value, 3),
    "four": lambda value: style.number(value, 4),
    "percent": style.percent,
    "points": _points,
    "points off": lambda value: style.number(100 * value, 2),
    "p": style.p_value,
    "tiny": style.scientific,
}
# What a word of the table reads as where it stands in a column of this form.
_WORDS = {
    "against": {
        INTENSIFICATION: "intensifies more",
        DEINTENSIFICATION: "intensifies less",
        INCONCLUSIVE: "cannot be distinguished",
    },
    "question": {ONE: "1", CONTROL: "the control’s"},
}


def html_cell(value: Any, form: str, verdict: str = "") -> HtmlCell:
    """Return a value as a cell; a number that is rounded keeps its full value as title.

    The sign of a reading is that of the ``verdict`` beside it.
    """
    if form in _NUMBERS:
        number = math.nan if value is None or value is pd.NA else float(value)
        text = _NUMBERS[form](number)
        full = "" if not math.isfinite(number) else repr(number)
        plain = text.replace(",", "").replace("−", "-")
        exact = full in (plain, f"{plain}.0") or not full
        return HtmlCell(text, "" if exact else full, "n")
    if form == "truth":
        return HtmlCell("yes" if value else "no", raw=str(bool(value)))
    text = "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
    if form in ("verdict", "reading"):
        look = style.look(text) if form == "verdict" else style.look(verdict, text)
        kind = f"verdict {look.kind}" if look.sign else ""
        return HtmlCell(f"{look.sign} {text}".strip(), "", kind)
    if form in _WORDS or form == "method":
        shown = style.plain(_WORDS.get(form, {}).get(text, text)) if text else ""
        return HtmlCell(shown, raw=None if shown == text else text)
    return HtmlCell(text, "", "long" if len(text) > 60 else "")


def listing(
    key: str,
    table: pd.DataFrame,
    *,
    suffix: str = "",
    title: str = "",
    note: str = "",
    columns: Sequence[Column] | None = None,
) -> HtmlTable:
    """Return a table of the study ready for the page, without columns that are empty throughout."""
    described = EVERY[key]
    every = [c for c in (columns or described.columns) if c.name in table]
    empty = [column for column in every if _is_empty(table[column.name])]
    # What is the same in every row is said once, above the table.
    once = [
        column
        for column in every
        if len(table) > 1
        and column not in empty
        and column.name in ONCE
        and table[column.name].nunique(dropna=False) == 1
    ]
    note = note or described.note
    if once:
        said = (f"{c.heading} {html_cell(table[c.name].iloc[0], c.form).text}" for c in once)
        note = f"{note} In every row: {', '.join(said)}.".strip()
    same = {column.name: _full(html_cell(table[column.name].iloc[0], column.form))
            for column in once} | {column.name: "" for column in empty}  # fmt: skip
    shown = [column for column in every if column.name not in same]
    series = [_cells(table, column) for column in shown]
    rows = [list(cells) for cells in zip(*series, strict=True)]
    headings = [
        Heading(c.heading, c.name, c.form in _NUMBERS, described.meaning(c.name)) for c in shown
    ]
    listed = {column.name for column in every}
    names = json.dumps([name for name in table.columns if name in listed], ensure_ascii=False)
    return HtmlTable(
        key + suffix, title or described.title, note, headings, rows, names,
        json.dumps(same, ensure_ascii=False),
    )  # fmt: skip


def foremost(key: str, table: pd.DataFrame, order: pd.Series, first: str) -> HtmlTable:
    """Return a table with many rows a cell, those first where ``order`` is highest.

    Of a long one the page has the first rows alone, which are ``first`` in its words; nobody reads
    a thousand, and every cell's numbers are in the table's file.
    """
    # By place, because a table's labels need not be different.
    places = order.reset_index(drop=True).sort_values(ascending=False, kind="stable").index
    ordered = table.iloc[places]
    if len(table) <= MOST_ROWS:
        return listing(key, ordered)
    described = EVERY[key]
    left = f"{MOST_ROWS} of {len(table):,} rows, {first}; all are in {described.table}.csv."
    return listing(key, ordered[:MOST_ROWS], note=f"{described.note} {left}".strip())


def _cells(table: pd.DataFrame, column: Column) -> list[HtmlCell]:
    values = table[column.name].tolist()
    if column.form != "reading":
        return [html_cell(value, column.form) for value in values]
    pairs = zip(values, table["verdict"], strict=True)
    return [html_cell(reading, column.form, verdict) for reading, verdict in pairs]


def _full(cell: HtmlCell) -> str:
    """Return a cell as the downloaded file has it."""
    if cell.raw is not None:
        return cell.raw
    if cell.kind.startswith("verdict"):
        return cell.text.partition(" ")[2]
    if cell.kind != "n":
        return cell.text
    plain = cell.text.replace(",", "").replace("−", "-").replace("–", "").replace("∞", "inf")
    return cell.title or plain


def _is_empty(values: pd.Series) -> bool:
    return all(value == "" or pd.isna(value) for value in values)


def ended(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks as they end: pruned and retrained, or quantized."""
    states = [CellState(*key) for key in table[CELL_STATE].itertuples(index=False, name=None)]
    last = set(as_they_end(states))
    # An array, because pandas takes an empty list for a choice of no columns.
    return table[np.array([state in last for state in states], dtype=bool)]
