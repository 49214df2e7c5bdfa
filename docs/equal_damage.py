"""What the findings say of methods that cost as much accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from recall_distortion.vocabulary import DEINTENSIFICATION, INTENSIFICATION

if TYPE_CHECKING:
    from findings import Tables


class EqualDamage:
    """Cells beside magnitude pruning where that costs as much accuracy."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def cells(self, study: str) -> pd.DataFrame:
        """Return the cells that have an interval."""
        table = self.tables(study, "equal_accuracy")
        return table[table["low"].notna() & table["high"].notna()]

    def told(self, study: str) -> int:
        """Return how many distort more or less."""
        return int(self.cells(study)["verdict"].isin((INTENSIFICATION, DEINTENSIFICATION)).sum())

    def count(self, study: str) -> int:
        """Return how many cells are compared."""
        return len(self.cells(study))

    def row(self, study: str) -> list[str]:
        """Return the cells compared, those that distort more and less, sizes of the differences."""
        cells = self.cells(study)
        size, width = cells["difference"].abs(), (cells["high"] - cells["low"]) / 2
        verdicts = cells["verdict"]
        return [
            f"{len(cells)} of {len(self.tables(study, 'equal_accuracy'))}",
            str(int((verdicts == INTENSIFICATION).sum())),
            str(int((verdicts == DEINTENSIFICATION).sum())),
            *(f"{value:.2f}" for value in (size.median(), size.max(), width.median())),
        ]
