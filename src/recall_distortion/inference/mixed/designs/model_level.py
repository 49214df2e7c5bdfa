"""The model-level mixed models of a panel: how alpha depends on the method and the ratio.

In lme4's words, for all methods after retraining (the control, which compresses nothing, is none)::

    alpha ~ 0 + method + method:doublings + (1 | seed)

``doublings`` is log2 of the ratio less the mean of the panel's distinct ones. A method's ``level``
is its alpha there and is tested against 1; its ``trend``, the change of alpha per doubling of the
ratio, is tested against 0. The model knows only a straight line in log2 of the ratio: where alpha
rises steeply at the last ratio, the line averages over that. In the version with rows weighted by
cell (``slope_rows``) the cells that scatter little decide where the line lies.
"""

from __future__ import annotations

import pandas as pd

from recall_distortion.inference.mixed.designs.slope_rows import (
    TREND_TERM,
    Design,
    both_versions,
    centred,
    retrained_slopes,
)
from recall_distortion.inference.mixed.model import MixedModel
from recall_distortion.tables.files import require_columns
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import PANEL, Panel

FORMULA = "alpha ~ 0 + method + method:doublings + (1 | seed)"


def model_level(networks: pd.DataFrame, panel: Panel) -> list[MixedModel]:
    """Return the models ``model_level`` and ``model_level_scaled`` of a panel.

    ``networks`` has ``slope_rows.NETWORKS_COLUMNS``. What cannot be estimated is not an error: the
    model says why. Raises ``TableError`` on a missing column and a replicate that occurs twice.
    """
    require_columns(networks, PANEL, "the networks table")
    rows, notes = retrained_slopes(of_panel(networks, panel))
    return both_versions(
        Design(
            name=f"model_level/{'/'.join(panel)}",
            formula=FORMULA,
            rows=rows.assign(doublings=centred(rows, "doublings")),
            predictors={TREND_TERM: "doublings"},
            random={"sd(seed)": ("seed", "differences between replicates")},
            place=panel._asdict(),
            notes=notes,
        )
    )
