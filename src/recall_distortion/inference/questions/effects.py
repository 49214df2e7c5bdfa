"""Each pruning cell against the control: what pruning does beyond training on.

The difference of slopes is taken within replicates, because a pruned network and its control come
from the same dense one. Which of two estimates is read, ``basis`` says: the bootstrap of the pooled
cross-fitted slopes, and only where there are too few replicates for it the paired t interval of the
replicates' own slopes, if those are stable (``interpret`` of ``pooled``).

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
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NO_CONTROL, NO_END, joined
from recall_distortion.inference.questions.pooled import FEW, PER_NETWORK
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    require_level,
    t_interval,
    verdict,
)
from recall_distortion.measures.rounding import all_equal, differences
from recall_distortion.system.errors import TableError
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.tables.parts import CROSSFIT, MEAN
from recall_distortion.vocabulary import (
    AS_CONTROL,
    BEYOND_CONTROL,
    CELL_STATE,
    CONCLUSIVE,
    INCONCLUSIVE,
    NETWORK,
    NOT_DISTINGUISHABLE,
    REFERENCE_ARMS,
    RETRAINED,
    CellState,
)

NO_PAIRS = "fewer than two seeds have both networks: no interval"
NOT_FINITE = "{} of {} pairs have a slope that is not finite: no difference"
NO_POOLED = "the cell or its control has no cross-fitted interval, so their difference has none"

COLUMNS = [
    *CELL_STATE, "n", "difference", "control", "low", "high", "std_error", "df", "p", "p_adjusted",
    "crossfit_difference", "crossfit_control", "crossfit_low", "crossfit_high", "level",
    "family_size", "basis", "verdict", "reading", "note",
]  # fmt: skip
_NUMBERS = [
    "difference", "control", "low", "high", "std_error", "df", "p", "p_adjusted",
    "crossfit_difference", "crossfit_control", "crossfit_low", "crossfit_high",
]  # fmt: skip
_VALUES = ["alpha", "crossfit_numerator", "crossfit_denominator"]
_POOLED = ["interpret", "crossfit_low", "crossfit_high", "crossfit_verdict"]


class Crossfitted(NamedTuple):
    """A pooled cross-fitted difference, its bootstrap interval, and the slope subtracted."""

    difference: float
    low: float
    high: float
    other: float


def effects(
    networks: pd.DataFrame, pooled: pd.DataFrame, slopes: pd.DataFrame, level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return the difference from the control of every retrained cell, in table order.

    ``networks`` has the columns of that table, of which the keys, alpha and the cross-fitted sums
    are used; ``pooled`` and ``slopes`` are the tables of those questions on the same study and
    level. The result has ``COLUMNS``: ``difference`` is the mean over the seeds that both have of
    alpha less the control's, with its t interval at ``level``, two-sided ``p`` and ``p_adjusted`` =
    p times ``family_size``, the method's ratios, at most 1 (Bonferroni); ``crossfit_difference`` is
    that of the pooled cross-fitted slopes of those seeds with its bootstrap interval. ``control``
    and ``crossfit_control`` are the control's slopes over them. ``verdict`` is what the interval
    of the ``basis`` says against 0. ``reading`` puts it beside the control's own verdict against 1:

    - the effect is conclusive: "beyond the control";
    - it is not, but cell and control have the same conclusive verdict: "as the control";
    - otherwise: "not distinguishable"; empty where there is no control, or no interval.

    ``note`` says what is missing and why. Raises ``TableError`` on a missing column, rows that
    occur twice, a senseless level.
    """
    require_level(level)
    _check(networks, pooled, slopes)
    cells, controls = _cells(networks), Controls.of(networks)
    verdicts = slopes[[*CELL_STATE, "verdict"]].rename(columns={"verdict": "slope_verdict"})
    facts = pooled[[*CELL_STATE, *_POOLED]].merge(verdicts, on=CELL_STATE)
    facts = facts.astype({"ratio": float}).set_index(CELL_STATE)
    methods = [key for key in cells if key.method not in REFERENCE_ARMS]
    families = Counter(key._replace(ratio=0) for key in methods)
    pairs = {
        key: cells[key].join(cells[controls.cell(key)].add_suffix("_other"), how="inner")
        for key in methods
        if controls.cell(key) in cells
    }
    crossfitted = crossfit_differences(pairs, level)
    rows = []
    for key in methods:
        family = families[key._replace(ratio=0)]
        row = key._asdict() | {"n": 0, "level": level, "family_size": family}
        if key in pairs:
            of_control = controls.cell(key)
            own, control = _facts(facts, key), _facts(facts, of_control)
            row |= paired(pairs[key], level, family)
            row |= _read(row, crossfitted[key], own, control)
            seeds = len(cells[key].index.union(cells[of_control].index))
            told = bool(np.isfinite([own["crossfit_low"], control["crossfit_low"]]).all())
            row["note"] = _note(row, pairs[key], seeds, told)
        else:
            row |= {"basis": "", "verdict": "", "reading": "", "note": NO_CONTROL}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(_NUMBERS, float))


