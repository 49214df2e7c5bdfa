"""How many replicates a study needs to see a slope, or a difference from the control, of a size.

From the standard deviation of a study at hand: the smallest number of replicates with which the
two-sided t-test at significance 1 - level, that of the study's intervals, has the power asked for.
The standard deviation of a small study is itself uncertain; ``seeds_cautious`` puts its one-sided
upper 80 % confidence limit in its place (Browne, Statistics in Medicine 14, 1995: sizing a study by
the pilot's own deviation misses the planned power about half the time).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import (
    NO_CONTROL,
    NOT_FINITE,
    ONE_PAIR,
    ONE_REPLICATE,
    joined,
    lost_pairs,
)
from recall_distortion.inference.questions.pooled import narrow_note
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, require_level
from recall_distortion.measures.rounding import all_equal, differences
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import (
    CELL,
    CELL_STATE,
    CONTROL,
    NETWORK,
    ONE,
    PANEL,
    REFERENCE_ARMS,
    RETRAINED,
)

COLUMNS = [
    *CELL_STATE, "question", "n", "sd", "effect", "level", "seeds", "seeds_cautious", "note",
]  # fmt: skip
EFFECTS = (0.02, 0.05, 0.1)  # distances of E[alpha] from 1, or from the control's
POWER = 0.8
CONFIDENCE = 0.8  # of the upper limit of the standard deviation
LARGEST = 10**9  # replicates; what needs more no study can show


def seeds_needed(
    networks: pd.DataFrame, pooled: pd.DataFrame, level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return the replicates needed in every pruning cell, per question and effect.

    ``networks`` has the columns of ``NETWORK`` and alpha, of which the state ``retrained`` is used;
    ``pooled`` is the table of that question, of the same networks. Question ``one`` asks for the
    distance of E[alpha] from 1, by the standard deviation of the slopes; ``control`` for the mean
    difference from the control of the same seed, by the standard deviation of the differences.
    ``n`` counts the finite values that ``sd`` comes from. The result has ``COLUMNS``, six rows a
    cell in
    table order, seeds as whole numbers; where they cannot be told they are missing and ``note``
    says why. Slopes that rest on few classes (``narrow`` in the pooled table) differ little between
    seeds whatever happens to the other classes, so no number is given there.

    Raises ``TableError`` on a missing column, a replicate that occurs twice, a senseless level.
    """
    require_level(level)
    require_columns(networks, [*NETWORK, "alpha"], "the networks table")
    used = compared(networks)
    used = used[used["state"] == RETRAINED]
    require_unique(used, NETWORK, "the networks table")
    table = pd.DataFrame(
        [
            {**question, "effect": effect, "level": level}
            for question in _questions(used, Controls.of(networks))
            for effect in EFFECTS
        ],
        columns=COLUMNS,
    ).assign(state=RETRAINED)
    narrow = pooled[(pooled["state"] == RETRAINED) & (pooled["narrow"] != "")].set_index(CELL)
    whose = pd.MultiIndex.from_frame(table[CELL])
    sd, effect = table["sd"].to_numpy(float), table["effect"].to_numpy(float)
    sd = np.where(whose.isin(narrow.index), np.nan, sd)
    seeds = replicates_for(effect, sd, 1 - level)
    cautious = replicates_for(effect, upper_limit(sd, table["n"].to_numpy(float)), 1 - level)
    beyond = np.isfinite(sd) & np.isnan(cautious)
    table["seeds"], table["seeds_cautious"] = _whole(seeds), _whole(cautious)
    table["note"] = [
        joined(
            note,
            f"more than {LARGEST:,} replicates" if many else "",
            narrow_note(narrow.loc[cell]) if cell in narrow.index else "",
        )
        for note, many, cell in zip(table["note"], beyond, whose, strict=True)
    ]
    return table


def upper_limit(sd: np.ndarray, n: np.ndarray, confidence: float = CONFIDENCE) -> np.ndarray:
    """Return the one-sided upper limits of normal standard deviations estimated from n values."""
    from scipy import stats  # most of a second, for those who ask

    limits: np.ndarray = sd * np.sqrt((n - 1) / stats.chi2.ppf(1 - confidence, n - 1))
    return limits


