"""What somebody gave as classes, a value an image: checked, and made integers or texts."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
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
        return as_texts(values, where)
    if values.dtype.kind == "f":
        if missing and np.isnan(values).any() and whole(values[~np.isnan(values)]):
            return np.where(np.isnan(values), ABSTAINED, values).astype(np.int64)
        raise AuditError(
            f"{where}: holds {values.dtype} numbers such as {values[0]!s}, but classes are whole "
            "numbers or texts: save them as integers; scores of a model of two classes need a "
            "threshold (threshold=)"
        )
    raise AuditError(f"{where}: holds {values.dtype}, but classes are whole numbers or texts")


def require_no_truth(values: np.ndarray, classes: int, where: str) -> None:
    """Raise ``AuditError`` for answers that say whether they are right, not what they are."""
    if values.dtype.kind == "b" and values.ndim == 1 and classes > 2:
        raise AuditError(
            f"{where}: holds true and false, and there are {classes} classes: give the class that "
            "each answer is, not whether it is right"
        )


def _of_objects(values: np.ndarray, where: str, missing: bool) -> np.ndarray:
    """Return what pandas or pickles hold as objects: texts or whole numbers, some missing."""
    nothing = are_missing(values)
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


def are_missing(values: np.ndarray) -> np.ndarray:
    """Return which values [M] are None, no number, no time, or an empty text."""
    if values.dtype.kind == "O":
        return np.array([_is_missing(value) for value in values], bool)
    if values.dtype.kind in "US":
        empty: np.ndarray = values == values.dtype.type()
        return empty
    # No number and no time are not even themselves.
    missing: np.ndarray = values != values
    return missing


def _is_missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value) or (isinstance(value, str) and not value)
    except (TypeError, ValueError):  # pandas.NA compares to neither; an array is no value
        return not np.ndim(value)


def as_texts(values: np.ndarray, where: str) -> np.ndarray:
    """Return names [M] as texts that every file can hold; raises ``AuditError``."""
    try:
        texts = values.astype(str)
    except UnicodeDecodeError:
        raise AuditError(f"{where}: holds bytes that are no text; decode them") from None
    check_texts(texts.tolist(), where)
    return texts


def check_texts(texts: Sequence[str], where: str) -> None:
    """Raise ``AuditError`` for a text that no file can hold: one with half a character."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        text = next(text for text in texts if any("\ud800" <= one <= "\udfff" for one in text))
        raise AuditError(
            f"{where}: {text!r} holds half a character (a surrogate), as texts have that were "
            "read in another encoding; read them anew"
        ) from None


def real(value: Any, what: str, wanted: str) -> float:
    """Return a number that somebody gave, numpy's too, as a float; raises ``AuditError``."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise AuditError(f"{what}: {wanted}, not {value!r}")
    return float(value)
