"""The report's answer: what pruning does beyond the control, as a grid, in counts and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from recall_distortion.inference.questions.pooled import NEVER_NAMED, ONE_EACH
from recall_distortion.inference.questions.summary_items import APART, EFFECTS, NONE
from recall_distortion.report import style
from recall_distortion.report.numbers import STUDY, Numbers, numbers
from recall_distortion.report.phrases import (
    at_ratios,
    interval,
    join,
    percents,
    share_interval,
    span,
    span_of,
)
from recall_distortion.report.tables import ReportTables
from recall_distortion.report.while_training import of_arm, while_training
from recall_distortion.tables.parts import CROSSFIT, MEAN
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import (
    AS_CONTROL,
    BEYOND_CONTROL,
    CELL,
    CELL_STATE,
    CONTROL,
    CONTROLS,
    DEINTENSIFICATION,
    DENSE,
    INCONCLUSIVE,
    INTENSIFICATION,
    NOT_DISTINGUISHABLE,
    RESEED,
    RETRAINED,
    VERDICTS,
    Panel,
    format_ratio,
)

Said = tuple[str, str]  # a verdict, and a reading where it is of a difference from the control

VERDICT_VERBS: dict[Said, str] = {
    (DEINTENSIFICATION, ""): "de-intensifies at",
    (INCONCLUSIVE, ""): "is inconclusive at",
    (INTENSIFICATION, ""): "intensifies at",
    ("", ""): "has no interval at",
}
READING_VERBS: dict[Said, str] = {
    (DEINTENSIFICATION, BEYOND_CONTROL): "de-intensifies beyond the control at",
    (INCONCLUSIVE, AS_CONTROL): "does as the control at",
    (INCONCLUSIVE, NOT_DISTINGUISHABLE): "cannot be distinguished from the control at",
    (INTENSIFICATION, BEYOND_CONTROL): "intensifies beyond the control at",
    ("", ""): "has no estimated effect at",
}
BASES = {
    MEAN: "mean of single networks’ slopes, t interval",
    CROSSFIT: "cross-fitted slope of all networks together, bootstrap interval",
}
_NO_EFFECT, _NO_VERDICT = "no effect estimated", "no verdict"


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


def in_words(cells: Sequence[tuple[str, Said]], verbs: Mapping[Said, str]) -> str:
    """Return ratios with what is said of each as a phrase with one verb for each that occurs."""
    every = [ratio for ratio, _ in cells]
    parts = []
    for said, verb in verbs.items():
        if ratios := [ratio for ratio, found in cells if found == said]:
            parts.append(f"{verb} {at_ratios(ratios, every)}")
    return "; ".join(parts)


def _known(low: float, high: float) -> bool:
    return math.isfinite(low) and math.isfinite(high)


def _cell(row: Any, without: str) -> GridCell:
    """Return a cell without a control to compare with: its slope against 1."""
    known = _known(row.alpha_low, row.alpha_high)
    look = style.look(row.alpha_verdict if known else "")
    return GridCell(
        look.kind,
        look.sign or "–",
        look.words or _NO_VERDICT,
        style.number(row.alpha),
        interval(row.alpha_low, row.alpha_high),
        "",
        without,
        "; ".join([*_against_one(row), *filter(None, [row.note])]),
    )


def _against_one(row: Any) -> list[str]:
    verdict = row.alpha_verdict or _NO_VERDICT
    return [
        f"{BASES.get(row.basis, row.basis)}, n = {row.n:g}",
        f"α {row.alpha!r}, {row.alpha_low!r} to {row.alpha_high!r}, against 1: {verdict}",
    ]


def _cell_beside_control(row: Any, without: str) -> GridCell:
    """Return a cell that is compared with the control: the difference, and the slope below."""
    look = style.look(row.verdict, row.reading) if row.reading else style.look("")
    sign = style.look(row.alpha_verdict).sign if _known(row.alpha_low, row.alpha_high) else ""
    difference = f"difference {row.difference!r}, {row.difference_low!r} to {row.difference_high!r}"
    adjusted = f"adjusted p {row.p_adjusted!r}" if math.isfinite(row.p_adjusted) else ""
    spoken = look.words or _NO_EFFECT
    full = [spoken, difference, adjusted, *_against_one(row), row.note]
    return GridCell(
        look.kind,
        look.sign or "–",
        spoken,
        style.signed(row.difference),
        interval(row.difference_low, row.difference_high, signed=True),
        f"α {style.number(row.alpha)} {sign}".strip(),
        without,
        "; ".join(filter(None, full)),
    )


def grid(data: ReportTables, cells: pd.DataFrame, *, against_control: bool) -> list[GridRow]:
    """Return one panel's table: methods down, ratios across."""
    without = _without_leading(data, cells)
    verbs = READING_VERBS if against_control else VERDICT_VERBS
    shown = _cell_beside_control if against_control else _cell
    rows = []
    for method in data.methods:
        by_ratio = {row.ratio: row for row in cells[cells["method"] == method].itertuples()}
        if not by_ratio:
            continue
        every = [
            shown(by_ratio[ratio], without.get((method, ratio), "")) if ratio in by_ratio else None
            for ratio in data.ratios
        ]
        said = [
            (format_ratio(ratio), _said(by_ratio[ratio], against_control))
            for ratio in data.ratios
            if ratio in by_ratio
        ]
        rows.append(GridRow(style.plain(method), every, in_words(said, verbs) or _NO_VERDICT))
    return rows


