"""Inference from files to files, for the workflow and for whoever has tables of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from recall_distortion.columns import (
    COEFFICIENT_COLUMNS,
    CROSSFIT_COLUMNS,
    EFFECT_COLUMNS,
    EQUAL_SPARSITY_COLUMNS,
    FIT_COLUMNS,
    INFLUENCE_COLUMNS,
    INTERVAL_COLUMNS,
    POOLED_COLUMNS,
    PUBLISHED_COLUMNS,
    SEEDS_NEEDED_COLUMNS,
    SPARSITY_COLUMNS,
    TEST_COLUMNS,
    TRADEOFF_COLUMNS,
)
from recall_distortion.inference import across as across_of
from recall_distortion.inference import (
    class_level,
    class_rows,
    contrasts,
    effects,
    equal_sparsity,
    influence,
    mixed_models,
    model_level,
    published,
    seeds_needed,
    slope_rows,
    tradeoff,
)
from recall_distortion.inference import pooled as pooled_slopes
from recall_distortion.inference.agreement import require_agreement, require_sparsities
from recall_distortion.inference.beside import bootstrapped
from recall_distortion.inference.intervals import CELL, PAPER_LEVEL, intervals
from recall_distortion.inference.model import MixedModel
from recall_distortion.tables import read_table, write_table

_TESTED_RECALL = [
    *CELL, "seed", "class", "class_name", "support", "predicted", "recall", "accuracy", "balance",
    "normalized_balance",
]  # fmt: skip


def write_tests(
    recall_csv: str | Path,
    alpha_csv: str | Path,
    crossfit_csv: str | Path,
    sparsity_csv: str | Path,
    outputs: Mapping[str, str | Path],
    level: float = PAPER_LEVEL,
) -> None:
    """Write what a study's slopes say without a mixed model, intervals at ``level`` each.

    ``outputs`` maps intervals, tests, pooled, effects, equal_sparsity, seeds_needed, tradeoff,
    influence and published to their paths. What a study cannot estimate is missing in its table,
    and a note there says why.
    """
    recall = read_table(recall_csv, _TESTED_RECALL)
    alpha = read_table(alpha_csv, [*CELL, "seed", "alpha", "accuracy_before", "accuracy_after"])
    crossfit = read_table(crossfit_csv, CROSSFIT_COLUMNS)
    sparsity = read_table(sparsity_csv, SPARSITY_COLUMNS)
    require_agreement(recall, alpha, crossfit, [recall_csv, alpha_csv, crossfit_csv])
    require_sparsities(sparsity, alpha, sparsity_csv)
    of_cells = intervals(alpha, level)
    pooled = pooled_slopes.pooled(recall, alpha, crossfit, level)
    found = {
        "intervals": (of_cells, INTERVAL_COLUMNS),
        "tests": (contrasts.tests(alpha, recall), TEST_COLUMNS),
        "pooled": (pooled, POOLED_COLUMNS),
        "effects": (effects.effects(alpha, crossfit, pooled, of_cells, level), EFFECT_COLUMNS),
        "equal_sparsity": (
            equal_sparsity.equal_sparsity(alpha, crossfit, sparsity, pooled, level),
            EQUAL_SPARSITY_COLUMNS,
        ),
        "seeds_needed": (seeds_needed.seeds_needed(alpha, pooled, level), SEEDS_NEEDED_COLUMNS),
        "tradeoff": (tradeoff.tradeoff(recall, alpha, of_cells, level), TRADEOFF_COLUMNS),
        "influence": (influence.influence(recall, of_cells, level), INFLUENCE_COLUMNS),
        "published": (published.published(recall, of_cells, pooled), PUBLISHED_COLUMNS),
    }
    for name, (table, columns) in found.items():
        write_table(outputs[name], [table], columns)


def write_fits(
    recall_csv: str | Path,
    alpha_csv: str | Path,
    sparsity_csv: str | Path,
    networks: Sequence[tuple[str, str]],
    engine: str,
    coefficients_csv: str | Path,
    fit_csv: str | Path,
    *,
    across: bool = False,
) -> None:
    """Fit mixed models with one engine, one after another; write coefficients and fit facts.

    The models are ``class_level`` and ``model_level``, each also with scaled rows, of every
    (dataset, architecture) in ``networks``, and with ``across`` those over all of a study's
    panels, which need the sparsities: ``across_architectures`` of each data set and
    ``across_datasets``; where a study has too few panels their fit rows say so.

    ``engine`` is ``pymer4`` or ``statsmodels``. The second one's tables also hold the bootstrap of
    the same models, so that no process has to start and build the models for it alone. Raises
    ``SetupError`` where a model can be estimated and the engine needs a program that is not
    installed.
    """
    mixed_models.require_engine(engine)
    wanted = dict.fromkeys(
        [*class_rows.RECALL_COLUMNS, *(across_of.RECALL_COLUMNS if across else ())]
    )
    recall = read_table(recall_csv, list(wanted))
    alpha = read_table(alpha_csv, slope_rows.ALPHA_COLUMNS)
    models = [model for network in networks for model in _of_panel(recall, alpha, *network)]
    if across:
        sparsity = read_table(sparsity_csv, across_of.SPARSITY_COLUMNS)
        models += across_of.across(alpha, recall, sparsity)
    fits = [mixed_models.fit(model, engine) for model in models]
    if engine == "statsmodels":
        fits += [bootstrapped(model) for model in models if not model.reason]
    coefficients, facts = mixed_models.together(fits)
    write_table(coefficients_csv, [coefficients], COEFFICIENT_COLUMNS)
    write_table(fit_csv, [facts], FIT_COLUMNS)


def write_mixed_models(
    coefficients_paths: Sequence[str | Path],
    fit_paths: Sequence[str | Path],
    mixed_models_csv: str | Path,
    mixed_model_fits_csv: str | Path,
) -> None:
    """Compare the engines in files of ``write_fits`` and write the tables of all models."""
    coefficients = [read_table(path, COEFFICIENT_COLUMNS) for path in coefficients_paths]
    fits = [read_table(path, FIT_COLUMNS) for path in fit_paths]
    table, facts = mixed_models.combine(coefficients, fits)
    write_table(mixed_models_csv, [table], COEFFICIENT_COLUMNS)
    write_table(mixed_model_fits_csv, [facts], FIT_COLUMNS)


def _of_panel(
    recall: pd.DataFrame, alpha: pd.DataFrame, dataset: str, architecture: str
) -> list[MixedModel]:
    return [
        *class_level.class_level(recall, dataset, architecture),
        *model_level.model_level(alpha, dataset, architecture),
    ]
