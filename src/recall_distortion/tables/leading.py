"""What each cell shows where it leads: the slope that the page, its figures and metrics take."""

from __future__ import annotations

import pandas as pd

from recall_distortion.tables.parts import ALPHA
from recall_distortion.tables.views import in_order_of_cells
from recall_distortion.vocabulary import CELL_STATE, CONTROL, ONE

LEADING = [
    *CELL_STATE, "n", "basis", "difference", "difference_low", "difference_high", "p_adjusted",
    "verdict", "reading", "alpha", "alpha_low", "alpha_high", "alpha_verdict", "level",
    "family_size", "note",
]  # fmt: skip


def leading(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return what each cell shows where it leads: its slope against 1, and against the control.

    One row a retrained cell and for reseed, with the columns ``LEADING``: ``alpha`` with interval
    and ``alpha_verdict`` (against 1), ``difference`` with interval, ``verdict`` (against 0) and
    ``reading``, both on one ``basis``, an estimator. What a study's tables do not hold is NaN or
    "".
    """
    led = estimates[estimates["leads"].astype(bool) & (estimates["quantity"] == ALPHA)]
    own, effect = (led[led["against"] == against] for against in (ONE, CONTROL))
    names = {"estimator": "basis", "estimate": "alpha", "low": "alpha_low", "high": "alpha_high",
             "verdict": "alpha_verdict"}  # fmt: skip
    kept = [*CELL_STATE, "n", *names, "level", "family_size", "note"]
    found = own[kept].rename(columns=names)
    names = {"estimate": "difference", "low": "difference_low", "high": "difference_high",
             "note": "note_effect"}  # fmt: skip
    kept = [*CELL_STATE, *names, "p_adjusted", "verdict", "reading"]
    found = found.merge(effect[kept].rename(columns=names), on=CELL_STATE, how="left")
    # Where nothing leads against the control, the first estimate there says why.
    silent = estimates[(estimates["quantity"] == ALPHA) & (estimates["against"] == CONTROL)]
    silent = silent[silent["note"].fillna("") != ""].drop_duplicates(CELL_STATE)
    why = found[CELL_STATE].merge(silent[[*CELL_STATE, "note"]], on=CELL_STATE, how="left")["note"]
    found["note_effect"] = found["note_effect"].where(found["reading"].notna(), why)
    notes = found[["note", "note_effect"]].fillna("")
    found["note"] = ["; ".join(dict.fromkeys(filter(None, pair))) for pair in notes.to_numpy()]
    for word in ("verdict", "reading", "alpha_verdict"):
        found[word] = found[word].fillna("")
    return in_order_of_cells(found[LEADING], estimates)
