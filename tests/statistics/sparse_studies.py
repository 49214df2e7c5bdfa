"""Studies made from slopes and realised ratios, so that the truth between two ratios is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from recall_distortion.inference.questions.equal_sparsity import equal_sparsity
from recall_distortion.vocabulary import CELL_STATE, CONTROL, Panel
from tests import synthetic

PANEL = Panel("digits", "mlp", "usual")
RATIOS = (2.0, 4.0, 10.0)
NOMINAL = ["nominal_difference", "nominal_low", "nominal_high"]
EQUAL = ["equal_difference", "equal_low", "equal_high"]
DENSER = ["denser_difference", "denser_low", "denser_high"]

Tables = dict[str, pd.DataFrame]
# Method and nominal ratio to the replicates' slopes, realised ratios and accuracies [n] each.
Networks = Mapping[tuple[str, float], tuple[np.ndarray, np.ndarray, np.ndarray]]


def line(ratio: np.ndarray | float) -> np.ndarray:
    """Return a slope that is linear in the logarithm of the ratio: 0.8 at 1, + 0.1 a doubling."""
    return 0.8 + 0.1 * np.log2(ratio)


def cost(ratio: np.ndarray | float) -> np.ndarray:
    return 0.9 - 0.02 * np.log2(ratio)


def tables(networks: Networks, denominators: np.ndarray, told: bool = True) -> Tables:
    """Return networks and pooled; seeds are counted from 0.

    Of pooled, whether a cell has a cross-fitted interval is all that is read.
    """
    slopes = {(*PANEL, *place): values[0].tolist() for place, values in networks.items()}
    table = synthetic.networks(slopes)
    realised, accuracies = (
        np.concatenate([values[i] for values in networks.values()]) for i in (1, 2)
    )
    table = table.assign(
        accuracy=accuracies, realised_ratio=np.where(table["method"] == CONTROL, np.nan, realised)
    )
    table = synthetic.with_sums(table, denominators[table["seed"]])
    pooled = table[CELL_STATE].drop_duplicates().assign(crossfit_low=0.5 if told else np.nan)
    return {"networks": table, "pooled": pooled}


def on_the_line(
    seeds: int = 6,
    share: float = 0.6,
    jitter: float = 0.0,
    control: bool = True,
    reference: str = "magnitude",
    shift: float = 0.0,
) -> Tables:
    """Return a study of a method that keeps more than asked; all slopes lie on the line.

    Each replicate's line is a little higher or lower; ``shift`` is how far the method's is off.
    """
    rng = np.random.default_rng(5)
    own = rng.normal(0, 0.05, seeds)
    flat = np.ones(seeds)
    networks = {(CONTROL, 1.0): (line(1) + own, flat, cost(1) + own / 10)} if control else {}
    for ratio in RATIOS:
        networks[reference, ratio] = (line(ratio) + own, ratio * flat, cost(ratio) + own / 10)
    for ratio in RATIOS:
        realised = np.maximum(ratio * share * np.exp(jitter * rng.normal(size=seeds)), 1)
        slopes = line(realised) + own + shift
        networks["generous", ratio] = slopes, realised, cost(realised) + own / 10
    return tables(networks, 0.02 * (1 + 0.3 * rng.random(seeds)))


def table(study: Tables, level: float = 0.99) -> pd.DataFrame:
    return equal_sparsity(**study, level=level)


def chosen(study: Tables, method: str, ratio: float | None = None) -> pd.Series:
    """Return which rows of networks are a method's, at one ratio or all."""
    networks = study["networks"]
    found = networks["method"] == method
    return found if ratio is None else found & (networks["ratio"] == ratio)
