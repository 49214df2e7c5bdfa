"""What the sections say in words: accuracy, classes, seeds, sparsity, published cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.report import style
from recall_distortion.report.summaries import ratio_text, sparsity_summary
from recall_distortion.report.tables import CELL, CONTROL, StudyTables, order_methods
from recall_distortion.report.words import count_range, join, plural

# More cells than this are counted in a sentence, not named.
MOST_NAMED = 12
MANY_SEEDS = 1000  # a study of one cell that nobody runs
# Realised ratios that differ by no more are the same: weights are whole.
SAME_SPARSITY = 0.01
LESS, MORE = "intensifies less", "intensifies more"  # the words of equal_sparsity.csv


def _named(cells: pd.DataFrame, *, networks: int) -> str:
    """Return cells as words: magnitude at 2 and 4 (cnn on digits)."""
    parts = []
    for (dataset, architecture, method), rows in cells.groupby(CELL[:3], sort=False):
        where = f" ({architecture} on {dataset})" if networks > 1 else ""
        ratios = join([ratio_text(ratio) for ratio in sorted(rows["ratio"])])
        parts.append(f"{style.plain(method)} at {ratios}{where}")
    return "; ".join(parts)


def tradeoff_facts(data: StudyTables) -> dict[str, Any] | None:
    """Return whether any cell improves accuracy and balance together; None without the table."""
    fine = data.tradeoff[data.tradeoff["state"] == "finetuned"]
    cells = fine[fine["method"].isin(data.methods)]
    known = cells[cells["improves"] != ""]
    if cells.empty:
        return None
    both = known[known["improves"] == "both"]
    control = fine[(fine["method"] == CONTROL) & (fine["improves"] == "both")]
    grown = known["variance_after"] > known["variance_before"]
    return {
        "cells": len(known),
        "unknown": len(cells) - len(known),
        "both": len(both),
        "named": _named(both, networks=len(data.panels)) if len(both) <= MOST_NAMED else "",
        "beyond_control": int((both["over_control_low"] > 0).sum()),
        "compared": bool(both["over_control_low"].notna().any()),
        "accuracy": int((known["improves"] == "accuracy").sum()),
        "balance": int((known["improves"] == "balance").sum()),
        "neither": int((known["improves"] == "neither").sum()),
        "worse": int((known["accuracy_high"] < 0).sum()),
        "controls": [f"{row.architecture} on {row.dataset}" for row in control.itertuples()],
        "has_control": bool((fine["method"] == CONTROL).any()),
        "grown": int(grown.sum()),
        "measured": int((known["variance_after"].notna()).sum()),
    }


def class_facts(data: StudyTables) -> dict[str, Any] | None:
    """Return how many verdicts hang on a single class, and on which; None without the table."""
    rows = data.influence[data.influence["state"] == "finetuned"]
    if rows.empty:
        return None
    # A mean without an interval has no verdict that could change.
    rows = rows[rows["low"].notna() & rows["high"].notna()]
    changed = rows[rows["changes"]]
    counts = changed.groupby(["dataset", "architecture", "class_name"], sort=False).size()
    counts = counts.sort_values(ascending=False, kind="stable")
    several = len(data.panels) > 1
    return {
        "cells": len(rows[[*CELL, "state"]].drop_duplicates()),
        "hanging": len(changed[CELL].drop_duplicates()),
        "changes": len(changed),
        "reversed": int(
            (
                changed["verdict_all"].ne("inconclusive") & changed["verdict"].ne("inconclusive")
            ).sum()
        ),
        "most": [
            f"class {style.label(name)}{f' of {architecture} on {dataset}' if several else ''} "
            f"({plural(count, 'cell')})"
            for (dataset, architecture, name), count in counts.head(3).items()
        ],
    }


def influence_order(influence: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the classes whose removal changes a verdict first."""
    return influence.sort_values("changes", ascending=False, kind="stable")


def seeds_facts(data: StudyTables) -> dict[str, Any] | None:
    """Return how many seeds the cells need beside how many they have; None without the table."""
    table = data.seeds_needed
    known = table[table["seeds"].notna()]
    if table.empty:
        return None
    questions = []
    for question, rows in known.groupby("question", sort=False):
        effects = []
        for effect, cells in rows.groupby("effect"):
            effects.append(
                {
                    "effect": f"{effect:g}",
                    "least": style.number(cells["seeds"].min(), 0),
                    "median": style.number(np.ceil(cells["seeds"].median()), 0),
                    "beyond": int((cells["seeds"] > MANY_SEEDS).sum()),
                    "enough": int((cells["seeds"] <= cells["n"]).sum()),
                    "cells": len(cells),
                }
            )
        questions.append({"question": question, "effects": effects})
    return {
        "n": count_range(table["n"].tolist()),
        "level": join([f"{value:.4g}" for value in 100 * table["level"].dropna().unique()]),
        "power": join([f"{value:.4g}" for value in table["power"].dropna().unique()]),
        "questions": questions,
        "unknown": int(table["seeds"].isna().sum()),
        "rows": len(table),
        "many": f"{MANY_SEEDS:,}",
    }


