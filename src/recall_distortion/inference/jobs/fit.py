"""From the tables of recall and of networks to mixed models, and these compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs.class_level import class_level
from recall_distortion.inference.mixed.designs.model_level import model_level
from recall_distortion.inference.mixed.designs.panels import NETWORKS_COLUMNS, across
from recall_distortion.inference.mixed.fitters.bootstrap import bootstrapped
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.vocabulary import STATSMODELS, Panel


def write_fits(
    recall_csv: str | Path,
    networks_csv: str | Path,
    panels: Sequence[Sequence[str]],
    fitter: str,
    coefficients_csv: str | Path,
    fit_csv: str | Path,
    *,
    over_panels: bool = False,
    level: float = PAPER_LEVEL,
) -> None:
    """Fit mixed models with one fitter, one after another; write coefficients and fit facts.

    The models are ``class_level`` and ``model_level``, each also with scaled rows, of every
    (dataset, architecture, recipe) in ``panels``, and with ``over_panels`` those over all of a
    study's: ``across_architectures`` of each data set and ``across_datasets``, each recipe apart
    where a network has several; where a study has too few panels their fit rows say so.

    ``fitter`` is ``pymer4`` or ``statsmodels``. The second one's tables also hold the bootstrap of
    the same models, so that no process has to start and build the models for it alone. Raises
    ``SetupError`` where a model can be estimated and the fitter needs a program that is not
    installed.
    """
    comparison.require_fitter(fitter)
    recall = read_table(recall_csv, "recall")
    networks = read_table(networks_csv, "networks", [*NETWORKS_COLUMNS, "failure"])
    models = [
        model
        for panel in [Panel(*names) for names in panels]
        for model in (*class_level(recall, panel), *model_level(networks, panel))
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
