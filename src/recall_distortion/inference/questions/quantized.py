"""Each quantized cell beside the networks that were quantized: what fewer bits do by themselves.

Nothing is trained when networks are quantized, so dense networks are their own control, whose
slope is 1: a cell made of them is read against 1 alone, as ``slopes`` and ``pooled`` have it.
Networks that were retrained before, pruned or control, have slopes of their own, and a cell made of
these is held against theirs, replicate by replicate, by the same two estimates as ``effects``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NO_END, joined
from recall_distortion.inference.questions.effects import (
    NO_PAIRS,
    NO_POOLED,
    Crossfitted,
    crossfit_differences,
    paired,
)
from recall_distortion.inference.questions.pooled import FEW, PER_NETWORK
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    require_level,
    verdict,
)
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.tables.parts import CROSSFIT, MEAN
from recall_distortion.vocabulary import CELL_STATE, DENSE, NETWORK, RETRAINED, CellState

NOT_FINITE = "{} of {} pairs have a slope that is not finite: no difference"

_VALUES = ["alpha", "crossfit_numerator", "crossfit_denominator"]
_NUMBERS = [
    "difference", "other", "low", "high", "std_error", "df", "p", "p_adjusted",
    "crossfit_difference", "crossfit_other", "crossfit_low", "crossfit_high",
]  # fmt: skip
COLUMNS = [
    *CELL_STATE, "origin", "n", *_NUMBERS, "level", "family_size", "basis", "verdict", "note",
]  # fmt: skip


def quantized(
    networks: pd.DataFrame, pooled: pd.DataFrame, level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return the difference of every quantized cell from the networks quantized, in table order.

    ``networks`` has the columns of that table, of which the keys, alpha, the cross-fitted sums and
    those of quantized networks are used; there is no row without the latter. ``pooled`` is the
    table of that question. The result has ``COLUMNS``: ``difference`` is the mean over the seeds
    that both have of alpha less that of the same network before, with its t interval, two-sided
    ``p`` and ``p_adjusted`` over the method's ratios (Bonferroni); ``crossfit_difference`` that of
    the pooled cross-fitted slopes, with its bootstrap interval. ``other`` and ``crossfit_other``
    are the slopes before. ``verdict`` is what the interval of the ``basis`` says against 0. Cells
    of dense networks have a row without numbers, since they are read against 1.

    Raises ``TableError`` on a missing column, rows that occur twice, a senseless level.
    """
    require_level(level)
    used = compared(networks).astype({"ratio": float})
    if "bits" not in used or not used["bits"].notna().any():
        return pd.DataFrame(columns=COLUMNS).astype(dict.fromkeys(_NUMBERS, float))
    require_columns(networks, [*NETWORK, *_VALUES, "origin", "origin_ratio"], "the networks table")
    require_unique(used, NETWORK, "the networks table")
    cells = {
        CellState(*key): group.set_index("seed").sort_index()
        for key, group in used.groupby(CELL_STATE, sort=False)
    }
    facts = pooled.astype({"ratio": float}).set_index(CELL_STATE)
    made = {key: group for key, group in cells.items() if group["bits"].notna().all()}
    origins = {key: _origin(key, group) for key, group in made.items()}
    pairs = {
        key: group[_VALUES].join(cells[origins[key]][_VALUES].add_suffix("_other"), how="inner")
        for key, group in made.items()
        if origins[key] in cells
    }
    crossfitted = crossfit_differences(pairs, level)
    rows = []
    for key, group in made.items():
        family = len([other for other in made if other._replace(ratio=0) == key._replace(ratio=0)])
        row = key._asdict() | {"origin": origins[key].method, "n": 0, "basis": "", "verdict": "",
                               "note": "", "level": level, "family_size": family}  # fmt: skip
        if key in pairs:
            row |= _compared(pairs[key], crossfitted[key], level, family)
            row |= _read(row, len(group), pairs[key], [facts.loc[k] for k in (key, origins[key])])
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(_NUMBERS, float))


def _origin(key: CellState, group: pd.DataFrame) -> CellState:
    """Return the cell of the networks that were quantized."""
    method, ratio = group["origin"].iloc[0], float(group["origin_ratio"].iloc[0])
    return CellState(*key.panel, method, ratio, DENSE if method == DENSE else RETRAINED)


def _compared(
    pairs: pd.DataFrame, crossfitted: Crossfitted, level: float, family: int
) -> dict[str, Any]:
    found = paired(pairs, level, family)
    return found | {
        "other": found.pop("control"),
        "crossfit_difference": crossfitted.difference,
        "crossfit_low": crossfitted.low,
        "crossfit_high": crossfitted.high,
        "crossfit_other": crossfitted.other,
    }


def _read(
    row: Mapping[str, Any], seeds: int, pairs: pd.DataFrame, facts: list[pd.Series]
) -> dict[str, Any]:
    """Return the basis, what its interval says against 0, and what is missing."""
    told = all(bool(np.isfinite(own["crossfit_low"])) for own in facts)
    ends = (row["crossfit_low"], row["crossfit_high"]) if told else (np.nan, np.nan)
    n, few = len(pairs), len(pairs) < bootstrap.LEAST_REPLICATES
    single = few and all(own["interpret"] == PER_NETWORK for own in facts)
    notes = [f"{n} of {seeds} seeds have both networks"] if n < seeds else []
    lost = int((~np.isfinite(pairs[["alpha", "alpha_other"]]).all(axis=1)).sum())
    if lost:
        notes.append(NOT_FINITE.format(lost, n))
    elif n < 2:
        notes.append(NO_PAIRS)
    if few:
        notes.append(FEW)
    elif not np.isfinite(ends[0]):
        notes.append(NO_END.format("") if told else NO_POOLED)
    low, high = (row["low"], row["high"]) if single else ends
    return {
        "crossfit_low": ends[0],
        "crossfit_high": ends[1],
        "basis": MEAN if single else CROSSFIT,
        "verdict": verdict(low, high, null=0.0) if np.isfinite([low, high]).all() else "",
        "note": joined(*notes),
    }
