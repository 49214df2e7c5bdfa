"""What the page says about its own limits: test sets, models, engines, what has no estimate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.report import style
from recall_distortion.report.computed import ENGINE, cells_text, engine_text, network_name
from recall_distortion.report.summaries import engine_agreement
from recall_distortion.report.tables import DENSE, StudyTables, of_panel
from recall_distortion.report.words import count_range, join, plural

NOTED = (
    "intervals", "pooled", "effects", "equal_sparsity", "tests", "seeds_needed", "tradeoff",
)  # fmt: skip
MOST_NOTES = 12
# Share of the way from naming the most frequent class to no error: up to here, networks hardly tell
# classes apart. Not a multiple of that accuracy, which is high where classes are few or unequal.
LITTLE_MORE = 0.05


def test_sets(data: StudyTables) -> list[dict[str, Any]]:
    """Return for each dataset how many test images it has, and what an intercept would change."""
    found = []
    for dataset in dict.fromkeys(panel[0] for panel in data.panels):
        rows = data.recall[(data.recall["dataset"] == dataset) & (data.recall["method"] == DENSE)]
        if rows.empty:
            rows = data.recall[data.recall["dataset"] == dataset]
        first = rows.drop_duplicates("class")["support"].dropna()
        checks = data.intercepts[
            (data.intercepts["dataset"] == dataset) & (data.intercepts["state"] == "finetuned")
        ]
        shift = (checks["slope_with_intercept"] - checks["slope"]).abs()
        away = (checks["intercept_low"] > 0) | (checks["intercept_high"] < 0)
        found.append(
            {
                "dataset": dataset,
                "images": f"{int(first.sum()):,}",
                "classes": len(first),
                "least": int(first.min()) if len(first) else 0,
                "most": int(first.max()) if len(first) else 0,
                "balanced": bool(first.nunique() <= 1),
                "checked": len(checks),
                "shift": style.number(shift.max(), 3) if shift.notna().any() else "",
                "away": int(away.sum()),
            }
        )
    return found


def kind_of_model(model: str) -> str:
    """Return a mixed model's kind, without the network that it was fitted to."""
    return model.partition("/")[0]


