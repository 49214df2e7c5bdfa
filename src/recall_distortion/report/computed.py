"""What computed the networks, in words: how, how precisely, where, with which torch."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recall_distortion.inference.questions.summary_items import MADE_BY, made
from recall_distortion.report import style
from recall_distortion.report.numbers import STUDY, numbers
from recall_distortion.report.phrases import join, plural, ratios
from recall_distortion.report.tables import ReportTables
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import CELL, DENSE, Panel, format_ratio


def engine_text(device: str, engine: str, torch: str) -> str:
    """Return an engine as words: vectorized, up to 30 at once, in float32 on cpu; torch 2.15.0."""
    if not (device or engine or torch):
        return "not recorded"
    way, comma, precision = engine.rpartition(", ")
    words = [f"{way}, in {precision}" if comma else engine, f"on {device}" if device else ""]
    software = f"; torch {torch}" if torch else ""
    return " ".join(filter(None, words)) + software


def computed(data: ReportTables) -> list[str]:
    """Return a sentence for each way in which networks were computed: which, how many, how."""
    counts = numbers(data, STUDY, "computed")
    cells = _cells(data)
    ways = cells.groupby(MADE_BY, sort=False)
    found = []
    for way, rows in ways:
        where = ""
        if ways.ngroups > 1:
            places = [_place(data, cells, rows, panel) for panel in data.panels]
            where = join(list(filter(None, places))) + ", "
        count = plural(counts.count("/".join(way)), "network")
        found.append(f"{where}{count}: {engine_text(*way)}")
    return found


def crossed_engines(data: ReportTables) -> list[dict[str, Any]]:
    """Return the panels whose cells were not all computed alike, and what computed which cells."""
    found = []
    cells = _cells(data)
    for panel in data.panels:
        if numbers(data, panel, "computed").count("ways") > 1:
            own = of_panel(cells, panel)
            own = own[own["method"] != DENSE]
            words = [
                (cells_made(own, part), engine_text(*way))
                for way, part in own.groupby(MADE_BY, sort=False)
            ]
            found.append({"network": data.place(panel), "ways": words})
    return found


def _cells(data: ReportTables) -> pd.DataFrame:
    """Return which cells were computed in which ways: CELL and ``MADE_BY``."""
    return made(data.networks)[[*CELL, *MADE_BY]].drop_duplicates()


def _place(data: ReportTables, cells: pd.DataFrame, rows: pd.DataFrame, panel: Panel) -> str:
    """Return a panel as one of several ways made it; "" where that way made nothing there."""
    own, every = of_panel(rows, panel), of_panel(cells, panel)
    if own.empty:
        return ""
    if len(own) == len(every):
        return data.place(panel)
    whole = len(own) == len(every[["method", "ratio"]].drop_duplicates())
    return f"{data.place(panel)} ({'in part' if whole else cells_made(every, own)})"


def cells_made(every: pd.DataFrame, own: pd.DataFrame) -> str:
    """Return some cells of a panel as words: dense; control; magnitude at ratios 2 and 10."""
    found = []
    for method, rows in own.groupby("method", sort=False):
        of_method = every[every["method"] == method]
        own_ratios = sorted(rows["ratio"])
        words = style.plain(method)
        if len(own_ratios) < of_method["ratio"].nunique():
            words += f" at {ratios([format_ratio(ratio) for ratio in own_ratios])}"
        if of_method["ratio"].isin(own_ratios).sum() > len(own_ratios):
            words += " in part"
        found.append(words)
    return "; ".join(found)
