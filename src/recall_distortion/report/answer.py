"""The report's answer: what pruning does beyond the control, as a grid, in counts and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from recall_distortion.report import style
from recall_distortion.report.readings import (
    AS_CONTROL,
    BEYOND_DOWN,
    BEYOND_UP,
    NOT_TOLD,
    PER_MODEL,
    POOLED,
    has_control,
    pruning_cells,
    reading_counts,
    reference,
)
from recall_distortion.report.summaries import accuracy_summary, ratio_text
from recall_distortion.report.tables import CELL, CONTROL, DENSE, VERDICTS, StudyTables, of_panel
from recall_distortion.report.words import (
    at_ratios,
    count_range,
    interval,
    join,
    share_interval,
)

VERDICT_VERBS = {
    "de-intensification": "de-intensifies at",
    "inconclusive": "is inconclusive at",
    "intensification": "intensifies at",
    "": "has no interval at",
}
READING_VERBS = {
    BEYOND_DOWN: "de-intensifies beyond the control at",
    AS_CONTROL: "does as the control at",
    NOT_TOLD: "is not told from the control at",
    BEYOND_UP: "intensifies beyond the control at",
    "": "has no effect estimated at",
}
KINDS = {BEYOND_UP: "up", BEYOND_DOWN: "down", AS_CONTROL: "same", NOT_TOLD: "open"}
KIND_OF_VERDICT = {"intensification": "up", "de-intensification": "down", "inconclusive": "open"}
BASES = {
    PER_MODEL: "slopes of single models, t interval",
    POOLED: "cross-fitted slope of all models together, bootstrap interval",
}


@dataclass(frozen=True)
class GridCell:
    """A cell of the answer's table: ``main`` first, the rest smaller, ``kind`` its colour."""

    kind: str
    sign: str
    spoken: str
    main: str
    main_interval: str
    second: str
    without: str  # the slope without the class that leads, where that says more
    title: str


@dataclass(frozen=True)
class GridRow:
    """A method of the answer's table: its cells by ratio and the same in words."""

    method: str
    cells: list[GridCell | None]
    words: str


def in_words(cells: Sequence[tuple[str, str]], verbs: dict[str, str]) -> str:
    """Return (ratio, word) pairs as a phrase with one verb for each word that occurs."""
    every = [ratio for ratio, _ in cells]
    parts = []
    for word, verb in verbs.items():
        if ratios := [ratio for ratio, found in cells if found == word]:
            parts.append(f"{verb} {at_ratios(ratios, every)}")
    return "; ".join(parts)


def _cell(row: Any, without: str, *, against_control: bool) -> GridCell:
    sign = style.VERDICT_SIGNS.get(row.alpha_verdict, "")
    slope = f"α {style.number(row.alpha)}"
    alpha_interval = interval(row.alpha_low, row.alpha_high)
    spoken = f"against 1: {row.alpha_verdict}" if row.alpha_verdict else "against 1: no verdict"
    full = [
        f"{row.basis}, n = {row.n:g}",
        f"α {row.alpha!r}, {row.alpha_low!r} to {row.alpha_high!r}, {spoken}",
    ]
    if against_control:
        full.insert(0, row.reading or "no effect estimated")
        full.insert(1, f"difference {row.difference!r}, {row.difference_low!r} to "
                       f"{row.difference_high!r}")  # fmt: skip
        if math.isfinite(row.p_adjusted):
            full.insert(2, f"adjusted p {row.p_adjusted!r}")
    if row.note:
        full.append(row.note)
    known = math.isfinite(row.alpha_low) and math.isfinite(row.alpha_high)
    if not against_control:
        kind = KIND_OF_VERDICT.get(row.alpha_verdict, "none") if known else "none"
        return GridCell(
            kind, sign if known else "–", row.alpha_verdict if known else "no verdict",
            style.number(row.alpha), alpha_interval, "", without, "; ".join(full),
        )  # fmt: skip
    return GridCell(
        KINDS.get(row.reading, "none"),
        style.READING_SIGNS.get(row.reading, "–"),
        row.reading or "no effect estimated",
        style.signed(row.difference),
        interval(row.difference_low, row.difference_high, signed=True),
        f"{slope} {sign if known else ''}".strip(),
        without,
        "; ".join(full),
    )


def grid(data: StudyTables, cells: pd.DataFrame, *, against_control: bool) -> list[GridRow]:
    """Return one panel's table: methods down, ratios across."""
    without = _without_leading(data, cells)
    verbs = READING_VERBS if against_control else VERDICT_VERBS
    rows = []
    for method in data.methods:
        by_ratio = {row.ratio: row for row in cells[cells["method"] == method].itertuples()}
        if not by_ratio:
            continue
        shown = [
            _cell(
                by_ratio[ratio],
                without.get((method, ratio), ""),
                against_control=against_control,
            )
            if ratio in by_ratio
            else None
            for ratio in data.ratios
        ]
        pairs = [
            (ratio_text(r), by_ratio[r].reading if against_control else by_ratio[r].alpha_verdict)
            for r in data.ratios
            if r in by_ratio
        ]
        rows.append(GridRow(style.plain(method), shown, in_words(pairs, verbs) or "no verdict"))
    return rows


