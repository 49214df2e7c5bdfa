"""Tables of studies whose truth is known: from slopes, counts a class, or images that are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion import vocabulary as words
from recall_distortion.measures.distortion import Counts, class_rows
from recall_distortion.measures.networks import Observed, measure, slopes_table
from recall_distortion.tables.predictions import Predictions, Trained
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import CELL, COMPRESSED, NETWORK, RETRAINED, format_ratio

Place = tuple[str, float, str]  # method, ratio, state
DENSE: Place = (words.DENSE, 1.0, words.DENSE)
CONTROL: Place = (words.CONTROL, 1.0, RETRAINED)

Cells = Mapping[tuple[str, float], float]  # (method, ratio) -> true slope
Tables = dict[str, pd.DataFrame]
SPARSITY = ["realised_ratio", "kept_fraction", "kept_prunable", "prunable", "total"]


# From slopes


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
    means: Mapping[tuple[str, str, str, float], float | Sequence[float]],
    *,
    seeds: int = 6,
    sd: float = 0.1,
    state: str = RETRAINED,
    random_seed: int = 0,
) -> pd.DataFrame:
    """Return a networks table; ``means`` maps (dataset, architecture, method, ratio) to E[alpha].

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
        rows += [(*cell, state, seed, value) for seed, value in enumerate(values)]
    return _completed(pd.DataFrame(rows, columns=[*NETWORK, "alpha"]))


def dense(accuracies: Mapping[tuple[str, str], float], *, seeds: int = 6) -> pd.DataFrame:
    """Return the dense rows of a networks table, of each panel with one accuracy."""
    rows = [
        (*panel, *DENSE, seed, accuracy)
        for panel, accuracy in accuracies.items()
        for seed in range(seeds)
    ]
    return _completed(pd.DataFrame(rows, columns=[*NETWORK, "accuracy"]))


def _completed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with all columns of networks, what is not known missing."""
    made = dict.fromkeys(("device", "engine", "torch", "failure"), "")
    return table.assign(**made).reindex(columns=COLUMNS["networks"])


def with_sums(table: pd.DataFrame, denominators: np.ndarray) -> pd.DataFrame:
    """Return networks with cross-fitted sums whose quotients are their slopes."""
    return table.assign(
        alpha_crossfit=table["alpha"],
        crossfit_numerator=table["alpha"] * denominators,
        crossfit_denominator=denominators,
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
    """Return keys and slopes of networks that follow the models over panels.

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
                    (dataset, architecture, method, ratio, RETRAINED, seed, value)
                    for seed, value in enumerate(mean + by_seed + noise)
                ]
    return pd.DataFrame(rows, columns=[*NETWORK, "alpha"])


# From counts


def counted(
    correct: Mapping[Place, Mapping[int, Sequence[int]]],
    support: Sequence[int],
    *,
    dataset: str = "digits",
    architecture: str = "mlp",
    names: Sequence[str] = (),
) -> Tables:
    """Return recall and networks; ``correct`` maps cells and seeds to counts [C] of right images.

    The cross-fitted sums are those of a test set without sampling error: the plain slope's. Every
    class is named as often as it has images.
    """
    images = np.asarray(support)
    names = list(names) or [f"class {i}" for i in range(len(images))]
    observed: dict[Place, Observed] = {}
    recalls, frames = [], []
    for place, of_seed in correct.items():
        keys = _keys(dataset, architecture, place)
        right = np.array(list(of_seed.values()))
        counts = Counts(images, right, np.tile(images, (len(right), 1)))
        seeds = list(of_seed)
        observed[place] = Observed(seeds, counts.accuracy, counts.normalized_balance, None)
        recalls.append(class_rows(counts, names, seeds).assign(**keys))
        if place == DENSE:
            own = pd.DataFrame({"seed": seeds, "accuracy": counts.accuracy})
        else:
            own = slopes_table(observed[DENSE].take(seeds), observed[place])
        frames.append(own.assign(**keys))
    return {
        "recall": pd.concat(recalls, ignore_index=True).reindex(columns=COLUMNS["recall"]),
        "networks": _completed(pd.concat(frames, ignore_index=True)),
    }


def _keys(dataset: str, architecture: str, place: Place) -> dict[str, Any]:
    return dict(zip(NETWORK, (dataset, architecture, *place), strict=False))


def random_study(
    methods: Mapping[str, Sequence[float]],
    *,
    seeds: int = 6,
    classes: int = 4,
    images: int = 200,
    control: bool = True,
    random_seed: int = 0,
    **options,
) -> Tables:
    """Return a study of methods and their ratios whose classes are not equally hard."""
    rng = np.random.default_rng(random_seed)
    hard = np.linspace(0.95, 0.7, classes)
    places = [DENSE, *([CONTROL] if control else [])]
    places += [
        (method, float(ratio), state)
        for method, ratios in methods.items()
        for ratio in ratios
        for state in (COMPRESSED, RETRAINED)
    ]
    correct = {
        place: {seed: rng.binomial(images, hard).tolist() for seed in range(seeds)}
        for place in places
    }
    return counted(correct, [images] * classes, **options)


def with_sparsity(table: pd.DataFrame, shares: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return networks of 1,000 prunable weights of which a ratio's part is kept.

    ``shares`` says by method which part of the ratio that was asked for was realised, if not all.
    """
    reached = table["ratio"] * table["method"].map(shares or {}).fillna(1.0).astype(float)
    kept = (1000 / reached).round()
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


# From images


def pictured(
    labels: np.ndarray,
    right: Mapping[Place, Mapping[int, np.ndarray]],
    *,
    dataset: str = "digits",
    architecture: str = "mlp",
    splits: int = 10,
    reseed: bool = False,
) -> Tables:
    """Return recall and networks of a study; ``right`` says per seed which images [M] are right.

    A wrong image gets the class that follows its own. ``reseed`` keeps the rows of that name.
    """
    classes = int(labels.max()) + 1
    parts = []
    for (method, ratio, state), of_seed in right.items():
        hits = np.array(list(of_seed.values())).reshape(len(of_seed), len(labels))
        parts.append(
            Predictions(
                dataset,
                architecture,
                method,
                format_ratio(ratio),
                state,
                list(of_seed),
                [f"class {c}" for c in range(classes)],
                labels,
                np.where(hits, labels, (labels + 1) % classes),
                {Trained(): len(of_seed)},
            )
        )
    nothing = pd.DataFrame(columns=[*CELL, "seed", *SPARSITY])
    of_classes, table = measure(parts, nothing, [], splits=splits)
    kept = reseed | (table["method"] != words.RESEED)
    return {"recall": of_classes, "networks": table[kept].reset_index(drop=True)}


def drawn(
    rng: np.random.Generator, labels: np.ndarray, accuracy: float, balances: np.ndarray
) -> dict[int, np.ndarray]:
    """Return networks of true normalized balances [K, C], seeds counted from 0, drawn by image."""
    recalls = (accuracy * (1 + balances)).clip(0, 1)[:, labels]
    return dict(enumerate(rng.random(recalls.shape) < recalls))
