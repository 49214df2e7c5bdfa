"""Studies for the tests of pooled slopes, and how their rows are looked up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.vocabulary import COMPRESSED, RETRAINED
from tests.synthetic import CONTROL, DENSE, drawn

MAGNITUDE = ("magnitude", 2.0, RETRAINED)
RANDOM = ("random", 10.0, COMPRESSED)
CELL = ["method", "ratio", "state"]
PLAIN = ("alpha", "low", "high", "r2")
CROSSED = ("alpha_crossfit", "crossfit_low", "crossfit_high")


def study(seeds: int = 8, classes: int = 5, images: int = 60, *, without=(), **options):
    """Return the labels and networks of a study of three cells besides the dense one."""
    rng = np.random.default_rng(options.pop("random_seed", 0))
    labels = np.repeat(np.arange(classes), images)
    balances = np.linspace(-0.12, 0.12, classes) + rng.normal(0, 0.03, (seeds, classes))
    networks = {DENSE: drawn(rng, labels, 0.8, balances)}
    for cell, slope, accuracy in ((CONTROL, 0.6, 0.8), (MAGNITUDE, 1.3, 0.75), (RANDOM, 1.5, 0.5)):
        networks[cell] = drawn(rng, labels, accuracy, slope * balances)
    for cell, seed in without:
        del networks[cell][seed]
    return labels, networks


def of(found: pd.DataFrame, cell) -> pd.Series:
    (row,) = [row for _, row in found.iterrows() if tuple(row[CELL]) == cell]
    return row


def values(table: pd.DataFrame, cell, seed: int, column: str) -> np.ndarray:
    chosen = (table[[*CELL, "seed"]] == [*cell, seed]).all(axis=1)
    return table.loc[chosen, column].to_numpy(float)


def nothing(row: pd.Series, *columns: str) -> bool:
    return bool(row[list(columns)].isna().all())
