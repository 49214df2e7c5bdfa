"""Which networks a made-up study has, and what its table of them says besides slopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion import vocabulary as words
from recall_distortion.measures.networks import SPARSITY
from recall_distortion.measures.of_networks import FURTHER
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import COMPRESSED, RETRAINED, Panel

Place = tuple[str, float, str]  # method, ratio, state
DENSE: Place = (words.DENSE, 1.0, words.DENSE)
CONTROL: Place = (words.CONTROL, 1.0, RETRAINED)

Tables = dict[str, pd.DataFrame]

# The recipe of networks for which a test does not name one.
RECIPE = "usual"
MLP = Panel("digits", "mlp", RECIPE)  # networks for which a test names nothing else


def with_recipe(names: Sequence[Any], size: int) -> tuple[Any, ...]:
    """Return the key of a panel or cell, of this size, with ``RECIPE`` if it has no recipe."""
    return tuple(names) if len(names) == size else (*names[:2], RECIPE, *names[2:])


def places(methods: Mapping[str, Sequence[float]], *, control: bool = True) -> list[Place]:
    """Return the places of a study that prunes with ``methods`` at these ratios."""
    pruned = [
        (method, float(ratio), state)
        for method, ratios in methods.items()
        for ratio in ratios
        for state in (COMPRESSED, RETRAINED)
    ]
    return [DENSE, *([CONTROL] if control else []), *pruned]


def completed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with all columns of networks, what is not known missing."""
    made = dict.fromkeys(("device", "engine", "torch", "failure"), "")
    further = [column.name for column in FURTHER]
    return table.assign(**made).reindex(columns=[*COLUMNS["networks"], *further])


def with_sparsity(
    table: pd.DataFrame, shares: Mapping[str, float] | None = None, *, jitter: float = 0.0
) -> pd.DataFrame:
    """Return networks of 1,000 prunable weights of which a ratio's part is kept.

    ``shares`` says by method which part of the ratio that was asked for was realised, if not all;
    ``jitter`` is the standard deviation of its logarithm.
    """
    noise = np.exp(np.random.default_rng(7).normal(0, jitter, len(table)))
    share = table["method"].map(shares or {}).astype(float) * noise
    # A pruned network lacks some weights, however small its share.
    kept = (1000 / (table["ratio"] * share.fillna(1.0))).round().clip(upper=980)
    known = pd.DataFrame(
        {
            "realised_ratio": 1000 / kept,
            "kept_fraction": kept / 1000,
            "kept_prunable": kept,
            "prunable": 1000,
            "total": 1200,
        }
    )
    pruned = ~table["method"].isin(words.REFERENCE_ARMS)
    return table.assign(**{name: known[name].where(pruned) for name in SPARSITY})
