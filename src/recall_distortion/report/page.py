"""One self-contained HTML page from the tables of a study.

Every number in the page's prose stands in a table; here it becomes words, and the template places
them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from recall_distortion.report import style
from recall_distortion.report.answer import answer_facts, panel_facts, reseed_facts
from recall_distortion.report.caveats import (
    broken,
    few_seeds,
    missing,
    mixed_models,
    notes,
    test_sets,
)
from recall_distortion.report.computed import computed, crossed_engines
from recall_distortion.report.definitions import Definition, definitions, symbols
from recall_distortion.report.evidence import (
    class_facts,
    over_both_facts,
    published_facts,
    seeds_facts,
    sparsity_facts,
    tradeoff_facts,
)
from recall_distortion.report.forgotten import forgotten_facts, forgotten_tables
from recall_distortion.report.gallery import gallery_facts, read_thumbnails
from recall_distortion.report.numbers import STUDY, numbers
from recall_distortion.report.phrases import percents, span_of
from recall_distortion.report.pictures import (
    KINDS,
    SPARSITY,
    Picture,
    figure_name,
    read_figures,
)
from recall_distortion.report.quantized import quantized_facts
from recall_distortion.report.section_tables import section_tables
from recall_distortion.report.tables import REQUIRED, ReportTables, pruned, read, read_tables
from recall_distortion.system.files import write_text
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import Panel


@dataclass(frozen=True)
class Placed:
    """A picture as the page shows it: its source, and what it shows in words."""

    source: str
    alternative: str
    picture: Picture


# The sections of the page by their anchors: what the navigation and their headings say.
SECTIONS = {
    "answer": "Answer",
    "quantized": "Quantized",
    "effects": "Effects",
    "alpha": "Slopes",
    "tradeoff": "Trade-off",
    "caveats": "Caveats",
    "balances": "Balances",
    "accuracy": "Accuracy",
    "recall": "Classes",
    "forgotten": "Forgotten",
    "seeds": "Seeds",
    "sparsity": "Sparsity",
    "tables": "Tables",
    "notes": "Notes",
}
# Keys of a study's facts whose words on the page are others.
_NAMES = {
    "count": "ratios count",
    "finetuning": "fine-tuning",
    "test_images": "test images",
    "crossfit_splits": "halvings of the test set",
}


def describe(value: Any) -> str:
    """Return a value of the study's facts as text: mappings and lists written out."""
    if isinstance(value, Mapping):
        parts = []
        for key, item in value.items():
            text = describe(item)
            inner = f"({text})" if isinstance(item, Mapping) else text
            name = _NAMES.get(str(key), str(key).replace("_", " "))
            parts.append(name if name == inner else f"{name} {inner}".strip())
        return ", ".join(parts)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset, range)):
        if not value:
            return "none"
        items = sorted(value) if isinstance(value, (set, frozenset)) else list(value)
        whole = all(isinstance(item, int) and not isinstance(item, bool) for item in items)
        if whole and len(items) > 2 and items == list(range(items[0], items[0] + len(items))):
            return f"{items[0]} to {items[-1]} ({len(items)})"
        return ", ".join(describe(item) for item in items)
    if isinstance(value, float):
        return f"{value:g}"
    return "–" if value is None else str(value)


def _placed(picture: Picture, alternative: str) -> Placed:
    # Thousands of points are smaller as pixels than as vectors.
    source = "data:image/webp;base64," + base64.b64encode(_webp(picture.png)).decode("ascii")
    return Placed(source, alternative, picture)


def _webp(png: bytes) -> bytes:
    """Return a picture with the same pixels in a quarter fewer bytes, as every browser reads it."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, format="WEBP", lossless=True)
    return buffer.getvalue()


def _panel_pictures(
    pictures: Mapping[str, Picture], panel: Panel, facts: dict[str, Any]
) -> dict[str, Placed]:
    where = facts["where"]
    words = ". ".join(f"{row.method} {row.words}" for row in facts["grid"])
    texts = {
        "effects": "Difference of alpha from the control’s by compression ratio with its interval, "
        f"one panel per method, {where}. {words}.",
        "alpha": "Boxplots of alpha by compression ratio beside the control’s, one panel per "
        f"method, {where}. The verdicts are in the table of verdicts.",
        "tradeoff": "Mean alpha against the mean change in accuracy with both intervals, one panel "
        f"per method, {where}. The numbers are in the table of accuracy beside distortion.",
        "together": "Accuracy and alpha less the control’s by realised compression ratio, and one "
        f"against the other, all methods together, {where}. The numbers are in the tables of "
        "effects and of accuracy beside distortion.",
        "balances": f"Scatterplots of normalized recall balance after against before, methods in "
        f"rows and ratios in columns, {where}. The slopes are in the table of pooled slopes.",
        "accuracy": f"Mean test accuracy by compression ratio for each method, {where}, after and "
        "before retraining, with the dense and the control networks as lines.",
        "recall": "Heatmaps of the change in each class’s recall by ratio, one per method, "
        f"{where}.",
    }
    return {kind: _placed(pictures[figure_name(kind, panel)], texts[kind]) for kind in KINDS}


def _facts(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    apart = {"name", "description", "selection", "title", "methods"}
    return [
        (_NAMES.get(str(key), str(key).replace("_", " ")), describe(value))
        for key, value in study.items()
        if key not in apart and value not in (None, "", [], {}, ())
    ]


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("recall_distortion.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
        lstrip_blocks=True,
    )


def build_report(
    tables: Path,
    output: Path,
    *,
    study: Mapping[str, Any],
    figures: Path | None = None,
    thumbnails: Path | None = None,
) -> None:
    """Write the report of a study as one self-contained HTML page.

    ``tables`` is the folder of the study's CSV files, of which recall, networks, estimates and
    summary must be there. ``study`` holds plain facts for the header (name, description, seeds,
    ratios, methods, count, selection, training, finetuning, versions, device, test_images, ...);
    any of them may be missing, and what it does not know it shows as it comes. Everything in both
    is escaped. ``figures`` is the folder into which ``write_figures`` has drawn the same tables;
    without it they are drawn for the page. ``thumbnails`` is the file of pictures of test images;
    without it the page shows none. The same input gives the same bytes.

    Raises ``TableError`` when a table is missing, has no column that is needed or no number where
    one belongs.
    """
    data = read_tables(Path(tables), (*REQUIRED, "summary"))
    pictures = _drawn(tables) if figures is None else read_figures(figures, data.panels)
    script = _template("report.js")
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            css=_template("report.css"),
            sections=_sections(data),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
            **_of_study(data, study),
            **_of_panels(data, pictures),
            **_of_sections(data, pictures),
            gallery=gallery_facts(data, read(Path(tables), "images"), read_thumbnails(thumbnails)),
        )
    )
    write_text(output, page)


def _sections(data: ReportTables) -> dict[str, str]:
    """Return the sections that a study's page has."""
    apart = () if data.quantizers else ("quantized",)
    return {anchor: name for anchor, name in SECTIONS.items() if anchor not in apart}