def _said(row: Any, against_control: bool) -> Said:
    if against_control:
        return (row.verdict, row.reading) if row.reading else ("", "")
    return row.alpha_verdict, ""


def _without_leading(data: ReportTables, cells: pd.DataFrame) -> dict[tuple[str, float], str]:
    """Return, by method and ratio, α without the class that leads, where slopes are narrow."""
    rows = _narrow(data).merge(cells[CELL], on=CELL)
    rows = rows.merge(data.view("influence"), on=CELL_STATE, suffixes=("_cell", ""))
    rows = rows[rows["class"] == rows["leading_index"]]
    return {
        (row.method, row.ratio): f"without {style.label(row.class_name)} "
        f"{style.number(row.mean)} ({interval(row.low, row.high)})"
        for row in rows.itertuples()
    }


def _narrow(data: ReportTables) -> pd.DataFrame:
    """Return the pooled slopes of retrained cells that rest on few classes."""
    pooled = data.view("pooled")
    return pooled[(pooled["state"] == RETRAINED) & (pooled["narrow"] != "")]


def _narrow_facts(data: ReportTables, panel: Panel) -> dict[str, Any] | None:
    """Return what carries a panel's slopes where few classes do."""
    rows = of_panel(_narrow(data), panel)
    if rows.empty:
        return None
    row = rows.iloc[0]
    own = of_panel(data.view("influence"), panel)
    own = own[(own["method"] == row["method"]) & (own["ratio"] == row["ratio"])]
    never = [style.label(name) for name in own.loc[own["unnamed"] >= row["n"], "class_name"]]
    return {
        "class_name": style.label(row["leading_class"]),
        "share": f"{100 * row['leading_share']:.4g}\N{NO-BREAK SPACE}%",
        "effective": style.number(row["effective_classes"]),
        "classes": f"{numbers(data, panel, 'answer').count('classes'):,}",
        "each": style.number(row["median_effective_classes"]),
        "never": row["narrow"] == NEVER_NAMED,
        "one_each": row["narrow"] == ONE_EACH,
        "unnamed": join([f"“{name}”" for name in never]),
        "several_unnamed": len(never) > 1,
    }


def _levels(found: Numbers) -> str:
    """Return in words at which level the intervals stand, and over how many ratios."""
    parts: list[str] = []
    while (level := f"level/{len(parts) + 1}") in found.items:
        text = f"{percents([found.value(level)])} intervals"
        size, together = found.value(f"{level}/family_size"), found.value(f"{level}/together")
        if size > 1 and together > 0:
            text += f" ({percents([together])} for {size:g} ratios together, Bonferroni)"
        parts.append(text)
    return " and ".join(parts) if parts else "intervals"


def reference(data: ReportTables, panel: Panel, method: str) -> pd.Series | None:
    """Return what leads of a panel's control or reseed baseline; None without one."""
    rows = of_panel(data.leading, panel)
    rows = rows[rows["method"] == method]
    return None if rows.empty else rows.iloc[0]


def _reference_facts(row: pd.Series | None) -> dict[str, Any] | None:
    if row is None:
        return None
    alpha, low, high = (float(row[name]) for name in ("alpha", "alpha_low", "alpha_high"))
    known = _known(low, high)
    look = style.look(row["alpha_verdict"] if known else "")
    return {
        "mean": style.number(alpha),
        "interval": interval(low, high),
        "n": f"{row['n']:g}",
        "known": known,
        "verdict": look.words,
        "sign": look.sign,
        "title": f"{alpha!r}, {low!r} to {high!r}",
    }


def _own_controls(data: ReportTables, panel: Panel) -> list[dict[str, Any]]:
    """Return the panel's controls of other trainings, and what is read against each."""
    return [
        {**facts, "name": arm, "methods": of_arm(data, arm)}
        for arm in CONTROLS[1:]
        if (facts := _reference_facts(reference(data, panel, arm)))
    ]


def _counts(found: Numbers) -> dict[str, Any]:
    """Return how many cells there are, have each verdict against 1, have each effect."""
    return {
        "cells": found.count("cells"),
        "verdicts": {word: found.count(f"cells/{word}") for word in (*VERDICTS, NONE, APART)},
        "effects": {item: found.count(f"effects/{item}") for item in (*EFFECTS, NONE)},
    }


