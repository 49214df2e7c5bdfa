"""The page of a study of which no network is fine-tuned: its controls are those of other ways."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from recall_distortion.report.page import build_report

SHIPPED = Path(__file__).parents[2] / "results" / "digits_tickets"


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """The words of the page of the shipped tickets without what is fine-tuned at once."""
    folder = tmp_path_factory.mktemp("tickets")
    shutil.copytree(SHIPPED / "tables", folder / "tables")
    for path in (folder / "tables").glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in {"method", "left", "right"} & {*table.columns}:
            table = table[~table[column].isin(("control", "magnitude"))]
        if "item" in table:
            table = table[~table["item"].str.startswith("control/")]
        table.to_csv(path, index=False)
    build_report(folder / "tables", folder / "page.html", study={}, figures=SHIPPED / "figures")
    page = (folder / "page.html").read_text(encoding="utf-8")
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


@pytest.mark.slow
def test_every_control_is_found(said):
    assert "no control" not in said.lower()
    for arm, images in (
        ("control_rewind", 8), ("control_reinit", 6), ("control_iterative at 50", 9),
    ):  # fmt: skip
        assert (
            f"In {arm}, 60 networks trained without pruning, the majority names {images} of 1,258"
        ) in said
    assert re.search(r"control_rewind \d\.\d\d \(.*?\)[^;]*; control_reinit ", said)


def test_nothing_is_said_to_be_fine_tuned_that_is_not(said):
    for words in (
        "the same network fine-tuned", "fine-tuning without pruning", "pruned and fine-tuned cell",
        "after fine-tuning", "before fine-tuning", "state fine-tuned", "pruning and fine-tuning",
    ):  # fmt: skip
        assert words not in said
