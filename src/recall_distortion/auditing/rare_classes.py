"""Do rare classes lose more? A study's question, asked of an audit's models.

Predictions hold no training images, so somebody has to count them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.auditing.answers import TestSet
from recall_distortion.auditing.as_cells import Cells, as_method, keys
from recall_distortion.auditing.reading import parted, read
from recall_distortion.auditing.vectors import array
from recall_distortion.inference.questions.frequency import LEAST_CLASSES, UNBALANCED, frequency
from recall_distortion.system.errors import AuditError
from recall_distortion.tables.forgetting import FREQUENCY_SLOPES

PER_TENFOLD = "per tenfold training images"
BESIDE = f"{PER_TENFOLD}, at equal recall before"
#: What the table calls the slopes of the question.
SLOPES = dict(
    zip(
        FREQUENCY_SLOPES,
        (
            PER_TENFOLD, "per unit of recall before",
            BESIDE, "per unit of recall before, at equal training images",
        ),
        strict=True,
    )
)  # fmt: skip
_OF_SLOPE = {
    "after": "", "after_low": "_low", "after_high": "_high", "control": "_control",
    "over_control": "_over_control", "over_control_low": "_over_low",
    "over_control_high": "_over_high", "p": "_p",
}  # fmt: skip


def read_counts(given: str) -> Any:
    """Return what --class-counts names: counts by class of a table, or those of an array."""
    path, column = parted(given)
    if column is not None or path.suffix.lower() not in (".csv", ".parquet"):
        return read(given)
    names = np.asarray(read(f"{given}:class", texts="all"))
    counts = np.asarray(read(f"{given}:count"))
    found = dict(zip(names.tolist(), counts.tolist(), strict=True))
    if len(found) < len(names):
        raise AuditError("class counts: a class stands in several lines; give each one line")
    return found


def class_counts(given: Any, images: TestSet) -> np.ndarray:
    """Return the training images [C] of each class of a test set.

    ``given`` has them by the class's name, or [C] in the order of the classes' numbers. NaN for a
    class without a test image, of which nothing is asked. Raises ``AuditError`` that says what was
    found and what is wanted.
    """
    there = np.bincount(images.index, minlength=len(images.names)) > 0
    if isinstance(given, Mapping):
        named = {str(name): count for name, count in given.items()}
        missing = [
            name
            for name, is_there in zip(images.names, there, strict=True)
            if is_there and name not in named
        ]
        if missing:
            raise AuditError(f"class counts: have none of {len(missing)} classes: {missing[0]}")
        values = array([named.get(name, np.nan) for name in images.names], "class counts")
    else:
        values = array(given, "class counts")
        if images.as_texts and not images.numbered:
            raise AuditError(
                "class counts: are in the order of the classes, and the labels are texts: give "
                "them by name, or name the classes in their order (classes=)"
            )
        if values.ndim != 1 or len(values) < len(images.names):
            raise AuditError(
                f"class counts: have shape {list(values.shape)}, and there are "
                f"{len(images.names)} classes: give the training images of each"
            )
        values = values[: len(images.names)]
    return _checked(values, images, there)


def _checked(values: np.ndarray, images: TestSet, there: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise AuditError(f"class counts: hold {values.dtype}, but they are numbers of images")
    counts = np.where(there, values.astype(float), np.nan)
    wrong = there & ~(np.isfinite(counts) & (counts > 0))
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise AuditError(
            f"class counts: {images.names[place]} has {values[place]} training images; give how "
            "many the networks were trained on, one at least"
        )
    known = counts[there]
    if len(known) < LEAST_CLASSES:
        raise AuditError(
            f"class counts: there are {len(known)} classes with a test image; a slope over classes "
            f"needs {LEAST_CLASSES}"
        )
    if known.max() < UNBALANCED * known.min():
        raise AuditError(
            f"class counts: run from {known.min():g} to {known.max():g}; rare classes can be told "
            f"from common ones where the largest has {UNBALANCED:g} times the images of the "
            "smallest"
        )
    return counts


def rare_classes(
    cells: Cells, candidates: Sequence[str], counts: np.ndarray, level: float
) -> pd.DataFrame:
    """Return a row for each candidate and slope of the classes' changes of recall.

    ``counts`` [C] are training images; ``auditing.schema`` says what each column holds. Raises
    ``AuditError`` for one network, whose recalls before are on both sides of a slope.
    """
    dense = cells.known[0]
    if len(dense.seeds) < 2:
        raise AuditError(
            "class counts: need several networks of each model: recall before is that of other "
            "networks, so that no network's own luck is on both sides"
        )
    known = counts[np.isfinite(counts)]
    trained = pd.DataFrame(
        {"dataset": keys(dense)["dataset"], "class": np.arange(len(known)), "fit": known}
    )
    found = frequency(cells.recalls(), trained, level).set_index("method")
    rows = [
        {"candidate": name, "slope": title}
        | {ours: found.loc[as_method(place), f"{slope}{of}"] for ours, of in _OF_SLOPE.items()}
        for place, name in enumerate(candidates)
        for slope, title in SLOPES.items()
    ]
    return pd.DataFrame(rows)
