"""An audit as one HTML page: the answer, classes by what they lost, where images went, flips."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from recall_distortion import __version__
from recall_distortion.auditing.comparison import BY_CLASS, GAIN, LOSS
from recall_distortion.auditing.decision import (
    ALPHA,
    DECISIONS,
    MEANS,
    SAID,
    WITHIN,
    Finding,
    Limits,
    called,
    decided,
    meaning,
)
from recall_distortion.auditing.hints import ALPHA_NEEDS, hints
from recall_distortion.auditing.page_together import further, rare, together
from recall_distortion.auditing.pies_shown import shown_pies
from recall_distortion.auditing.scatter import KINDS, scatter
from recall_distortion.auditing.text import LONGEST_WARNING, count
from recall_distortion.auditing.thumbnails import LARGEST, Pictures, galleries
from recall_distortion.report import style
from recall_distortion.vocabulary import DEINTENSIFICATION, INTENSIFICATION

#: Classes that are shown at once: so many of those that lost most, and of the others.
SHOWN = 20
#: Flows and flips of a candidate on the page; the tables have all.
FLOWS, FLIPS = 30, 300
_SIGNS = {LOSS: "▼", GAIN: "▲"}


def page(
    tables: Mapping[str, pd.DataFrame],
    *,
    level: float,
    warnings: Sequence[str],
    limits: Limits,
    findings: Sequence[Finding],
    doubted: Collection[str],
    name: str,
    about: Mapping[str, str],
    pictures: Pictures | None = None,
) -> str:
    """Return the page of an audit's tables, with what ``limits`` find in them.

    With ``pictures`` it shows as many images that flipped as it has room for.
    """
    script = _text("audit.js")
    css = resources.files("recall_distortion.report").joinpath("templates/report.css")
    candidates = [
        _candidate(tables, row, findings, limits, doubted, level)
        for row in tables["models"].to_dict("records")
    ]
    said: dict[str, Any] = {
        "name": name,
        "css": css.read_text("utf-8") + _text("audit.css"),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        "level": style.percent(level, 0),
        "warnings": [style.label(words, LONGEST_WARNING) for words in warnings],
        "limits": _limits(limits),
        "about": {**about, "package": f"recall-distortion {__version__}"},
        "means": MEANS,
        "candidates": candidates,
        "by_decision": {
            kind: [one["name"] for one in candidates if one["decision"] == kind]
            for kind in reversed(DECISIONS)
        },
        "has_images": pictures is not None,
        "galleries": {},
        "pies": {},
        "held": 0,
        "flipped": len(tables["flips"]),
    }
    template = _environment().get_template("audit.html.j2")
    text = template.render(said)
    if pictures is None:
        return text
    room = LARGEST - len(text.encode())
    pies, taken = shown_pies(tables, pictures, room // 2)
    shown = galleries(tables, pictures, room - taken)
    parts = [*shown.values(), *pies.values()]
    held = {image["key"] for part in parts for of in part for image in of["images"]}
    return template.render(said | {"galleries": shown, "pies": pies, "held": len(held)})


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("recall_distortion.auditing", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        lstrip_blocks=True,
        trim_blocks=True,
    )


def _printable(value: Any) -> Any:
    """Return what stands on the page; a file's own text, of several lines, is markup."""
    is_given = isinstance(value, str) and not isinstance(value, Markup)
    return style.printable(value) if is_given else value


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(f"templates/{name}").read_text("utf-8")


def _limits(limits: Limits) -> list[str]:
    found = []
    if limits.drop is not None:
        found.append(f"no class may lose {limit(limits.drop)} points of recall")
    if limits.excess is not None:
        found.append(f"none may lose {limit(limits.excess)} points more than all images do")
    if limits.alpha is not None:
        found.append(f"α may not reach {limits.alpha:g}")
    return found


def points(share: float, signed: bool = False) -> str:
    """Return a share as points: hundredths, with one decimal."""
    return style.signed(100 * share, 1) if signed else style.number(100 * share, 1)


def limit(share: float) -> str:
    """Return a tolerated share as points, with the digits that it was given with."""
    return f"{100 * share:.10g}"


