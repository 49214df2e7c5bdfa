"""May a model go out: its losses held against what is tolerated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recall_distortion.auditing.comparison import ALL
from recall_distortion.inference.statistics.paired import normal_quantile

WITHIN, BEYOND, UNDECIDED = "within", "beyond", "undecided"
#: From the best to the worst; the worst decides.
DECISIONS = (WITHIN, UNDECIDED, BEYOND)


@dataclass(frozen=True)
class Limits:
    """What is tolerated: losses of recall as shares, a slope; None where nothing is asked.

    ``drop`` is the largest loss of any class, ``excess`` the largest loss beyond that of all
    images, ``alpha`` the largest slope.
    """

    drop: float | None = None
    excess: float | None = None
    alpha: float | None = None


@dataclass(frozen=True)
class Finding:
    """What one limit says of one class of a candidate, or of all images."""

    candidate: str
    limit: str
    name: str
    tolerated: float
    estimate: float
    low: float
    high: float
    decision: str

    def __str__(self) -> str:
        where = "" if self.name == ALL else f"{self.name}: "
        interval = (
            f"{self.estimate:.4f} ({self.low:.4f} to {self.high:.4f})"
            if np.isfinite([self.low, self.high]).all()
            else "no interval"
        )
        return f"{where}{self.limit} {interval}, tolerated {self.tolerated:g}: {self.decision}"


def findings(
    candidate: str, classes: pd.DataFrame, whole: pd.Series, limits: Limits
) -> Iterator[Finding]:
    """Yield what each limit says of each class of a candidate, those that lost most first.

    A class is within a limit where the upper end of its own interval lies below it: all classes
    have to be, which needs no correction. It is beyond where the lower end of its simultaneous
    interval lies above: one class is enough, so that their number counts.
    """
    for limit, tolerated, stem in (
        ("loss", limits.drop, ""),
        ("excess loss", limits.excess, "excess_"),
    ):
        if tolerated is None:
            continue
        changed = "excess" if stem else "change"
        for row in classes.sort_values(changed, kind="stable").to_dict("records"):
            own = -row[f"{stem}high"], -row[f"{stem}low"]
            low = -row[f"{stem}simultaneous_high"]
            said = WITHIN if own[1] < tolerated else BEYOND if low > tolerated else UNDECIDED
            yield Finding(candidate, limit, row["name"], tolerated, -row[changed], *own, said)
    if limits.alpha is not None:
        low, high = whole["alpha_low"], whole["alpha_high"]
        said = WITHIN if high < limits.alpha else BEYOND if low > limits.alpha else UNDECIDED
        yield Finding(candidate, "alpha", ALL, limits.alpha, whole["alpha"], low, high, said)


def worst(decisions: list[str]) -> str:
    """Return the worst of some decisions; without any, nothing was asked and all is within."""
    return max(decisions, key=DECISIONS.index, default=WITHIN)


def images_needed(tolerated: float, level: float) -> int:
    """Return how many images a class needs to show, by no change at all, that it lost less."""
    z2 = float(normal_quantile(level)) ** 2
    return math.floor(z2 * (1 - tolerated) / tolerated) + 1
