"""What computed the networks, in words: how, how precisely, where, with which torch."""

from __future__ import annotations

import pandas as pd

from recall_distortion.report import style
from recall_distortion.report.summaries import ratio_text
from recall_distortion.report.tables import StudyTables, of_panel
from recall_distortion.report.words import join, plural

ENGINE = ["device", "engine", "torch"]


def engine_text(device: str, engine: str, torch: str) -> str:
    """Return an engine as words: vectorized, up to 30 at once, in float32 on cpu; torch 2.15.0."""
    if not (device or engine or torch):
        return "not recorded"
    way, comma, precision = engine.rpartition(", ")
    words = [f"{way}, in {precision}" if comma else engine, f"on {device}" if device else ""]
    software = f"; torch {torch}" if torch else ""
    return " ".join(filter(None, words)) + software


def computed(data: StudyTables) -> list[str]:
    """Return a sentence for each way in which networks were computed: which, how many, how."""
    made = made_networks(data)
    ways = made.groupby(ENGINE, sort=False)
    found = []
    for way, rows in ways:
        where = ""
        if ways.ngroups > 1:
            places = [_place(made, rows, panel) for panel in data.panels]
            where = join(list(filter(None, places))) + ", "
        count = plural(int(rows["seeds"].sum()), "network")
        found.append(f"{where}{count}: {engine_text(*map(str, way))}")
    return found


def made_networks(data: StudyTables) -> pd.DataFrame:
    """Return the rows of engines.csv that made any network."""
    return data.engines[data.engines["seeds"] > 0]


def network_name(panel: tuple[str, str]) -> str:
    """Return a panel as a sentence names it."""
    return f"{panel[1]} on {panel[0]}"


def _place(made: pd.DataFrame, rows: pd.DataFrame, panel: tuple[str, str]) -> str:
    """Return a panel as one of several ways made it; "" where that way made nothing there."""
    own, every = of_panel(rows, panel), of_panel(made, panel)
    if own.empty:
        return ""
    if len(own) == len(every):
        return network_name(panel)
    whole = len(own) == len(every[["method", "ratio"]].drop_duplicates())
    return f"{network_name(panel)} ({'in part' if whole else cells_text(every, own)})"


def cells_text(every: pd.DataFrame, own: pd.DataFrame) -> str:
    """Return some cells of a panel as words: dense; control; magnitude at 2 and 10."""
    found = []
    for method, rows in own.groupby("method", sort=False):
        of_method = every[every["method"] == method]
        ratios = sorted(rows["ratio"])
        words = style.plain(method)
        if len(ratios) < of_method["ratio"].nunique():
            words += f" at {join([ratio_text(ratio) for ratio in ratios])}"
        if of_method["ratio"].isin(ratios).sum() > len(ratios):
            words += " in part"
        found.append(words)
    return "; ".join(found)
