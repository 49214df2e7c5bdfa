"""What slopes and classes' changes say of other seeds *and* other images, not of these alone.

All networks of a study answer one test set, so that every other interval over seeds speaks of these
images. These need the single predictions: how much of a number is the luck of its images, all
networks can only tell together (``statistics.crossed``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics import crossed
from recall_distortion.inference.statistics.crossed_slope import (
    Pairs,
    crossed_slope,
    slope_difference,
)
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, require_level, verdict
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.study import as_they_end
from recall_distortion.vocabulary import (
    CELL_STATE,
    DENSE,
    NETWORK,
    RESEED,
    UNCOMPRESSED,
    CellState,
    Panel,
)

SLOPES = [
    *CELL_STATE, "n", "alpha", "low", "high", "verdict", "note", "control", "difference",
    "difference_low", "difference_high", "difference_verdict", "level", "family_size",
]  # fmt: skip
CLASSES = [
    *CELL_STATE, "class", "class_name", "n", "before", "change", "low", "high", "std_error",
    "level",
]  # fmt: skip
NO_END = "the denominator cannot be told from zero over other seeds and other images: no interval"
_SUMS = ["crossfit_numerator", "crossfit_denominator"]


@dataclass(frozen=True)
class _Arm:
    """Which images [K, M] a cell's networks recognize, by seed."""

    seeds: list[int]
    right: np.ndarray

    def of(self, seeds: list[int]) -> np.ndarray:
        found: np.ndarray = self.right[[self.seeds.index(seed) for seed in seeds]]
        return found


@dataclass(frozen=True)
class _Answers:
    """A panel's test set, and its cells' answers."""

    label: np.ndarray
    class_names: list[str]
    arms: dict[CellState, _Arm]


def other_images(
    predictions: Iterable[Predictions], networks: pd.DataFrame, level: float = PAPER_LEVEL
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of slopes, a row a cell, and of changes, a row a cell and class.

    ``predictions`` are a study's, in parts, and ``networks`` is its table, whose cross-fitted sums
    the slopes are made of, as those of ``pooled``. Cells are those that were retrained, and others
    of which nothing was; each needs two seeds that have it and the dense network. The intervals are
    at ``level``, one each: ``family_size`` is the number of the method's ratios, for Bonferroni.
    """
    require_level(level)
    used = compared(networks).astype({"ratio": float})
    cells = used[[*NETWORK, *_SUMS]].groupby(CELL_STATE, sort=False)
    keys = [CellState(*key) for key in cells.groups]
    families = Counter(key._replace(ratio=0) for key in keys)
    read = {key for key in as_they_end(keys) if key.method != RESEED}
    sums = {
        key: cells.get_group(tuple(key)).set_index("seed")[_SUMS] for key in keys if key in read
    }
    slopes, classes, controls = [], [], Controls.of(networks)
    for panel, answers in _panels(predictions).items():
        dense = answers.arms.get(CellState(*panel, DENSE, UNCOMPRESSED, DENSE))
        for key in sums:
            arm = answers.arms.get(key)
            if dense is None or arm is None:
                continue
            seeds = sorted(set(arm.seeds) & set(dense.seeds) & set(sums[key].index))
            if len(seeds) < 2:
                continue
            about = {**key._asdict(), "n": len(seeds), "level": level}
            pairs = Pairs(answers.label, len(answers.class_names), dense.of(seeds), arm.of(seeds))
            classes += [about | row for row in _changes(pairs, answers.class_names, level)]
            about["family_size"] = families[key._replace(ratio=0)]
            slopes.append(
                about | _slopes(key, controls.cell(key), answers.arms, pairs, seeds, sums, level)
            )
    return pd.DataFrame(slopes, columns=SLOPES), pd.DataFrame(classes, columns=CLASSES)


def _panels(predictions: Iterable[Predictions]) -> dict[Panel, _Answers]:
    """Return each panel's answers; its cells may come in several parts."""
    found: dict[Panel, _Answers] = {}
    for part in predictions:
        label = part.labels.astype(np.int64)
        answers = found.setdefault(part.panel, _Answers(label, list(part.class_names), {}))
        key = CellState(*part.panel, part.method, float(part.ratio), part.state)
        arm = _Arm(list(part.seeds), part.predicted == part.labels)
        if earlier := answers.arms.get(key):
            arm = _Arm([*earlier.seeds, *arm.seeds], np.concatenate([earlier.right, arm.right]))
        answers.arms[key] = arm
    return found


def _changes(pairs: Pairs, names: list[str], level: float) -> Iterator[dict[str, Any]]:
    """Yield what each class's recall changed by."""
    moved = pairs.after.astype(np.int8) - pairs.before
    parts = crossed.components(
        (moved[some][None] for some in pairs.blocks), pairs.label, pairs.classes
    )
    n, before, lost, gained = (
        np.bincount(pairs.label, weights, minlength=pairs.classes)
        for weights in (
            None,
            pairs.before.mean(0),
            (moved < 0).mean(0),
            (moved > 0).mean(0),
        )
    )
    ends = crossed.change(lost / n, gained / n, parts, level)
    errors = crossed.std_error(parts)
    for place, name in enumerate(names):
        yield {
            "class": place,
            "class_name": name,
            "before": before[place] / n[place],
            "change": (gained[place] - lost[place]) / n[place],
            "low": ends.low[place],
            "high": ends.high[place],
            "std_error": errors[place],
        }


def _slopes(
    key: CellState,
    control: CellState,
    arms: Mapping[CellState, _Arm],
    pairs: Pairs,
    seeds: list[int],
    sums: Mapping[CellState, pd.DataFrame],
    level: float,
) -> dict[str, Any]:
    """Return a cell's slope, and by how much it exceeds the control's, of the seeds of both."""
    if (np.bincount(pairs.label, minlength=pairs.classes) < 2).any():
        return {}  # nothing can be halved
    own = sums[key].reindex(seeds).to_numpy(float)
    slope = crossed_slope(pairs, level, own)
    found = {
        "alpha": slope.alpha,
        "low": slope.low,
        "high": slope.high,
        "verdict": verdict(slope.low, slope.high),
        "note": NO_END if np.isfinite(slope.alpha) and not np.isfinite(slope.low) else "",
    }
    both = [seed for seed in seeds if control in arms and seed in arms[control].seeds]
    if key == control or len(both) < 2:
        return found
    rows = [seeds.index(seed) for seed in both]
    first, second = (
        Pairs(pairs.label, pairs.classes, pairs.before[rows], side)
        for side in (pairs.after[rows], arms[control].of(both))
    )
    halves = own[rows], sums[control].reindex(both).to_numpy(float)
    of_control = crossed_slope(second, level, halves[1])
    slopes = crossed_slope(first, level, halves[0]), of_control
    more = slope_difference(first, second, slopes, level, halves)
    return found | {
        "control": of_control.alpha,
        "difference": more.alpha,
        "difference_low": more.low,
        "difference_high": more.high,
        "difference_verdict": verdict(more.low, more.high, null=0.0),
    }
