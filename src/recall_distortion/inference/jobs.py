"""Measures and inference from files to files: what the workflow calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from recall_distortion.inference.consistency import require_agreement, require_sparsities
from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs.class_level import class_level
from recall_distortion.inference.mixed.designs.model_level import model_level
from recall_distortion.inference.mixed.designs.panels import across
from recall_distortion.inference.mixed.fitters.bootstrap import bootstrapped
from recall_distortion.inference.questions import contrasts, published
from recall_distortion.inference.questions.contrasts import Architectures
from recall_distortion.inference.questions.summary import summary
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL
from recall_distortion.measures.networks import measure
from recall_distortion.system.errors import TableError
from recall_distortion.system.logs import warn
from recall_distortion.tables.files import earlier_tables, read_table, write_table
from recall_distortion.tables.predictions import Predictions, read_predictions
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import NETWORK, STATSMODELS


def write_measures(
    predictions: Iterable[str | Path],
    sparsity: Iterable[str | Path],
    recall_csv: str | Path,
    networks_csv: str | Path,
    *,
    splits: int = 20,
) -> None:
    """Write the tables recall and networks of a study from its files of predictions.

    ``sparsity`` are the tables that pruning jobs write beside their networks.
    """
    parts, failures = _read_all(predictions)
    # All that can be damaged is read before anything is written.
    known = {(part.dataset, part.architecture, part.method) for part in parts}
    rows = [_sparsities(path, known) for path in sparsity]
    sparsities = pd.concat(rows) if rows else pd.DataFrame(columns=COLUMNS["sparsity"])
    recall, networks = measure(parts, sparsities, failures, splits=splits)
    write_table(recall_csv, "recall", recall)
    write_table(networks_csv, "networks", networks)
    if old := earlier_tables(Path(recall_csv).parent):
        warn(
            f"{Path(recall_csv).parent} still holds {', '.join(old)} of an earlier version, which "
            "nothing reads or writes any more; delete them. docs/tables.md says where their "
            "numbers stand now"
        )


def _read_all(paths: Iterable[str | Path]) -> tuple[list[Predictions], list[Mapping]]:
    """Return what all files of predictions hold; no network may stand in two of them."""
    parts: list[Predictions] = []
    failures: list[Mapping] = []
    files: dict[tuple, str | Path] = {}
    for path in paths:
        found, failed = read_predictions(path)
        parts += found
        failures += failed
        for part in found:
            key = (part.dataset, part.architecture, part.method, part.ratio, part.state)
            for seed in part.seeds:
                if (other := files.setdefault((*key, seed), path)) != path:
                    raise TableError(
                        f"{other} and {path} both hold seed {seed} of {part.architecture} on "
                        f"{part.dataset}, {part.method} at {part.ratio}; one of them, or the "
                        "weights under dense or compressed that it was made of, is another's: "
                        "delete both, and these weights of both, and run the study again"
                    )
    return parts, failures


def _sparsities(path: str | Path, known: set[tuple[str, str, str]]) -> pd.DataFrame:
    """Return a block's table of sparsities; ``known`` are networks and methods with predictions."""
    table = read_table(path, "sparsity")
    for line, row in enumerate(table.to_dict("records"), start=2):
        if (row["dataset"], row["architecture"], row["method"]) not in known:
            raise TableError(
                f"{path}, line {line}: {row['method']} of {row['architecture']} on "
                f"{row['dataset']} has no predictions; delete the file and run the study again"
            )
    return table


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
) -> None:
    """Write what a study's slopes say without a mixed model, intervals at ``level`` each.

    ``outputs`` maps estimates, tests and published to their paths; ``architectures`` gives the
    family and depth of the networks that are to be compared. What a study cannot estimate is
    missing in its table, and a note there says why.
    """
    recall = read_table(recall_csv, "recall")
    networks = read_table(networks_csv, "networks", _MEASURED)
    require_agreement(recall, networks, [recall_csv, networks_csv])
    require_sparsities(networks, networks_csv)
    found = answers(recall, networks, level)
    tables = {
        "estimates": estimates(found),
        "tests": contrasts.tests(networks, architectures),
        "published": published.published(networks, found["slopes"], found["pooled"]),
    }
    for name, table in tables.items():
        write_table(outputs[name], name, table)


def write_fits(
    recall_csv: str | Path,
    networks_csv: str | Path,
    panels: Sequence[tuple[str, str]],
    fitter: str,
    coefficients_csv: str | Path,
    fit_csv: str | Path,
    *,
    over_panels: bool = False,
    level: float = PAPER_LEVEL,
) -> None:
    """Fit mixed models with one fitter, one after another; write coefficients and fit facts.

    The models are ``class_level`` and ``model_level``, each also with scaled rows, of every
    (dataset, architecture) in ``panels``, and with ``over_panels`` those over all of a study's:
    ``across_architectures`` of each data set and ``across_datasets``; where a study has too few
    panels their fit rows say so.

    ``fitter`` is ``pymer4`` or ``statsmodels``. The second one's tables also hold the bootstrap of
    the same models, so that no process has to start and build the models for it alone. Raises
    ``SetupError`` where a model can be estimated and the fitter needs a program that is not
    installed.
    """
    comparison.require_fitter(fitter)
    recall = read_table(recall_csv, "recall")
    networks = read_table(networks_csv, "networks", _MEASURED)
    models = [
        model
        for panel in panels
        for model in (*class_level(recall, *panel), *model_level(networks, *panel))
    ]
    if over_panels:
        models += across(networks)
    fits = [comparison.fit(model, fitter, level) for model in models]
    if fitter == STATSMODELS:
        fits += [bootstrapped(model, level) for model in models if not model.reason]
    coefficients, facts = comparison.together(fits)
    write_table(coefficients_csv, "mixed_models", coefficients)
    write_table(fit_csv, "mixed_model_fits", facts)


def write_mixed_models(
    coefficients_paths: Sequence[str | Path],
    fit_paths: Sequence[str | Path],
    mixed_models_csv: str | Path,
    mixed_model_fits_csv: str | Path,
) -> None:
    """Compare the fitters in files of ``write_fits`` and write the tables of all models."""
    coefficients = [read_table(path, "mixed_models") for path in coefficients_paths]
    fits = [read_table(path, "mixed_model_fits") for path in fit_paths]
    table, facts = comparison.combine(coefficients, fits)
    write_table(mixed_models_csv, "mixed_models", table)
    write_table(mixed_model_fits_csv, "mixed_model_fits", facts)


def write_summary(
    recall_csv: str | Path,
    networks_csv: str | Path,
    estimates_csv: str | Path,
    tests_csv: str | Path,
    mixed_models_csv: str | Path,
    mixed_model_fits_csv: str | Path,
    published_csv: str | Path,
    summary_csv: str | Path,
) -> None:
    """Write the counts and statistics that a study's page and metrics state."""
    paths = {
        "recall": recall_csv,
        "networks": networks_csv,
        "estimates": estimates_csv,
        "tests": tests_csv,
        "mixed_models": mixed_models_csv,
        "mixed_model_fits": mixed_model_fits_csv,
        "published": published_csv,
    }
    tables = {name: read_table(path, name) for name, path in paths.items()}
    write_table(summary_csv, "summary", summary(**tables))
