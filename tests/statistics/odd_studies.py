"""Studies from files of predictions to the page, made of networks that behave as is asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.fit import write_fits, write_mixed_models
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.report import build_report, metrics
from recall_distortion.report.figures import write_figures
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.predictions import Predictions, Trained, write_predictions
from recall_distortion.tables.schema import TABLES
from recall_distortion.tables.views import VIEWS, spread
from recall_distortion.vocabulary import (
    COMPRESSED,
    CONTROL,
    DENSE,
    PYMER4,
    RETRAINED,
    STATSMODELS,
    format_ratio,
)

FITTERS = (PYMER4, STATSMODELS) if shutil.which("Rscript") else (STATSMODELS,)
SEEDS = 6
CLASSES = 4
IMAGES = 40  # a class
FACTS = {"device": "cpu", "engine": "one after another, float32", "torch": "2.10"}

Predict = Callable[[np.random.Generator, np.ndarray], np.ndarray]
Cell = tuple[str, float, str]  # method, ratio, state


def some_errors(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return predictions of which the higher classes are wrong more often."""
    classes = int(labels.max()) + 1
    wrong = rng.random(len(labels)) < 0.05 + 0.3 * labels / max(classes - 1, 1)
    return np.where(wrong, rng.integers(0, classes, len(labels)), labels)


def one_class(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return the predictions of a network that collapsed: one class for every image."""
    return np.full_like(labels, rng.integers(0, labels.max() + 1))


def always_wrong(_: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return (labels + 1) % (labels.max() + 1)


def always_right(_: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return labels.copy()


def always_the_first(_: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return the predictions of a network that says what is most frequent, whatever it sees."""
    return np.zeros_like(labels)


def one_errs(*wrong: int) -> Predict:
    """Return predictions that are right but for those of the networks ``wrong``, in their order."""
    seen = iter(range(10_000))

    def predict(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
        return some_errors(rng, labels) if next(seen) in wrong else labels.copy()

    return predict


def never_the_last(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return predictions that never name the last class, and err in one of fifty others."""
    found = np.where(rng.random(len(labels)) < 0.02, rng.integers(0, 2, len(labels)), labels)
    return np.where(labels == labels.max(), 0, found)


@dataclass(frozen=True)
class Results:
    """The tables and the page that a study left behind."""

    folder: Path

    def table(self, name: str) -> pd.DataFrame:
        """Return a table by name, or a view of the estimates; what is missing in it is NaN."""
        if name in VIEWS:
            found = spread(name, read_table(self.folder / "estimates.csv", "estimates"))
        else:
            found = read_table(self.folder / f"{name}.csv", name)
        return found.replace("", np.nan)

    def notes(self, name: str) -> str:
        return " ".join(self.table(name)["note"].dropna().astype(str).unique())

    @property
    def page(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")

    @property
    def messages(self) -> str:
        return " ".join(self.table("mixed_model_fits")["message"].dropna().astype(str))


def run(
    folder: Path,
    methods: dict[str, Predict],
    *,
    seeds: int = SEEDS,
    classes: int = CLASSES,
    support: list[int] | None = None,
    ratios: tuple[float, ...] = (2.0, 10.0),
    dense: Predict = some_errors,
    failed: str = "",
) -> Results:
    """Take a study from predictions to its report; ``methods`` gives each one's predictions.

    Every fine-tuning of the method ``failed`` failed.
    """
    labels = np.repeat(np.arange(classes), support or [IMAGES] * classes)
    cells: dict[Cell, Predict] = {(DENSE, 1.0, DENSE): dense}
    for method, predict in methods.items():
        for ratio in (1.0,) if method == CONTROL else ratios:
            cells[method, ratio, RETRAINED] = predict
            if method != CONTROL:
                cells[method, ratio, COMPRESSED] = predict
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.csv" for name in TABLES}
    predictions = _predictions(folder / "predictions.safetensors", cells, labels, seeds, failed)
    sparsity = _sparsity(folder / "of_block.csv", cells, seeds)
    write_measures([predictions], [sparsity], paths["recall"], paths["networks"], splits=4)
    measured = paths["recall"], paths["networks"]
    write_estimates(*measured, paths, architectures={})
    fits = []
    for fitter in FITTERS:
        fits.append((folder / f"{fitter}.coefficients", folder / f"{fitter}.fit"))
        write_fits(*measured, [("odd", "mlp")], fitter, *fits[-1], over_panels=True)
    of_models = paths["mixed_models"], paths["mixed_model_fits"]
    write_mixed_models([pair[0] for pair in fits], [pair[1] for pair in fits], *of_models)
    write_summary(*paths.values())
    write_figures(folder, folder / "figures")
    study = {"name": "odd"}
    build_report(folder, folder / "report.html", study=study, figures=folder / "figures")
    json.dumps(metrics(folder), allow_nan=False)
    return Results(folder)


def _predictions(
    path: Path, cells: dict[Cell, Predict], labels: np.ndarray, seeds: int, failed: str
) -> Path:
    rng = np.random.default_rng(0)
    parts, failures = [], []
    for (method, ratio, state), predict in cells.items():
        rows = np.array([predict(rng, labels) for _ in range(seeds)])
        lost = method == failed and state == RETRAINED
        kept = [] if lost else list(range(seeds))
        names = [f"class {c}" for c in range(int(labels.max()) + 1)]
        parts.append(
            Predictions(
                "odd", "mlp", method, format_ratio(ratio), state, kept, names, labels,
                rows[: len(kept)], {Trained.of(FACTS): len(kept)},
            )
        )  # fmt: skip
        failures += [
            {
                "method": method,
                "ratio": format_ratio(ratio),
                "stage": "finetuning",
                "seed": seed,
                "reason": "the loss is nan",
            }
            for seed in range(seeds if lost else 0)
        ]
    facts = {"trained": FACTS, "evaluated": FACTS}
    made = {f"{method}/{format_ratio(ratio)}": facts for method, ratio, _ in cells}
    write_predictions(path, parts, failures=failures, made=made)
    return path


def _sparsity(path: Path, cells: dict[Cell, Predict], seeds: int) -> Path:
    pruned = [(method, ratio) for method, ratio, state in cells if state == COMPRESSED]
    rows = [
        {
            "dataset": "odd",
            "architecture": "mlp",
            "method": method,
            "ratio": ratio,
            "seed": seed,
            "realised_ratio": ratio,
            "kept_fraction": 1 / ratio,
            "kept_prunable": 100,
            "prunable": 100 * ratio,
            "total": 10_000,
        }
        for method, ratio in pruned
        for seed in range(seeds)
    ]
    write_table(path, "sparsity", pd.DataFrame(rows))
    return path
