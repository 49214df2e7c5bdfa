"""Tables of studies whose true slopes are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

Cells = Mapping[tuple[str, float], float]  # (method, ratio) -> true slope


def recall(
    cells: Cells,
    *,
    dataset: str = "digits",
    architecture: str = "mlp",
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
    rows = [_rows(before, "dense", 1.0, "dense", range(seeds))]
    for (method, ratio), slope in cells.items():
        by_replicate = generator.normal(0, sd_seed_cell, seeds)
        slopes = slope + (by_seed + by_replicate)[:, None] + by_class[None, :]
        after = before * slopes + generator.normal(0, noise, before.shape)
        kept = [seed for seed in range(seeds) if (method, ratio, seed) not in missing]
        rows.append(_rows(after, method, ratio, "finetuned", kept))
    table = pd.concat(rows, ignore_index=True)
    return table.assign(dataset=dataset, architecture=architecture, accuracy=accuracy)


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


def alpha(
    means: Mapping[tuple[str, str, str, float], float],
    *,
    seeds: int = 6,
    sd: float = 0.1,
    state: str = "finetuned",
    random_seed: int = 0,
) -> pd.DataFrame:
    """Return an alpha table; ``means`` maps (dataset, architecture, method, ratio) to E[alpha].

    The replicates of one seed share half of their variance, so that pairing matters.
    """
    generator = np.random.default_rng(random_seed)
    shared = generator.normal(0, sd, seeds)
    return pd.DataFrame(
        [
            (*cell, state, seed, mean + shared[seed] + generator.normal(0, sd))
            for cell, mean in means.items()
            for seed in range(seeds)
        ],
        columns=["dataset", "architecture", "method", "ratio", "state", "seed", "alpha"],
    )


def slopes(
    panels: Mapping[tuple[str, str], float],
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
    """Return an alpha table that follows the models over panels.

    ``panels`` maps (dataset, architecture) to the panel's predictor; ``methods`` maps a method to
    its level, trend per doubling of the ratio, effect of the predictor, and interaction, all at
    the means of the doublings and of the predictor. The residual's standard deviation is ``sd`` at
    the smallest ratio and ``growth`` times that of the one before at each further ratio.
    """
    generator = np.random.default_rng(random_seed)
    middle = np.mean(list(panels.values()))
    doublings = np.log2(ratios) - np.mean(np.log2(ratios))
    rows = []
    for (dataset, architecture), predictor in panels.items():
        own = generator.normal(0, sd_panel)
        by_seed = generator.normal(0, sd_seed, seeds)
        for method, (level, trend, effect, interaction) in methods.items():
            for place, (ratio, d) in enumerate(zip(ratios, doublings, strict=True)):
                x = predictor - middle
                mean = level + trend * d + effect * x + interaction * d * x + own
                noise = generator.normal(0, sd * growth**place, seeds)
                rows += [
                    (dataset, architecture, method, ratio, "finetuned", seed, value)
                    for seed, value in enumerate(mean + by_seed + noise)
                ]
    return pd.DataFrame(
        rows, columns=["dataset", "architecture", "method", "ratio", "state", "seed", "alpha"]
    )