def _candidate(
    tables: Mapping[str, pd.DataFrame],
    whole: dict[str, Any],
    every: Sequence[Finding],
    limits: Limits,
    doubted: Collection[str],
    level: float,
) -> dict[str, Any]:
    """Return what the page says of one candidate."""
    name = whole["candidate"]
    findings = [one for one in every if one.candidate == name]
    groups = tables["groups"]
    own = groups[groups["candidate"] == name].sort_values("change", kind="stable")
    classes = own[own["grouping"] == BY_CLASS]
    others = groups.loc[groups["grouping"] != BY_CLASS, "grouping"].unique()
    decision = decided(findings, doubted) if limits.asked else ""
    return {
        "name": style.label(name),
        "key": name,
        "decision": decision,
        "decisive": [
            _finding(one) for one in findings if one.decision == decision and decision != WITHIN
        ],
        "means": meaning(name, decision, doubted) if decision else "",
        "hints": list(hints(classes, whole, findings, limits, level, decision)),
        "has_control": bool(np.isfinite(whole["control"])),
        "networks": whole.get("networks", 1),
        "sentence": _sentence(classes, whole),
        "accuracy": f"{style.percent(whole['before'], 2)} → {style.percent(whole['after'], 2)}",
        "worst": _worst(classes),
        "losing": f"{(classes['verdict'] == LOSS).sum()} of {len(classes)}",
        "alpha": _alpha(whole),
        "tiles": _tiles(whole),
        "groupings": [
            _grouping("class", classes),
            *(_grouping(str(kind), own[own["grouping"] == kind]) for kind in others),
        ],
        "scatter": scatter(classes),
        "together": together(tables, name),
        "rare": rare(tables, name),
        "further": further(tables, name),
        "largest": {
            "loss": points(whole["largest_loss"]),
            "crossfit": points(whole["largest_loss_crossfit"]),
            "known": bool(np.isfinite(whole["largest_loss_crossfit"])),
        },
        "flows": _rows(tables["flows"], name, FLOWS),
        "flips": _rows(tables["flips"], name, FLIPS),
        "drops": _has_drops(tables["flips"], name),
    }


def _worst(classes: pd.DataFrame) -> str:
    """Return the class that lost most and what it lost."""
    known = classes[np.isfinite(classes["change"])]
    if known.empty:
        return "–"
    row = known.iloc[0]
    if row["change"] >= 0:
        return "none"
    return f"{called(style.label(row['name']))} {points(row['change'], True)}"


def _rows(table: pd.DataFrame, candidate: str, most: int) -> dict[str, Any]:
    own = table[table["candidate"] == candidate]
    return {
        "rows": [
            {key: style.label(one) if isinstance(one, str) else one for key, one in row.items()}
            for row in own.head(most).to_dict("records")
        ],
        "all": f"{len(own):,}",
        "more": len(own) > most,
    }


def _has_drops(flips: pd.DataFrame, candidate: str) -> bool:
    """Return whether both models gave probabilities, by whose drop the images are ordered."""
    own = flips[flips["candidate"] == candidate]
    return bool((own["probability_before"] - own["probability_after"]).notna().any())


def _finding(finding: Finding) -> str:
    of_slope = finding.limit == ALPHA
    number = style.number if of_slope else points
    name = "" if of_slope else f"{called(style.label(finding.name))}: "
    if np.isfinite([finding.low, finding.high]).all():
        said = name + ", ".join(finding.words(number)).replace("alpha", "α")
    else:
        said = f"{name}{SAID[finding.limit].replace('alpha', 'α')} is not known"
    tolerated = f"{finding.tolerated:g}" if of_slope else limit(finding.tolerated)
    return f"{said}; tolerated {tolerated}"


def _sentence(classes: pd.DataFrame, whole: dict[str, Any]) -> str:
    """Return in a sentence which classes lost or gained beyond the luck of the test set."""
    lost = classes[classes["verdict"] == LOSS]
    gained = classes[classes["verdict"] == GAIN]
    if lost.empty and gained.empty:
        change = points(abs(whole["change"]))
        if whole["verdict"] in (LOSS, GAIN):
            verb = "lost" if whole["verdict"] == LOSS else "gained"
            return (
                f"The model {verb} {change} points of accuracy; which classes did cannot be told."
            )
        luck = "seeds and images" if "networks" in whole else "this test set"
        return f"No change of the model or of any class can be told from the luck of {luck}."
    parts = []
    for rows, verb, ascending in ((lost, "lost", True), (gained, "gained", False)):
        if rows.empty:
            continue
        ordered = rows.sort_values("change", ascending=ascending, kind="stable")
        named = [
            f"{called(style.label(row.name_))} ({points(row.change, signed=True)})"
            for row in ordered.rename(columns={"name": "name_"}).head(3).itertuples()
        ]
        more = ", ..." if len(rows) > 3 else ""
        verbed = f"{len(rows)} of {len(classes)} classes {verb} recall"
        parts.append(f"{verbed}: {', '.join(named)}{more}")
    return "; ".join(parts) + ", in points."