def _without_leading(data: StudyTables, cells: pd.DataFrame) -> dict[tuple[str, float], str]:
    """Return, by method and ratio, α without the class that leads, where slopes are narrow."""
    rows = _narrow(data).merge(cells[CELL], on=CELL).merge(data.influence, on=[*CELL, "state"])
    rows = rows[rows["class_name"] == rows["leading_class"]]
    return {
        (row.method, row.ratio): f"without {style.label(row.class_name)} "
        f"{style.number(row.mean)} ({interval(row.low_y, row.high_y)})"
        for row in rows.itertuples()
    }


def _narrow(data: StudyTables) -> pd.DataFrame:
    """Return the rows of pooled.csv of fine-tuned cells whose slopes rest on few classes."""
    return data.pooled[(data.pooled["state"] == "finetuned") & (data.pooled["narrow"] != "")]


def _narrow_facts(data: StudyTables, panel: tuple[str, str]) -> dict[str, str] | None:
    """Return what carries a panel's slopes where few classes do."""
    rows = of_panel(_narrow(data), panel)
    if rows.empty:
        return None
    row = rows.iloc[0]
    own = of_panel(data.influence, panel)
    own = own[(own["method"] == row["method"]) & (own["ratio"] == row["ratio"])]
    unnamed = own.loc[own["unnamed"] >= row["n"], "class_name"]
    return {
        "class_name": style.label(row["leading_class"]),
        "share": f"{100 * row['leading_share']:.4g}\N{NO-BREAK SPACE}%",
        "effective": style.number(row["effective_classes"]),
        "classes": f"{len(own):,}",
        "each": style.number(row["median_effective_classes"]),
        "why": row["narrow"],
        "unnamed": join([f"“{style.label(name)}”" for name in unnamed]),
    }


def _levels(cells: pd.DataFrame) -> str:
    """Return in words at which level the intervals stand, and over how many ratios."""
    found = []
    for level, size in (
        cells[["level", "family_size"]].dropna().drop_duplicates().itertuples(index=False)
    ):
        text = f"{100 * level:.4g} % intervals"
        family = 100 * (1 - (1 - level) * size)
        if size > 1 and family > 0:
            text += f" ({family:.4g} % family-wise over {size:g} ratios, Bonferroni)"
        found.append(text)
    return " and ".join(found) if found else "intervals"


def _reference_facts(row: pd.Series | None) -> dict[str, Any] | None:
    if row is None:
        return None
    known = math.isfinite(row["alpha_low"]) and math.isfinite(row["alpha_high"])
    return {
        "mean": style.number(row["alpha"]),
        "interval": interval(row["alpha_low"], row["alpha_high"]),
        "n": f"{row['n']:g}",
        "known": known,
        "verdict": row["alpha_verdict"] if known else "",
        "sign": style.VERDICT_SIGNS.get(row["alpha_verdict"], "") if known else "",
        "low": row["alpha_low"],
        "high": row["alpha_high"],
        "basis": row["basis"],
        "title": f"{row['alpha']!r}, {row['alpha_low']!r} to {row['alpha_high']!r}",
        "note": row["note"],
    }


def verdict_counts(cells: pd.DataFrame) -> dict[str, int]:
    """Return how many cells have each verdict against 1, and how many have none under ""."""
    return {word: int((cells["alpha_verdict"] == word).sum()) for word in (*VERDICTS, "")}


