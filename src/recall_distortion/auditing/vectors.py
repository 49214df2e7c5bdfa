"""What somebody gave as classes, a value an image: checked, and made integers or texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from recall_distortion.system.errors import AuditError

#: The class of an answer that is none.
ABSTAINED = -1
#: So many classes there may be, however few images.
LARGEST = 100_000


def array(values: Any, where: str) -> np.ndarray:
    """Return what somebody gave as an array; raises ``AuditError`` where it is none."""
    if np.ma.is_masked(values):
        raise AuditError(f"{where}: is a masked array; fill what is masked, -1 is no answer")
    if hasattr(values, "detach"):  # a tensor of torch, perhaps with a gradient or on a GPU
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise AuditError(f"{where}: cannot be read as an array: {reason}") from None


def vector(values: np.ndarray, where: str, missing: bool = False) -> np.ndarray:
    """Return classes [M] as integers or texts; -1 and "" where they may be missing and are."""
    if values.ndim == 2 and values.shape[1] == 1:
        raise AuditError(f"{where}: has shape {list(values.shape)}; make it a vector, values[:, 0]")
    if values.ndim == 2 and set(np.unique(values[:1000]).tolist()) <= {0, 1}:
        raise AuditError(
            f"{where}: has shape {list(values.shape)} of zeros and ones, as one-hot labels have; "
            "give the classes, values.argmax(1)"
        )
    if values.ndim != 1:
        raise AuditError(
            f"{where}: has shape {list(values.shape)}, but the class of each image is a vector"
        )
    if not len(values):
        raise AuditError(f"{where}: is empty")
    if values.dtype.kind == "O":
        values = _of_objects(values, where, missing)
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if values.dtype.kind in "iu":
        if int(values.max()) > max(len(values), LARGEST):
            raise AuditError(
                f"{where}: holds the class {values.max()} among {len(values)}; number the classes "
                "0, 1, ..., or give them as texts"
            )
        return values.astype(np.int64)
    if values.dtype.kind in "US":
        if not missing and (values == "").any():
            raise AuditError(f"{where}: {first(values == '')} has no label")
        try:
            return values.astype(str)
        except UnicodeDecodeError:
            raise AuditError(f"{where}: holds bytes that are no text; decode them") from None
    if values.dtype.kind == "f":
        if missing and np.isnan(values).any() and whole(values[~np.isnan(values)]):
            return np.where(np.isnan(values), ABSTAINED, values).astype(np.int64)
        raise AuditError(
            f"{where}: holds {values.dtype} numbers such as {values[0]!s}, but classes are whole "
            "numbers or texts: save them as integers; scores of a model of two classes need a "
            "threshold (threshold=)"
        )
    raise AuditError(f"{where}: holds {values.dtype}, but classes are whole numbers or texts")


def _of_objects(values: np.ndarray, where: str, missing: bool) -> np.ndarray:
    """Return what pandas or pickles hold as objects: texts or whole numbers, some missing."""
    nothing = np.array([value is None or value != value for value in values])
    if nothing.any() and not missing:
        raise AuditError(f"{where}: {first(nothing)} has no label")
    kept = values[~nothing]
    if all(isinstance(value, str) for value in kept):
        return np.array(
            ["" if gone else value for value, gone in zip(values, nothing, strict=True)]
        )
    if all(isinstance(value, (int, np.integer)) for value in kept):
        return np.array(
            [ABSTAINED if gone else int(value) for value, gone in zip(values, nothing, strict=True)]
        )
    kinds = sorted({type(value).__name__ for value in kept})
    raise AuditError(f"{where}: holds {' and '.join(kinds)}; classes are all texts or all integers")


def whole(values: np.ndarray) -> bool:
    return bool((values % 1 == 0).all())


def first(wrong: np.ndarray) -> str:
    return f"image {int(np.flatnonzero(wrong)[0])}"
