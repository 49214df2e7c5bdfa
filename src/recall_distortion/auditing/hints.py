"""What would make an audit decide: more networks, more images, classes that differ more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.auditing.decision import (
    ALPHA,
    BEYOND,
    LOSS_OF_CLASS,
    UNDECIDED,
    Finding,
    Limits,
    networks_needed,
    too_few,
)
from recall_distortion.inference.statistics.crossed import student
from recall_distortion.report import style

#: What an alpha without ends would need.
ALPHA_NEEDS = "more images, or models whose classes differ more, would tell"


def hints(
    classes: pd.DataFrame,
    whole: Mapping[str, Any],
    findings: Sequence[Finding],
    limits: Limits,
    level: float,
    decision: str,
) -> Iterator[str]:
    """Yield sentences on what an undecided candidate lacks, and on an alpha that stays open.

    ``classes``, ``whole`` and ``findings`` are the candidate's own.
    """
    if decision == UNDECIDED and limits.drop is not None:
        points = f"{100 * limits.drop:.10g} points"
        if "networks" in whole:
            yield from _networks(classes, int(whole["networks"]), findings, limits.drop, level)
        if needed := too_few(findings, limits, level):
            yield (
                f"Even a model that changed nothing needs {needed:,} images in a class to show "
                f"that it lost less than {points}."
            )
    for one in findings:
        if (one.limit, one.decision) == (ALPHA, UNDECIDED):
            if not np.isfinite(one.estimate):
                yield f"Whether alpha is within its limit is open: {ALPHA_NEEDS}."
            elif decision == BEYOND:
                yield f"Whether alpha is within its limit, {one.tolerated:g}, is open too."


def _networks(
    classes: pd.DataFrame, count: int, findings: Sequence[Finding], tolerated: float, level: float
) -> Iterator[str]:
    """Yield how many networks it takes, where those that there are differ too much."""
    open_ones = {
        one.name for one in findings if (one.limit, one.decision) == (LOSS_OF_CLASS, UNDECIDED)
    }
    rows = classes[classes["name"].isin(open_ones) & (classes["images"] > 0)]
    if rows.empty:
        return
    half = (rows["seeds_high"] - rows["seeds_low"]) / 2
    deviations = half / float(student(count, level)) * np.sqrt(count)
    largest = float(deviations.max())
    needed = networks_needed(tolerated, largest, level)
    if needed > count:
        name = style.label(rows.loc[deviations.idxmax(), "name"])
        yield (
            f"{count} networks are too few, however many the images: the changes of class {name} "
            f"have a standard deviation of {100 * largest:.1f} points over them. By that it takes "
            f"about {needed:,} networks to show, of a recipe that changes nothing, that it loses "
            f"less than {100 * tolerated:.10g} points."
        )
