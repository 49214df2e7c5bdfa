"""One self-contained HTML page from the tables of a study.

Every number in the page's prose is taken from a table here; the template only places it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from recall_distortion.files import write_text
from recall_distortion.report import style
from recall_distortion.report.answer import answer_facts, join, panel_facts
from recall_distortion.report.figures import WHISKER, Drawing, panel_drawings, sparsity_figure
from recall_distortion.report.html_tables import (
    HtmlTable,
    cell_tables,
    listing,
    question_tables,
)
from recall_distortion.report.summaries import (
    ACCURACY_LEVEL,
    against_control,
    alpha_summary,
    engine_agreement,
    pooled_slopes,
    residual_scatter,
)
from recall_distortion.report.tables import DENSE, StudyTables, read_tables

CSS_PIXELS_PER_INCH = 96
# The mixed model assumes one residual variance. Standard deviations further apart than this factor
# are named: a rule of thumb for equal variances allows about 2 to 3.
UNEQUAL = 3

# What the methods rank weights by; θ a weight, g its gradient, ε the weight decay.
CRITERIA = {
    "magnitude": "|θ|: the smallest weights go (MP)",
    "layerwise_magnitude": "|θ|, ranked within each layer: every layer keeps the same fraction",
    "gradient": "|θ g|: the first-order change of the loss (GP as it was run)",
    "regularized_gradient": "|θ (g + ε θ)|: GP as the paper’s text defines it",
    "undecayed": "|−θ g + ε θ²|: the loss without its weight decay (UP as published)",
    "undecayed_signed": "−θ g + ε θ² without the absolute value, thresholded as the published "
    "script does: it keeps more weights than asked",
    "random": "uniform at random (RP)",
}


@dataclass(frozen=True)
class Picture:
    """A figure as the page needs it: where it goes, what it shows in words, its natural size."""

    source: str
    alternative: str
    width: int
    height: int
    drawing: Drawing


def describe(value: Any) -> str:
    """Return a value of the study's facts as text: mappings and lists written out."""
    if isinstance(value, Mapping):
        parts = []
        for key, item in value.items():
            text = describe(item)
            inner = f"({text})" if isinstance(item, Mapping) else text
            parts.append(f"{str(key).replace('_', ' ')} {inner}".strip())
        return ", ".join(parts)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset, range)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else list(value)
        whole = all(isinstance(item, int) and not isinstance(item, bool) for item in items)
        if whole and len(items) > 2 and items == list(range(items[0], items[0] + len(items))):
            return f"{items[0]} to {items[-1]} ({len(items)})"
        return ", ".join(describe(item) for item in items)
    if isinstance(value, float):
        return f"{value:g}"
    return "–" if value is None else str(value)


def _test_sets(data: StudyTables) -> list[dict[str, Any]]:
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


def _mixed(data: StudyTables) -> dict[str, Any]:
    fits = data.mixed_model_fits
    pairs = engine_agreement(data.mixed_models)
    # Random effects have a standard deviation and no error of it; slopes have one.
    pairs = pairs[pairs[["std_error_pymer4", "std_error_statsmodels"]].notna().any(axis=1)]
    both = pairs["difference"].abs()
    errors = (pairs["std_error_statsmodels"] / pairs["std_error_pymer4"] - 1).abs()
    finite = errors[np.isfinite(errors)]
    verdicts = pairs[["verdict_pymer4", "verdict_statsmodels"]]
    absent = fits["message"].str.startswith("not estimated")
    reasons = fits.loc[absent, "message"].str.removeprefix("not estimated: ")
    scatter = residual_scatter(data.recall)
    return {
        "fits": len(fits) - int(absent.sum()),
        "absent": int(absent.sum()),
        "reasons": "; ".join(dict.fromkeys(reasons)),
        "scatter_low": style.number(scatter.min(), 3) if len(scatter) else "",
        "scatter_high": style.number(scatter.max(), 3) if len(scatter) else "",
        "unequal": bool(len(scatter) and scatter.max() > UNEQUAL * scatter.min()),
        "engines": join(list(dict.fromkeys(fits["engine"]))),
        "singular": int(fits["singular"].sum()),
        "unconverged": int((~fits["converged"].astype(bool) & ~absent).sum()),
        "terms": int(both.notna().sum()),
        "difference": style.scientific(both.max()) if both.notna().any() else "",
        "error_difference": style.scientific(finite.max()) if len(finite) else "",
        "rows": len(pairs),
        "disagree": int(
            (
                verdicts.notna().all(axis=1)
                & (verdicts["verdict_pymer4"] != verdicts["verdict_statsmodels"])
            ).sum()
        ),
    }


