"""What the sections say in words: accuracy, classes, seeds, sparsity, published cells."""

from __future__ import annotations

from typing import Any

from recall_distortion.inference.questions.summary_items import OTHERS
from recall_distortion.inference.questions.tradeoff import BOTH
from recall_distortion.report import style
from recall_distortion.report.numbers import STUDY, Numbers, numbers
from recall_distortion.report.phrases import (
    cells_text,
    percents,
    plural,
    span_of,
)
from recall_distortion.report.tables import ReportTables, order_methods
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import CONTROLS, PANEL, RETRAINED, Panel

# More cells than this are counted in a sentence, not named.
MOST_NAMED = 12
MOST_CLASSES = 3  # named as those that verdicts hang on


def tradeoff_facts(data: ReportTables) -> dict[str, Any] | None:
    """Return whether any cell improves accuracy and balance together; None without estimates."""
    fine = data.view("tradeoff")
    fine = fine[fine["state"] == RETRAINED]
    cells = fine[fine["method"].isin(data.methods)]
    if cells.empty:
        return None
    found = numbers(data, STUDY, "tradeoff")
    both = cells[cells["improves"] == BOTH]
    control = fine[fine["method"].isin(CONTROLS) & (fine["improves"] == BOTH)]
    names = ("cells", "unknown", "both", "accuracy", "balance", "neither", "worse")
    return {
        **{name: found.count(name) for name in names},
        "named": cells_text(data, both) if len(both) <= MOST_NAMED else "",
        "beyond_control": found.count("both/beyond_control"),
        "compared": found.count("both/compared"),
        "controls": list(
            dict.fromkeys(data.place(Panel(*row)) for row in control[PANEL].itertuples(index=False))
        ),
        "has_control": found.count("controls"),
        "grown": found.count("variance/grown"),
        "measured": found.count("variance"),
        "equal": {
            "cells": found.count("equal"),
            "more": found.count("equal/more"),
            "less": found.count("equal/less"),
            "against": sorted({*data.view("equal_accuracy")["reference"]}),
        },
    }


def class_facts(data: ReportTables) -> dict[str, Any] | None:
    """Return how many verdicts hang on a single class, and on which; None without estimates."""
    rows = data.view("influence")
    if rows.empty:
        return None
    found = numbers(data, STUDY, "classes")
    counts = []
    for panel in data.panels:
        where = f" of {data.place(panel)}" if len(data.panels) > 1 else ""
        hanging = numbers(data, panel, "classes")
        named = of_panel(rows, panel).drop_duplicates("class")
        for index, name in zip(named["class"], named["class_name"], strict=True):
            if count := hanging.count(f"hanging/{index}"):
                words = f"class {style.label(name)}{where} ({plural(count, 'cell')})"
                counts.append((count, words))
    counts.sort(key=lambda pair: -pair[0])
    return {
        "cells": found.count("cells"),
        "hanging": found.count("hanging"),
        "changes": found.count("changes"),
        "reversed": found.count("changes/reversed"),
        "most": [words for _, words in counts[:MOST_CLASSES]],
    }


def over_both_facts(data: ReportTables) -> dict[str, Any] | None:
    """Return what is still told over other images; None where single predictions are unknown."""
    if data.view("classes_over_both").empty:
        return None
    found = numbers(data, STUDY, "over_both")
    return {
        **{
            f"{what}_{which}": found.count(f"{what}/{which}")
            for what in ("slopes", "classes")
            for which in ("seeds", "both")
        },
        "slopes": found.count("slopes"),
        "classes": found.count("classes"),
        "unknown": found.count("slopes/unknown"),
        "level": percents(data.view("classes_over_both")["level"]),
    }


