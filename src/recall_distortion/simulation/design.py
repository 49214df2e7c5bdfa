"""What a simulated study is made of: its cells, its test set and how its replicates vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recall_distortion.system.errors import StudyError
from recall_distortion.vocabulary import CONTROL, UNCOMPRESSED, Panel

RATIOS = (2.0, 4.0, 10.0, 20.0, 50.0)  # the paper's

# Where recalls are known without error, counts are exact shares of a test set of this size.
EXACT_IMAGES = 10**12


@dataclass(frozen=True)
class Cell:
    """One cell of a simulated study: a method at a ratio, with its true slope.

    - ``alpha``: E[alpha], the true mean slope over replicates;
    - ``sd``: standard deviation of the replicates' own effects on the slope;
    - ``accuracy``: mean accuracy after retraining;
    - ``deviation``: standard deviation of what happens to a class besides the slope, in units of
      the normalized recall balance;
    - ``agreement``: how far the compressed network is right on the same images as its dense
      network: 0 = independently, 1 = as far as the two recalls of a class allow.
    """

    method: str
    ratio: float
    alpha: float = 1.0
    sd: float = 0.05
    accuracy: float = 0.8
    deviation: float = 0.01
    agreement: float = 0.0

    def __post_init__(self) -> None:
        _require(np.isfinite(self.alpha), "alpha", self.alpha, "a finite number")
        _require(self.sd >= 0, "sd", self.sd, "a standard deviation, 0 or more")
        _require(self.deviation >= 0, "deviation", self.deviation, "0 or more")
        _require(0 < self.accuracy < 1, "accuracy", self.accuracy, "strictly between 0 and 1")
        _require(0 <= self.agreement <= 1, "agreement", self.agreement, "from 0 to 1")
        _require(self.ratio >= 1, "ratio", self.ratio, "1 or more")


def sweep(
    alphas: Sequence[float],
    *,
    method: str = "magnitude",
    control: float | None = 1.0,
    sds: Sequence[float] | float = 0.05,
    **options: float,
) -> tuple[Cell, ...]:
    """Return a method at the first ratios of the paper's five, after its control (None: without).

    ``alphas`` are the true slopes, one per ratio, and ``control`` the control's; ``sds`` one
    standard deviation for all cells, or one per ratio of which the first is the control's too.
    Other options go to every ``Cell``.
    """
    spread = [float(sds)] * len(alphas) if isinstance(sds, int | float) else list(sds)
    cells = [] if control is None else [Cell(CONTROL, UNCOMPRESSED, control, spread[0], **options)]
    for ratio, alpha, sd in zip(RATIOS, alphas, spread, strict=False):
        cells.append(Cell(method, ratio, alpha, sd, **options))
    return tuple(cells)


@dataclass(frozen=True)
class Design:
    """A simulated study of one data set and one network.

    - ``cells``: what is done to every dense network;
    - ``seeds``: replicates K; ``classes``: C;
    - ``images``: test images per class, one number or one per class; None: recalls are known
      without error;
    - ``accuracy``, ``accuracy_sd``: of the dense networks; a replicate's accuracy is as far from
      the mean in all its cells as before compression;
    - ``balance_sd``: root mean square over classes of the dense normalized recall balance;
    - ``class_share``: the share of its variance that is the classes' own, the same in all seeds
      (the rest is drawn anew in every seed);
    - ``seed_sd``: standard deviation of a replicate's effect on its slopes in all cells alike,
      the control's too;
    - ``skew``: 0: replicate effects are normal; else they are lognormal, standardized, and this is
      the standard deviation of their logarithm (skewness 1.75 at 0.5, 6.2 at 1);
    - ``splits``: halvings of the test set for the cross-fitted slope.

    The defaults keep recalls inside [0, 1]: at accuracy 0.85 the ceiling is 3.5 standard
    deviations of a balance away.
    """

    cells: tuple[Cell, ...]
    seeds: int = 30
    classes: int = 10
    images: int | tuple[int, ...] | None = 1000
    accuracy: float = 0.85
    accuracy_sd: float = 0.005
    balance_sd: float = 0.05
    class_share: float = 0.5
    seed_sd: float = 0.03
    skew: float = 0.0
    splits: int = 20
    dataset: str = "simulated"
    architecture: str = "network"
    recipe: str = "simulated"

    @property
    def panel(self) -> Panel:
        """The panel that the simulated networks are of."""
        return Panel(self.dataset, self.architecture, self.recipe)

    def __post_init__(self) -> None:
        _require(len(self.cells) > 0, "cells", self.cells, "at least one")
        names = [(cell.method, cell.ratio) for cell in self.cells]
        _require(len(set(names)) == len(names), "cells", names, "one per method and ratio")
        _require(self.seeds >= 1, "seeds", self.seeds, "1 or more")
        _require(self.classes >= 2, "classes", self.classes, "2 or more")
        _require(0 < self.accuracy < 1, "accuracy", self.accuracy, "strictly between 0 and 1")
        for name in ("accuracy_sd", "seed_sd", "skew"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(self.balance_sd > 0, "balance_sd", self.balance_sd, "above 0")
        _require(0 <= self.class_share <= 1, "class_share", self.class_share, "from 0 to 1")
        _require(self.splits >= 1, "splits", self.splits, "1 or more")
        if self.images is not None:
            supports = np.atleast_1d(self.images)
            right = len(supports) in (1, self.classes) and (supports >= 2).all()
            wanted = "2 or more a class, to have halves: one number, or one per class"
            _require(bool(right), "images", self.images, wanted)

    @property
    def support(self) -> np.ndarray:
        """Test images of each class, [C]."""
        images = EXACT_IMAGES if self.images is None else self.images
        return np.broadcast_to(np.asarray(images, dtype=np.int64), self.classes)

    @property
    def weights(self) -> np.ndarray:
        """Each class's share of the test set, [C]."""
        weights: np.ndarray = self.support / self.support.sum()
        return weights


def unbalanced(images: int, classes: int = 10) -> tuple[int, ...]:
    """Return supports that fall evenly over the classes from 1.6 to 0.4 times ``images``."""
    return tuple(round(images * share) for share in np.linspace(1.6, 0.4, classes))


def _require(right: bool, name: str, value: object, wanted: str) -> None:
    if not right:
        raise StudyError(f"a simulated study's {name} must be {wanted}, not {value!r}")
