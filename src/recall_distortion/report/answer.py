"""The report's answer: the verdicts of each network as a grid and in words, and their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.report import style
from recall_distortion.report.summaries import accuracy_summary, against_control, ratio_text
from recall_distortion.report.tables import CONTROL, DENSE, VERDICTS, StudyTables, of_panel

_RELATIONS = {
    "above": "above control",
    "below": "below control",
    "overlaps": "overlaps control",
    "": "",
}
_VERBS = {
    "de-intensification": "de-intensifies at",
    "inconclusive": "is inconclusive at",
    "intensification": "intensifies at",
}


@dataclass(frozen=True)
class GridCell:
    """A verdict of the answer's table."""

    verdict: str
    sign: str
    mean: str
    interval: str
    relation: str
    title: str
    n: int


@dataclass(frozen=True)
class GridRow:
    """A method of the answer's table: its cells by ratio and the same in words."""

    method: str
    cells: list[GridCell | None]
    words: str


def join(items: Sequence[str]) -> str:
    """Return items as a phrase: a, b and c."""
    items = [str(item) for item in items]
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def count_range(values: Sequence[float]) -> str:
    """Return counts as "30" when all are equal, else as "28 to 30"."""
    numbers = sorted({int(value) for value in values if math.isfinite(value)})
    if not numbers:
        return "0"
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def in_words(cells: Sequence[tuple[str, str]], control_verdict: str) -> str:
    """Return the verdicts of (ratio, verdict) pairs as a phrase, read against the control's."""
    parts = []
    for verdict, verb in _VERBS.items():
        ratios = [ratio for ratio, found in cells if found == verdict]
        if not ratios:
            continue
        where = "every ratio" if len(ratios) == len(cells) and len(cells) > 1 else join(ratios)
        also = verdict != "inconclusive" and verdict == control_verdict
        parts.append(f"{verb} {where}" + (", as the control does" if also else ""))
    return "; ".join(parts) if parts else "no interval"


def _interval(row: Any, digits: int = 2) -> str:
    if not (math.isfinite(row.low) and math.isfinite(row.high)):
        return "no interval"
    return f"{style.number(row.low, digits)} to {style.number(row.high, digits)}"


def _percent_interval(row: Any) -> str:
    if not (math.isfinite(row.low) and math.isfinite(row.high)):
        return ""
    return f"{style.number(100 * row.low, 1)} to {style.percent(row.high)}"


def _grid(data: StudyTables, fine: pd.DataFrame, control_verdict: str) -> list[GridRow]:
    rows = []
    present = [m for m in data.methods if (fine["method"] == m).any()]
    for method in present:
        by_ratio = {row.ratio: row for row in fine[fine["method"] == method].itertuples()}
        cells: list[GridCell | None] = []
        for ratio in data.ratios:
            row = by_ratio.get(ratio)
            if row is None:
                cells.append(None)
                continue
            cells.append(
                GridCell(
                    verdict=row.verdict,
                    sign=style.VERDICT_SIGNS.get(row.verdict, "–"),
                    mean=style.number(row.mean),
                    interval=_interval(row),
                    relation=_RELATIONS[row.relation],
                    title=f"{row.verdict}: mean {row.mean!r}, "
                    f"interval {row.low!r} to {row.high!r}, n = {row.n:g}",
                    n=int(row.n) if math.isfinite(row.n) else 0,
                )
            )
        pairs = [(ratio_text(r), by_ratio[r].verdict) for r in data.ratios if r in by_ratio]
        rows.append(GridRow(style.plain(method), cells, in_words(pairs, control_verdict)))
    return rows


def _levels(intervals: pd.DataFrame) -> str:
    """Return in words at which level the intervals stand, and over how many ratios."""
    found = []
    for level, size in (
        intervals[["level", "family_size"]].dropna().drop_duplicates().itertuples(index=False)
    ):
        text = f"{100 * level:.4g} % intervals"
        if size > 1:
            family = 100 * (1 - (1 - level) * size)
            text += f" ({family:.4g} % family-wise over {size:g} ratios, Bonferroni)"
        found.append(text)
    return " and ".join(found) if found else "intervals"


def panel_facts(data: StudyTables, panel: tuple[str, str]) -> dict[str, Any]:
    """Return what the page says of one dataset and architecture: numbers written out, the grid."""
    accuracies = of_panel(accuracy_summary(data.recall), panel)
    dense = next(accuracies[accuracies["method"] == DENSE].itertuples(), None)
    intervals = of_panel(data.intervals, panel)
    intervals = intervals.assign(relation=against_control(intervals))
    fine = intervals[intervals["state"] == "finetuned"]
    control = next(fine[fine["method"] == CONTROL].itertuples(), None)
    reseed = next(intervals[intervals["method"] == "reseed"].itertuples(), None)
    pruning = fine[fine["method"].isin(data.methods)]
    alpha = of_panel(data.alpha, panel)
    alpha = alpha[(alpha["state"] == "finetuned") & alpha["method"].isin(data.methods)]
    return {
        "dataset": panel[0],
        "architecture": panel[1],
        "anchor": f"panel-{data.panels.index(panel) + 1}",
        "dense_n": 0 if dense is None else int(dense.n),
        "dense_accuracy": "–" if dense is None else style.percent(dense.mean),
        "dense_interval": "" if dense is None else _percent_interval(dense),
        "control": control
        and {
            "mean": style.number(control.mean),
            "interval": _interval(control),
            "n": f"{control.n:g}",
            "verdict": control.verdict,
            "sign": style.VERDICT_SIGNS.get(control.verdict, ""),
        },
        "reseed": reseed
        and {
            "mean": style.number(reseed.mean),
            "interval": _interval(reseed),
            "n": f"{reseed.n:g}",
        },
        "grid": _grid(data, fine, control.verdict if control else ""),
        "pruning": pruning,
        "box_n": count_range(alpha.groupby(["method", "ratio"]).size().tolist()),
    }


def answer_facts(data: StudyTables, panels: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the numbers of the summary's sentences, over all panels."""
    pruning = pd.concat([panel["pruning"] for panel in panels]) if panels else data.intervals[:0]
    counts = {verdict: int((pruning["verdict"] == verdict).sum()) for verdict in VERDICTS}
    shared = below = 0
    for panel in panels:
        cells = panel["pruning"]
        lower = cells["verdict"] == "de-intensification"
        if panel["control"] and panel["control"]["verdict"] == "de-intensification":
            shared += int(lower.sum())
            below += int((lower & (cells["relation"] == "below")).sum())
    controls = [panel for panel in panels if panel["control"]]
    datasets: dict[str, list[str]] = {}
    for dataset, architecture in data.panels:
        datasets.setdefault(dataset, []).append(architecture)
    return {
        "networks": len(data.panels),
        "cells": len(pruning),
        "counts": counts,
        "shared": shared,
        "below": below,
        "above_control": int((pruning["relation"] == "above").sum()),
        "compared": int((pruning["relation"] != "").sum()),
        "trained": join([f"{join(names)} on {dataset}" for dataset, names in datasets.items()]),
        "seeds": count_range([panel["dense_n"] for panel in panels]),
        "methods": len(data.methods),
        "ratios": [ratio_text(ratio) for ratio in data.ratios],
        "levels": _levels(pruning),
        "controls": controls,
        "controls_below": sum(
            panel["control"]["verdict"] == "de-intensification" for panel in controls
        ),
        "nonfinite": int((~np.isfinite(data.alpha["alpha"])).sum()),
        "slopes": len(data.alpha),
    }
