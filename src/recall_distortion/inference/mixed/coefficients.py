"""From estimates and p values to the rows of mixed_models.csv: Holm's adjustment, verdicts."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import special

from recall_distortion.inference.mixed.model import CELL_SCALE, RESIDUAL, Fit, MixedModel
from recall_distortion.inference.statistics.adjustment import holm
from recall_distortion.measures.rounding import differences
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import (
    CELL,
    DEINTENSIFICATION,
    INCONCLUSIVE,
    INTENSIFICATION,
    PANEL,
)

COEFFICIENT_COLUMNS = COLUMNS["mixed_models"]

# A verdict needs a Holm-adjusted one-sided p below this: 2.5 % in each direction, so that the
# chance of any wrong verdict in a model is at most 5 % over both directions. This is a family-wise
# error and the level of no interval: a study's ``level`` does not change it.
VERDICT_P = 0.025


def tested(
    model: MixedModel,
    fitter: str,
    level: float,
    estimate: np.ndarray,
    std_error: np.ndarray,
    df: np.ndarray,
    interval: tuple[np.ndarray, np.ndarray],
    p: tuple[np.ndarray, np.ndarray],
) -> pd.DataFrame:
    """Return the rows of a model's fixed effects; all values are on the slopes' scale, [p] each.

    ``interval`` has the ends at the confidence ``level``. ``p`` are the one-sided p values of an
    effect above and below its null value, which is 1 for slopes and method levels and 0 for changes
    of them; ``intensification`` is above. Holm's family is the model, each direction by itself.
    """
    above, below = (holm(of_side) for of_side in p)
    return pd.DataFrame(
        {
            "model": model.name,
            "fitter": fitter,
            **{name: model.terms[name].to_numpy() for name in (*CELL, "term")},
            "estimate": estimate,
            "std_error": std_error,
            "df": df,
            "low": interval[0],
            "high": interval[1],
            "level": level,
            "p_intensification": p[0],
            "p_deintensification": p[1],
            "p_intensification_adjusted": above,
            "p_deintensification_adjusted": below,
            "verdict": [_verdict(*pair) for pair in zip(above, below, strict=True)],
        },
        columns=COEFFICIENT_COLUMNS,
    )


def _verdict(above: float, below: float) -> str:
    if np.isnan(above) or np.isnan(below):
        return ""
    if above < VERDICT_P:
        return INTENSIFICATION
    if below < VERDICT_P:
        return DEINTENSIFICATION
    return INCONCLUSIVE


def of_fit(model: MixedModel, fit: Fit, fitter: str, level: float) -> pd.DataFrame:
    """Return a fit's rows of mixed_models.csv.

    A row per fixed effect, tested by t = (estimate - null) / SE, with its interval at ``level``;
    then one per random effect with the standard deviation as its estimate; then, in a scaled model,
    the cells' scales (``sd(cell)``), with which its rows can be made again. In a scaled model the
    residual's standard deviation is in units of these, and in a class-level one so are the random
    slopes'.
    """
    factor = model.terms["factor"].to_numpy()
    estimate, error = fit.estimates * factor, fit.std_errors * factor
    with np.errstate(divide="ignore", invalid="ignore"):
        t = differences(estimate, model.terms["null"].to_numpy()) / error
    critical = special.stdtrit(fit.df, (1 + level) / 2)  # an infinite df is the normal distribution
    fixed = tested(
        model,
        fitter,
        level,
        estimate,
        error,
        fit.df,
        (estimate - critical * error, estimate + critical * error),
        (special.stdtr(fit.df, -t), special.stdtr(fit.df, t)),
    )
    units = {term.name: term.unit for term in model.random} | {RESIDUAL: 1.0}
    shared = model.terms[PANEL].drop_duplicates()
    deviations = [unit * fit.deviations.get(name, np.nan) for name, unit in units.items()]
    random = pd.DataFrame({"term": list(units), "estimate": deviations})
    if len(shared) == 1:
        random = random.assign(**shared.iloc[0])
    parts = [fixed, random] if len(fixed) else []
    if len(model.scales):
        parts.append(model.scales.assign(term=CELL_SCALE))
    if not parts:
        return pd.DataFrame(columns=COEFFICIENT_COLUMNS)
    table = pd.concat([part.dropna(axis=1, how="all") for part in parts], ignore_index=True)
    return table.assign(model=model.name, fitter=fitter).reindex(columns=COEFFICIENT_COLUMNS)