def _of_study(data: ReportTables, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page says of the study as a whole and of how it was made."""
    name = str(study.get("name") or data.panels[0].dataset)
    methods = [*data.methods, *data.quantizers]
    return {
        "name": name,
        "file": re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-")[:60] or "study",
        "description": str(study.get("description") or ""),
        "selected_on_test": str(study.get("selection", "")).strip().lower() == "test",
        "selection": str(study.get("selection") or ""),
        "facts": _facts(study),
        "definitions": [_defined(item) for item in definitions(study, methods)],
        "symbols": symbols(study),
        "answer": answer_facts(data),
        "quantized": quantized_facts(data),
        "test_sets": test_sets(data),
        "mixed": mixed_models(data),
        "notes": notes(data),
        "unanswerable": missing(data),
        "few_seeds": few_seeds(data),
        "computed": computed(data),
        "broken": broken(data),
        "crossed": crossed_engines(data),
    }


def _defined(item: Definition) -> dict[str, str]:
    """Return a method's definition as the page shows it; ``formula`` is empty without a score."""
    formula = item.formula if item.formula.strip("–") else ""
    return {
        "name": style.plain(item.method),
        "formula": formula,
        "sentence": item.sentence,
        "source": item.source,
    }


def _of_panels(data: ReportTables, pictures: Mapping[str, Picture]) -> dict[str, Any]:
    """Return what the page says of each panel, its pictures among it."""
    panels = [panel_facts(data, panel) for panel in data.panels]
    for panel, facts in zip(data.panels, panels, strict=True):
        # Of a panel with nothing but dense networks and controls every picture would be empty.
        compressed = of_panel(data.networks, panel)["method"].isin(data.methods).any()
        facts["pictures"] = _panel_pictures(pictures, panel, facts) if compressed else {}
    return {
        "panels": panels,
        "small": [panel for panel in panels if panel["small"]],
        "reseed": reseed_facts(panels),
        "whisker": f"{style.WHISKER:g}",
        "accuracy_level": percents(data.view("accuracy")["level"]),
    }


def _of_sections(data: ReportTables, pictures: Mapping[str, Picture]) -> dict[str, Any]:
    """Return what the sections after the answer say, and all tables."""
    listings = section_tables(data) | {"forgotten": forgotten_tables(data)}
    every = [found for section in listings.values() for found in section]
    beside = [found for section in listings if section != "tables" for found in listings[section]]
    sparsity = None
    if len(pruned(data.view("sparsity"), data)):
        sparsity = _placed(
            pictures[SPARSITY],
            "Realised over nominal compression ratio by method for each architecture.",
        )
    return {
        "tradeoff": tradeoff_facts(data),
        "tradeoff_level": percents(data.view("tradeoff")["level"]),
        "classes": class_facts(data),
        "over_both": over_both_facts(data),
        "seeds": seeds_facts(data),
        "sparsity": sparsity,
        "equal_sparsity": sparsity_facts(data),
        "sparsity_n": span_of(numbers(data, STUDY, "sparsity"), "networks"),
        "published": published_facts(data),
        "forgotten": forgotten_facts(data),
        "listings": listings,
        "elsewhere": [found for found in beside if found.rows],
        "empty": [found.title for found in every if not found.rows],
    }


def _drawn(tables: Path) -> dict[str, Picture]:
    from recall_distortion.report.figures import draw_all

    return dict(draw_all(tables))


def _template(name: str) -> str:
    return resources.files(__package__).joinpath(f"templates/{name}").read_text("utf-8")