def replicates_for(
    effect: np.ndarray, sd: np.ndarray, significance: float, power: float = POWER
) -> np.ndarray:
    """Return the smallest n of at least 2 with which a two-sided one-sample t-test has ``power``.

    ``effect`` and ``sd`` are vectors [m], the effects above zero. NaN where sd is not finite or n
    would exceed ``LARGEST``. A standard deviation of zero needs two replicates, whatever the
    effect.
    """
    with np.errstate(divide="ignore"):
        size = np.asarray(effect, float) / np.asarray(sd, float)
    enough = np.where(np.isfinite(sd), 2.0, np.nan)
    # The power rises with n: double until it is enough, then halve the gap.
    active = np.flatnonzero(np.isfinite(enough))
    while len(active):
        active = active[_power(size[active], enough[active], significance) < power]
        active = active[enough[active] < LARGEST]
        enough[active] = np.minimum(2 * enough[active], LARGEST)
    last = np.flatnonzero(enough == LARGEST)
    enough[last[_power(size[last], enough[last], significance) < power]] = np.nan
    too_few = np.where(enough == LARGEST, 1, np.maximum(np.floor(enough / 2), 1))
    while len(active := np.flatnonzero(enough - too_few > 1)):
        middle = np.floor((enough[active] + too_few[active]) / 2)
        does = _power(size[active], middle, significance) >= power
        enough[active[does]] = middle[does]
        too_few[active[~does]] = middle[~does]
    return enough


def _power(size: np.ndarray, n: np.ndarray, significance: float) -> np.ndarray:
    """Return the power [m] of two-sided one-sample t-tests, effects in standard deviations."""
    # Importing statsmodels takes a second, and only this needs it.
    from statsmodels.stats.power import TTestPower

    def tail(alternative: str) -> np.ndarray:
        return np.asarray(
            TTestPower().power(np.minimum(size, 1e6), n, significance / 2, alternative=alternative)
        )

    larger, smaller = tail("larger"), tail("smaller")
    # The noncentral t fails to converge (NaN) far out: for the wrong tail where it is below 1e-8,
    # for the right one where the effect is dozens of standard errors and the power 1. A standard
    # deviation of zero leaves no doubt.
    larger = np.where(np.isnan(larger) | np.isinf(size), 1.0, larger)
    power: np.ndarray = larger + np.nan_to_num(smaller, nan=0.0)
    return power


def _questions(used: pd.DataFrame, controls: Controls) -> Iterator[dict[str, Any]]:
    slopes = {
        cell: group.set_index("seed")["alpha"] for cell, group in used.groupby(CELL, sort=False)
    }
    for cell, values in slopes.items():
        named = dict(zip(CELL, cell, strict=True))
        if named["method"] in REFERENCE_ARMS:
            continue
        yield {**named, "question": ONE, **_spread(values.to_numpy(float), ONE_REPLICATE)}
        control = slopes.get((*cell[: len(PANEL)], *controls.at(named["method"], named["ratio"])))
        if control is None:
            found: dict[str, Any] = {"n": 0, "sd": np.nan, "note": NO_CONTROL}
        else:
            pairs = pd.concat([values, control], axis=1, join="inner").to_numpy(float)
            size = max(np.abs(pairs).max(initial=0), 1)
            found = _spread(differences(pairs[:, 0], pairs[:, 1]), ONE_PAIR, size)
            lost = lost_pairs(len(pairs), len(values.index.union(control.index)))
            found["note"] = joined(found["note"], lost)
        yield {**named, "question": CONTROL, **found}


def _spread(values: np.ndarray, too_few: str, size: float = 1.0) -> dict[str, Any]:
    finite = np.isfinite(values)
    found = {"n": int(finite.sum()), "sd": np.nan, "note": ""}
    if not finite.all():
        return {**found, "note": NOT_FINITE}
    if len(values) < 2:
        return {**found, "note": too_few}
    # The rounding of the mean must not give equal values a deviation.
    equal = all_equal(values, size)
    return {**found, "sd": 0.0 if equal else float(values.std(ddof=1))}


def _whole(numbers: np.ndarray) -> pd.arrays.IntegerArray:
    return pd.array(numbers, dtype="Int64")