def panel_facts(data: StudyTables, table: pd.DataFrame, panel: tuple[str, str]) -> dict[str, Any]:
    """Return what the page says of one dataset and architecture: numbers written out, the grid."""
    accuracies = of_panel(accuracy_summary(data.recall), panel)
    dense = next(accuracies[accuracies["method"] == DENSE].itertuples(), None)
    cells = of_panel(pruning_cells(table, data), panel)
    control = reference(table, panel, CONTROL)
    alpha = of_panel(data.alpha, panel)
    alpha = alpha[(alpha["state"] == "finetuned") & alpha["method"].isin(data.methods)]
    pooled = of_panel(data.pooled, panel)
    small = pooled[(pooled["state"] == "finetuned") & ~pooled["per_model"].astype(bool)]
    against_control = bool((cells["reading"] != "").any())
    return {
        "dataset": panel[0],
        "architecture": panel[1],
        "name": f"{panel[0]} / {panel[1]}",
        "anchor": f"panel-{data.panels.index(panel) + 1}",
        "dense_n": 0 if dense is None else int(dense.n),
        "dense_accuracy": "–" if dense is None else style.percent(dense.mean),
        "dense_interval": "" if dense is None else share_interval(dense.low, dense.high),
        "control": _reference_facts(control),
        "reseed": _reference_facts(reference(table, panel, "reseed")),
        "against_control": against_control,
        "grid": grid(data, cells, against_control=against_control),
        "cells": len(cells),
        "readings": reading_counts(cells),
        "verdicts": verdict_counts(cells),
        "bases": [BASES.get(basis, basis) for basis in dict.fromkeys(cells["basis"])],
        "narrow": _narrow_facts(data, panel),
        "two_classes": _two_classes(data, panel),
        "pooled_basis": int((cells["basis"] == POOLED).sum()),
        "small": {
            "cells": len(small),
            "of": int((pooled["state"] == "finetuned").sum()),
            "least": int(small["unstable"].min()),
            "most": int(small["unstable"].max()),
            "n": count_range(small["n"].tolist()),
            "reliability": style.number(small["reliability"].median()),
        }
        if len(small)
        else None,
        "box_n": count_range(alpha.groupby(["method", "ratio"]).size().tolist()),
    }


def _two_classes(data: StudyTables, panel: tuple[str, str]) -> str:
    """Return the names of a panel's classes if they are two."""
    names = of_panel(data.recall, panel).drop_duplicates("class")["class_name"]
    return " and ".join(f"“{style.label(name)}”" for name in names) if len(names) == 2 else ""


def answer_facts(
    data: StudyTables, table: pd.DataFrame, panels: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the numbers of the summary's sentences, over all panels."""
    cells = pruning_cells(table, data)
    lower, higher = (
        cells[cells["alpha_verdict"] == verdict]
        for verdict in ("de-intensification", "intensification")
    )
    undecided = cells[cells["alpha_verdict"] == "inconclusive"]
    datasets: dict[str, list[str]] = {}
    for dataset, architecture in data.panels:
        datasets.setdefault(dataset, []).append(architecture)
    readings = reading_counts(cells)
    return {
        "networks": len(data.panels),
        "cells": len(cells),
        "readings": readings,
        "estimated": len(cells) - readings[""],
        "counts": verdict_counts(cells),
        "lower_as_control": int((lower["reading"] == AS_CONTROL).sum()),
        "lower_beyond": int((lower["reading"] == BEYOND_DOWN).sum()),
        "higher_as_control": int((higher["reading"] == AS_CONTROL).sum()),
        "undecided_beyond": int((undecided["reading"] == BEYOND_UP).sum()),
        "lower_but_up": int((lower["reading"] == BEYOND_UP).sum()),
        "trained": join([f"{join(names)} on {dataset}" for dataset, names in datasets.items()]),
        "seeds_count": count_range([panel["dense_n"] for panel in panels]),
        "seeds_noun": _seeds_noun([panel["dense_n"] for panel in panels]),
        "seeds": seeds_in_words([panel["dense_n"] for panel in panels]),
        "methods": len(data.methods),
        "ratios": [ratio_text(ratio) for ratio in data.ratios],
        "levels": _levels(cells),
        "has_control": has_control(data),
        "control_failed": bool((data.failures["method"] == CONTROL).any()),
        "has_effects": bool((cells["reading"] != "").any()),
        "nonfinite": int((~data.alpha["alpha"].abs().lt(math.inf)).sum()),
        "slopes": len(data.alpha),
    }


def _seeds_noun(counts: Sequence[int]) -> str:
    return ("seed" if set(counts) == {1} else "seeds") + (" each" if len(counts) > 1 else "")


def seeds_in_words(counts: Sequence[int]) -> str:
    """Return how many seeds the networks have: "30 seeds each", "1 seed", "28 to 30 seeds each"."""
    return f"{count_range(counts)} {_seeds_noun(counts)}"


def reseed_facts(panels: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return for each network with a reseed baseline its α and what that says in words."""
    found = []
    for panel in panels:
        item = panel["reseed"]
        if not item:
            continue
        if not item["known"]:
            words = "no interval can be given"
        elif item["low"] > 0:
            words = "classes that are weak in one are weak in the other"
            if item["verdict"] == "de-intensification":
                words += ", though less so: training anew lowers α below 1 without any pruning"
        elif item["high"] < 0:
            words = "classes that are weak in one are strong in the other"
        else:
            words = "a class’s weakness in one is not known to recur in the other"
        found.append({**item, "words": words,
                      "where": f"{panel['architecture']} on {panel['dataset']}"})  # fmt: skip
    return found
