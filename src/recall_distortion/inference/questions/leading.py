"""Which estimate of a cell leads: page, figures and metrics take it for the cell's.

Against 1 as against the control a cell is read on one basis: the pooled cross-fitted slope with its
bootstrap interval, or the mean of the networks' own slopes with its t interval. ``effects`` chooses
the basis of its cells, and ``quantized`` that of cells whose networks were retrained before they
were quantized. The control, the reseed baseline and other quantized cells take that of their
panel's effects;
without effects, single networks are read only where they can be and nothing else can.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.inference.questions.pooled import PER_NETWORK
from recall_distortion.tables.parts import ALPHA, CROSSFIT, MEAN
from recall_distortion.vocabulary import CELL_STATE, DENSE, ONE, PANEL, RETRAINED


def basis(
    slopes: pd.DataFrame, pooled: pd.DataFrame, effects: pd.DataFrame, quantized: pd.DataFrame
) -> pd.DataFrame:
    """Return the estimator that leads against 1, a row for each cell that is at its end.

    These are the retrained ones, the quantized ones and reseed. The arguments are those questions'
    tables of one study.
    """
    cells = slopes.loc[slopes["state"].isin((RETRAINED, DENSE)), CELL_STATE]
    bases = effects[[*CELL_STATE, "basis"]]
    if len(quantized):
        cells = pd.concat([cells, quantized[CELL_STATE]], ignore_index=True)
        bases = pd.concat([bases, quantized[[*CELL_STATE, "basis"]]], ignore_index=True)
    of_pooled = pooled[[*CELL_STATE, "interpret", "crossfit_low"]]
    table = cells.merge(of_pooled, on=CELL_STATE, how="left")
    table = table.merge(bases, on=CELL_STATE, how="left")
    named = table["basis"].fillna("").astype(object)
    of_panel = named.where(named != "").groupby([table[key] for key in PANEL])
    named = named.mask(named == "", of_panel.transform("first")).fillna("")
    few = (table["interpret"] == PER_NETWORK) & table["crossfit_low"].isna()
    own = np.where(table["interpret"].isna() | few, MEAN, CROSSFIT)
    return table[CELL_STATE].assign(basis=named.mask(named == "", own))


def marked(estimates: pd.DataFrame, leading: pd.DataFrame) -> pd.DataFrame:
    """Return the estimates with ``leads`` set in the rows against 1 that ``basis`` names."""
    rows = estimates.reset_index(names="_row").merge(
        leading.rename(columns={"basis": "estimator"}), on=[*CELL_STATE, "estimator"]
    )
    chosen = rows.loc[(rows["quantity"] == ALPHA) & (rows["against"] == ONE), "_row"]
    leads = estimates["leads"].astype(bool) | estimates.index.isin(chosen)
    return estimates.assign(leads=leads)
