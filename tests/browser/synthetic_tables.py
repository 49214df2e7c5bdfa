"""Tables of an invented study, for tests of the report: plausible numbers, every column filled.

The generator draws class recalls around a dense accuracy, stretches their deviations by a known
slope for each method and ratio, and counts correct answers of a finite test set. Slopes and mixed
models are invented to the shape of the real ones; what follows from the slopes is inferred as the
workflow infers it, so that the tables fit together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from recall_distortion.columns import COEFFICIENT_COLUMNS, ENGINE_COLUMNS, FIT_COLUMNS
from recall_distortion.inference import (
    contrasts,
    effects,
    equal_sparsity,
    influence,
    published,
    seeds_needed,
    tradeoff,
)
from recall_distortion.inference import pooled as pooled_slopes
from recall_distortion.inference.intervals import intervals as make_intervals

METHODS = (
    "magnitude",
    "gradient",
    "regularized_gradient",
    "undecayed",
    "undecayed_signed",
    "random",
)
RATIOS = (2.0, 4.0, 10.0, 20.0, 50.0)
ARCHITECTURES = ("cnn", "mlp")
CELL = ["dataset", "architecture", "method", "ratio"]

# How strongly each method stretches the balances at ratio 50, and how much accuracy it costs.
STRETCH = {
    "magnitude": 1.6,
    "gradient": 1.9,
    "regularized_gradient": 1.7,
    "undecayed": 1.3,
    "undecayed_signed": 0.7,
    "random": 3.2,
}


def true_slope(method: str, ratio: float) -> float:
    """Return the slope the generator aims at for a method and ratio."""
    if method == "control":
        return 0.78
    effort = np.log2(ratio) / np.log2(50)
    return 0.76 + STRETCH.get(method, 1.5) * effort**2.2


def study_facts() -> dict[str, object]:
    """Return the plain facts about the invented study that the page's header shows."""
    return {
        "name": "digits",
        "description": "Two small networks on 8 x 8 handwritten digits, all pruning criteria.",
        "seeds": list(range(30)),
        "ratios": list(RATIOS),
        "methods": list(METHODS),
        "count": "prunable",
        "selection": "holdout",
        "training": {"epochs": 20, "batch_size": 64, "learning_rate": 0.05},
        "finetuning": {"epochs": 10, "batch_size": 64, "learning_rate": 0.02},
        "versions": {"recall_distortion": "0.1.0", "torch": "2.15.0", "pandas": "3.1.1"},
        "device": "cpu",
        "test_images": {"digits": 540},
    }


def _recall_rows(
    generator: np.random.Generator,
    identity: dict[str, object],
    names: Sequence[str],
    support: np.ndarray,
    recall: np.ndarray,
) -> list[dict[str, object]]:
    correct = generator.binomial(support, np.clip(recall, 0.02, 0.998))
    predicted = np.maximum(correct, support + generator.integers(-3, 4, len(names)))
    accuracy = correct.sum() / support.sum()
    return [
        {
            **identity,
            "class": index,
            "class_name": name,
            "support": support[index],
            "correct": correct[index],
            "predicted": predicted[index],
            "recall": correct[index] / support[index],
            "precision": correct[index] / predicted[index],
            "accuracy": accuracy,
            "balance": correct[index] / support[index] - accuracy,
            "normalized_balance": (correct[index] / support[index] - accuracy) / accuracy,
        }
        for index, name in enumerate(names)
    ]


def _make_recall(
    datasets: Sequence[str],
    architectures: Sequence[str],
    methods: Sequence[str],
    ratios: Sequence[float],
    seeds: int,
    class_names: Sequence[str],
    control: bool,
    images: int,
) -> pd.DataFrame:
    generator = np.random.default_rng(20220610)
    rows: list[dict[str, object]] = []
    for dataset in datasets:
        support = generator.integers(images - 4, images + 6, len(class_names))
        for depth, architecture in enumerate(architectures):
            shape = generator.normal(0, 0.035, len(class_names))
            for seed in range(seeds):
                accuracy = 0.945 - 0.02 * depth + generator.normal(0, 0.006)
                own = shape + generator.normal(0, 0.02, len(class_names))
                base: dict[str, object] = {"dataset": dataset, "architecture": architecture}
                cells = [("dense", 1.0, "dense", accuracy, 1.0)]
                if control:
                    cells.append(("control", 1.0, "finetuned", accuracy + 0.004, 0.78))
                for method in methods:
                    for ratio in ratios:
                        slope = true_slope(method, ratio)
                        loss = 0.06 * (slope - 0.76) ** 1.2
                        broken = 0.75 * (np.log2(ratio) / np.log2(50)) ** 1.2
                        broken = min(broken, 0.82) * (1.1 if method == "random" else 0.95)
                        cells.append((method, ratio, "finetuned", accuracy - loss, slope))
                        cells.append((method, ratio, "pruned", accuracy - broken, 2 + 3 * slope))
                for method, ratio, state, level, slope in cells:
                    recall = level * (1 + slope * own)
                    if state != "dense":
                        recall = recall + generator.normal(0, 0.012, len(recall))
                    identity = {
                        **base, "method": method, "ratio": ratio, "state": state, "seed": seed
                    }  # fmt: skip
                    rows += _recall_rows(generator, identity, class_names, support, recall)
    return pd.DataFrame(rows)


