"""What the section about forgotten images and classes says in words."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from recall_distortion.report import style
from recall_distortion.report.forgotten_listings import FAIRNESS_KEYS
from recall_distortion.report.html_tables import HtmlTable, ended, foremost, listing
from recall_distortion.report.listings import Column
from recall_distortion.report.numbers import Numbers, numbers
from recall_distortion.report.tables import ReportTables
from recall_distortion.tables.arranged import fairness_side_by_side
from recall_distortion.tables.forgetting import CLASS_TESTS, MORE
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import CONTROL, CONTROLS, OF_ROUNDS, RESEED, RETRAINED, Panel


def forgotten_facts(data: ReportTables) -> list[dict[str, Any]]:
    """Return what the page says of each panel; without a panel of which anything is known, none."""
    found = []
    for panel in data.panels:
        facts = {
            "name": data.title(panel),
            "place": data.place(panel),
            "images": _images(data, panel),
            "classes": _classes(numbers(data, panel, "class_tests")),
            "fairness": _fairness(numbers(data, panel, "fairness")),
            "frequency": _frequency(numbers(data, panel, "frequency")),
        }
        if any(facts[name] for name in ("images", "classes", "fairness", "frequency")):
            found.append(facts)
    return found


def _images(data: ReportTables, panel: Panel) -> dict[str, Any] | None:
    found = numbers(data, panel, "populations")
    if not found.items:
        return None
    rows = of_panel(data.view("populations"), panel)
    control = rows[(rows["method"] == CONTROL) & (rows["state"] == RETRAINED)]
    cells = rows[rows["method"].isin(data.methods) & (rows["state"] == RETRAINED)]
    return {
        **{name: found.count(f"cells/{name}") for name in ("more", "fewer", "compared")},
        "cells": found.count("cells"),
        "images": f"{found.count('images'):,}",
        "control": _counted(found, CONTROL),
        "own_controls": _own_controls(rows),
        "reseed": _halves(found),
        "hard": _hard(control),
        "first": _first(cells),
    }


def _counted(found: Numbers, method: str) -> dict[str, Any] | None:
    if not math.isfinite(found.value(f"{method}/pies")):
        return None
    return {"pies": found.count(f"{method}/pies"), "n": found.count(f"{method}/n"),
            "share": style.percent(found.value(f"{method}/share"))}  # fmt: skip


def _own_controls(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the controls of other trainings, that of rounds after the last of them."""
    rows = rows[rows["method"].isin(CONTROLS[1:]) & (rows["state"] == RETRAINED)]
    last = rows[rows["pies"].notna()].drop_duplicates("method", keep="last")
    return [
        {"name": row.method + (f" at {row.ratio:g}" if row.method in OF_ROUNDS else ""),
         "pies": int(row.pies), "n": int(row.n), "share": style.percent(row.share)}
        for row in last.itertuples()
    ]  # fmt: skip


def _halves(found: Numbers) -> dict[str, str] | None:
    if not math.isfinite(found.value(f"{RESEED}/disjoint_median")):
        return None
    ends = {end: style.number(found.value(f"{RESEED}/disjoint_{end}"), 0)
            for end in ("median", "low", "high")}  # fmt: skip
    return {**ends, "n": str(found.count(f"{RESEED}/fewer"))}


def _hard(control: pd.DataFrame) -> dict[str, str] | None:
    if control.empty or not math.isfinite(control["dense_on_pies"].iloc[0]):
        return None
    row = control.iloc[0]
    return {name: style.percent(row[f"dense_on_{name}"]) for name in ("pies", "others")}


def _first(cells: pd.DataFrame) -> list[str]:
    """Return for each method from which ratio on every cell has more PIEs than the control."""
    found = []
    for method, rows in cells.groupby("method", sort=False):
        rows = rows.sort_values("ratio")
        more = rows["reading"].eq(MORE).tolist()
        start = len(more)
        while start and more[start - 1]:
            start -= 1
        if start < len(more):
            found.append(f"{style.plain(method)} from {rows['ratio'].iloc[start]:g}")
    return found


def _classes(found: Numbers) -> dict[str, Any] | None:
    if not found.items:
        return None
    tests = {}
    for name in CLASS_TESTS:
        reseed = found.value(f"{RESEED}/{name}/moved")
        tests[name] = {
            "cells": found.count(f"{name}/cells"),
            "classes": found.count(f"{name}/classes"),
            "expected": style.number(found.value(f"{name}/expected"), 1),
            "moved": found.count(f"{name}/moved"),
            "adjusted": found.count(f"{name}/adjusted"),
            "reseed": "" if not math.isfinite(reseed) else str(int(reseed)),
        }
    return {"cells": found.count("cells"), "tests": tests}


def _fairness(found: Numbers) -> dict[str, Any] | None:
    if not found.items:
        return None
    names = [name.removesuffix("/worse") for name in found.items if name.endswith("/worse")]
    counts = {"measures": found.count("measures"), "cells": found.count("cells")}
    counts |= {name: found.count(f"cells/{name}") for name in ("every", "some", "none")}
    return {
        **counts,
        "each": [
            (name, found.count(f"{name}/worse"), found.count(f"{name}/better")) for name in names
        ],
    }


def _frequency(found: Numbers) -> dict[str, int] | None:
    names = ("cells", "rarer", "commoner", "beside/rarer", "beside/commoner", "difficult")
    return {name.replace("/", "_"): found.count(name) for name in names} if found.items else None


def forgotten_tables(data: ReportTables) -> list[HtmlTable]:
    """Return the tables of images, of classes and of fairness."""
    cells = data.view("populations")
    classes, named = data.view("class_tests"), data.view("class_measures")
    classes, named = ended(classes), ended(named)
    wide = fairness_side_by_side(data.view("measures"))
    measures = [name for name in wide.columns if name not in {key.name for key in FAIRNESS_KEYS}]
    columns = [*FAIRNESS_KEYS, *(Column(name, name, "text") for name in measures)]
    return [
        listing("populations", cells[cells["pies"].notna()]),
        listing("class_counts", data.view("class_counts")),
        foremost("class_tests", classes, -classes["control_p"], "those with the smallest p"),
        foremost(
            "class_measures",
            named,
            named["named_share_over_control"].abs(),
            "those named most unlike the control’s",
        ),
        listing("frequency", data.view("frequency")),
        listing("fairness", wide, columns=columns),
    ]
