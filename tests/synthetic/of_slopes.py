"""Tables made from slopes that are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import CELL, NETWORK, PANEL, RETRAINED
from tests.synthetic.cells import DENSE, RECIPE, completed, with_recipe

Cells = Mapping[tuple[str, float], float]  # (method, ratio) -> true slope


def recall(
    cells: Cells,
    *,
    dataset: str = "digits",
    architecture: str = "mlp",
    recipe: str = RECIPE,
    seeds: int = 8,
    classes: int = 6,
    accuracy: float = 0.9,
    sd_seed: float = 0.08,
    sd_seed_cell: float = 0.1,
    sd_class: float = 0.1,
    noise: float = 0.01,
    missing: Sequence[tuple[str, float, int]] = (),
    random_seed: int = 0,
) -> pd.DataFrame:
    """Return a recall table whose class-level model has the slopes ``cells``.

    Slopes vary by seed, by seed and cell, and by class with the given standard deviations;
    ``noise`` is the residual's. ``missing`` lists failed replicates (method, ratio, seed).
    """
    generator = np.random.default_rng(random_seed)
    before = generator.normal(0, 0.04, classes) + generator.normal(0, 0.04, (seeds, classes))
    by_seed = generator.normal(0, sd_seed, seeds)
    by_class = generator.normal(0, sd_class, classes)
    rows = [_rows(before, *DENSE, range(seeds))]
    for (method, ratio), slope in cells.items():
        by_replicate = generator.normal(0, sd_seed_cell, seeds)
        slopes = slope + (by_seed + by_replicate)[:, None] + by_class[None, :]
        after = before * slopes + generator.normal(0, noise, before.shape)
        kept = [seed for seed in range(seeds) if (method, ratio, seed) not in missing]
        rows.append(_rows(after, method, ratio, RETRAINED, kept))
    table = pd.concat(rows, ignore_index=True)
    balance = accuracy * table["normalized_balance"]
    table = table.assign(
        dataset=dataset,
        architecture=architecture,
        recipe=recipe,
        class_name="class " + table["class"].astype(str),
        support=1000,
        predicted=1000,
        recall=accuracy + balance,
        accuracy=accuracy,
        balance=balance,
    )
    return table.reindex(columns=COLUMNS["recall"])


def _rows(
    balance: np.ndarray, method: str, ratio: float, state: str, seeds: Sequence[int]
) -> pd.DataFrame:
    return pd.DataFrame(
        [
            (method, ratio, state, seed, label, balance[seed, label])
            for seed in seeds
            for label in range(balance.shape[1])
        ],
        columns=["method", "ratio", "state", "seed", "class", "normalized_balance"],
    )


def networks(
    means: Mapping[tuple[Any, ...], float | Sequence[float]],
    *,
    seeds: int = 6,
    sd: float = 0.1,
    state: str = RETRAINED,
    random_seed: int = 0,
) -> pd.DataFrame:
    """Return a networks table; ``means`` maps cells, with or without recipe, to E[alpha].

    The replicates of one seed share half of their variance, so that pairing matters. Slopes a seed
    in place of a mean are taken as they are.
    """
    generator = np.random.default_rng(random_seed)
    shared = generator.normal(0, sd, seeds)
    rows = []
    for cell, mean in means.items():
        if isinstance(mean, Sequence):
            values = mean
        else:
            values = [mean + shared[seed] + generator.normal(0, sd) for seed in range(seeds)]
        rows += [
            (*with_recipe(cell, len(CELL)), state, seed, value) for seed, value in enumerate(values)
        ]
    return completed(pd.DataFrame(rows, columns=[*NETWORK, "alpha"]))


def dense(accuracies: Mapping[tuple[str, ...], float], *, seeds: int = 6) -> pd.DataFrame:
    """Return the dense rows of a networks table, of each panel with one accuracy."""
    rows = [
        (*with_recipe(panel, len(PANEL)), *DENSE, seed, accuracy)
        for panel, accuracy in accuracies.items()
        for seed in range(seeds)
    ]
    return completed(pd.DataFrame(rows, columns=[*NETWORK, "accuracy"]))


def with_sums(table: pd.DataFrame, denominators: np.ndarray) -> pd.DataFrame:
    """Return networks with cross-fitted sums whose quotients are their slopes."""
    return table.assign(
        alpha_crossfit=table["alpha"],
        crossfit_numerator=table["alpha"] * denominators,
        crossfit_denominator=denominators,
    )


def slopes(
    panels: Mapping[tuple[str, ...], float],
    methods: Mapping[str, tuple[float, float, float, float]],
    *,
    ratios: Sequence[float] = (2, 4, 16),
    seeds: int = 8,
    sd_panel: float = 0.05,
    sd_seed: float = 0.1,
    sd: float = 0.1,
    growth: float = 1.0,
    random_seed: int = 0,
) -> pd.DataFrame:
    """Return keys and slopes of networks that follow the models over panels.

    ``panels`` maps panels, with or without recipe, to their predictors; ``methods`` maps a method
    to its level, trend per doubling of the ratio, effect of the predictor, and interaction, all at
    the means of the doublings and of the predictor. The residual's standard deviation is ``sd`` at
    the smallest ratio and ``growth`` times that of the one before at each further ratio.
    """
    generator = np.random.default_rng(random_seed)
    middle = np.mean(list(panels.values()))
    doublings = np.log2(ratios) - np.mean(np.log2(ratios))
    rows = []
    for panel, predictor in panels.items():
        keys = with_recipe(panel, len(PANEL))
        own = generator.normal(0, sd_panel)
        by_seed = generator.normal(0, sd_seed, seeds)
        for method, (level, trend, effect, interaction) in methods.items():
            for place, (ratio, d) in enumerate(zip(ratios, doublings, strict=True)):
                x = predictor - middle
                mean = level + trend * d + effect * x + interaction * d * x + own
                noise = generator.normal(0, sd * growth**place, seeds)
                rows += [
                    (*keys, method, ratio, RETRAINED, seed, value)
                    for seed, value in enumerate(mean + by_seed + noise)
                ]
    return pd.DataFrame(rows, columns=[*NETWORK, "alpha"])