def _collapse(recall: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return the table with the networks of a method answering the first class, or nothing."""
    recall = recall.copy()
    rows = recall["method"] == method
    right = rows & (recall["class"] == 0) & (recall["seed"] != 0)
    recall.loc[rows, "correct"] = 0
    recall.loc[right, "correct"] = recall.loc[right, "support"]
    recall.loc[rows, "recall"] = right[rows].astype(float)
    models = recall[rows].groupby([*CELL, "state", "seed"], sort=False)
    accuracy = models["correct"].transform("sum") / models["support"].transform("sum")
    recall.loc[rows, "accuracy"] = accuracy
    balance = recall.loc[rows, "recall"] - accuracy
    recall.loc[rows, "balance"] = balance
    recall.loc[rows, "normalized_balance"] = balance / accuracy.where(accuracy > 0)
    return recall


def _make_alpha(recall: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return alpha.csv, the reseed baseline first, and crossfit.csv of the same rows."""
    keys = ["dataset", "architecture", "seed", "class"]
    models = recall[recall["method"] == "dense"]
    second = models[models["seed"] % 2 == 1]
    second = second.assign(method="reseed", seed=second["seed"] - 1)
    dense = models[[*keys, "normalized_balance", "accuracy"]]
    after = pd.concat([second, recall[recall["method"] != "dense"]], ignore_index=True)
    merged = after.merge(dense, on=keys, suffixes=("", "_before"))
    merged["xy"] = merged["normalized_balance_before"] * merged["normalized_balance"]
    merged["xx"] = merged["normalized_balance_before"] ** 2
    merged["yy"] = merged["normalized_balance"] ** 2
    grouped = merged.groupby([*CELL, "state", "seed"], sort=False)
    # A slope needs every class: the balances of a network that is never right are missing.
    sums = grouped[["xy", "xx", "yy"]].agg(lambda values: values.sum(skipna=False))
    means = grouped[["accuracy_before", "accuracy"]].first()
    # A denominator of zero, as with one class, has no slope.
    alpha = sums["xy"] / sums["xx"].where(sums["xx"] > 0)
    table = pd.DataFrame(
        {
            "alpha": alpha,
            "alpha_crossfit": alpha * 1.08,
            "r2": sums["xy"] ** 2 / (sums["xx"] * sums["yy"]),
            "denominator": sums["xx"],
            "accuracy_before": means["accuracy_before"],
            "accuracy_after": means["accuracy"],
        }
    ).reset_index()
    crossfit = table[[*CELL, "state", "seed"]].assign(
        numerator=sums["xy"].to_numpy(), denominator=sums["xx"].to_numpy() / 1.08
    )
    return table, crossfit


def _make_mixed(intervals: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mixed_models.csv and mixed_model_fits.csv of two kinds of model for each panel."""
    rows, fits = [], []
    fine = intervals[intervals["state"] == "finetuned"]
    for (dataset, architecture), cells in fine.groupby(["dataset", "architecture"], sort=False):
        for kind, believe, spread in (
            ("class_level", "bootstrap", 24.5), ("class_level_scaled", "model", 1.0)
        ):  # fmt: skip
            model = f"{kind}/{dataset}/{architecture}"
            for engine, factor in (("pymer4", 1.0), ("statsmodels", 1 + 4e-6), ("bootstrap", 1.0)):
                for row in cells.itertuples():
                    error = (row.high - row.low) / 5.5
                    t = (row.mean - 1) / error if error else np.nan
                    up, down = stats.norm.sf(t), stats.norm.cdf(t)
                    rows.append(
                        (model, engine, dataset, architecture, row.method, row.ratio, "slope",
                         row.mean * factor, error * factor, 212.4 if factor == 1 else np.inf,
                         row.low, row.high, up, down, min(1, 5 * up), min(1, 5 * down),
                         row.verdict)
                    )  # fmt: skip
                singular = engine == "pymer4" and kind == "class_level"
                fits.append(
                    (model, engine, "after ~ 0 + before:cell + (0 + before | seed)", 18000,
                     "seed=30", 31415.9265, singular, True,
                     "boundary (singular) fit" if singular else "", 18.25, spread, believe)
                )  # fmt: skip
    return (
        pd.DataFrame(rows, columns=COEFFICIENT_COLUMNS),
        pd.DataFrame(fits, columns=FIT_COLUMNS),
    )


def _make_sparsity(alpha: pd.DataFrame) -> pd.DataFrame:
    table = alpha[(alpha["state"] == "finetuned") & (alpha["method"] != "control")]
    table = table[[*CELL, "seed"]].reset_index(drop=True)
    signed = table["method"] == "undecayed_signed"
    generator = np.random.default_rng(7)
    jitter = np.exp(generator.normal(0, 0.05, len(table)))
    prunable, total = 3320, 3698
    kept = np.rint(prunable / np.where(signed, np.maximum(table["ratio"] / 1.9 * jitter, 1.02),
                                       table["ratio"]))  # fmt: skip
    table["realised_ratio"] = prunable / kept
    table["kept_fraction"] = kept / prunable
    table["kept_prunable"] = kept.astype(int)
    table["prunable"] = prunable
    table["total"] = total
    return table


def _make_intercepts(alpha: pd.DataFrame) -> pd.DataFrame:
    rows = []
    compressed = alpha[alpha["method"] != "reseed"]
    for key, group in compressed.groupby([*CELL, "state"], sort=False):
        mean = group["alpha"].mean()
        rows.append((*key, False, 10 * len(group), mean, mean * 1.004, 0.0006, -0.002, 0.003))
    columns = ["balanced", "n", "slope", "slope_with_intercept", "intercept"]
    columns += ["intercept_low", "intercept_high"]
    return pd.DataFrame(rows, columns=[*CELL, "state", *columns])


def _make_engines(recall: pd.DataFrame) -> pd.DataFrame:
    """Return engines.csv: the first network thirty at once, the others twice as many."""
    models = recall[recall["state"] != "pruned"].drop_duplicates([*CELL, "seed"])
    table = models.groupby(CELL, sort=False).size().rename("seeds").reset_index()
    first = table["architecture"] == table["architecture"].iloc[0]
    at_once = np.where(first, "30", "60")
    table["device"] = "cpu"
    table["engine"] = [f"vectorized, up to {number} at once, float32" for number in at_once]
    table["torch"] = "2.15.0"
    return table[ENGINE_COLUMNS]


def make_tables(
    folder: Path,
    *,
    datasets: Sequence[str] = ("digits",),
    architectures: Sequence[str] = ARCHITECTURES,
    methods: Sequence[str] = METHODS,
    ratios: Sequence[float] = RATIOS,
    seeds: int = 30,
    class_names: Sequence[str] = tuple("0123456789"),
    control: bool = True,
    failures: bool = True,
    images: int = 54,
    collapsed: str = "",
) -> None:
    """Write every table of an invented study into ``folder``.

    With about 50 ``images`` a class the test set is too small for slopes of single models; with
    some thousands it is not. The networks of the method ``collapsed`` answer one class always, and
    that of seed 0 is never right.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recall = _make_recall(
        datasets, architectures, methods, ratios, seeds, class_names, control, images
    )
    if collapsed:
        recall = _collapse(recall, collapsed)
    alpha, crossfit = _make_alpha(recall)
    level = 1 - 0.05 / max(1, len(ratios))
    intervals = make_intervals(alpha, level)
    pooled = pooled_slopes.pooled(recall, alpha, crossfit, level)
    sparsity = _make_sparsity(alpha)
    mixed, fits = _make_mixed(intervals)
    failed = pd.DataFrame(columns=[*CELL, "stage", "seed", "reason"])
    if failures:
        failed.loc[0] = [
            datasets[0], architectures[0], "random", 50.0, "finetuning", 17,
            "the loss was not finite after epoch 3",
        ]  # fmt: skip
    written = {
        "recall": recall,
        "alpha": alpha,
        "sparsity": sparsity,
        "intervals": intervals,
        "tests": contrasts.tests(alpha, recall),
        "crossfit": crossfit,
        "pooled": pooled,
        "effects": effects.effects(alpha, crossfit, pooled, intervals, level),
        "equal_sparsity": equal_sparsity.equal_sparsity(alpha, crossfit, sparsity, pooled, level),
        "seeds_needed": seeds_needed.seeds_needed(alpha, pooled, level),
        "tradeoff": tradeoff.tradeoff(recall, alpha, intervals, level),
        "influence": influence.influence(recall, intervals, level),
        "published": published.published(recall, intervals, pooled),
        "mixed_models": mixed,
        "mixed_model_fits": fits,
        "failures": failed,
        "intercepts": _make_intercepts(alpha),
        "engines": _make_engines(recall),
    }
    for name, table in written.items():
        table = table.copy()
        if "ratio" in table and np.all(np.mod(table["ratio"].dropna(), 1) == 0):
            table["ratio"] = table["ratio"].astype("Int64")
        table.to_csv(folder / f"{name}.csv", index=False)
