"""What the page says of other seeds and other images, against the estimates that it is of."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from recall_distortion.report import section_tables
from recall_distortion.report.evidence import over_both_facts
from recall_distortion.report.tables import ReportTables, read_tables
from recall_distortion.tables.views import CROSSFIT, CROSSFIT_OVER_BOTH, MEAN, MEAN_OVER_BOTH
from recall_distortion.vocabulary import CELL_STATE, CONCLUSIVE, DENSE, ONE


def rows(tables: Path, estimator: str, quantity: str, against: str) -> pd.DataFrame:
    """Return some rows of estimates.csv by cell and class."""
    table = pd.read_csv(tables / "estimates.csv", dtype={"class": str})
    chosen = (table["estimator"] == estimator) & (table["quantity"] == quantity)
    return table[chosen & (table["against"] == against)].set_index([*CELL_STATE, "class"])


def told(table: pd.DataFrame) -> int:
    return int(((table["low"] > 0) | (table["high"] < 0)).sum())


def test_the_page_counts_what_is_told_with_and_without_other_images(
    small_tables: Path, small_page: str
) -> None:
    classes = rows(small_tables, MEAN_OVER_BOTH, "recall", DENSE)
    of_seeds = rows(small_tables, MEAN, "recall", DENSE).loc[classes.index]
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", small_page))
    assert (
        f"tell {told(of_seeds)} of {len(classes)} changes of a class’s recall from none; "
        f"intervals that also speak of other images tell {told(classes)}." in said
    )
    slopes = rows(small_tables, CROSSFIT_OVER_BOTH, "alpha", ONE)
    pooled = rows(small_tables, CROSSFIT, "alpha", ONE).loc[slopes.index]
    facts = over_both_facts(read_tables(small_tables))
    assert facts["slopes"] == len(slopes)
    assert facts["slopes_both"] == slopes["verdict"].isin(CONCLUSIVE).sum()
    assert facts["slopes_seeds"] == pooled["verdict"].isin(CONCLUSIVE).sum()
    assert facts["unknown"] == slopes["low"].isna().sum()
    assert f"tell {facts['slopes_seeds']} of {len(slopes)} pooled slopes from 1" in said


def test_tables_have_both_intervals_beside_each_other(small_tables: Path) -> None:
    data = read_tables(small_tables)
    slopes, classes = section_tables.over_both_tables(data)
    for table, name in ((slopes, "slopes_over_both"), (classes, "classes_over_both")):
        assert len(table.rows) == len(data.view(name))
    place = [heading.name for heading in classes.headings].index
    both = rows(small_tables, MEAN_OVER_BOTH, "recall", DENSE)
    of_seeds = rows(small_tables, MEAN, "recall", DENSE)
    # The class that changed most comes first.
    order = both["estimate"].abs().sort_values(ascending=False, kind="stable").index
    for name, expected in (
        ("change", both.loc[order, "estimate"]),
        ("low", both.loc[order, "low"]),
        ("seeds_low", of_seeds.loc[order, "low"]),
        ("seeds_high", of_seeds.loc[order, "high"]),
    ):
        shown = [row[place(name)] for row in classes.rows]
        full = [float(cell.title or cell.text.replace("−", "-")) for cell in shown]
        assert full == expected.tolist(), name


def test_without_single_predictions_nothing_is_said(small_tables: Path) -> None:
    data = read_tables(small_tables)
    known = ~data.estimates["estimator"].isin((MEAN_OVER_BOTH, CROSSFIT_OVER_BOTH))
    fields = {
        name: getattr(data, name) for name in ReportTables.__dataclass_fields__ if name != "_views"
    }
    less = ReportTables(**fields | {"estimates": data.estimates[known]})
    assert over_both_facts(less) is None
    assert not any(table.rows for table in section_tables.over_both_tables(less))
