"""Pictures of the images that most networks answer otherwise, beside null ones and a random draw.

Such images look hard whether a network was compressed or not, so that they are shown beside as many
that change without compression, and beside as many of the test set.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import pandas as pd

from recall_distortion.auditing.forgotten import OF_CONTROL, OF_HALVES
from recall_distortion.auditing.thumbnails import Pictures, by_class, by_turns, size_of
from recall_distortion.report import style
from recall_distortion.tables.gallery import DRAWN, MOST

_PIES = "pies"
TITLES = {
    _PIES: "PIEs: after otherwise than before",
    OF_CONTROL: "Null: the control otherwise than before",
    OF_HALVES: "Null: one half of the networks before otherwise than the other",
    DRAWN: "Drawn at random",
}
_SAID = {
    _PIES: "{0} before, {1} after",
    OF_CONTROL: "{0} before, {1} by the control",
    OF_HALVES: "{0} by one half of the networks before, {1} by the other",
    DRAWN: "{0} before",
}


def shown_pies(
    tables: Mapping[str, pd.DataFrame], given: Pictures, room: int
) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Return groups of images to show of each candidate, and the bytes that all of them take.

    First its PIEs, up to ``MOST`` as on a study's page, then at most as many null ones and as many
    drawn at random, each of every class in turn while there is ``room``: bytes, divided among the
    candidates and their groups. Of a candidate without PIEs there is none.
    """
    if "pies" not in tables:
        return {}, 0
    candidates = list(tables["models"]["candidate"])
    found, before = {}, room
    for place, name in enumerate(candidates):
        groups, taken = _groups(tables, name, given, room // (len(candidates) - place))
        room -= taken
        if groups[0]["images"]:
            found[name] = groups
    return found, before - room


def _groups(
    tables: Mapping[str, pd.DataFrame], candidate: str, given: Pictures, room: int
) -> tuple[list[dict[str, Any]], int]:
    pies, beside = tables["pies"], tables["beside_pies"]
    sets = {_PIES: pies[(pies["candidate"] == candidate) & pies["is_pie"]]}
    null = OF_CONTROL if tables["populations"]["control"].notna().any() else OF_HALVES
    sets |= {group: beside[beside["group"] == group] for group in (null, DRAWN)}
    most, left, found = MOST, room, []
    for place, (group, rows) in enumerate(sets.items()):
        images, taken = _shown(
            by_class(tables, candidate, rows), group, given, left // (len(sets) - place), most
        )
        left -= taken
        most = min(most, len(images)) if group == _PIES else most
        # Of the test set at random there is no number that could change.
        count = "" if group == DRAWN else f" of {len(rows):,}"
        found.append({"title": TITLES[group], "count": f"{len(images)}{count}", "images": images})
    return found, room - left


def _shown(
    rows: Mapping[str, list[dict[str, Any]]],
    group: str,
    given: Pictures,
    room: int,
    most: int,
) -> tuple[list[dict[str, str]], int]:
    """Return images in the order of their classes, up to ``most``, and the bytes they take."""
    shown: dict[str, list[dict[str, str]]] = {name: [] for name in rows}
    taken = 0
    for name, row in islice(by_turns(rows), most):
        image = _described(row, group, given.thumbnail(row["image"]))
        if taken + size_of(image) > room:
            break
        taken += size_of(image)
        shown[name].append(image)
    return [image for of_class in shown.values() for image in of_class], taken


def _described(row: Mapping[str, Any], group: str, source: str) -> dict[str, str]:
    """Return an image with its words: its class, both modal labels and how many agree."""
    labels = [style.label(row[side]) or "no answer" for side in ("before", "after")]
    shares = [style.percent(row[f"agreement_{side}"], 0) for side in ("before", "after")]
    answers = [f"{label} {share}" for label, share in zip(labels, shares, strict=True)]
    first, second = (row[side] == row["class"] for side in ("before", "after"))
    name, label = style.label(row["image"], 30), style.label(row["class"])
    return {
        "key": str(row["image"]),
        "source": source,
        "alt": f"Image {name}, of class {label}: {_SAID[group].format(*labels)}",
        "name": name,
        "label": label,
        "answers": answers[0] if group == DRAWN else " → ".join(answers),
        "kind": "other" if first == second else "lost" if first else "gained",
    }
