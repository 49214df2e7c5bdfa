"""The tables of a study made from which test images its networks get right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from recall_distortion.distortion import HalfBalances, crossfit_sums, split_halves

Cell = tuple[str, float, str]  # method, ratio, state
DENSE: Cell = ("dense", 1.0, "dense")
CONTROL: Cell = ("control", 1.0, "finetuned")
RESEED: Cell = ("reseed", 1.0, "dense")

Networks = Mapping[Cell, Mapping[int, np.ndarray]]  # per seed, which images [M] are right


def tables(
    labels: np.ndarray,
    networks: Networks,
    *,
    dataset: str = "digits",
    architecture: str = "mlp",
    splits: int = 10,
    reseed: Sequence[tuple[int, int]] = (),
) -> dict[str, pd.DataFrame]:
    """Return recall, alpha and crossfit of the networks; ``reseed`` names the pairs of seeds."""
    classes = int(labels.max()) + 1
    support = np.bincount(labels, minlength=classes)
    halves = split_halves(labels, splits)
    one_hot = np.eye(classes)[labels]
    balances, recalls = {}, []
    for (method, ratio, state), of_seed in networks.items():
        for seed, right in of_seed.items():
            recall, accuracy = right @ one_hot / support, right.mean()
            with np.errstate(invalid="ignore", divide="ignore"):
                balances[method, ratio, state, seed] = (recall - accuracy) / accuracy
            recalls.append(
                pd.DataFrame(
                    {
                        "method": method,
                        "ratio": ratio,
                        "state": state,
                        "seed": seed,
                        "class": range(classes),
                        "class_name": [f"class {c}" for c in range(classes)],
                        "support": support,
                        "predicted": support,
                        "recall": recall,
                        "accuracy": accuracy,
                        "normalized_balance": balances[method, ratio, state, seed],
                    }
                )
            )
    split = {
        key: HalfBalances.of(labels, np.stack(list(of_seed.values())), halves, classes)
        for key, of_seed in networks.items()
        if of_seed
    }
    rows = [(RESEED, first, DENSE, second) for first, second in reseed]
    rows += [(key, seed, key, seed) for key in networks if key != DENSE for seed in networks[key]]

    def half(key: Cell, seed: int) -> HalfBalances:
        row = list(networks[key]).index(seed)
        return HalfBalances(split[key].first[:, [row]], split[key].second[:, [row]])

    found = []
    for cell, seed, after, partner in rows:
        x, y = balances[(*DENSE, seed)], balances[(*after, partner)]
        numerator, denominator = crossfit_sums(half(DENSE, seed), half(after, partner))
        with np.errstate(invalid="ignore", divide="ignore"):
            alpha = (x * y).sum() / (x**2).sum()
        found.append((*cell, seed, alpha, numerator[0], denominator[0]))
    columns = ["method", "ratio", "state", "seed", "alpha", "numerator", "denominator"]
    slopes = pd.DataFrame(found, columns=columns).assign(dataset=dataset, architecture=architecture)
    recall = pd.concat(recalls, ignore_index=True)
    return {
        "recall": recall.assign(dataset=dataset, architecture=architecture),
        "alpha": slopes.drop(columns=["numerator", "denominator"]),
        "crossfit": slopes.drop(columns="alpha"),
    }


def drawn(
    rng: np.random.Generator, labels: np.ndarray, accuracy: float, balances: np.ndarray
) -> dict[int, np.ndarray]:
    """Return networks of true normalized balances [K, C], seeds counted from 0, drawn by image."""
    recalls = (accuracy * (1 + balances)).clip(0, 1)[:, labels]
    return dict(enumerate(rng.random(recalls.shape) < recalls))
