"""Which reference arm a method's effects are read against: each way of training has its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd

from recall_distortion.tables.predictions import Predictions
from recall_distortion.vocabulary import CONTROL, OF_ROUNDS, RETRAINED, UNCOMPRESSED, CellState


@dataclass(frozen=True)
class Controls:
    """The arms by method; what is not named is read against ``control``."""

    arms: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, networks: pd.DataFrame) -> Controls:
        """Return the arms that the table of networks names."""
        if "control" not in networks:
            return cls()
        named = networks[["method", "control"]].drop_duplicates()
        named = named[named["control"].fillna("") != ""]
        return cls(dict(zip(named["method"], named["control"], strict=True)))

    @classmethod
    def of_predictions(cls, parts: Iterable[Predictions]) -> Controls:
        """Return the arms that predictions name."""
        return cls({part.method: part.control for part in parts if part.control != CONTROL})

    def arm(self, method: str) -> str:
        """Return the arm of a method."""
        return self.arms.get(method, CONTROL)

    def cell(self, key: CellState) -> CellState:
        """Return the cell that a cell's effects are read against."""
        return CellState(*key.panel, *self.at(key.method, key.ratio), RETRAINED)

    def at(self, method: str, ratio: float) -> tuple[str, float]:
        """Return the arm that a method at a ratio is read against, and the ratio of that."""
        arm = self.arm(method)
        return arm, ratio if arm in OF_ROUNDS else UNCOMPRESSED


#: Everything is read against ``control``.
USUAL = Controls()
