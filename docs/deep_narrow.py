"""What the findings say of deep narrow networks, with and without Jumpstart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from recall_distortion.vocabulary import DENSE, RETRAINED

if TYPE_CHECKING:
    from findings import Tables


class DeepNarrow:
    """Networks of one study by depth and width, and recipe."""

    def __init__(self, tables: Tables, study: str = "digits_jumpstart") -> None:
        self.tables = tables
        self.study = study

    def learn(self, size: str, recipe: str) -> list[float]:
        """Return the share of seeds whose dense networks learned, with its interval's ends."""
        rows = self.tables(self.study, "learning")
        chosen = rows[(rows["architecture"] == f"thin_mlp_{size}") & (rows["method"] == DENSE)]
        (row,) = chosen[chosen["recipe"] == recipe].to_dict("records")
        return [row[name] for name in ("learn", "low", "high")]

    def all_learn(self, sizes: Sequence[str], recipe: str) -> bool:
        """Return whether every seed of every size learned."""
        return all(self.learn(size, recipe)[0] == 1 for size in sizes)

    def networks(self, size: str, recipe: str, method: str, ratio: float) -> pd.DataFrame:
        """Return the dense or retrained networks of a cell."""
        rows = self.tables(self.study, "networks")
        state = DENSE if method == DENSE else RETRAINED
        return rows[
            (rows["architecture"] == f"thin_mlp_{size}")
            & (rows["recipe"] == recipe)
            & (rows["method"] == method)
            & (rows["ratio"] == ratio)
            & (rows["state"] == state)
        ]

    def row(self, size: str, recipes: Sequence[str]) -> list[str]:
        """Return by recipe the share that learned, accuracy in percent and share of dead units."""
        shares, accuracies, dead = [], [], []
        for recipe in recipes:
            share, low, high = self.learn(size, recipe)
            own = self.networks(size, recipe, DENSE, 1)
            shares.append(f"{share:.2f} ({low:.2f}..{high:.2f})")
            accuracies.append(f"{100 * own['accuracy'].mean():.1f}")
            dead.append(f"{own['dead_units'].mean():.3f}")
        return [*shares, *accuracies, *dead]

    def effect(self, recipe: str, method: str, ratio: float) -> list[float]:
        """Return the 5x16 cell's cross-fitted slope beyond the control's, with its ends."""
        rows = self.tables(self.study, "effects")
        (row,) = rows[
            (rows["recipe"] == recipe)
            & (rows["method"] == method)
            & (rows["ratio"] == ratio)
            & (rows["state"] == RETRAINED)
        ].to_dict("records")
        return [row[f"crossfit_{name}"] for name in ("difference", "low", "high")]
