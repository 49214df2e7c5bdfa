"""Tables of an invented study, for tests of the report: plausible numbers, every column filled.

The generator draws class recalls around a dense accuracy, stretches their deviations by a known
slope for each method and ratio, and counts correct answers of a finite test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

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


def _verdict(low: float, high: float) -> str:
    if low > 1:
        return "intensification"
    return "de-intensification" if high < 1 else "inconclusive"


def _interval(values: np.ndarray, level: float) -> tuple[float, float, float]:
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return (finite.mean() if len(finite) else np.nan), np.nan, np.nan
    half = stats.t.ppf(0.5 + level / 2, len(finite) - 1) * stats.sem(finite)
    return finite.mean(), finite.mean() - half, finite.mean() + half


def _make_recall(
    datasets: Sequence[str],
    architectures: Sequence[str],
    methods: Sequence[str],
    ratios: Sequence[float],
    seeds: int,
    class_names: Sequence[str],
    control: bool,
) -> pd.DataFrame:
    generator = np.random.default_rng(20220610)
    rows: list[dict[str, object]] = []
    for dataset in datasets:
        support = generator.integers(49, 59, len(class_names))
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


def _make_alpha(recall: pd.DataFrame) -> pd.DataFrame:
    keys = ["dataset", "architecture", "seed", "class"]
    dense = recall[recall["method"] == "dense"][[*keys, "normalized_balance", "accuracy"]]
    merged = recall[recall["method"] != "dense"].merge(dense, on=keys, suffixes=("", "_before"))
    merged["xy"] = merged["normalized_balance_before"] * merged["normalized_balance"]
    merged["xx"] = merged["normalized_balance_before"] ** 2
    merged["yy"] = merged["normalized_balance"] ** 2
    grouped = merged.groupby([*CELL, "state", "seed"], sort=False)
    sums = grouped[["xy", "xx", "yy"]].sum()
    means = grouped[["accuracy_before", "accuracy"]].first()
    alpha = sums["xy"] / sums["xx"]
    return pd.DataFrame(
        {
            "alpha": alpha,
            "alpha_crossfit": alpha * 1.08,
            "r2": sums["xy"] ** 2 / (sums["xx"] * sums["yy"]),
            "denominator": sums["xx"],
            "accuracy_before": means["accuracy_before"],
            "accuracy_after": means["accuracy"],
        }
    ).reset_index()


def _make_intervals(alpha: pd.DataFrame, family: int) -> pd.DataFrame:
    level = 1 - 0.05 / family
    rows = []
    for key, group in alpha.groupby([*CELL, "state"], sort=False):
        mean, low, high = _interval(group["alpha"].to_numpy(), level)
        rows.append((*key, len(group), mean, low, high, level, family, _verdict(low, high)))
    columns = ["n", "mean", "low", "high", "level", "family_size", "verdict"]
    return pd.DataFrame(rows, columns=[*CELL, "state", *columns])


def _test_row(
    question: str,
    place: tuple[object, ...],
    names: tuple[str, str],
    left: np.ndarray,
    right: np.ndarray,
    alternative: str,
    paired: bool,
) -> tuple[object, ...]:
    if paired:
        result = stats.ttest_rel(left, right, alternative=alternative)
    else:
        result = stats.ttest_ind(left, right, equal_var=False, alternative=alternative)
    return (
        question, *place, *names, alternative, paired, len(left), len(right),
        left.mean() - right.mean(), result.statistic, result.df, result.pvalue,
    )  # fmt: skip


def _make_tests(alpha: pd.DataFrame) -> pd.DataFrame:
    alpha = alpha[alpha["state"] == "finetuned"]
    series = {key: group["alpha"].to_numpy() for key, group in alpha.groupby(CELL, sort=False)}
    methods = [name for name in alpha["method"].unique() if name != "control"]
    ratios = sorted({float(ratio) for ratio in alpha["ratio"] if ratio > 1})
    architectures = list(alpha["architecture"].unique())
    rows = []
    for dataset in alpha["dataset"].unique():
        for method in methods:
            for architecture in architectures:
                for low, high in pairwise(ratios):
                    rows.append(
                        _test_row(
                            "ratio",
                            (dataset, architecture, method, np.nan),
                            (f"{high:g}", f"{low:g}"),
                            series[dataset, architecture, method, high],
                            series[dataset, architecture, method, low],
                            "greater",
                            True,
                        )
                    )
            for small, large in pairwise(architectures):
                for ratio in ratios:
                    rows.append(
                        _test_row(
                            "architecture",
                            (dataset, "", method, ratio),
                            (small, large),
                            series[dataset, small, method, ratio],
                            series[dataset, large, method, ratio],
                            "greater",
                            False,
                        )
                    )
        for architecture in architectures:
            for ratio in ratios:
                for left, right in combinations(methods, 2):
                    rows.append(
                        _test_row(
                            "method",
                            (dataset, architecture, "", ratio),
                            (left, right),
                            series[dataset, architecture, left, ratio],
                            series[dataset, architecture, right, ratio],
                            "two-sided",
                            True,
                        )
                    )
    columns = ["question", *CELL, "left", "right", "alternative", "paired", "n_left", "n_right"]
    table = pd.DataFrame(rows, columns=[*columns, "estimate", "t", "df", "p"])
    table["p_adjusted"] = np.minimum(1, table["p"] * 4)
    table["adjustment"] = "bonferroni"
    return table


def _make_mixed(intervals: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, fits = [], []
    fine = intervals[(intervals["state"] == "finetuned") & (intervals["method"] != "control")]
    for engine, factor in (("pymer4", 1.0), ("statsmodels", 1 + 4e-6)):
        for row in fine.itertuples():
            error = (row.high - row.low) / 5.5
            t = (row.mean - 1) / error
            rows.append(
                (
                    "slopes",
                    engine,
                    row.dataset,
                    row.architecture,
                    row.method,
                    row.ratio,
                    "slope",
                    row.mean * factor,
                    error * factor,
                    212.4 if factor == 1 else np.inf,
                    row.low,
                    row.high,
                    stats.norm.sf(t),
                    stats.norm.cdf(t),
                    min(1, 5 * stats.norm.sf(t)),
                    min(1, 5 * stats.norm.cdf(t)),
                    row.verdict,
                )
            )
        formula = "after ~ 0 + before:method:ratio + (0 + before | seed) + (0 + before | class)"
        fits.append(
            ("slopes", engine, formula, 18000, 30, 31415.9265, engine == "pymer4", True,
             "boundary (singular) fit" if engine == "pymer4" else "", 18.25)
        )  # fmt: skip
    columns = ["model", "engine", *CELL, "term", "estimate", "std_error", "df", "low", "high"]
    columns += ["p_intensification", "p_deintensification", "p_intensification_adjusted"]
    columns += ["p_deintensification_adjusted", "verdict"]
    names = ["model", "engine", "formula", "rows", "groups", "loglik", "singular", "converged"]
    return (
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(fits, columns=[*names, "message", "seconds"]),
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
    for key, group in alpha.groupby([*CELL, "state"], sort=False):
        mean = group["alpha"].mean()
        rows.append((*key, False, 10 * len(group), mean, mean * 1.004, 0.0006, -0.002, 0.003))
    columns = ["balanced", "n", "slope", "slope_with_intercept", "intercept"]
    columns += ["intercept_low", "intercept_high"]
    return pd.DataFrame(rows, columns=[*CELL, "state", *columns])


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
) -> None:
    """Write every table of an invented study into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    recall = _make_recall(
        datasets, architectures, methods, ratios, seeds, class_names, control
    )  # fmt: skip
    alpha = _make_alpha(recall)
    intervals = _make_intervals(alpha, max(1, len(ratios)))
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
        "sparsity": _make_sparsity(alpha),
        "intervals": intervals,
        "tests": _make_tests(alpha if seeds > 1 else alpha.iloc[:0]),
        "mixed_models": mixed,
        "mixed_model_fits": fits,
        "failures": failed,
        "intercepts": _make_intercepts(alpha),
    }
    for name, table in written.items():
        table = table.copy()
        if "ratio" in table and np.all(np.mod(table["ratio"].dropna(), 1) == 0):
            table["ratio"] = table["ratio"].astype("Int64")
        table.to_csv(folder / f"{name}.csv", index=False)
