"""The numbers of ``summary`` about images and classes that compressed networks forget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from recall_distortion.tables.forgetting import BETTER, CLASS_TESTS, FEWER, MORE, WORSE
from recall_distortion.tables.study import StudyTables, of_panel
from recall_distortion.vocabulary import CONTROLS, RESEED, RETRAINED, Panel

CHANCE = 0.05  # of the classes, expected below a p of 0.05
SIGNIFICANT = 0.05  # of p adjusted over a method's ratios


def of_panels(tables: StudyTables) -> Iterator[tuple[Panel, str, Mapping[str, float]]]:
    """Yield the sections of each panel that has the rows that they count."""
    for panel in tables.panels:
        for section, view, count in (
            ("populations", "populations", _populations),
            ("class_tests", "class_counts", _class_tests),
            ("fairness", "measures", _fairness),
            ("frequency", "frequency", _frequency),
        ):
            rows = of_panel(tables.view(view), panel)
            if numbers := count(rows, tables.methods):
                if section == "populations":
                    numbers["images"] = _images(of_panel(tables.recall, panel))
                yield panel, section, numbers


def _images(recall: pd.DataFrame) -> int:
    """Return how many test images a panel's networks have."""
    return int(recall.drop_duplicates("class")["support"].sum())


def _retrained(rows: pd.DataFrame, methods: list[str]) -> pd.DataFrame:
    return rows[rows["method"].isin(methods) & (rows["state"] == RETRAINED)]


def _populations(rows: pd.DataFrame, methods: list[str]) -> dict[str, float]:
    """Return how many images change without compression, and in how many cells more do."""
    if rows["pies"].isna().all():
        return {}
    cells = _retrained(rows, methods)
    found: dict[str, float] = {
        "cells": len(cells),
        "cells/more": (cells["reading"] == MORE).sum(),
        "cells/fewer": (cells["reading"] == FEWER).sum(),
        "cells/compared": (cells["reading"] != "").sum(),
    }
    of_arm = ("n", "pies", "share")
    for method, names in (*((arm, of_arm) for arm in CONTROLS), (RESEED, ("n", "pies", "fewer"))):
        of_method = rows[rows["method"] == method]
        if len(of_method):
            found |= {f"{method}/{name}": of_method[name].iloc[0] for name in names}
    ends = ("median", "low", "high")
    for name in (f"disjoint_{end}" for end in ends):
        reseed = rows[rows["method"] == RESEED]
        if len(reseed):
            found[f"{RESEED}/{name}"] = reseed[name].iloc[0]
    return found


def _class_tests(rows: pd.DataFrame, methods: list[str]) -> dict[str, float]:
    """Return how many of all cells' classes moved, by each test."""
    cells, reseed = _retrained(rows, methods), rows[rows["method"] == RESEED]
    if cells.empty:
        return {}
    found: dict[str, float] = {"cells": len(cells)}
    for test in CLASS_TESTS:
        known = cells[cells[f"{test}_moved"].notna()]
        found |= {
            f"{test}/cells": len(known),
            f"{test}/classes": round(known["expected"].sum() / CHANCE),
            f"{test}/expected": known["expected"].sum(),
            f"{test}/moved": known[f"{test}_moved"].sum(),
            f"{test}/adjusted": known[f"{test}_adjusted"].sum(),
        }
        if len(reseed) and reseed[f"{test}_moved"].notna().all():
            found[f"{RESEED}/{test}/moved"] = reseed[f"{test}_moved"].iloc[0]
    return found


def _fairness(rows: pd.DataFrame, methods: list[str]) -> dict[str, float]:
    """Return by how many measures cells are worse than the control, and in how many they agree."""
    cells = _retrained(rows, methods)
    cells = cells[cells["verdict"] != ""]
    if cells.empty:
        return {}
    found: dict[str, float] = {"measures": cells["measure"].nunique()}
    for measure, own in cells.groupby("measure", sort=False):
        found |= {f"{measure}/worse": (own["verdict"] == WORSE).sum(),
                  f"{measure}/better": (own["verdict"] == BETTER).sum(),
                  f"{measure}/cells": len(own)}  # fmt: skip
    worse = (
        (cells["verdict"] == WORSE).groupby([cells["method"], cells["ratio"]]).agg(["sum", "size"])
    )
    found |= {
        "cells": len(worse),
        "cells/every": (worse["sum"] == worse["size"]).sum(),
        "cells/some": ((worse["sum"] > 0) & (worse["sum"] < worse["size"])).sum(),
        "cells/none": (worse["sum"] == 0).sum(),
    }
    return found


def _frequency(rows: pd.DataFrame, methods: list[str]) -> dict[str, float]:
    """Return in how many cells rare classes, and difficult ones, lose more than the control's."""
    cells = _retrained(rows, methods)
    cells = cells[cells["images_p_adjusted"].notna()]
    if cells.empty:
        return {}
    found: dict[str, float] = {"cells": len(cells)}
    for slope, start in (("images", ""), ("images_beside", "beside/")):
        sure = cells[f"{slope}_p_adjusted"] <= SIGNIFICANT
        over = cells[f"{slope}_over_control"]
        # The more images, the smaller the loss.
        found |= {f"{start}rarer": (sure & (over > 0)).sum(),
                  f"{start}commoner": (sure & (over < 0)).sum()}  # fmt: skip
    sure = cells["dense_recall_p_adjusted"] <= SIGNIFICANT
    return found | {"difficult": (sure & (cells["dense_recall_over_control"] > 0)).sum()}