def _check(networks: pd.DataFrame, pooled: pd.DataFrame, slopes: pd.DataFrame) -> None:
    require_columns(networks, [*NETWORK, *_VALUES], "the networks table")
    require_columns(pooled, [*CELL_STATE, *_POOLED], "the table of pooled slopes")
    require_columns(slopes, [*CELL_STATE, "verdict"], "the table of slopes")
    for table, name, key in (
        (compared(networks), "the networks table", NETWORK),
        (pooled, "the table of pooled slopes", CELL_STATE),
        (slopes, "the table of slopes", CELL_STATE),
    ):
        require_unique(table, key, name)


def _cells(networks: pd.DataFrame) -> dict[CellState, pd.DataFrame]:
    """Return each retrained cell's alpha and cross-fitted sums, indexed by seed in order."""
    used = compared(networks)
    used = used.loc[used["state"] == RETRAINED, [*NETWORK, *_VALUES]].astype({"ratio": float})
    return {
        CellState(*key): group.set_index("seed")[_VALUES].sort_index()
        for key, group in used.groupby(CELL_STATE, sort=False)
    }


def _facts(facts: pd.DataFrame, key: CellState) -> pd.Series:
    if key not in facts.index:
        described = ", ".join(
            f"{name}={value}" for name, value in zip(CELL_STATE, key, strict=True)
        )
        raise TableError(
            f"the table of pooled slopes or of slopes has no row for {described}; "
            "take all tables from one study"
        )
    return facts.loc[[key]].iloc[0]


def paired(pairs: pd.DataFrame, level: float, family: int) -> dict[str, Any]:
    """Return the paired t interval and two-sided p of alpha less the control's."""
    own, other = pairs["alpha"].to_numpy(float), pairs["alpha_other"].to_numpy(float)
    found = differences(own, other)
    if all_equal(found, max(np.abs([own, other]).max(initial=0), 1)):
        found[:] = found[0]
    moved = t_interval(found, level)
    low, high = float(moved.low), float(moved.high)
    p = np.nan
    if np.isfinite(low):
        # Equal differences leave no doubt, whether they are zero or not.
        p = float(low == high == 0)
        if low < high:
            from scipy import stats  # most of a second, for those who test

            p = float(stats.ttest_1samp(found, 0).pvalue)
    row = {
        "n": len(pairs),
        "difference": float(moved.mean),
        "control": float(other.mean()) if np.isfinite(moved.mean) else np.nan,
        "low": low,
        "high": high,
        "std_error": float(moved.std_error),
        "df": moved.df if np.isfinite(low) else np.nan,
    }
    return row | {"p": p, "p_adjusted": min(1.0, p * family) if np.isfinite(p) else np.nan}


def crossfit_differences(pairs: Mapping[Any, pd.DataFrame], level: float) -> dict[Any, Crossfitted]:
    """Return each pair's pooled cross-fitted difference, its bootstrap interval, the other slope.

    A pair has a row per seed, ``crossfit_numerator`` and ``crossfit_denominator`` of one side and,
    with ``_other`` behind, those of what is subtracted. Pairs of the same seeds share their draws.
    """
    shared: dict[tuple[int, ...], list[Any]] = {}
    for key, table in pairs.items():
        shared.setdefault(tuple(table.index), []).append(key)
    found: dict[Any, Crossfitted] = {}
    for keys in shared.values():
        y, x, v, u = (
            np.column_stack([pairs[key][name].to_numpy(float) for key in keys])
            for name in (*_VALUES[1:], *(f"{name}_other" for name in _VALUES[1:]))
        )
        drawn = bootstrap.difference(y, x, v, u)
        with np.errstate(invalid="ignore", divide="ignore"):
            other = v.sum(0) / np.where(u.sum(0) > 0, u.sum(0), np.nan)
        values = np.stack([drawn.estimate, *drawn.interval(level), other], axis=1)
        found |= dict(zip(keys, map(Crossfitted._make, values.tolist()), strict=True))
    return found


def _read(
    row: dict[str, Any],
    crossfitted: Crossfitted,
    own: pd.Series,
    control: pd.Series,
) -> dict[str, Any]:
    """Return the cross-fitted difference, the basis, its verdict and its reading."""
    difference, low, high, other = crossfitted
    if not np.isfinite([own["crossfit_low"], control["crossfit_low"]]).all():
        # Pooled denominators that cannot be distinguished from zero have no trustworthy bootstrap.
        low = high = np.nan
    stable = own["interpret"] == control["interpret"] == PER_NETWORK
    per_model = stable and row["n"] < bootstrap.LEAST_REPLICATES
    ends: tuple[float, float] = (row["low"], row["high"]) if per_model else (low, high)
    found = verdict(*ends, null=0.0)
    name = "slope_verdict" if per_model else "crossfit_verdict"
    reading = BEYOND_CONTROL if found in CONCLUSIVE else NOT_DISTINGUISHABLE
    if not np.isfinite(ends).all():
        reading = ""
    elif found == INCONCLUSIVE and own[name] == control[name] in CONCLUSIVE:
        reading = AS_CONTROL
    return {
        "crossfit_difference": difference,
        "crossfit_control": other,
        "crossfit_low": low,
        "crossfit_high": high,
        "basis": MEAN if per_model else CROSSFIT,
        "verdict": found,
        "reading": reading,
    }


def _note(row: dict[str, Any], pairs: pd.DataFrame, seeds: int, told: bool) -> str:
    n = len(pairs)
    notes = [f"{n} of {seeds} seeds have both networks"] if n < seeds else []
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
