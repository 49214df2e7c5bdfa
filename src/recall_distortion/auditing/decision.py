"""May a model go out: its losses held against what is tolerated."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recall_distortion.auditing.comparison import ALL, together
from recall_distortion.inference.statistics.crossed import student
from recall_distortion.inference.statistics.paired import normal_quantile
from recall_distortion.system.errors import AuditError

WITHIN, BEYOND, UNDECIDED = "within", "beyond", "undecided"
#: What a decision means, in a sentence's words.
MEANS = {
    WITHIN: "every class is within the limits",
    BEYOND: "a limit is exceeded",
    UNDECIDED: "this test set cannot tell",
}
#: The model as it was, by the name that warnings have.
BEFORE = "before"
#: The limits' names, as in findings.
LOSS_OF_CLASS, EXCESS, ALPHA = "drop", "excess", "alpha"
#: Of each the name in a sentence.
SAID = {LOSS_OF_CLASS: "loss", EXCESS: "excess loss", ALPHA: "alpha"}
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

    def __post_init__(self) -> None:
        for name, value in (("drop", self.drop), ("excess", self.excess)):
            if value is not None and not 0 < value < 1:
                raise AuditError(
                    f"max {name}: a share of recall between 0 and 1, not {value!r}; 2 points are "
                    "0.02"
                )
        if self.alpha is not None and not 0 < self.alpha < math.inf:
            raise AuditError(
                f"max alpha: a slope above 0, not {self.alpha!r}: 1 is that gaps stay as they were"
            )

    @property
    def asked(self) -> bool:
        """Whether there is any limit."""
        return any(value is not None for value in (self.drop, self.excess, self.alpha))


@dataclass(frozen=True)
class Finding:
    """What one limit says of one class of a candidate, or of all images.

    The ends are those that decide: ``high`` of the class's own interval, which has to lie below the
    limit, and ``low`` of the interval that all classes have together, which must not lie
    above; each with its interval's level.
    """

    candidate: str
    limit: str
    name: str
    tolerated: float
    estimate: float
    low: float
    low_level: float
    high: float
    high_level: float
    decision: str
    images: int

    def __str__(self) -> str:
        where = "" if self.limit == ALPHA else f"{called(self.name)}: "
        limit = SAID[self.limit]
        if not np.isfinite([self.low, self.high]).all():
            why = "no image" if not self.images else "the classes differ too little before"
            return f"{where}{limit} is not known ({why}), tolerated {self.tolerated:g}"
        estimate, ends = self.words("{:.4f}".format)
        return f"{where}{estimate} ({ends}), tolerated {self.tolerated:g}"

    def words(self, number: Callable[[float], str]) -> tuple[str, str]:
        """Return in words the estimate and its ends, a loss below zero as the gain that it is."""
        low, high, limit = self.low, self.high, SAID[self.limit]
        if self.limit == ALPHA:
            return f"{limit} {number(self.estimate)}", f"{number(low)} to {number(high)}"
        gain = limit.replace("loss", "gain")
        estimate = f"{gain if self.estimate < 0 else limit} {number(abs(self.estimate))}"
        if high < 0:
            return estimate, f"a gain of at least {number(-high)}"
        if low < 0:
            return estimate, f"between a gain of {number(-low)} and a loss of {number(high)}"
        return estimate, f"at least {number(low)}, at most {number(high)}"


def called(name: str) -> str:
    """Return how a class is called in a sentence, where a number alone might be anything."""
    return f"class {name}" if name.isdecimal() else name


def findings(
    candidate: str, classes: pd.DataFrame, whole: pd.Series, limits: Limits, level: float
) -> Iterator[Finding]:
    """Yield what each limit says of each class of a candidate, those that lost most first.

    A class is within a limit where the upper end of its own interval lies below it: all classes
    have to be, which needs no correction. It is beyond where the lower end of its simultaneous
    interval lies above: one class is enough, so that their number counts. ``level`` is that of the
    classes' own intervals.
    """
    of_all = together(level, classes["images"].to_numpy())
    for limit, tolerated, stem in (
        (LOSS_OF_CLASS, limits.drop, ""),
        (EXCESS, limits.excess, "excess_"),
    ):
        if tolerated is None:
            continue
        changed = "excess" if stem else "change"
        for row in classes.sort_values(changed, kind="stable").to_dict("records"):
            # From zero: no loss is 0, not -0.
            low, high = 0.0 - row[f"{stem}simultaneous_high"], 0.0 - row[f"{stem}low"]
            said = _said(low, high, tolerated)
            name, estimate, images = row["name"], 0.0 - row[changed], row["images"]
            yield Finding(
                candidate, limit, name, tolerated, estimate, low, of_all, high, level, said, images
            )
    if limits.alpha is not None:
        low, high = whole["alpha_low"], whole["alpha_high"]
        said = _said(low, high, limits.alpha)
        alpha, images = whole["alpha"], int(whole["images"])
        yield Finding(
            candidate, ALPHA, ALL, limits.alpha, alpha, low, level, high, level, said, images
        )


def _said(low: float, high: float, tolerated: float) -> str:
    return WITHIN if high < tolerated else BEYOND if low > tolerated else UNDECIDED


def decided(findings: Sequence[Finding], doubted: Collection[str]) -> str:
    """Return the worst decision of some findings; without any, nothing was asked: within.

    Of models that are ``doubted``, whose answers may be of other images, nothing is within.
    """
    decisions = [
        UNDECIDED
        if one.decision == WITHIN and {one.candidate, BEFORE} & set(doubted)
        else one.decision
        for one in findings
    ]
    return max(decisions, key=DECISIONS.index, default=WITHIN)


def meaning(candidate: str, decision: str, doubted: Collection[str]) -> str:
    """Return what the decision of a candidate means."""
    if decision == UNDECIDED and {candidate, BEFORE} & set(doubted):
        whose = "its answers" if candidate in doubted else "the answers before"
        return f"{whose} are doubted, see the warnings"
    return MEANS[decision]


def too_few(findings: Sequence[Finding], limits: Limits, level: float) -> int | None:
    """Return how many images a class needs to be within by no change, where one has fewer.

    None where every undecided class has as many: it is undecided by what it lost.
    """
    if limits.drop is None:
        return None
    needed = images_needed(limits.drop, level)
    fewest = [
        one.images for one in findings if (one.limit, one.decision) == (LOSS_OF_CLASS, UNDECIDED)
    ]
    return needed if fewest and min(fewest) < needed else None


def images_needed(tolerated: float, level: float) -> int:
    """Return how many images a class needs to show, by no change at all, that it lost less."""
    z2 = float(normal_quantile(level)) ** 2
    return math.floor(z2 * (1 - tolerated) / tolerated) + 1


def networks_needed(tolerated: float, deviation: float, level: float) -> int:
    """Return how many networks it takes to show, by no change at all, that a class lost less.

    The fewest K of which t of K - 1 degrees of freedom, times ``deviation``, the standard deviation
    of the networks' changes, by the root of K, is below ``tolerated``: what other images add comes
    on top.
    """

    def is_enough(networks: int) -> bool:
        return float(student(networks, level)) * deviation < tolerated * math.sqrt(networks)

    enough = 2
    while not is_enough(enough):
        enough *= 2
    missing = enough // 2
    while enough - missing > 1:
        middle = (missing + enough) // 2
        missing, enough = (missing, middle) if is_enough(middle) else (middle, enough)
    return enough
