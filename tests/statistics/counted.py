"""The tables of a study made from how many test images of each class its networks get right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

Cell = tuple[str, float, str]  # method, ratio, state
DENSE: Cell = ("dense", 1.0, "dense")
CONTROL: Cell = ("control", 1.0, "finetuned")


def study(
    correct: Mapping[Cell, Mapping[int, Sequence[int]]],
    support: Sequence[int],
    *,
    dataset: str = "digits",
    architecture: str = "mlp",
    names: Sequence[str] = (),
) -> dict[str, pd.DataFrame]:
    """Return recall, alpha and crossfit; ``correct`` maps cells and seeds to counts [C].

    The cross-fitted sums are those of a test set without sampling error: the plain slope's.
    """
    images = np.asarray(support)
    of_dense = correct[DENSE]
    recalls, slopes = [], []
    for (method, ratio, state), networks in correct.items():
        key = {"method": method, "ratio": ratio, "state": state}
        for seed, counts in networks.items():
            recall, accuracy = np.asarray(counts) / images, sum(counts) / images.sum()
            recalls.append(
                pd.DataFrame(
                    {
                        **key,
                        "seed": seed,
                        "class": range(len(images)),
                        "class_name": names or [f"class {i}" for i in range(len(images))],
                        "support": images,
                        "predicted": images,
                        "recall": recall,
                        "accuracy": accuracy,
                        "balance": recall - accuracy,
                        "normalized_balance": balances(counts, images),
                    }
                )
            )
            if state == "dense":
                continue
            x, y = balances(of_dense[seed], images), balances(counts, images)
            slopes.append(
                {
                    **key,
                    "seed": seed,
                    "alpha": quotient((x * y).sum(), (x * x).sum()),
                    "accuracy_before": sum(of_dense[seed]) / images.sum(),
                    "accuracy_after": accuracy,
                    "numerator": (x * y).sum(),
                    "denominator": (x * x).sum(),
                }
            )
    place = {"dataset": dataset, "architecture": architecture}
    alpha = pd.DataFrame(slopes).assign(**place)
    return {
        "recall": pd.concat(recalls, ignore_index=True).assign(**place),
        "alpha": alpha.drop(columns=["numerator", "denominator"]),
        "crossfit": alpha.drop(columns=["alpha", "accuracy_before", "accuracy_after"]),
    }


def sparsity(alpha: pd.DataFrame, shares: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return a sparsity table of a study's fine-tuned networks of 1,000 prunable weights.

    ``shares`` says by method which part of the ratio that was asked for was realised, if not all.
    """
    tuned = alpha[(alpha["state"] == "finetuned") & (alpha["method"] != "control")]
    table = tuned[["dataset", "architecture", "method", "ratio", "seed"]].copy()
    reached = table["ratio"] * table["method"].map(shares or {}).fillna(1.0).astype(float)
    kept = (1000 / reached).round().astype(int)
    return table.assign(
        realised_ratio=1000 / kept,
        kept_fraction=kept / 1000,
        kept_prunable=kept,
        prunable=1000,
        total=1200,
    )


def balances(counts: Sequence[int], images: np.ndarray) -> np.ndarray:
    """Return the normalized recall balances [C]; NaN for an accuracy of 0."""
    accuracy = sum(counts) / images.sum()
    return np.array([quotient(part - accuracy, accuracy) for part in np.asarray(counts) / images])


def quotient(numerator: float, denominator: float) -> float:
    return float(numerator) / float(denominator) if denominator else float("nan")


def random_study(
    methods: Mapping[str, Sequence[float]],
    *,
    seeds: int = 6,
    classes: int = 4,
    images: int = 200,
    control: bool = True,
    random_seed: int = 0,
    **options,
) -> dict[str, pd.DataFrame]:
    """Return a study of methods and their ratios whose classes are not equally hard."""
    rng = np.random.default_rng(random_seed)
    hard = np.linspace(0.95, 0.7, classes)
    cells = [DENSE, *([CONTROL] if control else [])]
    cells += [
        (method, float(ratio), state)
        for method, ratios in methods.items()
        for ratio in ratios
        for state in ("pruned", "finetuned")
    ]
    correct = {
        cell: {seed: rng.binomial(images, hard).tolist() for seed in range(seeds)} for cell in cells
    }
    return study(correct, [images] * classes, **options)