def seeds_side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """Return seeds_needed.csv with one row per cell and question, the effects beside each other.

    Columns: cell, question, n, sd, level, power, ``seeds_<effect>`` and
    ``seeds_cautious_<effect>``, note.
    """
    keys = [*CELL, "question"]
    wide = table.drop_duplicates(keys)[[*keys, "n", "sd", "level", "power", "note"]]
    for effect in sorted(table["effect"].dropna().unique()):
        side = table.loc[table["effect"] == effect, [*keys, "seeds", "seeds_cautious"]]
        names = {name: f"{name}_{effect:g}" for name in ("seeds", "seeds_cautious")}
        wide = wide.merge(side.drop_duplicates(keys).rename(columns=names), on=keys, how="left")
    return wide


def sparsity_facts(data: StudyTables) -> dict[str, Any]:
    """Return whether all methods are equally sparse, and what those that are not show if they are.

    ``methods`` has an entry per method of equal_sparsity.csv: its comparisons with the first
    reference, in the published order, and with all others together.
    """
    table = data.equal_sparsity
    ratios = sparsity_summary(data.sparsity).groupby(["dataset", "architecture", "ratio"])
    spread = ratios["mean_ratio"].agg(["min", "max"])
    same = bool((spread["max"] <= (1 + SAME_SPARSITY) * spread["min"]).all())
    found = []
    for method in order_methods(list(table["method"].unique())):
        rows = table[table["method"] == method]
        first, *others = order_methods(list(rows["reference"].unique()))
        off = rows["realised_ratio"] - rows["reference_ratio"]
        fewer = "fewer weights" if (off[off.notna()] > 0).all() else "another number of weights"
        against = {style.plain(first): rows[rows["reference"] == first]}
        if others:
            rest = f"the {len(others)} other methods" if len(others) > 1 else style.plain(others[0])
            against[rest] = rows[rows["reference"] != first]
        found.append(
            {
                "method": style.plain(method),
                "keeps": "more weights" if (off[off.notna()] < 0).all() else fewer,
                "against": [
                    {"reference": name, **_readings(compared), "each": _survivals(compared)}
                    for name, compared in against.items()
                ],
            }
        )
    several = data.sparsity["method"].nunique() > 1
    return {"same": table.empty and several and same, "methods": found}


def _readings(rows: pd.DataFrame) -> dict[str, int]:
    """Return how many comparisons say what, at the nominal ratio, at equal sparsity, at both."""
    nominal, equal = rows["nominal_reading"], rows["equal_reading"]
    return {
        "rows": len(rows),
        "nominal_less": int((nominal == LESS).sum()),
        "nominal_more": int((nominal == MORE).sum()),
        "nominal_unknown": int((nominal == "").sum()),
        "equal_less": int((equal == LESS).sum()),
        "equal_more": int((equal == MORE).sum()),
        "equal_unknown": int((equal == "").sum()),
        "survive": int(((nominal == LESS) & (equal == LESS)).sum()),
        "certain": int(
            ((nominal == LESS) & (equal == LESS) & (rows["denser_reading"] == LESS)).sum()
        ),
        "turned": int(((nominal == LESS) & (equal == MORE)).sum()),
    }


def _survivals(rows: pd.DataFrame) -> list[str]:
    """Return, of several references, what survives of the advantage over each that it has one of.

    Random pruning alone may make up most of the advantage over all together.
    """
    references = order_methods(list(rows["reference"].unique()))
    counts = [(name, _readings(rows[rows["reference"] == name])) for name in references]
    found = [
        f"{count['survive']} of {count['nominal_less']} against {style.plain(name)}"
        for name, count in counts
        if count["nominal_less"]
    ]
    return found if len(references) > 1 else []


def compared_with_published(published: pd.DataFrame) -> pd.DataFrame:
    """Return the published cells that this study has too."""
    return published[published["verdict"] != ""]


def published_facts(data: StudyTables) -> dict[str, int] | None:
    """Return how many published verdicts agree with the study's; None where it has none of them."""
    compared = compared_with_published(data.published)
    if compared.empty:
        return None
    return {
        "cells": len(compared),
        "agree": int(compared["agrees"].sum()),
        "all": len(data.published),
    }
