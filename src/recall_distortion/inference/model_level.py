"""The model-level mixed models of a panel: how alpha depends on the method and the ratio.

In lme4's words, for the pruning methods after fine-tuning (the control prunes nothing)::

    alpha ~ 0 + method + method:doublings + (1 | seed)

``doublings`` is log2 of the ratio less the mean of the panel's distinct ones. A method's ``level``
is its alpha there and is tested against 1; its ``trend``, the change of alpha per doubling of the
ratio, is tested against 0. A straight line in log2 of the ratio is what this model can see: where
alpha shoots up at the last ratio, the line averages over that. In the version with rows weighted by
cell (``slope_rows``) the cells that scatter little decide where the line lies.
"""

from __future__ import annotations

import pandas as pd

from recall_distortion.inference.model import MixedModel
from recall_distortion.inference.slope_rows import (
    TREND_TERM,
    Design,
    both_versions,
    centred,
    pruned_slopes,
)

FORMULA = "alpha ~ 0 + method + method:doublings + (1 | seed)"


def model_level(alpha: pd.DataFrame, dataset: str, architecture: str) -> list[MixedModel]:
    """Return the models ``model_level`` and ``model_level_scaled`` of a panel.

    ``alpha`` has ``slope_rows.ALPHA_COLUMNS``. What cannot be estimated is not an error: the model
    says why. Raises ``TableError`` on a missing column and a replicate that occurs twice.
    """
    of_panel = (alpha["dataset"] == dataset) & (alpha["architecture"] == architecture)
    rows, notes = pruned_slopes(alpha[of_panel])
    return both_versions(
        Design(
            name=f"model_level/{dataset}/{architecture}",
            formula=FORMULA,
            rows=rows.assign(doublings=centred(rows, "doublings")),
            predictors={TREND_TERM: "doublings"},
            random={"sd(seed)": ("seed", "how replicates differ")},
            place={"dataset": dataset, "architecture": architecture},
            notes=notes,
        )
    )
