"""What estimates.csv says of sparse networks beside their slopes, as parts of views."""

from __future__ import annotations

from recall_distortion.tables.parts import FAMILY, Part, T, View, interval
from recall_distortion.vocabulary import CONTROL

#: Two one-sided tests, which hold a difference against a margin.
TWO_ONE_SIDED = "two one-sided tests"
ACCURACY_EQUIVALENT = "accuracy within a margin"

#: The views by name.
TICKETS: dict[str, View] = {
    "equivalence": View(
        [
            Part(
                ACCURACY_EQUIVALENT, TWO_ONE_SIDED,
                interval("difference", **T, **FAMILY, reference="margin", p="p",
                         p_adjusted="p_adjusted", verdict="verdict", note="note"),
                CONTROL, family="ratios",
            ),
        ]
    ),
}  # fmt: skip
