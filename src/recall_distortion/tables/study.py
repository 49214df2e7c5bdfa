"""The tables of one study together, and what several readers look up in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from recall_distortion.tables.controls import Controls
from recall_distortion.tables.leading import leading
from recall_distortion.tables.views import spread
from recall_distortion.vocabulary import (
    NEVER_DENSE,
    PANEL,
    REFERENCE_ARMS,
    RETRAINED,
    CellState,
    Panel,
)


@dataclass(frozen=True)
class StudyTables:
    """The tables that hold a study's numbers, by their names in the schema."""

    recall: pd.DataFrame
    networks: pd.DataFrame
    estimates: pd.DataFrame
    tests: pd.DataFrame
    mixed_models: pd.DataFrame
    mixed_model_fits: pd.DataFrame
    published: pd.DataFrame
    _views: dict[str, pd.DataFrame] = field(init=False, repr=False, default_factory=dict)

    def view(self, name: str) -> pd.DataFrame:
        """Return a question's table, a row a cell (``views.VIEWS``)."""
        if name not in self._views:
            self._views[name] = spread(name, self.estimates)
        return self._views[name]

    @cached_property
    def leading(self) -> pd.DataFrame:
        """What each cell shows where it leads (``leading.leading``).

        Networks that were never dense have no verdict against 1.
        """
        found = leading(self.estimates)
        found.loc[found["method"].isin(self.never_dense), "alpha_verdict"] = ""
        return found

    @cached_property
    def never_dense(self) -> list[str]:
        """The methods and controls whose networks began with weights of their own.

        Their slopes hold them against dense networks that they never were: only the difference
        from their control says something.
        """
        arm = Controls.of(self.networks).arm
        return [name for name in self.recall["method"].unique() if arm(name) in NEVER_DENSE]

    @cached_property
    def panels(self) -> list[Panel]:
        """The panels, in the order of the recalls."""
        return panels_of(self.recall)

    @cached_property
    def several_recipes(self) -> bool:
        """Whether any network has several recipes, so that a name without one is ambiguous."""
        return have_several_recipes(self.panels)

    @cached_property
    def methods(self) -> list[str]:
        """The methods that compress and retrain; reference arms and quantizers are none."""
        apart = (*REFERENCE_ARMS, *self.quantizers)
        return [name for name in self.recall["method"].unique() if name not in apart]

    @cached_property
    def quantizers(self) -> list[str]:
        """The methods that quantize: nothing is trained there, and each has ratios of its own."""
        bits = self.networks.get("bits", pd.Series(np.nan, self.networks.index))
        return [str(name) for name in self.networks.loc[bits.notna(), "method"].unique()]

    @cached_property
    def ratios(self) -> list[float]:
        """The compression ratios of these methods, rising."""
        ratios = self.recall.loc[self.recall["method"].isin(self.methods), "ratio"]
        return sorted(float(ratio) for ratio in ratios.dropna().unique())

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The rows of ``leading`` of these methods."""
        return self.leading[self.leading["method"].isin(self.methods)]

    @cached_property
    def failed(self) -> pd.DataFrame:
        """The networks that could not be trained or retrained."""
        return self.networks[self.networks["failure"].fillna("") != ""]


def panels_of(table: pd.DataFrame) -> list[Panel]:
    """Return the panels that the rows of a table are of, in the order in which they come."""
    found = table[PANEL].drop_duplicates()
    return [Panel(*row) for row in found.itertuples(index=False, name=None)]


def have_several_recipes(panels: Sequence[Panel]) -> bool:
    """Return whether any network has several recipes among different panels."""
    return len({(panel.dataset, panel.architecture) for panel in panels}) < len(panels)


def within_recipes(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows that questions over several panels compare, with the recipe they share.

    These are all rows, unless a network has several recipes; then each recipe's are apart. Where
    rows of several recipes are compared, each network having its own, the recipe is "".
    """
    panels = panels_of(table)
    if have_several_recipes(panels):
        return [(str(recipe), rows) for recipe, rows in table.groupby("recipe", sort=False)]
    recipes = {panel.recipe for panel in panels}
    return [(recipes.pop() if len(recipes) == 1 else "", table)]


def of_panel(table: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Return the rows of one panel."""
    return table[(table[PANEL] == list(panel)).all(axis=1)]


def as_they_end(states: Sequence[CellState]) -> list[CellState]:
    """Return the states in which networks end: those that are not retrained afterwards."""
    every = set(states)
    return [
        key
        for key in states
        if key.state == RETRAINED or key._replace(state=RETRAINED) not in every
    ]
