"""What a measure of a network is, beside recalls and slopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import Column


@dataclass(frozen=True)
class Measure:
    """One number of a network: its column of networks.csv, what pages call it, where it is from.

    ``of`` returns it for K networks [K], from their predictions and those of their dense networks,
    row by row; in rows of ``reseed`` the first of a pair is the dense one. ``relative`` measures
    hold a network against its dense one, so that dense networks themselves have none.
    """

    column: Column
    title: str
    source: str
    of: Callable[[Predictions, Predictions], np.ndarray]
    relative: bool = False
