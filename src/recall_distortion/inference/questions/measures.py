"""What does compression do to each further measure, and what would retraining alone have done?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NO_CONTROL, ONE_REPLICATE, joined, lost_pairs
from recall_distortion.inference.questions.slopes import succeeded
from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    interval_row,
    require_level,
    t_interval,
)
from recall_distortion.inference.statistics.ttests import paired_test
from recall_distortion.measures.of_networks import MEASURES
from recall_distortion.measures.rounding import differences
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import (
    CELL_STATE,
    CONTROL,
    DENSE,
    NETWORK,
    REFERENCE_ARMS,
    RETRAINED,
    UNCOMPRESSED,
    CellState,
)

COLUMNS = [
    *CELL_STATE, "measure", "n", "mean", "low", "high", "std_error", "df", "before", "change",
    "change_low", "change_high", "over_n", "control", "over", "over_low", "over_high", "p",
    "p_adjusted", "level", "family_size", "note",
]  # fmt: skip
NOT_KNOWN = "{} of {} networks have no value"


def measured(networks: pd.DataFrame, level: float = PAPER_LEVEL) -> pd.DataFrame:
    """Return the means of every further measure by cell and state, beside dense and control.

    ``networks`` is the table of that name; of a measure that it does not have, or has of no
    network, there is no row. The result has ``COLUMNS``:

    - ``mean`` over the cell's ``n`` networks with its t interval at ``level``; rows of ``reseed``
      say it between dense networks;
    - ``change``: the mean of the networks' differences from their dense ones (of ``reseed`` of the
      second of a pair from the first), ``before`` the mean of those; missing where dense networks
      have no value, as of measures that hold a network against its dense one;
    - ``over``: of retrained cells, the mean difference from the retrained control of the same seed,
      ``over_n`` pairs, ``control`` its mean; ``p`` of the paired t-test, two-sided, and
      ``p_adjusted`` = p times ``family_size``, the method's ratios, at most 1 (Bonferroni).

    Where any value of a cell is missing there is no mean. ``note`` says what is missing and why.
    Raises ``TableError`` on a missing column, a replicate that occurs twice, a senseless level.
    """
    require_level(level)
    require_columns(networks, NETWORK, "the networks table")
    used = succeeded(networks).astype({"ratio": float})
    require_unique(used, NETWORK, "the networks table")
    rows = []
    for measure in MEASURES:
        name = measure.column.name
        if name in used and used[name].notna().any():
            rows += _rows(used, name, measure.title, level)
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(networks: pd.DataFrame, column: str, title: str, level: float) -> list[dict[str, Any]]:
    """Return a row for each cell and state that has values of a measure."""
    cells = {
        CellState(*key): group.set_index("seed")[column]
        for key, group in networks.groupby(CELL_STATE, sort=False)
        if group[column].notna().any()
    }
    families = Counter(key._replace(ratio=0) for key in cells)
    rows = []
    for key, values in cells.items():
        dense = cells.get(CellState(*key.panel, DENSE, UNCOMPRESSED, DENSE))
        control = cells.get(CellState(*key.panel, CONTROL, UNCOMPRESSED, RETRAINED))
        row = key._asdict() | {"measure": title} | interval_row(values.to_numpy(float), level)
        notes = [_missing(values)]
        if dense is not None and key.method != DENSE:
            row |= _moved(values, dense, level, "before", "change")[0]
        if key.state == RETRAINED and key.method not in REFERENCE_ARMS:
            row["family_size"] = families[key._replace(ratio=0)]
            if control is None:
                notes.append(NO_CONTROL)
            else:
                found, note = _moved(values, control, level, "control", "over")
                p = paired_test(values, control, "two-sided")["p"]
                adjusted = min(1.0, p * row["family_size"]) if np.isfinite(p) else np.nan
                row |= found | {"p": p, "p_adjusted": adjusted}
                notes.append(note and f"against the control, {note}")
        rows.append(row | {"note": joined(*notes)})
    return rows


def _missing(values: pd.Series) -> str:
    """Return why the mean of the networks' values has no interval; "" where it has one."""
    if lost := int(values.isna().sum()):
        return NOT_KNOWN.format(lost, len(values))
    return "" if len(values) > 1 else ONE_REPLICATE


def _moved(
    own: pd.Series, other: pd.Series, level: float, reference: str, name: str
) -> tuple[dict[str, Any], str]:
    """Return the mean paired difference with its interval, by name, and which pairs are missing."""
    pairs = pd.concat([own, other], axis=1, join="inner").to_numpy(float)
    found = t_interval(differences(pairs[:, 0], pairs[:, 1]), level)
    row = {
        reference: float(pairs[:, 1].mean()) if len(pairs) else np.nan,
        name: float(found.mean),
        f"{name}_low": float(found.low),
        f"{name}_high": float(found.high),
        f"{name}_n": len(pairs),
    }
    return row, lost_pairs(len(pairs), len(own.index.union(other.index)))