def panel_facts(data: ReportTables, panel: Panel) -> dict[str, Any]:
    """Return what the page says of one panel: numbers written out, the grid."""
    found = numbers(data, panel, "answer")
    cells = of_panel(data.cells, panel)
    against_control = bool((cells["reading"] != "").any())
    return {
        "name": data.title(panel),
        "where": data.place(panel),
        "anchor": f"panel-{data.panels.index(panel) + 1}",
        "dense_n": found.count("dense_networks"),
        **_dense_facts(data, panel),
        "control": _reference_facts(reference(data, panel, CONTROL)),
        "own_controls": _own_controls(data, panel),
        "reseed": _reference_facts(reference(data, panel, RESEED)),
        "reseed_recurs": found.value("reseed_recurs"),
        "against_control": against_control,
        "grid": grid(data, cells, against_control=against_control),
        **_counts(found),
        "bases": [BASES.get(basis, basis) for basis in dict.fromkeys(cells["basis"])],
        "narrow": _narrow_facts(data, panel),
        "two_classes": _two_classes(data, panel, found),
        "small": {
            "unstable": span_of(found, "small/unstable"),
            "n": span_of(found, "small/networks"),
            "reliability": style.number(found.value("small/reliability")),
        }
        if found.count("small/cells")
        else None,
        "box_n": span_of(found, "networks"),
    }


def _dense_facts(data: ReportTables, panel: Panel) -> dict[str, str]:
    """Return the mean accuracy of a panel's dense networks with its interval and its level."""
    rows = of_panel(data.view("accuracy"), panel)
    row = next(rows[rows["method"] == DENSE].itertuples(), None)
    if row is None:
        return {"dense_accuracy": "–", "dense_interval": ""}
    ends = share_interval(row.low, row.high)
    return {
        "dense_accuracy": style.percent(row.mean),
        "dense_interval": f"{percents([row.level])} interval {ends}" if ends else "",
    }


def _two_classes(data: ReportTables, panel: Panel, found: Numbers) -> str:
    """Return the names of a panel's classes if they are two."""
    if found.count("classes") != 2:
        return ""
    names = of_panel(data.recall, panel).drop_duplicates("class")["class_name"]
    return join([f"“{style.label(name)}”" for name in names])


def answer_facts(data: ReportTables) -> dict[str, Any]:
    """Return the numbers of the summary's sentences, over all panels."""
    found = numbers(data, STUDY, "answer")
    datasets: dict[str, list[str]] = {}
    for panel in data.panels:
        names = datasets.setdefault(panel.dataset, [])
        if panel.architecture not in names:
            names.append(panel.architecture)
    trained = join([f"{join(names)} on {dataset}" for dataset, names in datasets.items()])
    recipes = list(dict.fromkeys(panel.recipe for panel in data.panels))
    if data.several_recipes:
        trained += f" by the recipes {join(recipes)}"
    return {
        "panels": found.count("panels"),
        "several_datasets": len(datasets) > 1,
        "networks": sum(map(len, datasets.values())),
        "recipes": len(recipes) if data.several_recipes else 0,
        **_counts(found),
        "lower_as_control": found.count(f"{DEINTENSIFICATION}/as_control"),
        "lower_but_up": found.count(f"{DEINTENSIFICATION}/intensifies"),
        "higher_as_control": found.count(f"{INTENSIFICATION}/as_control"),
        "undecided_beyond": found.count(f"{INCONCLUSIVE}/intensifies"),
        "trained": trained,
        **_seeds(found),
        "methods": found.count("methods"),
        "quantizers": len(data.quantizers),
        "ratios": [format_ratio(ratio) for ratio in data.ratios],
        "levels": _levels(found),
        **while_training(data),
        "own_controls": bool(data.recall["method"].isin(CONTROLS[1:]).any()),
        "has_control": bool(data.recall["method"].isin(CONTROLS).any()),
        "control_failed": found.count("control_failures"),
        "has_effects": bool((data.cells["reading"] != "").any()),
        "nonfinite": found.count("slopes/not_finite"),
        "slopes": f"{found.count('slopes'):,}",
        "failures": found.count("failures"),
    }


def _seeds(found: Numbers) -> dict[str, str]:
    ends = found.count("seeds/least"), found.count("seeds/most")
    count, noun = seeds_in_words(*ends, panels=found.count("panels"))
    return {"seeds_count": count, "seeds_noun": noun, "seeds": f"{count} {noun}"}


def seeds_in_words(least: int, most: int, *, panels: int) -> tuple[str, str]:
    """Return how many seeds there are, and their noun: "30" "seeds each"; "1" "seed"."""
    noun = "seed" if least == most == 1 else "seeds"
    return span(least, most), noun + (" each" if panels > 1 else "")


def reseed_facts(panels: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return for each panel with a reseed baseline its α and what that says in words."""
    found = []
    for panel in panels:
        item, recurs = panel["reseed"], panel["reseed_recurs"]
        if not item:
            continue
        if not item["known"]:
            words = "no interval can be given"
        elif recurs > 0:
            words = "classes that are weak in one are weak in the other"
            if item["verdict"] == DEINTENSIFICATION:
                words += ", though less so: a new seed alone lowers α below 1, without any pruning"
        elif recurs < 0:
            words = "classes that are weak in one are strong in the other"
        else:
            words = "whether classes that are weak in one are weak in the other remains open"
        found.append({**item, "words": words, "where": panel["where"]})
    return found
