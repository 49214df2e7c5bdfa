"""All tables of a made-up study in a folder, for tests of the report.

Recalls are drawn around a dense accuracy, and their deviations from it stretched by a known slope
for each method and ratio. What such networks would answer is measured and inferred by the package
itself, so that the tables fit together; only sparsities, failures and mixed models are invented to
the shape of real ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.inference.questions import contrasts, published
from recall_distortion.measures.networks import measure
from recall_distortion.tables import views
from recall_distortion.tables.files import write_table
from recall_distortion.tables.predictions import Predictions, Trained
from recall_distortion.tables.schema import COLUMNS, SUMMARIZED
from recall_distortion.vocabulary import (
    BOOTSTRAP,
    CELL,
    COMPRESSED,
    CONTROL,
    FITTERS,
    MODEL,
    PANEL,
    PYMER4,
    RETRAINED,
    STATSMODELS,
    Panel,
)
from tests.synthetic.cells import DENSE, RECIPE, Place, Tables, places
from tests.synthetic.of_answers import always_the_first, always_wrong, blocks, recalling, sparsities

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


def _aimed(place: Place) -> tuple[float, float]:
    """Return the accuracy that the networks of a place lose, and their slope."""
    method, ratio, state = place
    if place == DENSE:
        return 0.0, 1.0
    slope = true_slope(method, ratio)
    if method == CONTROL:
        return -0.004, slope
    if state == COMPRESSED:
        lost = min(0.75 * (np.log2(ratio) / np.log2(50)) ** 1.2, 0.82)
        return lost * (1.1 if method == "random" else 0.95), 2 + 3 * slope
    return 0.06 * (slope - 0.76) ** 1.2, slope


def _predictions(
    generator: np.random.Generator,
    labels: np.ndarray,
    of: list[Place],
    seeds: int,
    depth: int,
    collapsed: str,
    **options: Any,
) -> list[Predictions]:
    """Return what the networks of one panel answer; deeper ones are a little less accurate."""
    classes = int(labels.max()) + 1
    shape = generator.normal(0, 0.035, classes)
    found: dict[Place, dict[int, np.ndarray]] = {place: {} for place in of}
    for seed in range(seeds):
        accuracy = 0.945 - 0.02 * depth + generator.normal(0, 0.006)
        own = shape + generator.normal(0, 0.02, classes)
        for place in of:
            lost, slope = _aimed(place)
            recall = (accuracy - lost) * (1 + slope * own)
            if place != DENSE:
                recall = recall + generator.normal(0, 0.012, classes)
            found[place][seed] = recalling(generator, labels, recall)
            if place[0] == collapsed:
                predict = always_the_first if seed else always_wrong
                found[place][seed] = predict(generator, labels)
    # The first architecture's networks were trained thirty at once, the others twice as many.
    made = Trained("cpu", f"vectorized, up to {60 if depth else 30} at once, float32", "2.15.0")
    return blocks(labels, found, trained=made, **options)


def _mixed(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mixed_models.csv and mixed_model_fits.csv of two kinds of model for each panel."""
    rows, fits = [], []
    slopes = views.spread("slopes", table)
    fine = slopes[slopes["state"] == RETRAINED]
    for panel, cells in fine.groupby(PANEL, sort=False):
        for kind, believe, spread in (
            ("class_level", BOOTSTRAP, 24.5), ("class_level_scaled", MODEL, 1.0)
        ):  # fmt: skip
            model = "/".join([kind, *panel])
            for fitter in FITTERS:
                rows += [_term(model, fitter, row) for row in cells.to_dict("records")]
                singular = fitter == PYMER4 and kind == "class_level"
                fits.append({
                    "model": model, "fitter": fitter,
                    "formula": "after ~ 0 + before:cell + (0 + before | seed)", "rows": 18000,
                    "groups": "seed=30", "loglik": 31415.9265, "singular": singular,
                    "converged": True, "message": "boundary (singular) fit" if singular else "",
                    "spread": spread, "believe": believe,
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
        "difference": cell["mean"] * factor - cell["mean"] if fitter == STATSMODELS else np.nan,
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
    recipes: Sequence[str] = (RECIPE,),
    methods: Sequence[str] = METHODS,
    ratios: Sequence[float] = RATIOS,
    seeds: int = 30,
    class_names: Sequence[str] = tuple("0123456789"),
    control: bool = True,
    failures: bool = True,
    images: int = 54,
    collapsed: str = "",
) -> None:
    """Write every table of a made-up study into ``folder``.

    With about 50 ``images`` a class the test set is too small for slopes of single networks; with
    some thousands it is not. The networks of the method ``collapsed`` answer one class always, and
    that of seed 0 is never right.
    """
    generator = np.random.default_rng(20220610)
    of = places(dict.fromkeys(methods, ratios), control=control)
    parts = []
    for dataset in datasets:
        support = generator.integers(images - 4, images + 6, len(class_names))
        labels = np.repeat(np.arange(len(class_names)), support)
        for depth, (architecture, recipe) in enumerate(itertools.product(architectures, recipes)):
            names = Panel(dataset, architecture, recipe)._asdict() | {"names": class_names}
            parts += _predictions(generator, labels, of, seeds, depth, collapsed, **names)
    failed = {
        **Panel(datasets[0], architectures[0], recipes[0])._asdict(), "method": "random",
        "ratio": 50.0, "state": RETRAINED, "seed": seeds,
        "failure": "the loss was not finite after epoch 3",
        "device": "cpu", "engine": "one after another, float32", "torch": "2.15.0",
    }  # fmt: skip
    # One method keeps more weights than were asked for.
    sparsity = sparsities(parts, {"undecayed_signed": 1 / 1.9}, jitter=0.05)
    recall, networks = measure(parts, sparsity, [failed] if failures else [], splits=SPLITS)
    tables = inferred(recall, networks, 1 - 0.05 / max(1, len(ratios)), parts)
    tables["mixed_models"], tables["mixed_model_fits"] = _mixed(tables["estimates"])
    write_tables(folder, tables)


def inferred(
    recall: pd.DataFrame,
    networks: pd.DataFrame,
    level: float,
    predictions: Sequence[Predictions] = (),
) -> Tables:
    """Return these tables and all that follows from them; of mixed models there are none."""
    found = answers(recall, networks, level, predictions)
    return {
        "recall": recall,
        "networks": networks,
        "estimates": estimates(found),
        "tests": contrasts.tests(networks, {}),
        "mixed_models": pd.DataFrame(columns=COLUMNS["mixed_models"]),
        "mixed_model_fits": pd.DataFrame(columns=COLUMNS["mixed_model_fits"]),
        "published": published.published(networks, found["slopes"], found["pooled"]),
    }


def write_tables(folder: Path, tables: Tables) -> None:
    """Write tables into ``folder``, and the summary of all that lie there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", name, table)
    write_summary(*(folder / f"{name}.csv" for name in SUMMARIZED), folder / "summary.csv")
