"""A study from files of predictions to its page, of networks that behave as is asked."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recall_distortion.inference.jobs.estimate import write_estimates
from recall_distortion.inference.jobs.fit import write_fits, write_mixed_models
from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.inference.jobs.populations import write_populations
from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.report import build_report, metrics
from recall_distortion.report.figures import write_figures
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.predictions import Trained, write_predictions
from recall_distortion.tables.schema import SUMMARIZED, TABLES
from recall_distortion.tables.views import VIEWS, spread
from recall_distortion.vocabulary import (
    CONTROL,
    DENSE,
    PYMER4,
    RETRAINED,
    STATSMODELS,
    Panel,
    format_ratio,
)
from tests.synthetic.cells import places
from tests.synthetic.of_answers import Answers, Place, Predict, blocks, some_errors, sparsities

FITTERS = (PYMER4, STATSMODELS) if shutil.which("Rscript") else (STATSMODELS,)
SEEDS = 6
CLASSES = 4
IMAGES = 40  # a class
PANEL = Panel("odd", "mlp", "usual")
FACTS = {"device": "cpu", "engine": "one after another, float32", "torch": "2.10"}


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
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), support or [IMAGES] * classes)
    predict = {DENSE: dense, **methods}
    pruned = [method for method in methods if method != CONTROL]
    answers = {
        place: {seed: predict[place[0]](rng, labels) for seed in range(seeds)}
        for place in places(dict.fromkeys(pruned, ratios), control=CONTROL in methods)
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.csv" for name in TABLES}
    measured = paths["recall"], paths["networks"]
    predictions, sparsity = _files(folder, labels, answers, failed)
    write_measures(predictions, sparsity, *measured, splits=4)
    populations = folder / "populations.csv"
    write_populations(predictions, populations, paths["images"])
    write_estimates(*measured, paths, architectures={}, predictions=predictions,
                    populations=populations)  # fmt: skip
    fits = []
    for fitter in FITTERS:
        fits.append((folder / f"{fitter}.coefficients", folder / f"{fitter}.fit"))
        write_fits(*measured, [PANEL], fitter, *fits[-1], over_panels=True)
    of_models = paths["mixed_models"], paths["mixed_model_fits"]
    write_mixed_models([pair[0] for pair in fits], [pair[1] for pair in fits], *of_models)
    write_summary(*(paths[name] for name in (*SUMMARIZED, "summary")))
    write_figures(folder, folder / "figures")
    study = {"name": "odd"}
    build_report(folder, folder / "report.html", study=study, figures=folder / "figures")
    json.dumps(metrics(folder), allow_nan=False)
    return Results(folder)


def _files(
    folder: Path, labels: np.ndarray, answers: dict[Place, Answers], failed: str
) -> tuple[list[Path], list[Path]]:
    """Write the predictions and sparsities of the networks that did not fail."""
    predictions, sparsity = folder / "predictions.safetensors", folder / "of_block.csv"
    lost = [place for place in answers if (place[0], place[2]) == (failed, RETRAINED)]
    failures = [
        {
            "method": method,
            "ratio": format_ratio(ratio),
            "stage": "finetuning",
            "seed": seed,
            "reason": "the loss is nan",
        }
        for method, ratio, state in lost
        for seed in answers[method, ratio, state]
    ]
    found = {**answers, **{place: {} for place in lost}}
    parts = blocks(labels, found, **PANEL._asdict(), trained=Trained.of(FACTS))
    facts = {"trained": FACTS, "evaluated": FACTS}
    made = {f"{method}/{format_ratio(ratio)}": facts for method, ratio, _ in answers}
    write_predictions(predictions, parts, failures=failures, made=made)
    write_table(sparsity, "sparsity", sparsities(parts))
    return [predictions], [sparsity]
