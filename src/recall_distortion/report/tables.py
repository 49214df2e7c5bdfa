"""Reading a study's tables for the page, and the order in which it names things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import read_table
from recall_distortion.tables.schema import TABLES, TEXT, TRUTH
from recall_distortion.tables.views import leading, spread
from recall_distortion.vocabulary import PANEL, REFERENCE_ARMS

METHOD_ORDER = (
    "magnitude",
    "layerwise_magnitude",
    "gradient",
    "regularized_gradient",
    "undecayed",
    "undecayed_signed",
    "random",
)
_TYPES = {TEXT: str, TRUTH: bool}  # all others are numbers
REQUIRED = ("recall", "networks", "estimates")  # and for the page the summary


@dataclass(frozen=True)
class StudyTables:
    """The tables of one study; an optional table that does not exist is empty, with its columns.

    ``panels`` are the (dataset, architecture) pairs in the order of recall.csv, ``methods`` the
    compression methods (reference arms left out), ``ratios`` their ratios in rising order.
    """

    recall: pd.DataFrame
    networks: pd.DataFrame
    estimates: pd.DataFrame
    tests: pd.DataFrame
    mixed_models: pd.DataFrame
    mixed_model_fits: pd.DataFrame
    published: pd.DataFrame
    summary: pd.DataFrame
    panels: list[tuple[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    _views: dict[str, pd.DataFrame] = field(default_factory=dict)

    def view(self, name: str) -> pd.DataFrame:
        """Return a question's table, a row a cell (``tables.views.VIEWS``)."""
        if name not in self._views:
            self._views[name] = spread(name, self.estimates)
        return self._views[name]

    @cached_property
    def leading(self) -> pd.DataFrame:
        """What each cell shows where it leads (``tables.views.leading``)."""
        return leading(self.estimates)

    @cached_property
    def numbers(self) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
        """The numbers of summary.csv: by panel, ("", "") for the study, by section and by item."""
        found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
        for row in self.summary.fillna({"dataset": "", "architecture": ""}).itertuples():
            sections = found.setdefault((row.dataset, row.architecture), {})
            sections.setdefault(row.section, {})[row.item] = row.value
        return found


def read(folder: Path, name: str, required: Sequence[str] = REQUIRED) -> pd.DataFrame:
    """Return one table with text, truth and number columns typed as such.

    Raises ``TableError`` when a required file or a column is missing or a number is not one.
    """
    path = Path(folder) / f"{name}.csv"
    if not path.is_file() and name not in required:
        kinds = {column.name: _TYPES.get(column.kind, float) for column in TABLES[name].columns}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    table = read_table(path, name)
    for column in TABLES[name].columns:
        if column.kind == TRUTH:
            words = table[column.name].astype(str).str.strip().str.lower()
            table[column.name] = words.isin(("true", "1", "1.0"))
        elif column.kind == TEXT:
            table[column.name] = table[column.name].fillna("")
        else:
            table[column.name] = table[column.name].astype(float)
    return table


def read_tables(folder: Path, required: Sequence[str] = REQUIRED) -> StudyTables:
    """Return all tables of a study from a folder of CSV files; any not required may be missing."""
    found = {name: read(Path(folder), name, required) for name in TABLES}
    recall = found["recall"]
    if recall.empty:
        raise TableError(f"{Path(folder) / 'recall.csv'} has no rows: nothing was evaluated")
    pairs = recall[PANEL].drop_duplicates()
    compressed = recall[~recall["method"].isin(REFERENCE_ARMS)]
    return StudyTables(
        **found,
        panels=list(pairs.itertuples(index=False, name=None)),
        methods=order_methods(list(compressed["method"].unique())),
        ratios=sorted(float(ratio) for ratio in compressed["ratio"].dropna().unique()),
    )


def order_methods(names: list[str]) -> list[str]:
    """Return method names in the published order, unknown ones after them as they came."""
    return order_as(names, METHOD_ORDER)


def order_as(names: Sequence[str], order: Sequence[str]) -> list[str]:
    """Return names in the given order, those that it does not have after them as they came."""
    known = [name for name in order if name in names]
    return known + [name for name in names if name not in known]


def of_panel(table: pd.DataFrame, panel: tuple[str, str]) -> pd.DataFrame:
    """Return the rows of one (dataset, architecture)."""
    return table[(table["dataset"] == panel[0]) & (table["architecture"] == panel[1])]
