"""Mixed models over several panels: how alpha depends on the network's size and the data.

In lme4's words, for all methods after retraining::

    alpha ~ 0 + method + method:doublings + method:size + method:doublings:size
            + (1 | panel) + (1 | panel:seed)

``doublings`` is log2 of the ratio. ``size``, among the architectures of a data set, is log2 of the
network's parameters; across data sets it is the panel's mean dense test error instead, in units of
10 percentage points, and called ``error``. All are centred on the mean of their distinct values. A
method's ``level`` is its alpha at the centre, ``trend`` the change per doubling of the ratio,
``size`` per doubling of the parameters, ``trend:size`` how much the trend changes by that.

A panel is one observation of a size or an error however many replicates it has: the random
intercept by panel says so, and its variance is estimated from as many panels as there are beyond
the fixed effects that differ between panels. Panels may differ in their trend too, for which there
is no random effect, so the trends' standard errors hold for these panels rather than for others.
The bootstrap takes all panels as given.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.inference.mixed.designs import slope_rows
from recall_distortion.inference.mixed.designs.slope_rows import (
    NO_SLOPES,
    TREND_TERM,
    Design,
    both_versions,
    centred,
    retrained_slopes,
)
from recall_distortion.inference.mixed.model import MixedModel
from recall_distortion.system.errors import InferenceError
from recall_distortion.tables.files import require_columns
from recall_distortion.tables.study import within_recipes
from recall_distortion.vocabulary import DENSE, PANEL

# What the models need of the networks table.
NETWORKS_COLUMNS = [*slope_rows.NETWORKS_COLUMNS, "accuracy", "total"]

# A line through two panels fits both exactly, whatever they are.
LEAST_PANELS = 3
# A panel's error counts in these units, 10 percentage points.
ERROR_UNIT = 0.1

_RANDOM = {
    "sd(panel)": ("panel", "differences between panels"),
    "sd(panel:seed)": ("dense_network", "differences between replicates"),
}


def _formula(predictor: str) -> str:
    return (
        f"alpha ~ 0 + method + method:doublings + method:{predictor} + "
        f"method:doublings:{predictor} + (1 | panel) + (1 | panel:seed)"
    )


def across(networks: pd.DataFrame) -> list[MixedModel]:
    """Return all models over several panels of a study, ``across_datasets`` last."""
    return [*across_architectures(networks), *across_datasets(networks)]


def across_architectures(networks: pd.DataFrame) -> list[MixedModel]:
    """Return ``across_architectures/<dataset>`` and its scaled version for each data set.

    The name ends with the recipe that the networks share; where a network has several, each recipe
    has its models. ``networks`` has ``NETWORKS_COLUMNS``. Sizes are its totals of parameters, as
    measured; a row may lack its own. What cannot be estimated is not an error: the model says why.
    Raises ``InferenceError`` where a panel has two totals.
    """
    require_columns(networks, NETWORKS_COLUMNS, "the networks table")
    totals = networks.dropna(subset="total").groupby(PANEL, sort=False)["total"]
    totals = totals.agg(["first", "nunique"])
    contradicted = totals.index[totals["nunique"] > 1]
    if len(contradicted):
        raise InferenceError(
            f"the networks table gives {'/'.join(contradicted[0])} more than one number of "
            "parameters; its rows stem from different networks. Compress them again"
        )
    models = []
    for _, own in within_recipes(networks):
        for dataset, of_set in own.groupby("dataset", sort=False):
            rows, notes = retrained_slopes(of_set)
            sizes = totals["first"].reindex(pd.MultiIndex.from_frame(rows[PANEL]))
            with np.errstate(divide="ignore", invalid="ignore"):
                rows = rows.assign(size=np.log2(sizes.to_numpy(dtype=float)))
            count = rows["architecture"].nunique()
            models += _models(
                "across_architectures",
                rows,
                notes,
                "size",
                _too_few(count, "architecture", "the number of parameters"),
                _place(of_set, dataset=dataset),
            )
    return models


def across_datasets(networks: pd.DataFrame) -> list[MixedModel]:
    """Return ``across_datasets`` and its scaled version; else as ``across_architectures``.

    Data sets differ in more than their difficulty, so ``error`` says what is associated with it,
    not what it causes.
    """
    require_columns(networks, NETWORKS_COLUMNS, "the networks table")
    dense = networks[networks["method"] == DENSE]
    errors = 1 - dense.groupby(PANEL, sort=False)["accuracy"].mean()
    models = []
    for _, own in within_recipes(networks):
        rows, notes = retrained_slopes(own)
        error = errors.reindex(pd.MultiIndex.from_frame(rows[PANEL])).to_numpy(dtype=float)
        rows = rows.assign(error=error / ERROR_UNIT)
        sets = rows["dataset"].nunique()
        one = "one data set cannot show how alpha depends on the dense error"
        reason = one if sets == 1 else ""
        reason = reason or _too_few(rows["panel"].nunique(), "panel", "the dense error")
        models += _models("across_datasets", rows, notes, "error", reason, _place(own))
    return models


def _place(networks: pd.DataFrame, **names: str) -> dict[str, str]:
    """Return the keys of a panel that all networks share: these names, and the recipe if so."""
    recipes = networks["recipe"].unique()
    return names | ({"recipe": recipes[0]} if len(recipes) == 1 else {})


def _too_few(count: int, what: str, predictor: str) -> str:
    if count == 0:
        return NO_SLOPES
    if count >= LEAST_PANELS:
        return ""
    if count == 1:
        return f"one {what} cannot show how alpha depends on {predictor}"
    return (
        f"how alpha depends on {predictor} cannot be distinguished from other differences between "
        f"two {what}s"
    )


def _models(
    kind: str,
    rows: pd.DataFrame,
    notes: list[str],
    predictor: str,
    reason: str,
    place: dict[str, str],
) -> list[MixedModel]:
    if not reason:
        unknown = rows.loc[~np.isfinite(rows[predictor]), "panel"].unique()
        if len(unknown):
            reason = f"the {predictor} of {', '.join(unknown)} is not known"
    if not reason:
        kept, left_out = _methods(rows, predictor, across_sets="dataset" not in place)
        notes = [*notes, *left_out]
        if not kept:
            reason = "; ".join(left_out)
            notes = notes[: len(notes) - len(left_out)]
        rows = rows[rows["method"].isin(kept)].reset_index(drop=True)
    if reason:
        rows = rows.iloc[:0]
    else:
        columns = {column: centred(rows, column) for column in ("doublings", predictor)}
        rows = rows.assign(**columns, interaction=columns["doublings"] * columns[predictor])
    return both_versions(
        Design(
            name="/".join([kind, *place.values()]),
            formula=_formula(predictor),
            rows=rows,
            predictors={
                TREND_TERM: "doublings",
                predictor: predictor,
                f"{TREND_TERM}:{predictor}": "interaction",
            },
            random=_RANDOM,
            place=place,
            notes=notes,
            reason=reason,
        )
    )


def _methods(rows: pd.DataFrame, predictor: str, across_sets: bool) -> tuple[list[str], list[str]]:
    """Return the methods that occur in enough panels, and notes of the others."""
    kept, notes = [], []
    for method, of_method in rows.groupby("method", sort=False):
        values = of_method[predictor].nunique()
        sets = of_method["dataset"].nunique()
        if values < LEAST_PANELS:
            notes.append(
                f"left out {method}: its panels have {values} different values of {predictor}, "
                f"and {LEAST_PANELS} are needed"
            )
        elif across_sets and sets < 2:
            notes.append(f"left out {method}: it was used on one data set only")
        else:
            kept.append(method)
    return kept, notes
