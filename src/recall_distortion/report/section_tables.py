"""The tables of the page, by the section that they stand in."""

from __future__ import annotations

import re

import pandas as pd

from recall_distortion.inference.questions.influence import CHANGES
from recall_distortion.inference.questions.summary_items import MADE_BY, kind_of_model, made
from recall_distortion.report.curvature import apart
from recall_distortion.report.html_tables import HtmlTable, ended, foremost, listing
from recall_distortion.report.instability import of_instability
from recall_distortion.report.listings import MODELS, QUESTIONS, SEEDS_KEYS, Column
from recall_distortion.report.tables import ReportTables, order_as, pruned
from recall_distortion.tables.arranged import fitters_side_by_side, seeds_side_by_side
from recall_distortion.vocabulary import CELL, CELL_STATE, COMPRESSED


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-") or "other"


def _beside(table: pd.DataFrame, other: pd.DataFrame, **columns: str) -> pd.DataFrame:
    """Return a table with columns of another one on the same cells, by their new names."""
    names = {old: new for new, old in columns.items()}
    return table.merge(
        other[[*CELL_STATE, *names]].rename(columns=names), on=CELL_STATE, how="left"
    )


def _by_state(key: str, table: pd.DataFrame, title: str, data: ReportTables) -> list[HtmlTable]:
    """Return a table of the pruned cells after retraining, and one of those before it."""
    table = pruned(table, data)
    before = table["state"] == COMPRESSED
    return [
        listing(key, table[~before], title=f"{title} after retraining"),
        listing(key, table[before], suffix="-compressed", title=f"{title} before retraining"),
    ]


def verdict_tables(data: ReportTables) -> list[HtmlTable]:
    """Return the tables of verdicts, with which slopes of a cell are to be interpreted."""
    table = _beside(data.view("slopes"), data.view("pooled"), interpret="interpret")
    return _by_state("verdicts", table, "Verdicts against 1", data)


def tradeoff_table(data: ReportTables) -> HtmlTable:
    """Return the table of accuracy beside distortion, with the cells' own means after it."""
    table = _beside(data.view("tradeoff"), data.view("accuracy"),
                    accuracy_after="mean", variance_after="variance")  # fmt: skip
    table = _beside(table, data.view("slopes"), alpha="mean", alpha_verdict="verdict")
    return listing("tradeoff", table)


def influence_table(data: ReportTables) -> HtmlTable:
    """Return the cells without each class, those classes first that change a verdict."""
    table = _beside(data.view("influence"), data.view("slopes"),
                    mean_all="mean", verdict_all="verdict")  # fmt: skip
    changed = table["changes"] == CHANGES
    return foremost("influence", table, changed, "those first that change a verdict")


def over_both_tables(data: ReportTables) -> tuple[HtmlTable, HtmlTable]:
    """Return slopes and classes over other seeds and images, beside those on these images."""
    slopes = _beside(data.view("slopes_over_both"), data.view("pooled"), seeds_low="crossfit_low",
                     seeds_high="crossfit_high", seeds_verdict="crossfit_verdict")  # fmt: skip
    key = [*CELL_STATE, "class"]
    ends = data.view("classes")[[*key, "low", "high"]]
    ends = ends.rename(columns={"low": "seeds_low", "high": "seeds_high"})
    classes = data.view("classes_over_both").merge(ends, on=key, how="left")
    size = classes["change"].abs()
    return (
        listing("slopes_over_both", slopes),
        foremost("classes_over_both", classes, size, "those that changed most"),
    )


def question_tables(tests: pd.DataFrame) -> list[HtmlTable]:
    """Return one table per question that was tested, the control's first."""
    found = []
    for question in order_as(list(tests["question"].unique()), list(QUESTIONS)):
        rows = tests[tests["question"] == question]
        asked = QUESTIONS.get(str(question))
        title = f"Tests, {question}" + (f": {asked}" if asked else "")
        found.append(listing("tests", rows, suffix=f"-{_slug(str(question))}", title=title))
    return found


