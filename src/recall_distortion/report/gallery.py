"""The images that networks forget, as the page shows them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recall_distortion.report import style
from recall_distortion.report.tables import ReportTables
from recall_distortion.system.errors import TableError
from recall_distortion.system.files import unreadable
from recall_distortion.tables.gallery import DRAWN, GROUPS, NULL, PIE, chosen

TITLES = {
    PIE: "Forgotten: PIEs of pruned networks",
    NULL: "Null: named otherwise without compression",
    DRAWN: "Drawn at random",
}


@dataclass(frozen=True)
class Thumbnails:
    """Pictures by data set and image, how many were too many, whose may not be shown."""

    pictures: dict[str, dict[str, str]]
    left_out: int
    withheld: list[str]


def read_thumbnails(path: Path | None) -> Thumbnails | None:
    """Return what ``data.thumbnails`` wrote; None where there is no file.

    Raises ``TableError`` for one that is damaged.
    """
    if path is None or not path.exists():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        pictures = {
            str(name): {str(image): _data_uri(uri) for image, uri in own.items()}
            for name, own in found["pictures"].items()
        }
        return Thumbnails(pictures, int(found["left_out"]), [str(n) for n in found["withheld"]])
    except OSError as error:
        raise TableError(unreadable(path, error) or f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TableError(f"{path}: damaged ({error}); delete it and run the study again") from None


def _data_uri(text: Any) -> str:
    if not isinstance(text, str) or not text.startswith("data:image/"):
        raise ValueError("a picture is no image")
    return text


def gallery_facts(
    data: ReportTables, images: pd.DataFrame, thumbnails: Thumbnails | None
) -> dict[str, Any] | None:
    """Return the groups of pictures of each panel, by class; None where there is none to show."""
    if thumbnails is None or images.empty:
        return None
    wanted = chosen(images)
    panels = []
    for panel in data.panels:
        pictures = thumbnails.pictures.get(panel.dataset, {})
        own = wanted[(wanted[list(panel._fields)] == list(panel)).all(axis=1)]
        names = _class_names(data, panel.dataset)
        groups = [_group(own[own["group"] == group], group, pictures, names) for group in GROUPS]
        if any(group["count"] for group in groups):
            panels.append({"name": data.title(panel), "groups": groups})
    withheld = [name for name in thumbnails.withheld if name in {p.dataset for p in data.panels}]
    if not panels and not withheld:
        return None
    return {"panels": panels, "left_out": thumbnails.left_out, "withheld": withheld,
            "held": sorted(thumbnails.pictures)}  # fmt: skip


def _class_names(data: ReportTables, dataset: str) -> dict[int, str]:
    rows = data.recall[data.recall["dataset"] == dataset].drop_duplicates("class")
    return {int(c): style.label(n) for c, n in zip(rows["class"], rows["class_name"], strict=True)}


def _group(
    rows: pd.DataFrame, group: str, pictures: dict[str, str], names: dict[int, str]
) -> dict[str, Any]:
    classes = []
    for label, own in rows.sort_values("label", kind="stable").groupby("label", sort=True):
        tiles = [_tile(row, pictures, names) for row in own.to_dict("records")]
        if tiles := [tile for tile in tiles if tile["source"]]:
            classes.append({"name": names[int(label)], "tiles": tiles})
    count = sum(len(one["tiles"]) for one in classes)
    return {"key": group, "title": TITLES[group], "classes": classes, "count": count}


def _tile(row: dict[str, Any], pictures: dict[str, str], names: dict[int, str]) -> dict[str, Any]:
    return {
        "image": int(row["image"]),
        "source": pictures.get(str(int(row["image"])), ""),
        "label": names[int(row["label"])],
        "dense": names[int(row["dense_label"])],
        "own": names[int(row["own_label"])],
        "dense_share": style.percent(row["dense_agreement"], 0),
        "share": style.percent(row["agreement"], 0),
        "number": int(row["number"]),
        "cells": str(row["cells"]),
    }
