"""Whether scores are logits or probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recall_distortion.system.errors import AuditError

#: By how much a row of probabilities may miss 1, and one of them 0 or 1: half precision, and a
#: thousand classes.
TOLERANCE = 0.02
#: Rows of scores that are looked at at once, by their numbers: 128 MB of double precision.
_AT_ONCE = 1 << 24


def parts(values: np.ndarray) -> Iterator[slice]:
    """Yield slices of rows that are few enough to be looked at at once."""
    size = max(_AT_ONCE // values.shape[1], 1)
    for start in range(0, len(values), size):
        yield slice(start, min(start + size, len(values)))


def are_logits(values: np.ndarray, where: str) -> bool:
    """Return whether scores are logits, not probabilities; raises where they could be neither."""
    outside, alike, image, why = 0, 0, None, ""
    for part in parts(values):
        rows = np.asarray(values[part], float)
        far: np.ndarray = np.abs(rows - 0.5).max(1) > 0.5 + TOLERANCE
        sums: np.ndarray = np.abs(rows.sum(1) - 1) > TOLERANCE
        outside += int(far.sum())
        alike += int((~far & ~sums).sum())
        if image is None and (far | sums).any():
            first = int(np.flatnonzero(far | sums)[0])
            image, why = part.start + first, _why_neither(rows[first], bool(far[first]))
    if outside and alike <= len(values) / 2:
        return True
    if image is not None:
        raise AuditError(
            f"{where}: the scores of image {image} {why}: probabilities of one class among "
            "several sum to 1. If the highest score is the answer all the same, say that they are "
            "logits (scores='logits')"
        )
    return False


def _why_neither(row: np.ndarray, is_far: bool) -> str:
    """Return why a row of scores, among others that are probabilities, is none."""
    if is_far:
        worst = row[np.abs(row - 0.5).argmax()]
        return f"hold {worst:.3g}, and most others lie between 0 and 1"
    return f"lie between 0 and 1 and sum to {row.sum():.3g}"
