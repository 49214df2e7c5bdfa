"""Tables of an invented study, for tests of the report.

Networks answer a finite test set: recalls are drawn around a dense accuracy, and their deviations
from it stretched by a known slope for each method and ratio. What such networks would answer is
measured and inferred by the package itself, so that the tables fit together; only sparsities,
failures and mixed models are invented to the shape of real ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.inference.questions import contrasts, published
from recall_distortion.measures.networks import measure
from recall_distortion.tables.files import write_table
from recall_distortion.tables.predictions import Predictions, Trained
from recall_distortion.tables.schema import COLUMNS, TABLES
from recall_distortion.vocabulary import (
    BOOTSTRAP,
    CELL,
    COMPRESSED,
    CONTROL,
    DENSE,
    FITTERS,
    MODEL,
    PYMER4,
    RETRAINED,
    STATSMODELS,
    format_ratio,
)

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
SPLITS = 5  # of the test set, for cross-fitted slopes

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
    if method == CONTROL:
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


def _cells(
    methods: Sequence[str], ratios: Sequence[float], accuracy: float, control: bool
) -> Iterator[tuple[str, float, str, float, float]]:
    """Yield method, ratio and state of a network, the accuracy aimed at, and the slope."""
    yield DENSE, 1.0, DENSE, accuracy, 1.0
    if control:
        yield CONTROL, 1.0, RETRAINED, accuracy + 0.004, true_slope(CONTROL, 1.0)
    for method in methods:
        for ratio in ratios:
            slope = true_slope(method, ratio)
            lost = min(0.75 * (np.log2(ratio) / np.log2(50)) ** 1.2, 0.82)
            lost *= 1.1 if method == "random" else 0.95
            yield method, ratio, COMPRESSED, accuracy - lost, 2 + 3 * slope
            yield method, ratio, RETRAINED, accuracy - 0.06 * (slope - 0.76) ** 1.2, slope


def _answers(generator: np.random.Generator, labels: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return a network's predictions [M], right as often as ``recall`` [C] says."""
    classes = len(recall)
    right = generator.random(len(labels)) < np.clip(recall, 0.02, 0.998)[labels]
    other = (labels + generator.integers(1, max(2, classes), len(labels))) % classes
    return np.where(right, labels, other).astype(np.uint8)


def _collapsed(labels: np.ndarray, seeds: int, classes: int) -> np.ndarray:
    """Return predictions [K, M] of the first class alone; those of seed 0 are never right."""
    found = np.zeros((seeds, len(labels)), np.uint8)
    found[0] = (labels + 1) % classes
    return found


def _predictions(
    dataset: str,
    architecture: str,
    depth: int,
    cells: dict[str, Any],
    labels: np.ndarray,
    generator: np.random.Generator,
) -> list[Predictions]:
    names = list(cells["class_names"])
    shape = generator.normal(0, 0.035, len(names))
    found: dict[tuple[str, float, str], list[np.ndarray]] = {}
    for _ in range(cells["seeds"]):
        accuracy = 0.945 - 0.02 * depth + generator.normal(0, 0.006)
        own = shape + generator.normal(0, 0.02, len(names))
        grid = cells["methods"], cells["ratios"], accuracy, cells["control"]
        for method, ratio, state, level, slope in _cells(*grid):
            recall = level * (1 + slope * own)
            if state != DENSE:
                recall = recall + generator.normal(0, 0.012, len(names))
            answer = _answers(generator, labels, recall)
            found.setdefault((method, ratio, state), []).append(answer)
    # The first architecture's networks were trained thirty at once, the others twice as many.
    made = Trained("cpu", f"vectorized, up to {60 if depth else 30} at once, float32", "2.15.0")
    parts = []
    for (method, ratio, state), answered in found.items():
        predicted = np.stack(answered)
        if method == cells["collapsed"]:
            predicted = _collapsed(labels, cells["seeds"], len(names))
        parts.append(
            Predictions(
                dataset, architecture, method, format_ratio(ratio), state,
                list(range(cells["seeds"])), names, labels, predicted, {made: cells["seeds"]},
            )
        )  # fmt: skip
    return parts


