"""Does one method keep the weights that another keeps, more than by chance?

Two chances: masks shuffled within layers share as much as layers of such densities must; networks
of other seeds share that and what the data alone make any network keep, as weights of pixels that
are never lit, so that what a pair shares beyond them comes from the weights that both began with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import ONE_REPLICATE, joined, lost_pairs
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics.intervals import (
    PAPER_LEVEL,
    interval_row,
    require_level,
    t_interval,
)
from recall_distortion.inference.statistics.ttests import paired_test
from recall_distortion.measures.rounding import above, below, differences
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.tables.tickets import FEWER, MORE
from recall_distortion.vocabulary import CELL_STATE, INCONCLUSIVE, NETWORK

LEAST_SEEDS = 3  # leaving one out must leave a pair
FEW_SEEDS = "fewer than three seeds: nothing is said of other seeds"
#: What is held against what: a network's own share, or that of other seeds, against chance.
DIFFERENCES = ("over_shuffled", "over_seeds", "seeds_over_shuffled")
_ENDS = ("", "_low", "_high", "_error", "_p", "_p_adjusted", "_verdict")
COLUMNS = [
    *CELL_STATE, "reference", "n", "shared", "low", "high", "std_error", "df", "shuffled",
    "deviation", "seeds", "seeds_shuffled", "iou", "iou_shuffled",
    *(f"{name}{end}" for name in DIFFERENCES for end in _ENDS), "level", "family_size", "note",
]  # fmt: skip
_TEXTS = [*CELL_STATE, "reference", "note", *(f"{name}_verdict" for name in DIFFERENCES)]


def overlaps(networks: pd.DataFrame, level: float = PAPER_LEVEL) -> pd.DataFrame:
    """Return what the masks of each cell share with those of another method at the same ratio.

    ``networks`` is the table of that name; there is a row for each cell whose masks were compared,
    ``reference`` is the other method. ``shared`` is the mean over ``n`` networks of the share of
    the sparser mask's weights that both keep, with its t interval at ``level``; ``shuffled`` and
    ``seeds`` are its means over masks shuffled within layers and over other seeds,
    ``seeds_shuffled`` is ``seeds`` of shuffled masks, and ``deviation`` the standard deviation of
    one network's share over shuffled masks. Each of ``DIFFERENCES`` has a t interval at ``level``,
    a two-sided p, times ``family_size``, the pair's ratios, at most 1 (Bonferroni), and the verdict
    of the interval. Each pair of seeds counts for two seeds, so what is of other seeds has the
    interval of the delete-one jackknife (Arvesen, Annals of Mathematical Statistics 40, 1969).
    ``note`` says what is missing, such as seeds of one of the two that make no pair.

    Raises ``TableError`` on a missing column, a replicate that occurs twice, a senseless level.
    """
    require_level(level)
    require_columns(networks, NETWORK, "the networks table")
    if "mask_shared" not in networks or networks["mask_shared"].isna().all():
        return pd.DataFrame(columns=COLUMNS)
    used = compared(networks).astype({"ratio": float})
    seeds = {key: {*own["seed"]} for key, own in used.groupby(CELL_STATE, sort=False)}
    used = used[used["mask_shared"].notna()]
    require_unique(used, NETWORK, "the networks table")
    cells = {key: own.set_index("seed") for key, own in used.groupby(CELL_STATE, sort=False)}
    places = {key: dict(zip(CELL_STATE, key, strict=True)) for key in cells}
    families = Counter(_family(place) for place in places.values())
    rows = []
    for key, own in cells.items():
        row = places[key] | _row(own, level, families[_family(places[key])])
        other = tuple((places[key] | {"method": row["reference"]}).values())
        lost = lost_pairs(len(own), len(seeds[key] | seeds.get(other, set())))
        rows.append(row | {"note": joined(row["note"], lost)})
    table = pd.DataFrame(rows, columns=COLUMNS)
    numbers = [name for name in COLUMNS if name not in _TEXTS and name != "n"]
    return table.astype(dict.fromkeys(numbers, float))


def _family(place: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(place[name] for name in CELL_STATE if name != "ratio")


def _row(own: pd.DataFrame, level: float, family: int) -> dict[str, Any]:
    shared, shuffled, seeds, seeds_shuffled = (
        own[f"mask_shared{end}"].astype(float)
        for end in ("", "_shuffled", "_seeds", "_seeds_shuffled")
    )
    found = interval_row(shared.to_numpy(), level)
    row = {name: found[name] for name in ("n", "low", "high", "std_error", "df", "level")}
    row |= {"reference": own["mask_other"].iloc[0], "shared": found["mean"], "family_size": family}
    means = {
        "shuffled": shuffled, "seeds": seeds, "seeds_shuffled": seeds_shuffled,
        "deviation": own["mask_shared_deviation"], "iou": own["mask_iou"],
        "iou_shuffled": own["mask_iou_shuffled"],
    }  # fmt: skip
    row |= {name: values.astype(float).mean(skipna=False) for name, values in means.items()}
    others, chance = (
        pd.Series(pseudo_values(values.to_numpy()), values.index)
        for values in (seeds, seeds_shuffled)
    )
    pairs = ((shared, shuffled), (shared, others), (others, chance))
    for name, (left, right) in zip(DIFFERENCES, pairs, strict=True):
        row |= {f"{name}{end}": value for end, value in _against(left, right, level, family)}
    note = FEW_SEEDS if len(own) < LEAST_SEEDS else ""
    return row | {"note": ONE_REPLICATE if len(own) < 2 else note}


def pseudo_values(of_seeds: np.ndarray) -> np.ndarray:
    """Return the jackknife's pseudo-values of a mean over all ordered pairs of different seeds.

    ``of_seeds`` [..., n] are each seed's means over the pairs that it is in. Of n seeds with mean
    U, leaving out seed i takes its 2 (n - 1) pairs from n (n - 1), which leaves the pseudo-value
    U + 2 (n - 1) / (n - 2) (v_i - U). NaN of fewer than three seeds.
    """
    n = of_seeds.shape[-1]
    if n < LEAST_SEEDS:
        return np.full_like(of_seeds, np.nan)
    mean = of_seeds.mean(-1, keepdims=True)
    found: np.ndarray = mean + 2 * (n - 1) / (n - 2) * (of_seeds - mean)
    return found


def _against(
    left: pd.Series, right: pd.Series, level: float, family: int
) -> list[tuple[str, float | str]]:
    """Return the mean difference with its interval, error, p values and verdict, by ``_ENDS``."""
    found = t_interval(differences(left, right), level)
    mean, low, high, error = map(float, found[:4])
    p = paired_test(left, right, "two-sided")["p"]
    adjusted = min(1.0, p * family) if np.isfinite(p) else np.nan
    return list(zip(_ENDS, (mean, low, high, error, p, adjusted, _verdict(low, high)), strict=True))


def _verdict(low: float, high: float) -> str:
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    if above(low, 0):
        return MORE
    return FEWER if below(high, 0) else INCONCLUSIVE
