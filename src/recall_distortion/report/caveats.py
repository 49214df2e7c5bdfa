"""What the page says about its own limits: test sets, networks, fitters, what has no estimate."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from recall_distortion.inference import one_dense
from recall_distortion.inference.notes import DISAGREE, NOT_ESTIMATED
from recall_distortion.inference.questions.summary_items import kind_of_model
from recall_distortion.report import style
from recall_distortion.report.computed import cells_made
from recall_distortion.report.numbers import STUDY, numbers
from recall_distortion.report.phrases import join, plural, span_of
from recall_distortion.report.tables import ReportTables
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import BOOTSTRAP, RETRAINED, Panel, format_ratio

# What the questions whose notes the page shows are called there.
_QUESTIONS = {
    "slopes": "verdicts",
    "pooled": "pooled slopes",
    "effects": "effects",
    "equal_accuracy": "equal accuracy",
    "equal_sparsity": "equal sparsity",
    "tests": "tests",
    "seeds_needed": "seeds needed",
    "tradeoff": "accuracy beside distortion",
}


def test_sets(data: ReportTables) -> list[dict[str, Any]]:
    """Return for each dataset how many test images it has, and what an intercept would change."""
    found = []
    for dataset in dict.fromkeys(panel.dataset for panel in data.panels):
        of_set = numbers(data, Panel(dataset, "", ""), "test_set")
        least, most = of_set.count("class/least"), of_set.count("class/most")
        shift = of_set.value("intercepts/shift")
        found.append(
            {
                "dataset": dataset,
                "images": f"{of_set.count('images'):,}",
                "classes": of_set.count("classes"),
                "least": least,
                "most": most,
                "balanced": least == most,
                "checked": of_set.count("intercepts"),
                "shift": _at_most(shift) if math.isfinite(shift) else "",
                "away": of_set.count("intercepts/away"),
            }
        )
    return found


def _at_most(value: float, digits: int = 3) -> str:
    """Return the largest change as words: "at most 0.434", or "less than 0.001"."""
    least = 10.0**-digits
    if value < least / 2:
        return f"less than {style.number(least, digits)}"
    return f"at most {style.number(value, digits)}"


def mixed_models(data: ReportTables) -> dict[str, Any]:
    """Return how the mixed models went: fits, how well the fitters agree, which to believe."""
    found = numbers(data, STUDY, "mixed")
    fits = data.mixed_model_fits[data.mixed_model_fits["fitter"] != BOOTSTRAP]
    absent = fits.loc[fits["message"].str.startswith(NOT_ESTIMATED), "message"]
    apart = fits.loc[fits["message"].str.startswith(DISAGREE), "model"]
    reasons = absent.str.removeprefix(NOT_ESTIMATED).str.lstrip(": ")
    return {
        "models": found.count("models"),
        "fits": found.count("fits"),
        "absent": found.count("models/absent"),
        "reasons": "; ".join(dict.fromkeys(reason for reason in reasons if reason)),
        "apart": list(dict.fromkeys(apart)),
        "disagree": found.count("models/disagree"),
        "fitters": join(list(dict.fromkeys(fits["fitter"]))),
        "singular": found.count("fits/singular"),
        "unconverged": found.count("fits/unconverged"),
        "rows": found.count("terms"),
        "terms": found.count("terms/both"),
        "difference": _small(found.value("terms/difference")),
        "error_difference": _small(found.value("terms/error_difference")),
        "verdicts_differ": found.count("terms/verdicts_differ"),
        "believed": believed(data),
    }


def _small(value: float) -> str:
    return style.scientific(value) if math.isfinite(value) else ""


def believed(data: ReportTables) -> list[dict[str, Any]]:
    """Return for each kind of mixed model what to believe, of how many, and their spreads."""
    found = numbers(data, STUDY, "mixed")
    said = data.mixed_model_fits[data.mixed_model_fits["believe"] != ""]
    pairs = zip(said["model"].map(kind_of_model), said["believe"], strict=True)
    return [
        {
            "kind": kind.replace("_", " "),
            "believe": believe,
            "models": found.count(f"{kind}/{believe}/models"),
            "spread": " to ".join(
                dict.fromkeys(
                    style.number(found.value(item), 1)
                    for end in ("least", "most")
                    if (item := f"{kind}/{believe}/spread/{end}") in found.items
                )
            ),
        }
        for kind, believe in dict.fromkeys(pairs)
    ]


def notes(data: ReportTables) -> dict[str, Any]:
    """Return the most frequent notes of the tables with how many rows of which question have them.

    ``more`` counts the others.
    """
    found = numbers(data, STUDY, "notes")
    shown: dict[str, list[str]] = {}
    for item in found.items:
        question, slash, note = item.partition("/")
        if slash:
            rows = plural(found.count(item), "row")
            shown.setdefault(note, []).append(f"{rows} of {_QUESTIONS.get(question, question)}")
    return {
        "shown": [(note, join(where)) for note, where in shown.items()],
        "more": found.count("further"),
    }


def broken(data: ReportTables) -> list[dict[str, Any]]:
    """Return, by panel, the retrained cells whose networks know little more than one class."""
    found = []
    for panel in data.panels:
        of_cells = numbers(data, panel, "broken")
        if not of_cells.count("cells"):
            continue
        cells = of_panel(data.view("accuracy"), panel)
        cells = cells[cells["state"] == RETRAINED]
        places = zip(cells["method"], cells["ratio"], strict=True)
        items = [f"cell/{method}/{format_ratio(ratio)}" for method, ratio in places]
        named = cells[pd.Series(items, index=cells.index, dtype=object).isin(of_cells.items)]
        found.append(
            {
                "cells": cells_made(cells, named),
                "network": data.place(panel),
                "accuracy": style.percent(of_cells.value("accuracy")),
                "one_class": style.percent(of_cells.value("one_class")),
                "dense": bool(of_cells.count("dense_as_well")),
            }
        )
    return found


def few_seeds(data: ReportTables) -> str:
    """Return what so few seeds leave unanswerable; "" of as many as the bootstrap needs."""
    limits = numbers(data, STUDY, "limits")
    if limits.count("one_seed"):
        return (
            "One seed: without a spread between seeds there is no interval, test or verdict; the "
            "slopes are single observations."
        )
    if limits.count("few_seeds"):
        return (
            f"{span_of(numbers(data, STUDY, 'answer'), 'seeds')} seeds: the bootstrap needs "
            f"{limits.count('bootstrap_needs')}, so where the test set is too small for the slopes "
            "of single networks there is no interval and no verdict; elsewhere t intervals from "
            "so few are wide and lean on normality."
        )
    return ""


def missing(data: ReportTables) -> list[str]:
    """Return what the design of the study leaves unanswerable, and why, as sentences."""
    limits = numbers(data, STUDY, "limits")
    found = list(filter(None, [few_seeds(data)]))
    if not data.methods:
        found.append("No pruned network was evaluated: there is no pruning to judge.")
    elif len(data.ratios) == 1:
        found.append(
            "One compression ratio: whether a larger ratio intensifies more cannot be answered."
        )
    places = [data.place(Panel(*key)) for key in one_dense.panels(data.networks).to_numpy()]
    if places:
        found.append(
            f"One dense network, which was brought and not trained here, for all seeds of "
            f"{join(places)}: they vary by retraining alone, so intervals hold for this network, "
            "and what another dense network would show, reseed among it, cannot be answered."
        )
    if limits.count("classes") == 1:
        found.append(
            "One class: its recall is the accuracy, every balance is zero and no slope exists."
        )
    return found