def _alpha(whole: dict[str, Any]) -> str:
    words = {
        INTENSIFICATION: "the gaps between the classes’ recalls grew",
        DEINTENSIFICATION: "the gaps between the classes’ recalls shrank",
    }
    if not np.isfinite(whole["alpha_low"]):
        return (
            "α is not known: before the change the classes differ too little to say whether their "
            f"gaps grew; {ALPHA_NEEDS}"
        )
    said = words.get(whole["alpha_verdict"], "whether the gaps grew or shrank cannot be told")
    ends = f"{style.number(whole['alpha_low'])} to {style.number(whole['alpha_high'])}"
    return f"α = {style.number(whole['alpha'])} ({ends}): {said}{_alpha_over_control(whole)}"


def _alpha_over_control(whole: dict[str, Any]) -> str:
    if not np.isfinite(whole["alpha_over_control"]):
        return ""
    ends = " to ".join(style.signed(whole[f"alpha_over_control_{end}"]) for end in ("low", "high"))
    said = {
        INTENSIFICATION: "the change widened the gaps more than further training alone",
        DEINTENSIFICATION: "the change narrowed the gaps more than further training alone",
    }.get(whole["alpha_over_control_verdict"], "more than further training alone cannot be told")
    return (
        f". The control’s is {style.number(whole['alpha_control'])}; the difference is "
        f"{style.signed(whole['alpha_over_control'])} ({ends}): {said}"
    )


def _tiles(whole: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        *([("networks", f"{whole['networks']}")] if "networks" in whole else []),
        ("accuracy before", style.percent(whole["before"], 2)),
        ("accuracy after", style.percent(whole["after"], 2)),
        (
            "change, points",
            f"{points(whole['change'], True)} ({points(whole['low'], True)} to "
            f"{points(whole['high'], True)})",
        ),
        (
            "answers that differ",
            f"{style.percent(whole['flipped_share'])} of {whole['images']:,}",
        ),
        ("images lost and gained", f"{count(whole['lost'])} and {count(whole['gained'])}"),
        *(
            [("the control’s accuracy", style.percent(whole["control"], 2))]
            if np.isfinite(whole["control"])
            else []
        ),
    ]


def _grouping(name: str, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the rows of a grouping, each with the places of its marks in percent of the axis."""
    known = rows[np.isfinite(rows["change"])]
    low = float(min(known["simultaneous_low"].min(), 0)) if len(known) else 0.0
    high = float(max(known["simultaneous_high"].max(), 0)) if len(known) else 0.0
    width = (high - low) or 1.0

    def place(value: float) -> str:
        return f"{100 * (value - low) / width:.2f}"

    found = []
    many = len(rows) > 2 * SHOWN
    for number, row in enumerate(rows.to_dict("records")):
        has_images = row["images"] > 0
        found.append(
            {
                "name": style.label(row["name"], 60),
                "images": f"{row['images']:,}",
                "before": style.percent(row["before"]),
                "after": style.percent(row["after"]),
                "change": points(row["change"], True) if has_images else "–",
                "ends": _interval(row, "") or "no image",
                "together": _interval(row, "simultaneous_"),
                "excess": points(row["excess"], True) if has_images else "–",
                "over_control": _over_control_of(row),
                "lost": count(row["lost"]),
                "gained": count(row["gained"]),
                "these_images": _interval(row, "seeds_"),
                "p": style.p_value(row["p_adjusted"]),
                "verdict": row["verdict"],
                "kind": KINDS.get(row["verdict"], ""),
                "sign": _SIGNS.get(row["verdict"], "○"),
                "hidden": many and SHOWN <= number < len(rows) - SHOWN,
                "marks": (
                    {
                        "from": place(row["simultaneous_low"]),
                        "to": place(row["simultaneous_high"]),
                        "inner_from": place(row["low"]),
                        "inner_to": place(row["high"]),
                        "at": place(row["change"]),
                    }
                    if has_images
                    else None
                ),
            }
        )
    return {
        "name": style.label(name),
        "rows": found,
        "many": many,
        "shown": 2 * SHOWN,
        "has_control": bool(np.isfinite(rows["over_control"]).any()),
        "has_seeds": "seeds_low" in rows,
        "zero": place(0),
        "low": points(low, True),
        "high": points(high, True),
    }


def _interval(row: dict[str, Any], kind: str) -> str:
    """Return the ends of a kind of interval of a change; "" where there is none."""
    if f"{kind}low" not in row or not row["images"]:
        return ""
    return f"{points(row[f'{kind}low'], True)} to {points(row[f'{kind}high'], True)}"


def _over_control_of(row: dict[str, Any]) -> dict[str, str]:
    """Return what a class changed more than in the control, with its sign and colour."""
    said = row["over_control_verdict"]
    return {
        "text": points(row["over_control"], True),
        "sign": _SIGNS.get(said, "○"),
        "kind": KINDS.get(said, ""),
        "ends": " to ".join(points(row[f"over_control_{end}"], True) for end in ("low", "high")),
    }