def _picture(drawing: Drawing, alternative: str, *, vector: bool = True) -> Picture:
    width, height = (round(CSS_PIXELS_PER_INCH * side) for side in drawing.figure.get_size_inches())
    return Picture(
        style.data_uri(drawing.figure, vector=vector), alternative, width, height, drawing
    )


def _panel_pictures(
    data: StudyTables, panel: tuple[str, str], facts: dict[str, Any]
) -> dict[str, Picture]:
    where = f"{panel[1]} on {panel[0]}"
    words = ". ".join(f"{row.method} {row.words}" for row in facts["grid"])
    drawings = panel_drawings(data, panel)
    texts = {
        "alpha": f"Boxplots of alpha by pruning ratio, one panel per method, {where}. {words}.",
        "balances": f"Scatterplots of normalized recall balance after against before, methods in "
        f"rows and ratios in columns, {where}. The slopes are in the table of pooled slopes.",
        "accuracy": f"Mean test accuracy by pruning ratio for each method, {where}, after and "
        "before fine-tuning, with the dense and the control model as lines.",
        "recall": "Heatmaps of the change in each class’s recall by ratio, one per method, "
        f"{where}.",
    }
    # Thousands of points or of written numbers are smaller as pixels than as vectors.
    return {
        kind: _picture(draw(), texts[kind], vector=kind == "accuracy")
        for kind, draw in drawings.items()
    }


def _facts(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    apart = {"name", "description", "selection", "title"}
    names = {
        "count": "ratios count", "finetuning": "fine-tuning", "test_images": "test images",
    }  # fmt: skip
    found = [
        (names.get(str(key), str(key).replace("_", " ")), describe(value))
        for key, value in study.items()
        if key not in apart and value not in (None, "", [], {}, ())
    ]
    return found


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("recall_distortion.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=True,
    )


def build_report(tables: Path, output: Path, *, study: Mapping[str, Any]) -> None:
    """Write the report of a study as one self-contained HTML page.

    ``tables`` is the folder of the study's CSV files, of which recall, alpha and intervals must
    be there. ``study`` holds plain facts for the header (name, description, seeds, ratios,
    methods, count, selection, training, finetuning, versions, device, test_images, ...); any of
    them may be missing, and what it does not know it shows as it comes. Everything in both is
    escaped. The same input gives the same bytes.

    Raises ``TableError`` when a table is missing, has no column that is needed or no number where
    one belongs.
    """
    data = read_tables(Path(tables))
    panels = [panel_facts(data, panel) for panel in data.panels]
    for panel, facts in zip(data.panels, panels, strict=True):
        facts["pictures"] = _panel_pictures(data, panel, facts) if data.methods else {}
    pooled = pooled_slopes(data.recall)
    listings: list[HtmlTable] = [
        *cell_tables(data, alpha_summary(data.alpha), against_control(data.intervals)),
        *question_tables(data.tests),
        listing("mixed", engine_agreement(data.mixed_models)),
        listing("fits", data.mixed_model_fits),
        listing("sparsity", data.sparsity),
        listing("intercepts", data.intercepts),
        listing("failures", data.failures),
    ]
    if len(data.published):
        listings.append(listing("published", data.published))
    sparsity = None
    if len(data.sparsity):
        sparsity = _picture(
            sparsity_figure(data.sparsity),
            "Realised over nominal pruning ratio by method for each network.",
        )
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            css=resources.files(__package__).joinpath("templates/report.css").read_text("utf-8"),
            study=study,
            name=str(study.get("name") or join([str(p[0]) for p in data.panels[:1]])),
            description=str(study.get("description") or ""),
            selected_on_test=str(study.get("selection", "")).strip().lower() == "test",
            selection=str(study.get("selection") or ""),
            facts=_facts(study),
            answer=answer_facts(data, panels),
            panels=panels,
            test_sets=_test_sets(data),
            mixed=_mixed(data),
            failures=len(data.failures),
            pooled=listing("pooled", pooled[pooled["state"] == "finetuned"]),
            sparsity=sparsity,
            tables=[table for table in listings if table.rows],
            empty=[table.title for table in listings if not table.rows],
            published=_published(data),
            signs=style.VERDICT_SIGNS,
            criteria=[
                (style.plain(method), CRITERIA[method])
                for method in data.methods
                if method in CRITERIA
            ],
            whisker=f"{WHISKER:g}",
            accuracy_level=f"{100 * ACCURACY_LEVEL:g}",
        )
    )
    write_text(output, page)


def _published(data: StudyTables) -> dict[str, int] | None:
    if data.published.empty:
        return None
    compared = data.published[data.published["verdict"] != ""]
    return {"cells": len(compared), "agree": int(compared["agrees"].astype(bool).sum())}
