"""What estimates.csv says of sparse networks beside their slopes, as parts of views."""

from __future__ import annotations

from recall_distortion.tables.parts import (
    DEVIATION,
    FAMILY,
    MEAN,
    Part,
    T,
    View,
    alone,
    interval,
)
from recall_distortion.vocabulary import CONTROL

#: Two one-sided tests, which hold a difference against a margin.
TWO_ONE_SIDED = "two one-sided tests"
ACCURACY_EQUIVALENT = "accuracy within a margin"

#: What two masks of one density share, and what that is held against.
SHARED, SHARED_SHUFFLED = "shared weights", "shared weights of shuffled masks"
SHARED_SEEDS = "shared weights of other seeds"
SHARED_OVER_SHUFFLED = "shared weights beyond shuffled masks"
SHARED_OVER_SEEDS = "shared weights beyond other seeds"
SEEDS_OVER_SHUFFLED = "shared weights of other seeds beyond shuffled masks"
INTERSECTION = "intersection over union"
#: Where estimates of several seeds share seeds.
JACKKNIFE = "mean, jackknife"
#: Words of what masks share.
MORE, FEWER = "more", "fewer"


def _within_margin() -> dict[str, str]:
    return interval("difference", **T, **FAMILY, reference="margin", p="p",
                    p_adjusted="p_adjusted", verdict="verdict", note="note")  # fmt: skip


def _beyond(quantity: str, estimator: str, name: str, chance: str) -> Part:
    ends = interval(
        name, name, **FAMILY, reference=chance, p=f"{name}_p", p_adjusted=f"{name}_p_adjusted",
        std_error=f"{name}_error", df="df", verdict=f"{name}_verdict",
    )  # fmt: skip
    return Part(quantity, estimator, ends, "=reference", family="ratios")


#: The views by name.
TICKETS: dict[str, View] = {
    "equivalence": View(
        [
            Part(ACCURACY_EQUIVALENT, TWO_ONE_SIDED, _within_margin(), CONTROL, family="ratios"),
        ]
    ),
    "pair_equivalence": View(
        [
            Part(
                ACCURACY_EQUIVALENT, TWO_ONE_SIDED, _within_margin(), "=reference",
                family="ratios",
            ),
        ],
        {"against": "reference"},
    ),
    "overlaps": View(
        [
            Part(SHARED, MEAN, interval("shared", **T, note="note"), "=reference"),
            _beyond(SHARED_OVER_SHUFFLED, MEAN, "over_shuffled", "shuffled"),
            Part(SHARED_SHUFFLED, DEVIATION, alone("deviation"), "=reference"),
            Part(SHARED_SEEDS, MEAN, alone("seeds"), "=reference"),
            _beyond(SHARED_OVER_SEEDS, JACKKNIFE, "over_seeds", "seeds"),
            _beyond(SEEDS_OVER_SHUFFLED, JACKKNIFE, "seeds_over_shuffled", "seeds_shuffled"),
            Part(INTERSECTION, MEAN, alone("iou", reference="iou_shuffled"), "=reference"),
        ],
        {"against": "reference"},
    ),
}  # fmt: skip
