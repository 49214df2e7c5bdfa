"""How sparse, or how small, did the networks of each cell become?"""

from __future__ import annotations

import pandas as pd

from recall_distortion.vocabulary import CELL_STATE

COLLAPSED = "layer collapse: {} of {} networks have a layer without any weight"
SIZES = ["bits", "bytes", "zeros"]


def sparsity(networks: pd.DataFrame) -> pd.DataFrame:
    """Return nominal and realised sparsity of each pruned cell over its networks.

    Quantized cells have besides the bits of a weight, and their bytes and zeros on average. The
    ``note`` says of how many networks a layer has no weight left (layer collapse).
    """
    known = networks[networks["realised_ratio"].notna()]
    needed = [*SIZES, "empty_layers"]
    known = known.reindex(columns=[*networks.columns, *(c for c in needed if c not in networks)])
    known = known.assign(collapsed=known["empty_layers"] > 0)
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
        collapsed=("collapsed", "sum"),
    )
    notes = [
        COLLAPSED.format(many, n) if many else ""
        for many, n in zip(table.pop("collapsed"), table["n"], strict=True)
    ]
    return table.assign(note=notes).reset_index()
