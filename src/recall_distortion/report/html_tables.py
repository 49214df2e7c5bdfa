"""Tables as the page shows them: few digits to read, every digit in the cell's title."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from recall_distortion.report import style
from recall_distortion.report.summaries import ratio_text, sparsity_summary
from recall_distortion.report.tables import CONTROL, StudyTables


@dataclass(frozen=True)
class HtmlCell:
    """Text of a cell, the full value behind it where the text is shorter, and its CSS class."""

    text: str
    title: str = ""
    kind: str = ""


@dataclass(frozen=True)
class HtmlTable:
    """A table ready to be written: headings with their alignment, and rows of cells."""

    key: str
    title: str
    note: str
    headings: list[tuple[str, bool]]
    rows: list[list[HtmlCell]]


@dataclass(frozen=True)
class Column:
    """A column to show: its name in the table, its heading, and how its values are written."""

    name: str
    heading: str
    form: str


def _whole(value: float) -> str:
    if math.isfinite(value) and value != round(value):
        return style.number(value, 1)
    return style.number(value, 0)


_NUMBERS: dict[str, Callable[[float], str]] = {
    "ratio": lambda value: "–" if math.isnan(value) else ratio_text(value),
    "whole": _whole,
    "two": lambda value: style.number(value, 2),
    "three": lambda value: style.number(value, 3),
    "four": lambda value: style.number(value, 4),
    "percent": style.percent,
    "p": style.p_value,
    "tiny": style.scientific,
}


def html_cell(value: Any, form: str) -> HtmlCell:
    """Return a value as a cell; a number that is rounded keeps its full value as title."""
    if form in _NUMBERS:
        number = math.nan if value is None or value is pd.NA else float(value)
        text = _NUMBERS[form](number)
        full = "" if not math.isfinite(number) else repr(number)
        plain = text.replace(",", "").replace("−", "-")
        exact = full in (plain, f"{plain}.0") or not full
        return HtmlCell(text, "" if exact else full, "number")
    if form == "truth":
        return HtmlCell("yes" if value else "no")
    text = "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
    if form == "verdict":
        sign = style.VERDICT_SIGNS.get(text, "")
        return HtmlCell(f"{sign} {text}".strip(), "", f"verdict {text}" if sign else "")
    if form == "method":
        return HtmlCell(style.plain(text) if text else "")
    return HtmlCell(text, "", "long" if len(text) > 60 else "")


_PLACE = [
    Column("dataset", "dataset", "text"),
    Column("architecture", "network", "text"),
    Column("method", "method", "method"),
    Column("ratio", "ratio", "ratio"),
]
_STATE = Column("state", "state", "method")
_MODEL = Column("model", "model", "text")
_N = Column("n", "n", "whole")

_LISTINGS: dict[str, tuple[str, str, list[Column]]] = {
    "verdicts": (
        "Verdicts and intervals",
        "The t interval of the mean slope over models; cross-fitted is the median of the slopes "
        "free of test-set noise, as a check on the naive one.",
        [*_PLACE, _STATE, _N, Column("mean", "mean α", "three"),
         Column("low", "low", "three"), Column("high", "high", "three"),
         Column("level", "level", "percent"), Column("family_size", "family", "whole"),
         Column("verdict", "verdict", "verdict"), Column("relation", "against control", "text"),
         Column("alpha_crossfit", "median cross-fitted α", "three"),
         Column("nonfinite", "not finite", "whole")],
    ),
    "tests": (
        "Tests",
        "",
        [*_PLACE, Column("left", "left", "method"), Column("right", "right", "method"),
         Column("alternative", "alternative", "text"), Column("paired", "paired", "truth"),
         Column("n_left", "n left", "whole"), Column("n_right", "n right", "whole"),
         Column("estimate", "difference", "three"), Column("t", "t", "two"),
         Column("df", "df", "whole"), Column("p", "p", "p"),
         Column("p_adjusted", "adjusted p", "p"), Column("adjustment", "adjustment", "text")],
    ),
    "mixed": (
        "Mixed models, pymer4 and statsmodels side by side",
        "The engines agree when estimates and standard errors do; pymer4 gives Satterthwaite "
        "degrees of freedom, statsmodels a normal approximation, so their p values may differ.",
        [_MODEL, *_PLACE, Column("term", "term", "text"),
         Column("estimate_pymer4", "pymer4 estimate", "four"),
         Column("std_error_pymer4", "SE", "four"), Column("df_pymer4", "df", "whole"),
         Column("low_pymer4", "low", "three"), Column("high_pymer4", "high", "three"),
         Column("p_intensification_adjusted_pymer4", "adj. p, α > 1", "p"),
         Column("p_deintensification_adjusted_pymer4", "adj. p, α < 1", "p"),
         Column("verdict_pymer4", "verdict", "verdict"),
         Column("estimate_statsmodels", "statsmodels estimate", "four"),
         Column("std_error_statsmodels", "SE", "four"),
         Column("verdict_statsmodels", "verdict", "verdict"),
         Column("difference", "difference", "tiny")],
    ),
    "fits": (
        "Fits of the mixed models",
        "",
        [_MODEL, Column("engine", "engine", "text"),
         Column("formula", "formula", "text"), Column("rows", "rows", "whole"),
         Column("groups", "groups", "text"), Column("loglik", "log-likelihood", "two"),
         Column("singular", "singular", "truth"), Column("converged", "converged", "truth"),
         Column("message", "message", "text"), Column("seconds", "seconds", "two")],
    ),
    "sparsity": (
        "Realised sparsity",
        "Mean, least and largest realised ratio over models, and the share of prunable weights "
        "that was kept.",
        [*_PLACE, _N, Column("mean_ratio", "realised", "two"),
         Column("min_ratio", "least", "two"), Column("max_ratio", "largest", "two"),
         Column("kept_fraction", "kept", "percent"),
         Column("kept_prunable", "weights kept", "whole"),
         Column("prunable", "prunable weights", "whole"),
         Column("total", "all parameters", "whole")],
    ),
    "intercepts": (
        "Intercept check",
        "The slope with and without an intercept; only a balanced test set makes them equal by "
        "construction.",
        [*_PLACE, _STATE, Column("balanced", "balanced", "truth"), _N,
         Column("slope", "slope", "three"),
         Column("slope_with_intercept", "with intercept", "three"),
         Column("intercept", "intercept", "four"), Column("intercept_low", "low", "four"),
         Column("intercept_high", "high", "four")],
    ),
    "failures": (
        "Replicates that failed",
        "A failed replicate is missing from every table above.",
        [*_PLACE, Column("stage", "stage", "text"), Column("seed", "seed", "whole"),
         Column("reason", "reason", "text")],
    ),
    "published": (
        "Against the published study",
        "",
        [*_PLACE, Column("published_verdict", "published verdict", "verdict"),
         Column("verdict", "verdict here", "verdict"), Column("agrees", "agrees", "truth"),
         Column("published_alpha", "published slope", "three"),
         Column("pooled_alpha", "pooled slope here", "three"),
         Column("published_accuracy", "published accuracy", "percent"),
         Column("accuracy", "accuracy here", "percent")],
    ),
    "pooled": (
        "Pooled slopes",
        "One no-intercept fit per cell over the classes of all models; r² is uncentred.",
        [*_PLACE, Column("models", "models", "whole"), Column("points", "points", "whole"),
         Column("dropped", "dropped", "whole"), Column("slope", "slope", "three"),
         Column("r2", "r²", "three"), Column("accuracy", "mean accuracy", "percent")],
    ),
}  # fmt: skip

_ONCE = {
    "dataset", "architecture", "state", "level", "family_size", "alternative", "paired",
    "adjustment", "balanced", "nonfinite", "dropped", "model", "n_left", "n_right", "singular",
    "converged", "formula",
}  # fmt: skip
_QUESTIONS = {
    "ratio": "does a larger ratio intensify more?",
    "architecture": "does the smaller network intensify more?",
    "dataset": "does the harder data set intensify more?",
    "method": "do two methods differ?",
    "control": "does pruning differ from the control?",
}


def listing(key: str, table: pd.DataFrame, *, suffix: str = "", title: str = "") -> HtmlTable:
    """Return a table of the study ready for the page, without columns that are empty throughout."""
    heading, note, columns = _LISTINGS[key]
    if key == "sparsity":
        table = sparsity_summary(table)
    columns = [
        column for column in columns if column.name in table and not _is_empty(table[column.name])
    ]
    # What is the same in every row is said once, above the table.
    same = [
        column for column in columns if column.name in _ONCE and table[column.name].nunique() == 1
    ]
    if len(table) > 1 and same:
        columns = [column for column in columns if column not in same]
        said = (
            f"{column.heading} {html_cell(table[column.name].iloc[0], column.form).text}"
            for column in same
        )
        note = f"{note} In every row: {', '.join(said)}.".strip()
    series = [table[column.name].tolist() for column in columns]
    rows = [
        [html_cell(value, column.form) for value, column in zip(values, columns, strict=True)]
        for values in zip(*series, strict=True)
    ]
    headings = [(column.heading, column.form in _NUMBERS) for column in columns]
    return HtmlTable(key + suffix, title or heading, note, headings, rows)


def _is_empty(values: pd.Series) -> bool:
    return bool((values.isna() | (values.astype(str) == "")).all())


def cell_tables(data: StudyTables, slopes: pd.DataFrame, relation: pd.Series) -> list[HtmlTable]:
    """Return the tables of verdicts: after fine-tuning, and before it where that was evaluated."""
    keys = ["dataset", "architecture", "method", "ratio", "state"]
    relation = relation.mask(data.intervals["method"] == CONTROL, "")
    table = data.intervals.assign(relation=relation).merge(
        slopes[[*keys, "alpha_crossfit", "nonfinite"]], on=keys, how="left"
    )
    fine = table["state"] == "finetuned"
    return [
        listing("verdicts", table[fine], title="Verdicts and intervals after fine-tuning"),
        listing(
            "verdicts", table[~fine].assign(relation=""), suffix="-other",
            title="Verdicts and intervals before fine-tuning",
        ),
    ]  # fmt: skip


def question_tables(tests: pd.DataFrame) -> list[HtmlTable]:
    """Return one table per question that was tested."""
    found = []
    for place, (question, rows) in enumerate(tests.groupby("question", sort=False)):
        asked = _QUESTIONS.get(str(question))
        title = f"Tests, {question}" + (f": {asked}" if asked else "")
        found.append(listing("tests", rows, suffix=f"-{place + 1}", title=title))
    return found