def _sparsity(parts: Sequence[Predictions]) -> pd.DataFrame:
    """Return the sparsities of the pruned networks: one method keeps more weights than asked."""
    generator = np.random.default_rng(7)
    prunable, total = 3320, 3698
    rows = []
    for part in parts:
        if part.state == COMPRESSED:
            for seed in part.seeds:
                ratio = float(part.ratio)
                if part.method == "undecayed_signed":
                    ratio = max(ratio / 1.9 * np.exp(generator.normal(0, 0.05)), 1.02)
                kept = round(prunable / ratio)
                rows.append((part.dataset, part.architecture, part.method, float(part.ratio), seed,
                             prunable / kept, kept / prunable, kept, prunable, total))  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS["sparsity"])


def _mixed(slopes: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mixed_models.csv and mixed_model_fits.csv of two kinds of model for each panel."""
    rows, fits = [], []
    fine = slopes[slopes["state"] == RETRAINED]
    for (dataset, architecture), cells in fine.groupby(["dataset", "architecture"], sort=False):
        for kind, believe, spread in (
            ("class_level", BOOTSTRAP, 24.5), ("class_level_scaled", MODEL, 1.0)
        ):  # fmt: skip
            model = f"{kind}/{dataset}/{architecture}"
            for fitter in FITTERS:
                rows += [_term(model, fitter, row) for row in cells.to_dict("records")]
                singular = fitter == PYMER4 and kind == "class_level"
                fits.append({
                    "model": model, "fitter": fitter,
                    "formula": "after ~ 0 + before:cell + (0 + before | seed)", "rows": 18000,
                    "groups": "seed=30", "loglik": 31415.9265, "singular": singular,
                    "converged": True, "message": "boundary (singular) fit" if singular else "",
                    "seconds": 18.25, "spread": spread, "believe": believe,
                })  # fmt: skip
    return (
        pd.DataFrame(rows, columns=COLUMNS["mixed_models"]),
        pd.DataFrame(fits, columns=COLUMNS["mixed_model_fits"]),
    )


def _term(model: str, fitter: str, cell: dict[str, Any]) -> dict[str, Any]:
    factor = 1 + 4e-6 if fitter == STATSMODELS else 1.0
    error = cell["std_error"]
    t = (cell["mean"] - 1) / error if error else np.nan
    up, down = stats.norm.sf(t), stats.norm.cdf(t)
    return {
        **{key: cell[key] for key in CELL},
        "model": model, "fitter": fitter, "term": "slope", "estimate": cell["mean"] * factor,
        "std_error": error * factor, "df": np.inf if fitter == STATSMODELS else 212.4,
        "low": cell["low"], "high": cell["high"], "level": cell["level"],
        "p_intensification": up, "p_deintensification": down,
        "p_intensification_adjusted": min(1, 5 * up),
        "p_deintensification_adjusted": min(1, 5 * down), "verdict": cell["verdict"],
    }  # fmt: skip


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

    With about 50 ``images`` a class the test set is too small for slopes of single networks; with
    some thousands it is not. The networks of the method ``collapsed`` answer one class always, and
    that of seed 0 is never right.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(20220610)
    cells = {"methods": methods, "ratios": ratios, "seeds": seeds, "class_names": class_names,
             "control": control, "collapsed": collapsed}  # fmt: skip
    parts = []
    for dataset in datasets:
        support = generator.integers(images - 4, images + 6, len(class_names))
        labels = np.repeat(np.arange(len(class_names)), support)
        for depth, architecture in enumerate(architectures):
            parts += _predictions(dataset, architecture, depth, cells, labels, generator)
    failed = {
        "dataset": datasets[0], "architecture": architectures[0], "method": "random", "ratio": 50.0,
        "state": RETRAINED, "seed": seeds, "failure": "the loss was not finite after epoch 3",
        "device": "cpu", "engine": "one after another, float32", "torch": "2.15.0",
    }  # fmt: skip
    recall, networks = measure(parts, _sparsity(parts), [failed] if failures else [], splits=SPLITS)
    write_inferred(folder, recall, networks, 1 - 0.05 / max(1, len(ratios)))


def write_inferred(
    folder: Path, recall: pd.DataFrame, networks: pd.DataFrame, level: float
) -> None:
    """Write these tables and all that follows from them, mixed models invented."""
    found = answers(recall, networks, level)
    mixed, fits = _mixed(found["slopes"])
    written = {
        "recall": recall,
        "networks": networks,
        "estimates": estimates(found),
        "tests": contrasts.tests(networks, {}),
        "mixed_models": mixed,
        "mixed_model_fits": fits,
        "published": published.published(networks, found["slopes"], found["pooled"]),
    }
    for name, table in written.items():
        write_table(folder / f"{name}.csv", name, table)
    write_summary(*(folder / f"{name}.csv" for name in TABLES))
