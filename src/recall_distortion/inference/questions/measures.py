"""What does compression do to each further measure, and what would retraining alone have done?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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
from recall_distortion.measures import of_networks, of_weights
from recall_distortion.measures.measure import HIGHER, Described, require_different_names
from recall_distortion.measures.rounding import differences
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.tables.forgetting import BETTER, WORSE
from recall_distortion.tables.views import NAMED
from recall_distortion.vocabulary import (
    CELL_STATE,
    DENSE,
    INCONCLUSIVE,
    NETWORK,
    REFERENCE_ARMS,
    RETRAINED,
    UNCOMPRESSED,
    CellState,
)

COLUMNS = [
    *CELL_STATE, "measure", "n", "mean", "low", "high", "std_error", "df", "before", "change",
    "change_low", "change_high", "control_n", "control", "over_control", "over_control_low",
    "over_control_high", "p", "p_adjusted", "verdict", "level", "family_size", "note",
]  # fmt: skip
MEASURES: list[Described] = [*of_networks.MEASURES, *of_weights.MEASURES]
SIGNIFICANT = 0.05  # of p adjusted over a method's ratios
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
    - ``over_control``: of retrained cells, the mean difference from the retrained control of the
      same seed, ``control_n`` pairs, ``control`` its mean; ``p`` of the paired t-test, two-sided,
      and ``p_adjusted`` = p times ``family_size``, the method's ratios, at most 1 (Bonferroni);
      ``verdict`` says whether the cell is worse or better than the control, p_adjusted <= 0.05.

    Where any value of a cell, or of what it is held against, is missing or infinite there is no
    mean, since the rest would be chosen by the outcome; ``note`` says so.
    Raises ``TableError`` on a missing column, a replicate that occurs twice, a senseless level.
    """
    require_different_names(MEASURES, taken=NAMED)
    require_level(level)
    require_columns(networks, NETWORK, "the networks table")
    used = succeeded(networks).astype({"ratio": float})
    require_unique(used, NETWORK, "the networks table")
    # Once for all measures.
    cells = {
        CellState(*key): group.set_index("seed")
        for key, group in used.groupby(CELL_STATE, sort=False)
    }
    controls = Controls.of(networks)
    rows = []
    for measure in MEASURES:
        name = measure.column.name
        if name in used and used[name].notna().any():
            rows += _rows(cells, controls, measure, level)
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(
    of_cells: Mapping[CellState, pd.DataFrame], controls: Controls, measure: Described, level: float
) -> list[dict[str, Any]]:
    """Return a row for each cell and state that has values of a measure."""
    column, title = measure.column.name, measure.title
    every = {key: group[column] for key, group in of_cells.items()}
    families = Counter(key._replace(ratio=0) for key in every)
    cells = {key: values for key, values in every.items() if values.notna().any()}
    rows = []
    for key, values in cells.items():
        dense = cells.get(CellState(*key.panel, DENSE, UNCOMPRESSED, DENSE))
        control = cells.get(controls.cell(key))
        row = key._asdict() | {"measure": title} | interval_row(values.to_numpy(float), level)
        notes = [_missing(values)]
        if dense is not None and key.method != DENSE:
            pairs = _pairs(values, dense)
            found = _difference(pairs, level)
            row |= {"before": found[1], "change": found[0], "change_low": found[2]}
            row["change_high"] = found[3]
            if not notes[0]:
                notes.append(_incomplete(pairs, len(values), "dense networks"))
        if key.state == RETRAINED and key.method not in REFERENCE_ARMS:
            row["family_size"] = families[key._replace(ratio=0)]
            if control is None:
                notes.append(NO_CONTROL)
            else:
                pairs = _pairs(values, control)
                row |= _over_control(pairs, level, row["family_size"])
                row["verdict"] = _verdict(row["over_control"], row["p_adjusted"], measure.worse)
                if not notes[0]:
                    seeds = len(values.index.union(control.index))
                    notes.append(_incomplete(pairs, seeds, "control"))
        rows.append(row | {"note": joined(*notes)})
    return rows


def _verdict(difference: float, p_adjusted: float, worse: str | None) -> str:
    """Return whether a cell is worse than the control; "" where nothing can be said."""
    if worse is None or not np.isfinite(p_adjusted):
        return ""
    if p_adjusted > SIGNIFICANT:
        return INCONCLUSIVE
    return WORSE if (difference > 0) == (worse == HIGHER) else BETTER


def _missing(values: pd.Series) -> str:
    """Return why the mean of the networks' values has no interval; "" where it has one."""
    if lost := int((~np.isfinite(values.to_numpy(float))).sum()):
        return NOT_KNOWN.format(lost, len(values))
    return "" if len(values) > 1 else ONE_REPLICATE


def _pairs(own: pd.Series, other: pd.Series) -> pd.DataFrame:
    """Return the values of the seeds that both have, side by side."""
    return pd.concat({"own": own, "other": other}, axis=1, join="inner").astype(float)


def _incomplete(pairs: pd.DataFrame, seeds: int, other: str) -> str:
    """Return what is missing of the comparison with another arm; "" where nothing is."""
    lost = int((~np.isfinite(pairs["other"])).sum())
    without = NOT_KNOWN.format(lost, len(pairs)) if lost else ""
    found = joined(lost_pairs(len(pairs), seeds), without)
    return found and f"against the {other}, {found}"


def _difference(pairs: pd.DataFrame, level: float) -> tuple[float, float, float, float]:
    """Return the mean paired difference, the mean of the other side, and the interval's ends."""
    found = t_interval(differences(pairs["own"], pairs["other"]), level)
    other = pairs["other"].mean(skipna=False)
    return float(found.mean), float(other), float(found.low), float(found.high)


def _over_control(pairs: pd.DataFrame, level: float, family: int) -> dict[str, Any]:
    """Return the mean difference from the control with its interval, and the paired t-test's p."""
    over, control, low, high = _difference(pairs, level)
    p = paired_test(pairs["own"], pairs["other"], "two-sided")["p"]
    return {
        "control_n": len(pairs),
        "control": control,
        "over_control": over,
        "over_control_low": low,
        "over_control_high": high,
        "p": p,
        "p_adjusted": min(1.0, p * family) if np.isfinite(p) else np.nan,
    }
