"""Fitting the class-level mixed model, and what its slopes say; ``model`` defines it.

Two engines fit it by REML: lme4 through pymer4 (``engines.pymer4``) and statsmodels
(``engines.statsmodels``). ``combine`` holds them against each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from recall_distortion.columns import COEFFICIENT_COLUMNS, FIT_COLUMNS
from recall_distortion.errors import InferenceError
from recall_distortion.inference.engines import pymer4, statsmodels
from recall_distortion.inference.intervals import DEINTENSIFICATION, INCONCLUSIVE, INTENSIFICATION
from recall_distortion.inference.model import (
    FORMULA,
    RANDOM_TERMS,
    RESIDUAL,
    ROW_COLUMNS,
    EngineFit,
    inestimable,
    not_estimated,
)
from recall_distortion.tables import format_ratio, require_columns, require_unique

ENGINES = ("pymer4", "statsmodels")

SLOPE = "slope"

# Level of a slope's interval: the same as that of the cells' intervals (paper, section 6.2).
LEVEL = 0.99
# A verdict needs a Holm-adjusted one-sided p below this: 2.5 % in each direction, so that the
# chance of any wrong verdict in a model is at most 5 % over both directions.
VERDICT_P = 0.025

# How closely the engines must agree. A slope is of order 1, so its tolerance is absolute below 1
# and relative above. Standard errors are compared relative to themselves. A log-likelihood has no
# scale of its own: differences of it are what likelihood ratios are made of, so 1e-3 is absolute
# (a likelihood ratio of 1.001) however large the number is.
ESTIMATE_TOLERANCE = 1e-5
STD_ERROR_TOLERANCE = 1e-3
LOGLIK_TOLERANCE = 1e-3


def model_name(dataset: str, architecture: str) -> str:
    """Return the name of a panel's model in the tables."""
    return f"class_level/{dataset}/{architecture}"