def mixed_tables(data: ReportTables) -> list[HtmlTable]:
    """Return one table per kind of mixed model, the fitters side by side, and their fits."""
    table = fitters_side_by_side(data.mixed_models, data.mixed_model_fits)
    found = []
    kinds = table["model"].map(kind_of_model)
    for kind in order_as(list(kinds.unique()), list(MODELS)):
        words = MODELS.get(kind, "")
        title = f"Mixed models, {kind.replace('_', ' ')}" + (f": {words}" if words else "")
        found.append(listing("mixed", table[kinds == kind], suffix=f"-{_slug(kind)}", title=title))
    return [*(found or [listing("mixed", table)]), listing("fits", data.mixed_model_fits)]


def seeds_table(data: ReportTables) -> HtmlTable:
    """Return the seeds needed with the effects beside each other."""
    wide = seeds_side_by_side(data.view("seeds_needed"), data.view("deviations"))
    columns = [*SEEDS_KEYS]
    for name in wide.columns:
        if name.startswith("seeds_cautious_"):
            columns.append(Column(name, "cautious", "whole"))
        elif name.startswith("seeds_"):
            columns.append(Column(name, f"seeds for {name.removeprefix('seeds_')}", "whole"))
    return listing("seeds", wide, columns=[*columns, Column("note", "note", "text")])


def network_tables(networks: pd.DataFrame) -> list[HtmlTable]:
    """Return what computed each cell's networks, and the networks that failed."""
    computed = made(networks).groupby([*CELL, *MADE_BY], sort=False).size()
    return [
        listing("engines", computed.rename("seeds").reset_index()),
        listing("failures", networks[networks["failure"] != ""]),
    ]


def quantized_tables(data: ReportTables) -> list[HtmlTable]:
    """Return the tables of quantized networks; none where there are none."""
    if not data.quantizers:
        return []

    def own(name: str) -> pd.DataFrame:
        table = data.view(name)
        return table[table["method"].isin(data.quantizers)]

    return [
        listing("quantized", own("quantized")),
        listing("sizes", own("sparsity")),
        *(
            listing(key, own(name), suffix="-quantized", title=f"{title} of quantized networks")
            for key, name, title in (
                ("verdicts", "slopes", "Verdicts against 1"),
                ("pooled", "pooled", "Pooled slopes"),
            )
        ),
    ]


def _measures_tables(data: ReportTables) -> list[HtmlTable]:
    return [
        foremost(key, table, -table["p"], "those that differ most clearly from the control")
        for key, table in apart(ended(data.view("measures"))).items()
    ]


def _tables_if_any(key: str, data: ReportTables) -> list[HtmlTable]:
    """Return the table of a question that few studies ask; none where it has no row."""
    table = data.view(key)
    return [] if table.empty else [listing(key, table)]


def section_tables(data: ReportTables) -> dict[str, list[HtmlTable]]:
    """Return the tables by the section that they stand in; those without rows too."""
    slopes_over_both, classes_over_both = over_both_tables(data)
    intercepts = _beside(data.view("intercepts"), data.view("slopes"), slope="mean")
    # A network is as sparse retrained as before.
    sparsity = pruned(data.view("sparsity"), data).drop_duplicates(CELL)
    return {
        "quantized": quantized_tables(data),
        "effects": [listing("effects", data.view("effects"))],
        "alpha": verdict_tables(data),
        "tradeoff": [
            tradeoff_table(data),
            *_tables_if_any("learning", data),
            listing("equivalence", data.view("equivalence")),
            *_tables_if_any("pair_equivalence", data),
            listing("equal_accuracy", data.view("equal_accuracy")),
            listing("instability", of_instability(data.estimates)),
        ],
        "balances": [
            *_by_state("pooled", data.view("pooled"), "Pooled slopes", data),
            slopes_over_both,
        ],
        "recall": [influence_table(data), classes_over_both],
        "seeds": [seeds_table(data)],
        "sparsity": [
            listing("equal_sparsity", data.view("equal_sparsity")),
            listing("sparsity", sparsity),
            *_tables_if_any("overlaps", data),
        ],
        "tables": [
            listing("published", data.published[data.published["verdict"] != ""]),
            *question_tables(data.tests),
            *mixed_tables(data),
            *_measures_tables(data),
            listing("intercepts", intercepts),
            *network_tables(data.networks),
        ],
    }