def believed(fits: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each kind of mixed model what to believe, of how many, and their spreads."""
    said = fits[fits["believe"] != ""].drop_duplicates("model")
    found = []
    for (kind, believe), rows in said.groupby([said["model"].map(kind_of_model), "believe"],
                                              sort=False):  # fmt: skip
        spread = rows["spread"].dropna()
        found.append(
            {
                "kind": kind.replace("_", " "),
                "believe": believe,
                "models": len(rows),
                "least": style.number(spread.min(), 1) if len(spread) else "",
                "most": style.number(spread.max(), 1) if len(spread) else "",
            }
        )
    return found


def mixed_models(data: StudyTables) -> dict[str, Any]:
    """Return how the mixed models went: fits, how well the engines agree, which to believe."""
    fits = data.mixed_model_fits[data.mixed_model_fits["engine"] != "bootstrap"]
    pairs = engine_agreement(data.mixed_models, data.mixed_model_fits)
    # Random effects have a standard deviation and no error of it; slopes have one.
    pairs = pairs[pairs[["std_error_pymer4", "std_error_statsmodels"]].notna().any(axis=1)]
    both = pairs["difference"].abs()
    errors = (pairs["std_error_statsmodels"] / pairs["std_error_pymer4"] - 1).abs()
    finite = errors[np.isfinite(errors)]
    verdicts = pairs[["verdict_pymer4", "verdict_statsmodels"]]
    absent = fits["message"].str.startswith("not estimated")
    apart = fits["message"].str.startswith("the engines disagree")
    reasons = fits.loc[absent, "message"].str.removeprefix("not estimated").str.lstrip(": ")
    return {
        "models": fits.loc[~absent, "model"].nunique(),
        "fits": len(fits) - int(absent.sum()),
        "absent": fits.loc[absent, "model"].nunique(),
        "reasons": "; ".join(dict.fromkeys(reason for reason in reasons if reason)),
        "apart": list(dict.fromkeys(fits.loc[apart, "model"])),
        "engines": join(list(dict.fromkeys(fits["engine"]))),
        "singular": int(fits["singular"].sum()),
        "unconverged": int((~fits["converged"].astype(bool) & ~absent).sum()),
        "terms": int(both.notna().sum()),
        "difference": style.scientific(both.max()) if both.notna().any() else "",
        "error_difference": style.scientific(finite.max()) if len(finite) else "",
        "rows": len(pairs),
        "disagree": int(
            (
                (verdicts.fillna("") != "").all(axis=1)
                & (verdicts["verdict_pymer4"] != verdicts["verdict_statsmodels"])
            ).sum()
        ),
        "believed": believed(data.mixed_model_fits),
    }


def notes(data: StudyTables) -> dict[str, Any]:
    """Return the distinct notes of the tables with how many rows of which table have them."""
    counts: dict[str, dict[str, int]] = {}
    for name in NOTED:
        column = getattr(data, name)["note"]
        for note, count in column[column != ""].value_counts().items():
            counts.setdefault(str(note), {})[name] = int(count)
    ordered = sorted(counts.items(), key=lambda item: -sum(item[1].values()))
    return {
        "shown": [
            (note, join([f"{plural(count, 'row')} of {name}" for name, count in where.items()]))
            for note, where in ordered[:MOST_NOTES]
        ],
        "more": max(0, len(ordered) - MOST_NOTES),
    }


def broken(data: StudyTables) -> list[dict[str, str]]:
    """Return, by panel, the fine-tuned cells whose networks know little more than one class.

    Their mean accuracy is at most ``LITTLE_MORE`` of the way from what naming the most frequent
    class gives to 1. Such networks have huge balances, the same in every seed where all name one
    class: α then says which class that is, not what became of weak ones.
    """
    found = []
    for panel in data.panels:
        recall, cells = of_panel(data.recall, panel), of_panel(data.tradeoff, panel)
        support = recall.drop_duplicates("class")["support"]
        one_class = support.max() / support.sum()
        cells = cells[cells["state"] == "finetuned"]
        most = one_class + LITTLE_MORE * (1 - one_class)
        rows = cells[cells["accuracy_after"] <= most]
        dense = recall.loc[recall["method"] == DENSE, "accuracy"]
        if len(rows):
            found.append(
                {
                    "cells": cells_text(cells, rows),
                    "network": network_name(panel),
                    "accuracy": style.percent(rows["accuracy_after"].max()),
                    "one_class": style.percent(one_class),
                    "dense": bool((dense <= most).all()),
                }
            )
    return found


def crossed_engines(data: StudyTables) -> list[dict[str, Any]]:
    """Return the networks whose cells were not all computed alike, and what computed which cells.

    Cells are alike where the same engines made their replicates, whatever number failed: effects
    are paired by seed, so that an engine may differ between seeds. Dense networks are what all
    cells start from, and may differ from them.
    """
    found = []
    for panel in data.panels:
        rows = of_panel(data.engines, panel)
        rows = rows[rows["method"] != DENSE]
        cells = rows.groupby(["method", "ratio"], sort=False)
        rows = rows[cells["seeds"].transform("sum") > 0]
        engines = {frozenset(part[ENGINE].itertuples(index=False, name=None))
                   for _, part in rows.groupby(["method", "ratio"])}  # fmt: skip
        if len(engines) > 1:
            made = rows[rows["seeds"] > 0]
            ways = made.groupby(ENGINE, sort=False)
            words = [(cells_text(made, part), engine_text(*map(str, way))) for way, part in ways]
            found.append({"network": network_name(panel), "ways": words})
    return found


def missing(data: StudyTables, seeds: list[int]) -> list[str]:
    """Return what the design of the study leaves unanswerable, and why, as sentences."""
    found = []
    finite = [count for count in seeds if math.isfinite(count)]
    if finite and min(finite) < 2:
        found.append(
            "One seed: there is no spread between replicates, so no interval, test or verdict can "
            "be had; the slopes are single observations."
        )
    elif finite and min(finite) < 5:
        found.append(
            f"{count_range(finite)} seeds: t intervals on so few are wide and lean on normality, "
            "and the bootstrap needs five."
        )
    if not data.methods:
        found.append("No pruned model was evaluated: there is no pruning to judge.")
    elif len(data.ratios) == 1:
        found.append("One pruning ratio: whether a larger ratio intensifies more cannot be asked.")
    if data.recall["class"].nunique() == 1:
        found.append(
            "One class: its recall is the accuracy, every balance is zero and no slope exists."
        )
    return found
