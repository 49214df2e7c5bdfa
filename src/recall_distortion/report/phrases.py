"""Phrases of the page that several of its parts need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from recall_distortion.report import style
from recall_distortion.report.numbers import Numbers
from recall_distortion.report.tables import ReportTables
from recall_distortion.vocabulary import PANEL, Panel, format_ratio


def join(items: Sequence[str]) -> str:
    """Return items as a phrase: a, b and c."""
    items = [str(item) for item in items]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def span(least: float, most: float) -> str:
    """Return counts as "30" where the least is the most, else as "28 to 30"."""
    ends = [f"{int(end):,}" for end in (least, most) if math.isfinite(end)] or ["0"]
    return " to ".join(dict.fromkeys(ends))


def span_of(found: Numbers, item: str) -> str:
    """Return the least and the most of an item as ``span`` does."""
    return span(found.value(f"{item}/least"), found.value(f"{item}/most"))


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: 1 cell, 2 cells."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def interval(low: float, high: float, digits: int = 2, *, signed: bool = False) -> str:
    """Return an interval's ends as "0.82 to 1.00", or "no interval" where an end is missing."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    if not signed:
        return f"{style.number(low, digits)} to {style.number(high, digits)}"
    return " to ".join(_signed(end, digits) for end in (low, high))


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign, with more digits where it would read as the 0 that it is not.

    An end at 0.00 would hide on which side of 0 the interval lies.
    """
    while 0 < abs(value) < 0.5 * 10.0**-digits and digits < 6:
        digits += 1
    return style.signed(value, digits)


def share_interval(low: float, high: float) -> str:
    """Return the interval of a share in percent, cut to what a share can be; "" without one.

    A t interval of few replicates can reach beyond 0 or 100 %, where no accuracy lies.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{style.number(100 * max(low, 0.0), 1)} to {style.percent(min(high, 1.0))}"


def percents(levels: Iterable[float]) -> str:
    """Return the levels that occur in percent: 99 %, or 95 % and 99 %."""
    known = dict.fromkeys(level for level in levels if math.isfinite(level))
    return join([f"{100 * level:.4g} %" for level in known])


def ratios(found: Sequence[str]) -> str:
    """Return compression ratios as a sentence names them: "ratio 2" or "ratios 2, 4 and 10"."""
    return f"ratio{'s' if len(found) > 1 else ''} {join(found)}"


def at_ratios(found: Sequence[str], every: Sequence[str]) -> str:
    """Return where something holds: "every ratio" or "ratios 2, 4 and 10"."""
    return "every ratio" if len(found) == len(every) and len(every) > 1 else ratios(found)


def cells_text(data: ReportTables, cells: pd.DataFrame) -> str:
    """Return cells as words: magnitude at ratios 2 and 4 (cnn on digits)."""
    parts = []
    for (*panel, method), rows in cells.groupby([*PANEL, "method"], sort=False):
        where = f" ({data.place(Panel(*panel))})" if len(data.panels) > 1 else ""
        at = ratios([format_ratio(ratio) for ratio in sorted(rows["ratio"])])
        parts.append(f"{style.plain(method)} at {at}{where}")
    return "; ".join(parts)
