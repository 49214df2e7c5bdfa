"""What a model says of a test set, in whatever form it came: checked, and made one form.

Every error is one message that says what was found and what is wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal

import numpy as np

from recall_distortion.auditing.logits import TOLERANCE, are_logits, parts
from recall_distortion.auditing.vectors import (
    ABSTAINED,
    array,
    check_texts,
    first,
    real,
    require_no_truth,
    vector,
    whole,
)
from recall_distortion.system.errors import AuditError

Scores = Literal["auto", "logits"]

#: Rows by which scores are told from classes.
_LOOKED_AT = 10_000
#: What an array of several networks looks like, and of what it may be the other way round.
ACROSS = ": several networks are [networks, images], so give values.T of [images, networks]"


@dataclass(frozen=True)
class TestSet:
    """The true classes of M test images: ``index`` [M] into ``names`` [C].

    ``as_texts`` says that labels came as texts, ``numbered`` that the names were given in the order
    of the classes' numbers.
    """

    names: list[str]
    index: np.ndarray
    as_texts: bool = False
    numbered: bool = False

    __test__ = False  # the name is a test set's, not a test's

    def __len__(self) -> int:
        return len(self.index)

    def facts(self) -> dict[str, Any]:
        """Return how many images and classes there are, and a checksum of the labels.

        ``labels`` is SHA-256 of the images' classes by name, in their order, in UTF-8, each with a
        line break behind it.
        """
        lines = (f"{self.names[label]}\n" for label in self.index.tolist())
        checksum = hashlib.sha256("".join(lines).encode()).hexdigest()
        return {"images": len(self), "classes": len(self.names), "labels": checksum}


@dataclass(frozen=True)
class Answers:
    """A model's answers to M images.

    ``predicted`` [M] are classes by number, ``ABSTAINED`` where there is no answer; ``right`` [M]
    says which count as right, the true class being the answer or among the first k; ``probability``
    [M] is that of the true class, None where the model gave classes alone, and ``confidence`` [M]
    that of the answer, None also where the first k count. ``names`` are the test set's classes, and
    behind them those that the model alone knows.
    """

    predicted: np.ndarray
    right: np.ndarray
    names: list[str]
    probability: np.ndarray | None = None
    columns: int = 0
    confidence: np.ndarray | None = None

    def part(self, which: np.ndarray) -> Answers:
        """Return the answers to some images [M], true or false."""
        known, sure = (
            None if values is None else values[which]
            for values in (self.probability, self.confidence)
        )
        return replace(
            self,
            predicted=self.predicted[which],
            right=self.right[which],
            probability=known,
            confidence=sure,
        )


def test_set(labels: np.ndarray, classes: Sequence[str] | None, where: str) -> TestSet:
    """Return a test set from labels [M], integers or texts.

    ``classes`` names the classes in the order of their numbers; by default they are those that
    occur. ``where`` begins messages. Raises ``AuditError``.
    """
    given = vector(labels, where)
    names = None if classes is None else [str(name) for name in classes]
    if names is not None and not names:
        raise AuditError("classes: names none")
    if names is not None and "" in names:
        raise AuditError(f"classes: class {names.index('')} has an empty name; name every class")
    check_texts(names or [], "classes")
    if names is not None and len(set(names)) < len(names):
        raise AuditError(f"classes: {_twice(names)!r} is named twice; give each class its own name")
    if given.dtype.kind in "US":
        if names is None:
            names = [str(name) for name in np.unique(given)]
        return TestSet(names, _places(given, names, where), True, classes is not None)
    if given.min() < 0:
        raise AuditError(f"{where}: holds the label {given.min()}; classes are numbers from 0 on")
    if names is None:
        return TestSet([str(number) for number in range(int(given.max()) + 1)], given)
    if given.max() >= len(names):
        from_one = " They run from 1: subtract 1." if given.min() == 1 else ""
        raise AuditError(
            f"{where}: holds the label {given.max()}, but there are {len(names)} classes, "
            f"0 to {len(names) - 1}.{from_one}"
        )
    return TestSet(names, given, numbered=True)


def answers(
    predictions: Any,
    images: TestSet,
    where: str,
    *,
    top_k: int = 1,
    threshold: float | None = None,
    scores: Scores = "auto",
) -> Answers:
    """Return a model's answers from predictions of M images.

    ``predictions`` are classes [M], or probabilities or logits [M, C]. With a ``threshold`` they
    are scores [M] of class 1 of two, which is the answer from that score on. With ``top_k`` an
    answer is right if the true class is among the k with the highest scores. Empty texts, missing
    values and -1 are no answers, and so never right. Of a table of scores whose columns are named
    as the classes are, each column is that class's. Raises ``AuditError``.
    """
    if isinstance(top_k, bool) or not isinstance(top_k, Integral) or top_k < 1:
        raise AuditError(f"top k: a whole number from 1 on, not {top_k!r}")
    if scores not in ("auto", "logits"):
        raise AuditError(f"scores: auto or logits, not {scores!r}")
    if threshold is not None and not np.isfinite(real(threshold, "threshold", "a number")):
        raise AuditError(f"threshold: a number, not {threshold!r}")
    named = images.numbered or not images.as_texts
    if hasattr(predictions, "columns"):
        predictions, named = _ordered(predictions, images, where)
    predictions = array(predictions, where)
    if predictions.ndim == 0 or len(predictions) != len(images):
        count = len(predictions) if predictions.ndim else 1
        raise AuditError(
            f"{where}: holds {count} predictions, but there are {len(images)} labels: give "
            "predictions for the same images in the same order"
        )
    if predictions.ndim == 2 and predictions.shape[1] > 1:
        if threshold is not None:
            raise AuditError(
                f"{where}: a threshold is for one score an image, and here are "
                f"{predictions.shape[1]}"
            )
        if not named and predictions.dtype.kind in "fiu":
            raise AuditError(
                f"{where}: has a column for each class, and the labels are texts: name the classes "
                "in the order of the columns (classes=), or give a table whose columns have these "
                "names"
            )
        return _of_scores(predictions, images, where, top_k, scores)
    if top_k > 1:
        raise AuditError(f"{where}: top {top_k} needs a score for each class, not answers alone")
    if threshold is not None:
        return _of_threshold(predictions, images, where, threshold)
    require_no_truth(predictions, len(images.names), where)
    return _of_classes(vector(predictions, where, missing=True), images, where)


def _ordered(table: Any, images: TestSet, where: str) -> tuple[Any, bool]:
    """Return a table's scores in the order of the classes, and whether that order is known."""
    names = [str(name) for name in table.columns]
    if set(names) == set(images.names):
        return table.iloc[:, [names.index(name) for name in images.names]], True
    numbers = names == [str(place) for place in range(len(names))]
    known = images.numbered or not images.as_texts
    if len(names) > 1 and not numbers and (images.as_texts or images.numbered):
        raise AuditError(f"{where}: {_columns_that_differ(names, images.names)}")
    return table, known


