"""The bootstrap of a mixed model's fixed effects, which assumes nothing about variances.

Its estimates are those of least squares on the model's rows, which are divided by the cells' scales
in a scaled model. For the class level that is a cell's pooled slope, the sum of before x after over
the sum of before squared, over all replicates and classes; the scales cancel, so both class-level
models have the same slopes here, but for cells that one of them leaves out. For the model level it
is the mean of the replicates' own coefficients where none failed.

Seeds are drawn within panels. Classes and panels are taken as given, while a mixed model's random
effects allow for other classes and panels, so the bootstrap's standard errors may be the smaller.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.mixed.coefficients import tested
from recall_distortion.inference.mixed.model import MixedModel
from recall_distortion.inference.statistics.bootstrap import LEAST_REPLICATES
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL
from recall_distortion.inference.statistics.least_squares import clustered
from recall_distortion.vocabulary import BOOTSTRAP


def bootstrapped(
    model: MixedModel, level: float = PAPER_LEVEL
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the bootstrap's rows of mixed_models.csv and of mixed_model_fits.csv for a model.

    Intervals are at ``level``. The bootstrap has no degrees of freedom, log-likelihood or
    variances. The model must be estimable.
    """
    found = clustered(model.response, model.fixed, model.clusters, model.strata)
    factor = model.terms["factor"].to_numpy()
    # Studentized draws do not change with the scale, so p values are those of the scaled null.
    null = model.terms["null"].to_numpy() / factor
    low, high = found.interval(level)
    table = tested(
        model,
        BOOTSTRAP,
        level,
        found.estimate * factor,
        found.std_error * factor,
        np.full(len(factor), np.nan),
        (low * factor, high * factor),
        (found.p_above(null), found.p_below(null)),
    )
    without = table.loc[table["p_intensification"].isna()]
    message = ""
    if len(without):
        message = (
            f"{len(without)} of {len(table)} effects have fewer than {LEAST_REPLICATES} replicates "
            "in a panel, or rows without residual: no bootstrap interval"
        )
    facts = {
        "model": model.name,
        "fitter": BOOTSTRAP,
        "formula": model.formula.partition(" + (")[0],
        "rows": len(model.response),
        "groups": _groups(model),
        "loglik": np.nan,
        "singular": False,
        "converged": bool(len(without) < len(table)),
        "message": message,
        "spread": model.spread,
        "believe": model.believe,
    }
    return table, facts


def _groups(model: MixedModel) -> str:
    panels = len(np.unique(model.strata))
    dense = f"dense network={len(np.unique(model.clusters))}"
    return f"panel={panels};{dense}" if panels > 1 else dense
