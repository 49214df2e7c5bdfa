"""How many seeds learn anything at all?

Deep narrow networks are all or nothing: a mean accuracy then is one of two kinds of networks.
"""

from __future__ import annotations

import pandas as pd

from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, require_level
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import CELL_STATE, DENSE, NETWORK, RESEED, RETRAINED

#: How far above chance a network's accuracy is that learned: the share of what lies above chance.
LEARNED = 0.1
COLUMNS = [*CELL_STATE, "n", "learn", "low", "high", "threshold", "level"]


def learning(
    recall: pd.DataFrame, networks: pd.DataFrame, level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return the share of each dense or retrained cell's networks that learned, a row each.

    ``recall`` and ``networks`` are the tables of these names. Chance is the share c of the largest
    class in the test set, which whoever always names that class gets right; a network learned
    whose accuracy is above the ``threshold`` c + ``LEARNED`` (1 - c). Networks that failed count
    among the ``n`` and did not. ``low`` and ``high`` are the ends of Clopper and Pearson's interval
    at ``level`` (Biometrika 26, 1934). Where every network of the study learned there is no row.

    Raises ``TableError`` on a missing column, a replicate that occurs twice, a senseless level.
    """
    require_level(level)
    require_columns(networks, [*NETWORK, "accuracy"], "the networks table")
    require_columns(recall, ["dataset", "class", "support"], "the recall table")
    used = networks[networks["state"].isin((DENSE, RETRAINED)) & (networks["method"] != RESEED)]
    used = used.astype({"ratio": float})
    require_unique(used, NETWORK, "the networks table")
    supports = recall.groupby(["dataset", "class"])["support"].first().groupby("dataset")
    chance = supports.max() / supports.sum()
    threshold = used["dataset"].map(chance + LEARNED * (1 - chance)).astype(float)
    used = used.assign(threshold=threshold, learned=used["accuracy"].astype(float) > threshold)
    found = used.groupby(CELL_STATE, sort=False).agg(
        n=("learned", "size"), many=("learned", "sum"), threshold=("threshold", "first")
    )
    if (found["many"] == found["n"]).all():
        return pd.DataFrame(columns=COLUMNS)
    # Importing statsmodels takes a second, and only few studies need it here.
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(found["many"], found["n"], 1 - level, method="beta")
    found = found.assign(learn=found["many"] / found["n"], low=low, high=high, level=level)
    return found.reset_index()[COLUMNS]