def fit_pymer4(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return slopes and fit facts by lme4 through pymer4, with Satterthwaite degrees of freedom.

    ``rows`` is what ``model.design`` returns. The first result has ``COEFFICIENT_COLUMNS``: a row
    per cell (term ``slope``), then a row per random effect with only the standard deviation as its
    estimate. The second has ``FIT_COLUMNS`` as keys. Slopes are tested against 1 in both
    directions by t = (slope - 1) / SE.

    Raises ``SetupError`` saying what to install when R or one of its packages is missing.
    """
    return _fit(rows, "pymer4", pymer4.prepare, pymer4.fit)


def fit_statsmodels(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return slopes and fit facts by statsmodels; as ``fit_pymer4``, with the normal distribution.

    statsmodels has no degrees of freedom for mixed models, so df is infinite (``inf`` in the
    table) and its p values are a little too small where there are few replicates.
    """
    return _fit(rows, "statsmodels", statsmodels.prepare, statsmodels.fit)


def _fit(
    rows: pd.DataFrame,
    engine: str,
    prepare: Callable[[], None],
    fit: Callable[[pd.DataFrame], EngineFit],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    require_columns(rows, ROW_COLUMNS, "the model's rows")
    reason = inestimable(rows)
    seconds = 0.0
    if reason:
        found = not_estimated(rows, f"not estimated: {reason}")
    else:
        prepare()  # imports, which are not the fit's time
        start = time.perf_counter()
        found = fit(rows)
        seconds = time.perf_counter() - start
    facts = {
        "model": model_name(rows["dataset"].iloc[0], rows["architecture"].iloc[0]),
        "engine": engine,
        "formula": FORMULA,
        "rows": len(rows),
        "groups": ";".join(
            f"{term[3:-1]}={rows[column].nunique()}" for term, column in RANDOM_TERMS.items()
        ),
        "loglik": found.loglik,
        "singular": found.singular,
        "converged": found.converged,
        "message": found.message,
        "seconds": seconds,
    }
    return _coefficients(rows, found, facts["model"], engine), facts


def _coefficients(rows: pd.DataFrame, fit: EngineFit, model: str, engine: str) -> pd.DataFrame:
    cells = rows.drop_duplicates("cell")
    critical = stats.t.ppf((1 + LEVEL) / 2, fit.df)  # an infinite df is the normal distribution
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (fit.slopes - 1) / fit.std_errors
    above, below = stats.t.sf(t, fit.df), stats.t.cdf(t, fit.df)
    above_adjusted, below_adjusted = holm(above), holm(below)
    slopes = pd.DataFrame(
        {
            "dataset": cells["dataset"].to_numpy(),
            "architecture": cells["architecture"].to_numpy(),
            "method": cells["method"].to_numpy(),
            "ratio": cells["ratio"].to_numpy(),
            "term": SLOPE,
            "estimate": fit.slopes,
            "std_error": fit.std_errors,
            "df": fit.df,
            "low": fit.slopes - critical * fit.std_errors,
            "high": fit.slopes + critical * fit.std_errors,
            "p_intensification": above,
            "p_deintensification": below,
            "p_intensification_adjusted": above_adjusted,
            "p_deintensification_adjusted": below_adjusted,
            "verdict": [_verdict(*p) for p in zip(above_adjusted, below_adjusted, strict=True)],
        }
    )
    random = pd.DataFrame(
        {
            "dataset": cells["dataset"].iloc[0],
            "architecture": cells["architecture"].iloc[0],
            "term": [*RANDOM_TERMS, RESIDUAL],
            "estimate": [fit.deviations.get(term, np.nan) for term in (*RANDOM_TERMS, RESIDUAL)],
        }
    )
    table = pd.concat([slopes, random], ignore_index=True)
    return table.assign(model=model, engine=engine)[COEFFICIENT_COLUMNS]


def _verdict(p_intensification: float, p_deintensification: float) -> str:
    if p_intensification < VERDICT_P:
        return INTENSIFICATION
    if p_deintensification < VERDICT_P:
        return DEINTENSIFICATION
    return INCONCLUSIVE


def holm(p: np.ndarray) -> np.ndarray:
    """Return Holm's step-down adjustment of ``p`` [m]; a NaN stays NaN and counts as a test."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")  # NaN sorts last
    adjusted = np.full(p.size, np.nan)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return np.minimum(adjusted, 1)


def combine(
    coefficients: Sequence[pd.DataFrame], fits: Sequence[pd.DataFrame | dict[str, Any]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mixed_models and mixed_model_fits of all panels and engines, after comparing engines.

    Where both engines converged on a model, slopes must agree within ``ESTIMATE_TOLERANCE``,
    standard errors within ``STD_ERROR_TOLERANCE`` and REML log-likelihoods within
    ``LOGLIK_TOLERANCE``, singular fits included: a variance of zero is a maximum that both must
    find. Otherwise ``InferenceError`` names the model and the term with both values. A fit that
    did not converge is compared with nothing and keeps its rows, marked in mixed_model_fits.
    """
    if not coefficients or not fits:
        raise InferenceError("no fitted model to combine; fit at least one panel first")
    table = pd.concat(coefficients, ignore_index=True)
    facts = pd.concat(
        [fit if isinstance(fit, pd.DataFrame) else pd.DataFrame([fit]) for fit in fits],
        ignore_index=True,
    )
    require_columns(table, COEFFICIENT_COLUMNS, "the coefficient tables together")
    require_columns(facts, FIT_COLUMNS, "the fit tables together")
    require_unique(facts, ["model", "engine"], "the fit tables together")
    for model, of_model in facts.groupby("model", sort=False):
        by_engine = of_model.set_index("engine")
        if set(ENGINES) <= set(by_engine.index) and by_engine["converged"].astype(bool).all():
            _compare(model, by_engine, table[table["model"] == model])
    return table[COEFFICIENT_COLUMNS], facts[FIT_COLUMNS]


def _compare(model: str, facts: pd.DataFrame, coefficients: pd.DataFrame) -> None:
    first, second = ENGINES
    a, b = (float(facts.loc[engine, "loglik"]) for engine in ENGINES)
    if not abs(a - b) <= LOGLIK_TOLERANCE:
        raise _disagreement(model, "the REML log-likelihood", a, b, f"{LOGLIK_TOLERANCE:g}")
    slopes = coefficients[coefficients["term"] == SLOPE]
    both = slopes[slopes["engine"] == first].merge(
        slopes[slopes["engine"] == second], on=["method", "ratio"], how="outer"
    )
    for row in both.to_dict("records"):
        term = f"the slope of {row['method']} at ratio {format_ratio(row['ratio'])}"
        a, b = row["estimate_x"], row["estimate_y"]
        if not abs(a - b) <= ESTIMATE_TOLERANCE * max(1, abs(a)):
            raise _disagreement(model, term, a, b, f"{ESTIMATE_TOLERANCE:g}")
        a, b = row["std_error_x"], row["std_error_y"]
        if not abs(a - b) <= STD_ERROR_TOLERANCE * abs(a):
            tolerance = f"a fraction of {STD_ERROR_TOLERANCE:g}"
            raise _disagreement(model, f"the standard error of {term}", a, b, tolerance)


def _disagreement(model: str, what: str, a: float, b: float, tolerance: str) -> InferenceError:
    first, second = ENGINES
    return InferenceError(
        f"the engines disagree about {what} in {model}: {first} says {a!r}, {second} says {b!r}, "
        f"and they should agree within {tolerance}. Neither can be reported before one of them is "
        "shown to have stopped short; fit the model's rows again with both and compare their "
        "log-likelihoods, of which the higher is the better fit"
    )
