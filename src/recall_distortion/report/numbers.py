"""The numbers of summary.csv, as the page's sentences look them up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from recall_distortion.report.tables import ReportTables
from recall_distortion.vocabulary import Panel

STUDY = Panel("", "", "")


@dataclass(frozen=True)
class Numbers:
    """The numbers of one section of one place, by item."""

    items: Mapping[str, float]

    def value(self, item: str) -> float:
        """Return a number; NaN where the table has none."""
        return self.items.get(item, math.nan)

    def count(self, item: str) -> int:
        """Return a whole number; 0 where the table has none."""
        value = self.value(item)
        return int(value) if math.isfinite(value) else 0


def numbers(data: ReportTables, place: Panel, section: str) -> Numbers:
    """Return the numbers of a section: of a panel, of a data set alone, or of the study."""
    return Numbers(data.numbers.get(place, {}).get(section, {}))
