"""Groupings of test images beside their classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from recall_distortion.auditing.answers import TestSet
from recall_distortion.auditing.comparison import BY_CLASS
from recall_distortion.auditing.vectors import are_missing, as_texts
from recall_distortion.system.errors import AuditError

#: The number of an image without a group in a grouping.
UNGROUPED = -1


def grouping(values: np.ndarray, images: TestSet, name: str) -> tuple[np.ndarray, list[str]]:
    """Return the groups [M] by number, ``UNGROUPED`` where a value is missing, and their names."""
    where = f"groups, {name}"
    if values.shape != (len(images),):
        raise AuditError(
            f"{where}: has shape {list(values.shape)}, and there are {len(images)} labels"
        )
    if name == BY_CLASS:
        raise AuditError(f"groups: {name!r} is the grouping by true class; give yours another name")
    index = np.full(len(values), UNGROUPED)
    known = ~are_missing(values)
    if not known.any():
        raise AuditError(f"{where}: names no group")
    found, index[known] = np.unique(as_texts(values[known], where), return_inverse=True)
    return index, [str(value) for value in found]


def missing_groups(groupings: Mapping[str, tuple[np.ndarray, list[str]]]) -> Iterator[str]:
    """Yield a warning for each grouping in which images have no group."""
    for name, (index, _) in groupings.items():
        if missing := int((index == UNGROUPED).sum()):
            yield (
                f"{missing} of {len(index)} images have no {name}: they are left out of that "
                "grouping alone."
            )
