"""Test sets and pairs of models whose true recalls are known, for audits to be tried on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recall_distortion.measures.distortion import slope

#: Of the distribution of an image's difficulty: small values make images easy or hard for all.
_SPREAD = 0.5


@dataclass(frozen=True)
class Setting:
    """A test set, and what a pair of models makes of unlimited images of each class [C].

    ``images`` of each class are in the test set, ``before`` is their recall; ``lost`` and
    ``gained`` are the shares of a class's images that are right before and wrong after, and the
    reverse. Where images are ``hard`` for both models alike, these err independently given an
    image's difficulty, and nothing is ``gained``. ``limit`` is the loss of recall that is tolerated
    where the audit decides.
    """

    name: str
    words: str
    images: np.ndarray
    before: np.ndarray
    lost: np.ndarray
    gained: np.ndarray
    limit: float
    hard: bool = False

    @property
    def change(self) -> np.ndarray:
        """The true change of each class's recall [C]."""
        change: np.ndarray = self.gained - self.lost
        return change

    @property
    def excess(self) -> np.ndarray:
        """The true change of each class less that of all images [C]."""
        excess: np.ndarray = self.change - self.images @ self.change / self.images.sum()
        return excess

    @property
    def alpha(self) -> float:
        """The true slope of normalized balances; NaN where all recalls are the same before."""
        if not np.ptp(self.before):
            return float("nan")
        return slope(
            *(
                recalls * self.images.sum() / (self.images @ recalls) - 1
                for recalls in (self.before, self.before + self.change)
            )
        )

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return labels [M] and the answers before and after; a wrong one is the next class."""
        labels = np.repeat(np.arange(len(self.images)), self.images)
        first, second = rng.random((2, len(labels)))
        before, lost, gained = (part[labels] for part in (self.before, self.lost, self.gained))
        if self.hard:
            easy = rng.beta(_SPREAD * before, _SPREAD * (1 - before))
            right_before, right_after = first < easy, second < easy * (1 - lost / before)
        else:
            right_before = first < before
            with np.errstate(invalid="ignore", divide="ignore"):
                stays, comes = 1 - lost / before, gained / (1 - before)
            right_after = second < np.where(right_before, stays, comes)
        wrong = (labels + 1) % len(self.images)
        return (
            labels,
            np.where(right_before, labels, wrong),
            np.where(right_after, labels, wrong),
        )


def _setting(
    name: str,
    words: str,
    *,
    images: int | list[int],
    before: np.ndarray | list[float],
    lost: np.ndarray | list[float] | float,
    gained: np.ndarray | list[float] | float,
    limit: float = 0.02,
    hard: bool = False,
) -> Setting:
    """Return a setting; what is one number holds for every class."""
    recall = np.asarray(before, float)
    counts = np.broadcast_to(np.asarray(images), recall.shape)
    minus, plus = (np.broadcast_to(np.asarray(one, float), recall.shape) for one in (lost, gained))
    return Setting(name, words, counts, recall, minus, plus, limit, hard)


def _spread(classes: int, low: float = 0.6, high: float = 0.95) -> np.ndarray:
    """Return recalls of classes, from the weakest to the strongest."""
    return np.linspace(low, high, classes)


def settings() -> list[Setting]:
    """Return the named settings in the order of the table."""
    ten = _spread(10)
    # The weaker a class, the more it loses; half of the classes lose as much as they gain.
    weak = np.where(np.arange(10) < 5, 0.09 - 0.015 * np.arange(10), 0.015)
    at_limit = np.where(np.arange(10) == 3, 0.03, 0.01)
    return [
        _setting(
            "few images", "weak classes lose up to 7.5 points",
            images=30, before=ten, lost=weak, gained=0.015, limit=0.2,
        ),
        _setting(
            "many images", "the same", images=2000, before=ten, lost=weak, gained=0.015,
        ),
        _setting(
            "two classes", "one loses 5 points",
            images=300, before=[0.7, 0.9], lost=[0.07, 0.02], gained=0.02,
        ),
        _setting(
            "100 classes", "every second one loses 4 points",
            images=60, before=_spread(100), lost=[0.05, 0.01] * 50, gained=0.01,
        ),
        _setting(
            "1,000 classes", "every second one loses 4 points",
            images=20, before=_spread(1000), lost=[0.05, 0.01] * 500, gained=0.01,
        ),
        _setting(
            "unbalanced 1:100", "rare classes lose up to 7.5 points",
            images=np.geomspace(15, 1500, 10).round().astype(int).tolist(),
            before=ten, lost=weak, gained=0.015,
        ),
        _setting(
            "recalls of 0 and 1", "some stay there, some leave",
            images=200, before=[0, 0, 0, 1, 1, 1, 0.5, 0.7, 0.8, 0.9],
            lost=[0, 0, 0, 0, 0.01, 0.06, 0.03, 0.03, 0, 0],
            gained=[0, 0.01, 0.06, 0, 0, 0, 0.03, 0, 0, 0.03],
        ),
        _setting(
            "no change at all", "no answer changes", images=400, before=ten, lost=0, gained=0,
        ),
        _setting(
            "as much lost as gained", "no recall changes, 10 % of the answers do",
            images=400, before=ten, lost=0.05, gained=0.05, limit=0.06,
        ),
        _setting(
            "images hard for all", "both models err on the same images; weak classes lose",
            images=300, before=ten, lost=np.where(np.arange(10) < 5, 0.06, 0), gained=0, hard=True,
        ),
        _setting(
            "one class at the limit", "it loses 2 points, the others none",
            images=1000, before=ten, lost=at_limit, gained=0.01,
        ),
        _setting(
            "all classes at the limit", "each loses 2 points",
            images=1000, before=ten, lost=0.03, gained=0.01,
        ),
    ]  # fmt: skip
