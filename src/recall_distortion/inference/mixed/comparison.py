"""Fit the mixed models, and compare what the fitters find.

Two fitters fit by REML: lme4 through pymer4 (``fitters.pymer4``) and statsmodels
(``fitters.statsmodels``). ``combine`` compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.mixed.coefficients import COEFFICIENT_COLUMNS, of_fit
from recall_distortion.inference.mixed.fitters import pymer4, statsmodels
from recall_distortion.inference.mixed.model import MixedModel, not_estimated
from recall_distortion.inference.notes import DISAGREE, NOT_ESTIMATED, joined
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL
from recall_distortion.system.errors import InferenceError
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import (
    BOOTSTRAP,
    CELL,
    FITTERS,
    PYMER4,
    STATSMODELS,
    format_ratio,
)

_MODULES = {PYMER4: pymer4, STATSMODELS: statsmodels}
REML_FITTERS = tuple(_MODULES)
FIT_COLUMNS = COLUMNS["mixed_model_fits"]

# How closely the fitters must agree. An effect is of order 1, so its tolerance is absolute below 1
# and relative above, and never less than a share of its standard error that changes no conclusion.
# Standard errors are compared relative to themselves. A log-likelihood has no scale of its own:
# differences of it are what likelihood ratios are made of, so 1e-3 is absolute (a likelihood ratio
# of 1.001) however large the number is.
ESTIMATE_TOLERANCE = 1e-5
ESTIMATE_TOLERANCE_IN_ERRORS = 1e-4
STD_ERROR_TOLERANCE = 1e-3
LOGLIK_TOLERANCE = 1e-3


def require_fitter(fitter: str) -> None:
    """Raise ``InferenceError`` unless ``fitter`` is one of ``REML_FITTERS``."""
    if fitter not in _MODULES:
        raise InferenceError(f"unknown fitter {fitter!r}; known are {', '.join(_MODULES)}")


def fit(
    model: MixedModel, fitter: str, level: float = PAPER_LEVEL
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a model's coefficients and fit facts by ``pymer4`` or ``statsmodels``.

    The first result has ``COEFFICIENT_COLUMNS`` (see ``coefficients.of_fit``), the second
    ``FIT_COLUMNS`` as keys; intervals are at ``level``. pymer4 has Satterthwaite's degrees of
    freedom. statsmodels has none for mixed models, so its df is infinite (``inf`` in the table) and
    its p values are a little too small where there are few replicates. A model that cannot be
    estimated has no numbers, and its message says why; the fitter is not even imported for it.

    Raises ``SetupError`` saying what to install when R or one of its packages is missing.
    """
    require_fitter(fitter)
    if model.reason:
        found = not_estimated(model, f"{NOT_ESTIMATED}: {model.reason}")
    else:
        _MODULES[fitter].prepare()
        found = _MODULES[fitter].fit(model)
    facts = {
        "model": model.name,
        "fitter": fitter,
        "formula": model.formula,
        "rows": len(model.response),
        "groups": model.groups,
        "loglik": found.loglik,
        "singular": found.singular,
        "converged": found.converged,
        "message": "; ".join(text for text in (found.message, *model.notes) if text),
        "spread": model.spread,
        "believe": model.believe,
    }
    return of_fit(model, found, fitter, level), facts


