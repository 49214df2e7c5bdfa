"""Pruned in rounds of about a fifth of what is left, each followed by a retraining."""

from __future__ import annotations

import math
from collections.abc import Mapping

from recall_distortion.compression.schedules import Chain, Round

#: The share of the weights left that a round removes, where it need not be evened out.
RATE = 0.2


def chains(fractions: Mapping[str, float]) -> list[Chain]:
    """Return one chain through all fractions, from the largest to the smallest.

    Between two of them every round removes the same share of what is left, as close to ``RATE`` as
    whole rounds allow, so that each is hit exactly.
    """
    rounds: list[Round] = []
    before = 1.0
    for ratio, fraction in fractions.items():
        count = max(round(math.log(fraction / before) / math.log(1 - RATE)), 1)
        for number in range(1, count):
            between = before * (fraction / before) ** (number / count)
            rounds.append(Round(between, ratio, asked=False))
        rounds.append(Round(fraction, ratio))
        before = fraction
    return [tuple(rounds)]
