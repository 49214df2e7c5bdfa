"""From the tables of recall and of networks to estimates, t-tests, the published cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from recall_distortion.inference import one_dense
from recall_distortion.inference.consistency import require_agreement, require_sparsities
from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.questions import contrasts, published
from recall_distortion.inference.questions.contrasts import Architectures
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL
from recall_distortion.measures.of_networks import FURTHER
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.tables.schema import SOMETIMES
from recall_distortion.vocabulary import NETWORK

_MEASURED = [
    *NETWORK, "accuracy", "accuracy_before", "alpha", "alpha_crossfit", "crossfit_numerator",
    "crossfit_denominator", "intercept", "slope_with_intercept", "realised_ratio", "kept_fraction",
    "kept_prunable", "prunable", "total", "failure",
]  # fmt: skip


def write_estimates(
    recall_csv: str | Path,
    networks_csv: str | Path,
    outputs: Mapping[str, str | Path],
    *,
    architectures: Architectures,
    level: float = PAPER_LEVEL,
    predictions: Iterable[str | Path] = (),
    populations: str | Path | None = None,
    frequencies: str | Path | None = None,
    margins: Mapping[str, float] | None = None,
) -> None:
    """Write what a study's slopes say without a mixed model, intervals at ``level`` each.

    ``outputs`` maps estimates, tests and published to their paths; ``architectures`` gives the
    family and depth of the networks that are to be compared. ``predictions`` are the files that the
    recalls are of; without them nothing is said of other images. ``populations`` is the table of
    estimates that ``write_populations`` wrote of the same study, ``frequencies`` that of the
    classes' images; ``margins`` has by data set by how much accuracies may differ that count as
    equal. What a study cannot estimate is missing in its table, and a note there says why.
    """
    recall = read_table(recall_csv, "recall")
    networks = read_table(networks_csv, "networks", _MEASURED, [*FURTHER, *SOMETIMES])
    require_agreement(recall, networks, [recall_csv, networks_csv])
    require_sparsities(networks, networks_csv)
    further = None if populations is None else read_table(populations, "estimates")
    images = None if frequencies is None else read_table(frequencies, "frequencies")
    parts = (part for path in predictions for part in read_predictions(path)[0])
    found = answers(recall, networks, level, parts, images, margins)
    tables = {
        "estimates": one_dense.without_replicates(estimates(found, further), networks),
        "tests": contrasts.tests(networks, architectures),
        "published": published.published(networks, found["slopes"], found["pooled"]),
    }
    for name, table in tables.items():
        write_table(outputs[name], name, table)
