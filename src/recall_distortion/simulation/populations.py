"""Audits of several networks of known truth: do their intervals cover it?

A network recognizes an image of class c where a margin, normal around the class's own, is above
zero. It differs between seeds, class by class, between images, for all networks alike, and between
a network and an image. After the change margins lie around another value, and part of each is drawn
anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from recall_distortion.inference.statistics import crossed
from recall_distortion.inference.statistics.crossed_slope import Pairs, crossed_slope

#: Seeds of which the true slope is the ratio of means.
_SEEDS = 100_000
#: The loss of recall that is tolerated.
LIMIT = 0.02


@dataclass(frozen=True)
class Population:
    """K pairs of networks and a test set; recalls ``before`` and ``after`` are over all of them.

    ``images`` [C] of each class; ``seeds``, ``hard`` and ``own`` are the margins' standard
    deviations between seeds, between images, and of an image by a network. ``moved`` times these is
    added by the change. A ``rare`` share of the networks loses the share ``collapse`` of what it
    recognized of the first class beside that: seeds' effects are then far from normal.
    """

    networks: int
    images: Sequence[int]
    before: Sequence[float]
    after: Sequence[float]
    seeds: float = 0.3
    hard: float = 1.0
    own: float = 0.5
    moved: float = 0.3
    rare: float = 0.0
    collapse: float = 0.0

    @property
    def change(self) -> np.ndarray:
        """The true change of each class's recall [C], over all seeds and images."""
        change: np.ndarray = self._after - np.array(self.before)
        return change

    @property
    def _after(self) -> np.ndarray:
        kept = np.ones(len(self.images))
        kept[0] -= self.rare * self.collapse
        found: np.ndarray = np.array(self.after) * kept
        return found

    @property
    def labels(self) -> np.ndarray:
        """The images' classes [M]."""
        return np.repeat(np.arange(len(self.images)), self.images)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return which images [K, M] other networks recognize before and after, other images."""
        labels, shape = self.labels, (self.networks, len(self.labels))

        def margins() -> np.ndarray:
            of_seed = rng.normal(0, 1, (self.networks, len(self.images)))[:, labels]
            of_image, of_both = rng.normal(0, 1, shape[1]), rng.normal(0, 1, shape)
            drawn: np.ndarray = self.seeds * of_seed + self.hard * of_image + self.own * of_both
            return drawn

        kept, anew = margins(), margins()
        centre, centre_after = self._centres()
        after = centre_after[labels] + kept + self.moved * anew > 0
        if self.rare:
            hit = (rng.random((self.networks, 1)) < self.rare) & (labels == 0)
            after &= ~(hit & (rng.random(shape) < self.collapse))
        return centre[labels] + kept > 0, after

    def slope(self) -> float:
        """Return the slope of the means over seeds, each with all images there could be."""
        rng = np.random.default_rng(0)
        kept, anew = self.seeds * rng.normal(0, 1, (2, _SEEDS, len(self.images)))
        centre, centre_after = self._centres()
        images = np.hypot(self.hard, self.own)
        recall = special.ndtr((centre + kept) / images)
        after = (centre_after + kept + self.moved * anew) / (images * np.hypot(1, self.moved))
        recall_after = special.ndtr(after)
        if self.rare:
            recall_after[:, 0] *= 1 - self.collapse * (rng.random(_SEEDS) < self.rare)
        share = np.array(self.images) / sum(self.images)
        first, second = (one / (one @ share)[:, None] - 1 for one in (recall, recall_after))
        return float((first * second).sum() / (first**2).sum())

    def _centres(self) -> tuple[np.ndarray, np.ndarray]:
        size = np.sqrt(self.seeds**2 + self.hard**2 + self.own**2)
        return (
            size * special.ndtri(np.array(self.before)),
            size * np.hypot(1, self.moved) * special.ndtri(np.array(self.after)),
        )


def coverage(
    population: Population, studies: int, rng: np.random.Generator, level: float = 0.99
) -> dict[str, float]:
    """Return how often intervals at ``level`` hold the truth, and how wide they are.

    ``change``, ``excess`` and ``alpha`` are over other seeds and other images, ``together`` is all
    classes' changes at once by the level that they need together; ``these images`` are the changes'
    intervals over seeds alone. ``alpha known`` is the share of studies with an interval of alpha.
    The widths are the changes', ``worst class`` is the change's coverage where it is worst,
    ``within`` how often every class is within ``LIMIT``. Changes and excesses are shares of all
    classes of all studies.
    """
    labels, classes = population.labels, len(population.images)
    n = np.array(population.images, float)
    change = population.change
    exceeds, slope = change - change @ n / n.sum(), population.slope()
    found: dict[str, list[float]] = defaultdict(list)
    by_class: list[np.ndarray] = []

    def held(name: str, ends: Sequence[np.ndarray], truth: np.ndarray) -> None:
        found[name].append(float(np.mean((ends[0] <= truth) & (truth <= ends[1]))))

    for _ in range(studies):
        before, after = population.draw(rng)
        parts = crossed.components([(after.astype(float) - before)[None]], labels, classes)
        lost, gained = (
            np.bincount(labels, which.mean(0), minlength=classes) / n
            for which in (before & ~after, after & ~before)
        )
        ends = crossed.change(lost, gained, parts, level)
        held("change", ends, change)
        found["within"].append(float((-ends.low < LIMIT).all()))
        by_class.append((ends.low <= change) & (change <= ends.high))
        found["width"].append(float(np.mean(ends.high - ends.low)))
        every = crossed.change(lost, gained, parts, 1 - (1 - level) / classes, is_cautious=True)
        found["together"].append(float(((every.low <= change) & (change <= every.high)).all()))
        held("these images", crossed.over_seeds(parts, level), change)
        held("excess", crossed.excess(parts, ends, level)[1], exceeds)
        alpha = crossed_slope(Pairs(labels, classes, before, after), level)
        found["alpha known"].append(float(np.isfinite(alpha.low)))
        if np.isfinite(alpha.low):
            found["alpha"].append(float(alpha.low <= slope <= alpha.high))
    worst = float(np.mean(by_class, axis=0).min())
    return {name: float(np.mean(values)) for name, values in found.items()} | {"worst class": worst}


_TEN = tuple(np.linspace(0.7, 0.97, 10))
_LOWER = tuple(np.linspace(0.64, 0.95, 10))
SKEWED = "one network in ten loses a class"
#: Populations by what is hard about them.
SETTINGS = {
    "five seeds, 100 images a class": Population(5, (100,) * 10, _TEN, _LOWER),
    "two seeds": Population(2, (200,) * 10, _TEN, _LOWER),
    "two seeds that differ much": Population(
        2, (300, 300), (0.6, 0.9), (0.5, 0.9), seeds=0.6, hard=0.3, moved=0.7
    ),
    "many seeds, few images": Population(30, (40,) * 10, _TEN, _LOWER),
    "seeds differ more than images": Population(
        10, (300,) * 10, _TEN, _LOWER, seeds=0.5, moved=0.7
    ),
    "images are hard for all networks": Population(
        5, (100,) * 10, _TEN, _LOWER, seeds=0.0, own=0.0
    ),
    "every network errs on images of its own": Population(
        5, (100,) * 10, _TEN, _LOWER, seeds=0.02, hard=0.1, own=1.0
    ),
    "no change at all": Population(5, (100,) * 10, _TEN, _TEN, moved=0.0),
    "recall 0 and 1": Population(5, (100,) * 4, (1, 0, 0.5, 0.9), (1, 0, 0.4, 0.85)),
    "unbalanced 1:100": Population(
        5, (20, 2000, 200, 20), (0.8, 0.95, 0.9, 0.6), (0.7, 0.94, 0.9, 0.5)
    ),
    # Few networks show nothing of what happens to one in ten: no interval over seeds can.
    SKEWED: Population(
        5,
        (2000,) * 4,
        (0.9, 0.7, 0.8, 0.95),
        (0.9, 0.7, 0.8, 0.95),
        seeds=0.0,
        moved=0.05,
        rare=0.1,
        collapse=0.45,
    ),
}
