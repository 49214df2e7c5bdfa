"""Each pruning cell against the control: what pruning does beyond training on.

The difference of slopes is taken within replicates, because a pruned network and its control come
from the same dense one. Which of two estimates is read, ``basis`` says: the bootstrap of the pooled
cross-fitted slopes, and only where there are too few replicates for it the paired t interval of the
replicates' own slopes, if those are stable (``pooled.per_model``).

The replicates' own slopes are attenuated by the noise of the test set, the less so the more the
network after errs on the same images as its dense one. The control, which changed less, agrees
more with its dense network than a pruned one does, so that its slope is the less attenuated and the
paired difference is off 0 where pruning did nothing: with 1,000 images a class and 30 seeds it
found something in 21 % of simulated studies of five ratios in place of 5 % (docs/simulation.md).
The cross-fitted slopes have no such bias.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from recall_distortion.columns import EFFECT_COLUMNS
from recall_distortion.errors import TableError
from recall_distortion.inference import bootstrap
from recall_distortion.inference.contrasts import CONTROL, NOT_PRUNED, STATE
from recall_distortion.inference.intervals import (
    CELL,
    CONCLUSIVE,
    DEINTENSIFICATION,
    INCONCLUSIVE,
    INTENSIFICATION,
    PAPER_LEVEL,
    interval,
    require_level,
    verdict,
)
from recall_distortion.inference.notes import NO_CONTROL, NO_END, joined
from recall_distortion.inference.pooled import FEW
from recall_distortion.rounding import all_equal, differences
from recall_distortion.tables import require_columns, require_unique

PER_MODEL = "per model"
POOLED = "pooled"

INTENSIFIES = "intensifies beyond the control"
DEINTENSIFIES = "de-intensifies beyond the control"
SHARED = "as the control shows too"
NOT_TOLD = "not told from the control"

NO_PAIRS = "fewer than two seeds have both: no interval"
NOT_FINITE = "{} of {} pairs have a slope that is not finite: no difference"
NO_POOLED = "the pooled table has no cross-fitted interval of the cell or of its control: none here"

Key = tuple[str, str, str, float, str]  # the values of CELL


def effects(
    alpha: pd.DataFrame,
    crossfit: pd.DataFrame,
    pooled: pd.DataFrame,
    intervals: pd.DataFrame,
    level: float = PAPER_LEVEL,
) -> pd.DataFrame:
    """Return the difference from the control of every fine-tuned pruning cell, in table order.

    ``alpha`` has the columns of ``alpha.csv`` (its keys and alpha are used), ``crossfit`` those of
    ``crossfit.csv``, ``pooled`` and ``intervals`` are the tables of those modules on the same
    study and level. The result has ``EFFECT_COLUMNS``: ``difference`` is the mean over the seeds
    that both have of alpha less the control's, with its t interval at ``level``, two-sided ``p``
    and ``p_adjusted`` = p times ``family_size``, the method's ratios, at most 1 (Bonferroni);
    ``crossfit_difference`` is that of the pooled cross-fitted slopes of those seeds with its
    bootstrap interval. ``verdict`` is the ``basis``' interval against 0, in ``intervals``' words.
    ``reading`` puts it beside the control's own verdict against 1:

    - the effect is conclusive: "(de-)intensifies beyond the control";
    - it is not, but cell and control have the same conclusive verdict: "as the control shows too";
    - otherwise: "not told from the control"; empty where there is no control, or no interval.

    ``note`` says what is missing and why. Raises ``TableError`` on a missing column, rows that
    occur twice, a senseless level.
    """
    require_level(level)
    require_columns(alpha, [*CELL, "seed", "alpha"], "the alpha table")
    require_columns(crossfit, [*CELL, "seed", "numerator", "denominator"], "the crossfit table")
    of_pooled = ["per_model", "crossfit_low", "crossfit_high", "crossfit_verdict"]
    require_columns(pooled, [*CELL, *of_pooled], "the pooled table")
    require_columns(intervals, [*CELL, "verdict"], "the intervals table")
    for table, name, key in (
        (alpha, "alpha", [*CELL, "seed"]),
        (crossfit, "crossfit", [*CELL, "seed"]),
        (pooled, "pooled", CELL),
        (intervals, "intervals", CELL),
    ):
        require_unique(table, key, f"the {name} table")
    cells = _cells(alpha, crossfit)
    facts = pooled[[*CELL, *of_pooled]].merge(
        intervals[[*CELL, "verdict"]].rename(columns={"verdict": "slope_verdict"}), on=CELL
    )
    facts = facts.astype({"ratio": float}).set_index(CELL)
    pruned = [key for key in cells if key[2] not in NOT_PRUNED]
    families = Counter(key[:3] for key in pruned)
    pairs = {
        key: cells[key].join(cells[_control(key)].add_suffix("_other"), how="inner")
        for key in pruned
        if _control(key) in cells
    }
    crossfitted = crossfit_differences(pairs, level)
    rows = []
    for key in pruned:
        row = dict(zip(CELL, key, strict=True))
        row |= {"n": 0, "level": level, "family_size": families[key[:3]]}
        if key in pairs:
            own, control = _facts(facts, key), _facts(facts, _control(key))
            row |= _paired(pairs[key], level, families[key[:3]])
            row |= _read(row, crossfitted[key], own, control)
            seeds = len(cells[key].index.union(cells[_control(key)].index))
            told = bool(np.isfinite([own["crossfit_low"], control["crossfit_low"]]).all())
            row["note"] = _note(row, pairs[key], seeds, told)
        else:
            row |= {"basis": "", "verdict": "", "reading": "", "note": NO_CONTROL}
        rows.append(row)
    numbers = ["difference", "low", "high", "p", "p_adjusted"]
    numbers += ["crossfit_difference", "crossfit_low", "crossfit_high"]
    table = pd.DataFrame(rows, columns=EFFECT_COLUMNS)
    return table.astype(dict.fromkeys(numbers, float))


def _control(key: Key) -> Key:
    return *key[:2], CONTROL, 1.0, STATE


def _cells(alpha: pd.DataFrame, crossfit: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    """Return each fine-tuned cell's alpha, numerator and denominator, indexed by seed in order."""
    keys = [*CELL, "seed"]
    used = alpha.loc[alpha["state"] == STATE, [*keys, "alpha"]].astype({"ratio": float})
    sums = crossfit[[*keys, "numerator", "denominator"]].astype({"ratio": float})
    merged = used.merge(sums, on=keys, how="left")
    return {
        key: group.set_index("seed")[["alpha", "numerator", "denominator"]].sort_index()
        for key, group in merged.groupby(CELL, sort=False)
    }


