"""How sparse did the networks of each cell become?"""

from __future__ import annotations

import pandas as pd

from recall_distortion.vocabulary import CELL_STATE


def sparsity(networks: pd.DataFrame) -> pd.DataFrame:
    """Return nominal and realised sparsity of each pruned cell over its networks."""
    known = networks[networks["realised_ratio"].notna()]
    table = known.groupby(CELL_STATE, sort=False).agg(
        n=("seed", "size"),
        mean_ratio=("realised_ratio", "mean"),
        min_ratio=("realised_ratio", "min"),
        max_ratio=("realised_ratio", "max"),
        kept_fraction=("kept_fraction", "mean"),
        kept_prunable=("kept_prunable", "mean"),
        prunable=("prunable", "first"),
        total=("total", "first"),
    )
    return table.reset_index()