def seeds_facts(data: ReportTables) -> dict[str, Any] | None:
    """Return how many seeds the cells need beside how many they have; None without estimates."""
    table = data.view("seeds_needed")
    if table.empty:
        return None
    found = numbers(data, STUDY, "seeds")
    questions = []
    for question, rows in table.groupby("question", sort=False):
        effects = [
            _seeds_for(found, f"{question}/{effect:g}", f"{effect:g}")
            for effect in sorted(rows["effect"].dropna().unique())
        ]
        known = [effect for effect in effects if effect["cells"]]
        if known:
            questions.append({"question": question, "effects": known})
    return {
        "n": span_of(found, "networks"),
        "level": percents(table["level"]),
        "power": f"{found.value('power'):.4g}",
        "questions": questions,
        "unknown": found.count("unknown"),
        "rows": found.count("rows"),
        "many": f"{found.count('many'):,}",
    }


def _seeds_for(found: Numbers, start: str, effect: str) -> dict[str, Any]:
    return {
        "effect": effect,
        "least": style.number(found.value(f"{start}/least"), 0),
        "median": style.number(found.value(f"{start}/median"), 0),
        **{name: found.count(f"{start}/{name}") for name in ("beyond", "enough", "cells")},
    }


def sparsity_facts(data: ReportTables) -> dict[str, Any]:
    """Return whether all methods are equally sparse, and what those that are not show if they are.

    ``methods`` has an entry for each method that is compared at equal sparsity: its comparisons
    with the first reference, and with all others together.
    """
    table = data.view("equal_sparsity")
    numbers_of = numbers(data, STUDY, "sparsity")
    methods = []
    for method in order_methods(list(table["method"].unique())):
        references = order_methods(list(table.loc[table["method"] == method, "reference"].unique()))
        first = next(
            (name for name in references if numbers_of.count(f"{method}/{name}/first")),
            references[0],
        )
        others = [name for name in references if name != first]
        against = [(style.plain(first), first, [first])]
        if others:
            rest = f"the {len(others)} other methods" if len(others) > 1 else style.plain(others[0])
            against.append((rest, OTHERS, others))
        methods.append(
            {
                "method": style.plain(method),
                "keeps": _keeps(numbers_of, method),
                "against": [
                    _comparison(numbers_of, words, f"{method}/{key}")
                    | {"each": _survivals(numbers_of, method, names)}
                    for words, key, names in against
                ],
            }
        )
    return {"same": bool(numbers_of.count("same")), "methods": methods}


def _keeps(found: Numbers, method: str) -> str:
    """Return how a method departs from what it was asked for, in words."""
    ratios = found.count(f"{method}/ratios")
    for item, words in (("more_weights", "more weights"), ("fewer_weights", "fewer weights")):
        if found.count(f"{method}/{item}") == ratios:
            return f"{words} than asked"
    return "another number of weights than asked"


def _comparison(found: Numbers, reference: str, start: str) -> dict[str, Any]:
    """Return how many comparisons say what, at the nominal ratio, at equal sparsity, at both."""
    counts = {
        f"{kind}_{word}": found.count(f"{start}/{kind}/{word}")
        for kind in ("nominal", "equal")
        for word in ("less", "more", "unknown")
    }
    return {
        "reference": reference,
        "rows": found.count(f"{start}/comparisons"),
        **counts,
        "survive": found.count(f"{start}/survive"),
        "certain": found.count(f"{start}/survive/certain"),
        "reversed": found.count(f"{start}/reversed"),
    }


def _survivals(found: Numbers, method: str, references: list[str]) -> list[str]:
    """Return, of several references, what survives of the advantage over each that it has one of.

    Random pruning alone may make up most of the advantage over all together.
    """
    parts = []
    for name in references:
        start = f"{method}/{name}"
        if less := found.count(f"{start}/nominal/less"):
            survive = found.count(f"{start}/survive")
            parts.append(f"{survive} of {less} against {style.plain(name)}")
    return parts if len(references) > 1 else []


def published_facts(data: ReportTables) -> dict[str, int] | None:
    """Return how many published verdicts agree with the study's; None where it has none of them."""
    found = numbers(data, STUDY, "published")
    if not found.count("cells"):
        return None
    return {name: found.count(name) for name in ("cells", "agree", "all")}
