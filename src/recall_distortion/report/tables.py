"""Reading a study's tables for the page, and the order in which it names things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from recall_distortion.compression.facts import BUILT_IN, QUANTIZERS
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import read_table
from recall_distortion.tables.schema import (
    SOMETIMES,
    SOMETIMES_TOGETHER,
    SUMMARIZED,
    TABLES,
    TEXT,
    TRUTH,
)
from recall_distortion.tables.study import StudyTables
from recall_distortion.vocabulary import PANEL, Panel

METHOD_ORDER = tuple(BUILT_IN)
_TYPES = {TEXT: str, TRUTH: bool}  # all others are numbers
REQUIRED = ("recall", "networks", "estimates")  # and for the page the summary


@dataclass(frozen=True)
class ReportTables(StudyTables):
    """The tables of one study; an optional table that does not exist is empty, with its columns.

    ``methods`` are in the published order.
    """

    summary: pd.DataFrame

    @cached_property
    def methods(self) -> list[str]:
        """The compression methods in the published order, others after them as they came."""
        return order_methods(super().methods)

    @cached_property
    def quantizers(self) -> list[str]:
        """The methods that quantize, the built-in ones first."""
        return order_as(super().quantizers, tuple(QUANTIZERS))

    def place(self, panel: Panel) -> str:
        """Return a panel as a sentence names it: cnn on digits."""
        recipe = f" by recipe {panel.recipe}" if self.several_recipes else ""
        return f"{panel.architecture} on {panel.dataset}{recipe}"

    def title(self, panel: Panel) -> str:
        """Return a panel as headings name it: digits / cnn."""
        return " / ".join(panel if self.several_recipes else panel[:2])

    @cached_property
    def numbers(self) -> dict[Panel, dict[str, dict[str, float]]]:
        """The numbers of summary.csv: by panel (empty for the study), by section and by item."""
        found: dict[Panel, dict[str, dict[str, float]]] = {}
        for row in self.summary.fillna(dict.fromkeys(PANEL, "")).itertuples():
            sections = found.setdefault(Panel(row.dataset, row.architecture, row.recipe), {})
            sections.setdefault(row.section, {})[row.item] = row.value
        return found


def pruned(table: pd.DataFrame, data: ReportTables) -> pd.DataFrame:
    """Return the rows of a table that are not of quantized networks."""
    return table[~table["method"].isin(data.quantizers)] if data.quantizers else table


def read(folder: Path, name: str, required: Sequence[str] = REQUIRED) -> pd.DataFrame:
    """Return one table with text, truth and number columns typed as such.

    Raises ``TableError`` when a required file or a column is missing or a number is not one.
    """
    path = Path(folder) / f"{name}.csv"
    if not path.is_file() and name not in required:
        kinds = {column.name: _TYPES.get(column.kind, float) for column in TABLES[name].columns}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    further = SOMETIMES if name == "networks" else ()
    table = read_table(path, name, further=further)
    for column in (*TABLES[name].columns, *further):
        if column.kind == TRUTH:
            words = table[column.name].astype(str).str.strip().str.lower()
            table[column.name] = words.isin(("true", "1", "1.0"))
        elif column.kind == TEXT:
            table[column.name] = table[column.name].fillna("")
        else:
            table[column.name] = table[column.name].astype(float)
    for columns in SOMETIMES_TOGETHER if further else ():
        own = table[[column.name for column in columns]]
        if (own.isna() | own.eq("")).all(axis=None):
            table = table.drop(columns=own.columns)
    return table


def read_tables(folder: Path, required: Sequence[str] = REQUIRED) -> ReportTables:
    """Return a study's tables from a folder of CSV files; those not required may be missing."""
    found = {name: read(Path(folder), name, required) for name in (*SUMMARIZED, "summary")}
    if found["recall"].empty:
        raise TableError(f"{Path(folder) / 'recall.csv'} has no rows: nothing was evaluated")
    return ReportTables(**found)


def order_methods(names: list[str]) -> list[str]:
    """Return method names in the published order, unknown ones after them as they came."""
    return order_as(names, METHOD_ORDER)


def order_as(names: Sequence[str], order: Sequence[str]) -> list[str]:
    """Return names in the given order, those that it does not have after them as they came."""
    known = [name for name in order if name in names]
    return known + [name for name in names if name not in known]