def _columns_that_differ(names: list[str], classes: list[str]) -> str:
    """Return in words by what a table's columns are not the classes."""
    further = [name for name in names if name not in classes]
    missing = [name for name in classes if name not in names]
    if further and not missing:
        what = f"column {further[0]}" if len(further) == 1 else f"columns {_listed(further)}"
        return f"has the {what} beside those of the classes: remove {_it(further)}"
    if missing and len(missing) < len(classes):
        beside = f", and beside the classes {_listed(further)}" if further else ""
        return (
            f"has no column {_listed(missing)}{beside}: give the columns the classes' names, each "
            "once"
        )
    return (
        f"has the columns {_listed(names)}, and the classes are {_listed(classes)}: give the "
        "columns the classes' names, or the numbers 0, 1, ..."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _it(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _twice(names: Sequence[str]) -> str:
    return next(name for place, name in enumerate(names) if name in names[:place])


def _places(values: np.ndarray, names: Sequence[str], where: str) -> np.ndarray:
    """Return the numbers [M] of classes given by name."""
    order = np.argsort(names)
    ordered = np.array(names)[order]
    places = np.searchsorted(ordered, values).clip(max=len(names) - 1)
    if (unknown := ordered[places] != values).any():
        raise AuditError(
            f"{where}: {first(unknown)} is {str(values[unknown][0])!r}, which is none of the "
            f"{len(names)} classes: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        )
    found: np.ndarray = order[places]
    return found


def _of_classes(values: np.ndarray, images: TestSet, where: str) -> Answers:
    if values.dtype.kind == "U":
        return _of_texts(values, images, where)
    if values.min() < ABSTAINED:
        raise AuditError(f"{where}: holds the class {values.min()}; -1 is no answer")
    if images.as_texts and not images.numbered:
        # A class may be called 7, and be another in the order of names.
        texts = np.where(values == ABSTAINED, "", values.astype(str))
        if not set(images.names).isdisjoint(texts):
            return _of_texts(texts, images, where)
        raise AuditError(
            f"{where}: holds integers, and the labels are texts such as "
            f"{images.names[images.index[0]]!r}: give both in the same words, or name the "
            "classes in the order of their numbers"
        )
    names = _with_numbers(images.names, int(values.max()))
    return Answers(values, values == images.index, names)


def _of_texts(values: np.ndarray, images: TestSet, where: str) -> Answers:
    known = np.isin(values, images.names)
    if not images.as_texts and not known.any():
        raise AuditError(
            f"{where}: holds texts such as {str(values[0])!r}, and the labels are integers: give "
            "both in the same words, or name the classes in the order of their numbers"
        )
    answered = values != ""
    unknown = ~known & answered
    if unknown.mean() > 0.5:
        raise AuditError(
            f"{where}: most answers, such as {str(values[unknown][0])!r}, are none of the labels' "
            f"classes: {', '.join(images.names[:5])}, ..."
        )
    names = [*images.names, *np.unique(values[unknown]).tolist()]
    predicted = np.full(len(values), ABSTAINED)
    predicted[answered] = _places(values[answered], names, where)
    return Answers(predicted, predicted == images.index, names)


def _with_numbers(names: Sequence[str], last: int) -> list[str]:
    """Return names of classes, and numbers for those behind them up to the last."""
    return [*names, *map(str, range(len(names), last + 1))]


def _of_threshold(values: np.ndarray, images: TestSet, where: str, threshold: float) -> Answers:
    if values.ndim == 2:
        values = values[:, 0]
    if values.dtype.kind not in "fiu" or values.ndim != 1:
        raise AuditError(f"{where}: a threshold is for scores [M], numbers; here is {values.dtype}")
    if len(images.names) > 2:
        raise AuditError(
            f"{where}: a threshold is for two classes, and here are {len(images.names)}"
        )
    if (unknown := np.isnan(values.astype(float))).any():
        raise AuditError(f"{where}: {first(unknown)} has no number as its score (NaN)")
    predicted = (values >= threshold).astype(np.int64)
    probability = confidence = None
    if ((values >= -TOLERANCE) & (values <= 1 + TOLERANCE)).all():
        score = values.astype(float).clip(0, 1)
        probability = np.where(images.index == 1, score, 1 - score)
        confidence = np.where(predicted == 1, score, 1 - score)
    names = _with_numbers(images.names, 1)
    right = predicted == images.index
    return Answers(predicted, right, names, probability, confidence=confidence)


def _of_scores(
    values: np.ndarray, images: TestSet, where: str, top_k: int, scores: Scores
) -> Answers:
    count, classes = values.shape
    if values.dtype.kind not in "fiu":
        across = ACROSS if values.dtype.kind in "UOS" else ""
        raise AuditError(
            f"{where}: holds {values.dtype} of shape {list(values.shape)}, not scores{across}"
        )
    if scores == "auto" and _are_networks(values, images):
        raise AuditError(
            f"{where}: has shape {list(values.shape)} and holds classes, not scores{ACROSS}; "
            "scores that are whole numbers are read as logits (scores='logits')"
        )
    _check_columns(classes, images, where)
    if not 0 < top_k < classes:
        raise AuditError(f"{where}: top {top_k} of {classes} classes says nothing")
    predicted, right = np.empty(count, np.int64), np.empty(count, bool)
    logits = scores == "logits" or are_logits(values, where)
    given = values.dtype if values.dtype.kind == "f" and not logits else np.dtype(float)
    probability, confidence = np.empty(count), np.empty(count, given)
    for part in parts(values):
        rows = np.asarray(values[part], float)
        if (wrong := ~np.isfinite(rows).all(1)).any():
            image = part.start + int(np.flatnonzero(wrong)[0])
            raise AuditError(f"{where}: image {image} has scores that are no finite numbers")
        true = rows[np.arange(len(rows)), images.index[part]]
        predicted[part] = rows.argmax(1)
        if top_k == 1:
            right[part] = predicted[part] == images.index[part]
        else:
            # Of equal scores the first counts as the higher, as in argmax.
            earlier = np.arange(classes) < images.index[part, None]
            ahead = (rows > true[:, None]) | ((rows == true[:, None]) & earlier)
            right[part] = ahead.sum(1) < top_k
        largest = rows.max(1)
        if logits:
            total = np.exp(rows - largest[:, None]).sum(1)
            true, largest = np.exp(true - largest) / total, 1 / total
        probability[part], confidence[part] = true.clip(0, 1), largest.clip(0, 1)
    names = _with_numbers(images.names, classes - 1)
    sure = confidence if top_k == 1 else None
    return Answers(predicted, right, names, probability, classes, sure)


def _are_networks(values: np.ndarray, images: TestSet) -> bool:
    """Return whether what stands for scores [M, C] are classes, several an image.

    All are whole numbers of classes, and in a tenth of the rows they are all the same, which as
    scores would say nothing.
    """
    rows = np.asarray(values[:_LOOKED_AT], float)
    if not np.isfinite(rows).all():
        return False
    last = max(len(images.names), values.shape[1])
    if not (whole(rows) and rows.min() >= ABSTAINED and rows.max() < last):
        return False
    return bool((rows == rows[:, :1]).all(1).mean() > 0.1)


def _check_columns(columns: int, images: TestSet, where: str) -> None:
    """Raise ``AuditError`` unless there is a column for each class."""
    largest = images.index.max()
    if largest >= columns:
        from_one = images.index.min() == 1 and largest == columns
        raise AuditError(
            f"{where}: has {columns} columns, for the classes 0 to {columns - 1}, and a label is "
            f"{largest}" + (". The labels run from 1: subtract 1" if from_one else "")
        )
    if images.numbered and columns != len(images.names):
        raise AuditError(
            f"{where}: has {columns} columns, and there are {len(images.names)} classes: give a "
            "column for each class, in their order"
        )
