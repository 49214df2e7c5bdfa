"""How sparse, or how small, did the networks of each cell become?"""

from __future__ import annotations

import pandas as pd

from recall_distortion.vocabulary import CELL_STATE

SIZES = ["bits", "bytes", "zeros"]


def sparsity(networks: pd.DataFrame) -> pd.DataFrame:
    """Return nominal and realised sparsity of each pruned cell over its networks.

    Quantized cells have besides the bits of a weight, and their bytes and zeros on average.
    """
    known = networks[networks["realised_ratio"].notna()]
    known = known.reindex(columns=[*networks.columns, *(c for c in SIZES if c not in networks)])
    table = known.groupby(CELL_STATE, sort=False).agg(
        n=("seed", "size"),
        mean_ratio=("realised_ratio", "mean"),
        min_ratio=("realised_ratio", "min"),
        max_ratio=("realised_ratio", "max"),
        kept_fraction=("kept_fraction", "mean"),
        kept_prunable=("kept_prunable", "mean"),
        prunable=("prunable", "first"),
        total=("total", "first"),
        bits=("bits", "first"),
        bytes=("bytes", "mean"),
        zeros=("zeros", "mean"),
    )
    return table.reset_index()
