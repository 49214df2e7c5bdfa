"""Which of the images in images.csv a page shows, for all that make or show pictures of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.vocabulary import (
    CELL_STATE,
    CONTROLS,
    DENSE,
    PANEL,
    REFERENCE_ARMS,
    RESEED,
    RETRAINED,
    Panel,
    format_ratio,
)

MOST = 24  # images of a panel in each group
PIE, NULL, DRAWN = "pie", "null", "drawn"
GROUPS = (PIE, NULL, DRAWN)
COLUMNS = [
    *PANEL, "group", "image", "label", "dense_label", "own_label", "dense_agreement", "agreement",
    "number", "cells",
]  # fmt: skip


def chosen(images: pd.DataFrame) -> pd.DataFrame:
    """Return the images that a page shows of each panel, a row each, in the order of ``GROUPS``.

    ``images`` is images.csv. The PIEs of retrained cells, of a method that is never retrained those
    of its compressed ones: of each class in turn those that are PIEs of most cells. As many null
    PIEs at most, the control's and then those between halves of the dense networks, and as many of
    the images that were drawn at random. Labels and agreement of a PIE are those of its cell of the
    lowest ratio; ``cells`` names all its cells, ``number`` counts them.
    """
    pies = images[images["is_pie"].astype(bool)]
    method, retrained = pies["method"], pies["state"] == RETRAINED
    compressed = ~method.isin(REFERENCE_ARMS)
    ends_early = compressed & ~method.isin(method[retrained])
    found = []
    for panel, own in images.groupby(PANEL, sort=False):
        of_panel = (pies[PANEL] == list(panel)).all(axis=1)
        rows = _shown(pies[of_panel & compressed & (retrained | ends_early)])
        of_control = method.isin(CONTROLS) & retrained
        null = pd.concat([pies[of_panel & of_control], pies[of_panel & (method == RESEED)]])
        drawn = own[own["method"] == DENSE]
        # All over the test set, whose images may be sorted by class.
        places = np.linspace(0, max(len(drawn) - 1, 0), min(MOST, len(drawn))).round().astype(int)
        groups = {PIE: rows, NULL: _shown(null), DRAWN: _shown(drawn.iloc[places])}
        found += [
            table.assign(group=name, **Panel(*panel)._asdict()) for name, table in groups.items()
        ]
    every = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return every.reindex(columns=COLUMNS)


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the images of rows, each once, those of most cells first and of each class in turn."""
    rows = rows.sort_values("ratio", kind="stable")
    counts = rows.groupby("image", sort=False).size()
    cells = rows.groupby("image", sort=False)[CELL_STATE].apply(_cells)
    table = rows.drop_duplicates("image").assign(
        number=lambda first: first["image"].map(counts),
        cells=lambda first: first["image"].map(cells) if len(first) else "",
    )
    table = table.sort_values(["number", "image"], ascending=[False, True], kind="stable")
    turn = table.groupby("label", sort=False).cumcount()
    return table.iloc[np.argsort(turn.to_numpy(), kind="stable")][:MOST]


def _cells(rows: pd.DataFrame) -> str:
    """Return cells in words: magnitude at 2, 10; random at 2."""
    by_method = rows.groupby("method", sort=False)["ratio"]
    return "; ".join(
        f"{method.replace('_', ' ')} at {', '.join(format_ratio(float(r)) for r in sorted(ratios))}"
        if method not in REFERENCE_ARMS
        else method
        for method, ratios in by_method
    )