def _facts(facts: pd.DataFrame, key: Key) -> pd.Series:
    if key not in facts.index:
        described = ", ".join(f"{name}={value}" for name, value in zip(CELL, key, strict=True))
        raise TableError(
            f"the pooled or the intervals table has no row for {described}; "
            "take all tables from one study"
        )
    return facts.loc[[key]].iloc[0]


def _paired(pairs: pd.DataFrame, level: float, family: int) -> dict[str, Any]:
    """Return the paired t interval and two-sided p of alpha less the control's."""
    own, other = pairs["alpha"].to_numpy(float), pairs["alpha_other"].to_numpy(float)
    found = differences(own, other)
    if all_equal(found, max(np.abs([own, other]).max(initial=0), 1)):
        found[:] = found[0]
    mean, low, high = interval(found, level)
    p = np.nan
    if np.isfinite(low):
        # Equal differences leave no doubt, whether they are zero or not.
        p = float(low == high == 0)
        if low < high:
            p = float(stats.ttest_1samp(found, 0).pvalue)
    row = {"n": len(pairs), "difference": mean, "low": low, "high": high}
    return row | {"p": p, "p_adjusted": min(1.0, p * family) if np.isfinite(p) else np.nan}


def crossfit_differences(
    pairs: Mapping[Any, pd.DataFrame], level: float
) -> dict[Any, tuple[float, float, float]]:
    """Return the pooled cross-fitted difference of each pair with its bootstrap interval.

    A pair has a row per seed, the cross-fitted ``numerator`` and ``denominator`` of one side and,
    called ``numerator_other`` and ``denominator_other``, those of what is subtracted. Pairs of the
    same seeds share their draws.
    """
    shared: dict[tuple[int, ...], list[Any]] = {}
    for key, table in pairs.items():
        shared.setdefault(tuple(table.index), []).append(key)
    found = {}
    for keys in shared.values():
        parts = (
            np.column_stack([pairs[key][name].to_numpy(float) for key in keys])
            for name in ("numerator", "denominator", "numerator_other", "denominator_other")
        )
        drawn = bootstrap.difference(*parts)
        values = np.stack([drawn.estimate, *drawn.interval(level)], axis=1)
        found |= dict(zip(keys, map(tuple, values.tolist()), strict=True))
    return found


def _read(
    row: dict[str, Any],
    crossfitted: tuple[float, float, float],
    own: pd.Series,
    control: pd.Series,
) -> dict[str, Any]:
    """Return the cross-fitted difference, the basis, its verdict and its reading."""
    difference, low, high = crossfitted
    if not np.isfinite([own["crossfit_low"], control["crossfit_low"]]).all():
        # Pooled denominators that cannot be told from zero have no trustworthy bootstrap.
        low = high = np.nan
    stable = bool(own["per_model"]) and bool(control["per_model"])
    per_model = stable and row["n"] < bootstrap.LEAST_REPLICATES
    ends = (row["low"], row["high"]) if per_model else (low, high)
    found = verdict(*ends, null=0.0)
    name = "slope_verdict" if per_model else "crossfit_verdict"
    reading = {INTENSIFICATION: INTENSIFIES, DEINTENSIFICATION: DEINTENSIFIES}.get(found, NOT_TOLD)
    if not np.isfinite(ends).all():
        reading = ""
    elif found == INCONCLUSIVE and own[name] == control[name] in CONCLUSIVE:
        reading = SHARED
    return {
        "crossfit_difference": difference,
        "crossfit_low": low,
        "crossfit_high": high,
        "basis": PER_MODEL if per_model else POOLED,
        "verdict": found,
        "reading": reading,
    }


def _note(row: dict[str, Any], pairs: pd.DataFrame, seeds: int, told: bool) -> str:
    n = len(pairs)
    notes = [f"{n} of {seeds} seeds have both"] if n < seeds else []
    lost = int((~np.isfinite(pairs[["alpha", "alpha_other"]]).all(axis=1)).sum())
    if lost:
        notes.append(NOT_FINITE.format(lost, n))
    elif n < 2:
        notes.append(NO_PAIRS)
    if n < bootstrap.LEAST_REPLICATES:
        notes.append(FEW)
    elif not np.isfinite(row["crossfit_low"]):
        notes.append(NO_END.format("") if told else NO_POOLED)
    return joined(*notes)