def together(
    fits: Sequence[tuple[pd.DataFrame, dict[str, Any]]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the coefficients and the facts of several fits as one table each."""
    coefficients = [table for table, _ in fits if len(table)]
    table = (
        pd.concat(coefficients, ignore_index=True)
        if coefficients
        else pd.DataFrame(columns=COEFFICIENT_COLUMNS)
    )
    return table, pd.DataFrame([facts for _, facts in fits], columns=FIT_COLUMNS)


def combine(
    coefficients: Sequence[pd.DataFrame],
    fits: Sequence[pd.DataFrame | dict[str, Any]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mixed_models and mixed_model_fits of all fits, after comparing the fitters.

    Where both fitters converged on a model, effects must agree within ``ESTIMATE_TOLERANCE`` (or
    ``ESTIMATE_TOLERANCE_IN_ERRORS`` of their standard error), standard errors within
    ``STD_ERROR_TOLERANCE`` and REML log-likelihoods within ``LOGLIK_TOLERANCE``, singular fits
    included: a variance of zero is a maximum that both must find. Otherwise the messages of both
    fits begin with ``DISAGREE``, the term and both values. A fit that did not converge is compared
    with nothing and keeps its rows, marked in mixed_model_fits.

    ``difference`` of statsmodels' rows is their estimate less pymer4's of the same term, NaN where
    only one of the two has it.

    The bootstrap's rows are compared with nothing. ``believe`` is the same in all rows of a model:
    as ``MixedModel.believe``, but where no fitter converged or the two disagree it is ``bootstrap``
    if that found something, and else empty.
    """
    if not coefficients or not fits:
        raise InferenceError("no fitted model to combine; fit at least one panel first")
    tables = [table for table in coefficients if len(table)]
    facts = [fit if isinstance(fit, pd.DataFrame) else pd.DataFrame([fit]) for fit in fits]
    table = pd.concat(tables or coefficients[:1], ignore_index=True)
    fit_table = pd.concat(facts, ignore_index=True)
    require_columns(table, COEFFICIENT_COLUMNS, "the coefficient tables together")
    require_columns(fit_table, FIT_COLUMNS, "the fit tables together")
    require_unique(fit_table, ["model", "fitter"], "the fit tables together")
    fit_table["converged"] = fit_table["converged"].astype(bool)
    order = {name: index for index, name in enumerate(dict.fromkeys(fit_table["model"]))}
    believed = {}
    for model_name, of_model in fit_table.groupby("model", sort=False):
        by_fitter = of_model.set_index("fitter")
        converged, disagreement = by_fitter["converged"], ""
        if set(REML_FITTERS) <= set(by_fitter.index) and converged[list(REML_FITTERS)].all():
            disagreement = _disagreement(by_fitter, table[table["model"] == model_name])
        if disagreement:
            fitted = of_model.index[of_model["fitter"].isin(REML_FITTERS)]
            messages = of_model.loc[fitted, "message"].fillna("")
            fit_table.loc[fitted, "message"] = [joined(disagreement, old) for old in messages]
        believed[model_name] = _believe(by_fitter, agreed=not disagreement)
    fit_table["believe"] = fit_table["model"].map(believed)
    table["difference"] = _differences(table)
    return (
        _ordered(table, order)[COEFFICIENT_COLUMNS],
        _ordered(fit_table, order)[FIT_COLUMNS],
    )


def _differences(table: pd.DataFrame) -> pd.Series:
    keys = ["model", *CELL, "term"]
    pymer4s = table.loc[table["fitter"] == PYMER4, [*keys, "estimate"]]
    beside = table[keys].merge(pymer4s, on=keys, how="left", validate="many_to_one")["estimate"]
    apart: pd.Series = table["estimate"] - beside.to_numpy()
    return apart.where(table["fitter"] == STATSMODELS)


def _believe(by_fitter: pd.DataFrame, agreed: bool) -> str:
    converged = by_fitter["converged"]
    if agreed and converged.drop(BOOTSTRAP, errors="ignore").any():
        of_model: str = by_fitter["believe"].iloc[0]
        return of_model
    return BOOTSTRAP if converged.get(BOOTSTRAP, False) else ""


def _ordered(table: pd.DataFrame, order: dict[str, int]) -> pd.DataFrame:
    """Return the rows by model, in the models' order, and by fitter within a model."""
    keys = pd.DataFrame(
        {"model": table["model"].map(order), "fitter": table["fitter"].map(FITTERS.index)}
    )
    positions = keys.sort_values(["model", "fitter"], kind="stable").index
    return table.loc[positions].reset_index(drop=True)


def _disagreement(facts: pd.DataFrame, coefficients: pd.DataFrame) -> str:
    """Return what two fits of one model disagree about, with both values, or an empty string."""
    first, second = REML_FITTERS
    a, b = (float(facts.loc[fitter, "loglik"]) for fitter in REML_FITTERS)
    if not abs(a - b) <= LOGLIK_TOLERANCE:
        return _disagree("the REML log-likelihood", a, b, f"{LOGLIK_TOLERANCE:g}")
    effects = coefficients[~coefficients["term"].str.startswith("sd(")]
    both = effects[effects["fitter"] == first].merge(
        effects[effects["fitter"] == second], on=["method", "ratio", "term"], how="outer"
    )
    for row in both.to_dict("records"):
        at = "" if np.isnan(row["ratio"]) else f" at ratio {format_ratio(row['ratio'])}"
        term = f"the {row['term']} of {row['method']}{at}"
        a, b = row["estimate_x"], row["estimate_y"]
        errors = row["std_error_x"], row["std_error_y"]
        tolerance = max(
            ESTIMATE_TOLERANCE * max(1, abs(a)), ESTIMATE_TOLERANCE_IN_ERRORS * errors[0]
        )
        if not abs(a - b) <= tolerance:
            return _disagree(term, a, b, f"{tolerance:.1g}")
        a, b = errors
        if not abs(a - b) <= STD_ERROR_TOLERANCE * abs(a):
            tolerance = f"a fraction of {STD_ERROR_TOLERANCE:g}"
            return _disagree(f"the standard error of {term}", a, b, tolerance)
    return ""


def _disagree(what: str, a: float, b: float, tolerance: str) -> str:
    first, second = REML_FITTERS
    return (
        f"{DISAGREE} about {what}: {first} found {a!r} and {second} found {b!r}, which should "
        f"agree within {tolerance}; believe neither"
    )
