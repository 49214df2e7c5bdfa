"""The models of an audit as the cells of a study, so that a study's questions are asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.auditing.answers import Answers, TestSet
from recall_distortion.auditing.populations import Population
from recall_distortion.auditing.vectors import ABSTAINED
from recall_distortion.measures.calibration import class_errors
from recall_distortion.measures.distortion import Counts, class_rows
from recall_distortion.tables.predictions import Predictions
from recall_distortion.vocabulary import (
    CELL_STATE,
    CONTROL,
    DENSE,
    RETRAINED,
    UNCOMPRESSED_TEXT,
    Panel,
)

_PANEL = Panel("audit", "model", "given")


def as_method(place: int) -> str:
    """Return what the candidate at a place is called among the cells."""
    return f"candidate {place}"


@dataclass(frozen=True)
class Cells:
    """The model before, the control where there is one, and the candidates, a cell each.

    ``known`` are they as to the classes with an image, whose recalls there are: what is answered
    beside these has numbers below 0. What counts as right among the first k scores is answered
    rightly there.
    ``answered`` are they as to all that any model answers, no answer among it, named in ``names``.
    The networks' seeds are their places. ``lossless`` says of which cells, by method, a probability
    of a true class is 0, so that no loss is known.
    """

    known: list[Predictions]
    answered: list[Predictions]
    names: list[str]
    lossless: frozenset[str]

    @classmethod
    def of(
        cls,
        images: TestSet,
        before: Answers | Population,
        candidates: Mapping[str, Answers | Population],
        control: Answers | Population | None,
    ) -> Cells:
        models = {DENSE: before} | ({} if control is None else {CONTROL: control})
        models |= {as_method(place): one for place, one in enumerate(candidates.values())}
        further = sorted(
            {name for one in models.values() for name in one.names[len(images.names) :]}
        )
        names = [*images.names, *further, ""]  # the last is no answer
        support = np.bincount(images.index, minlength=len(images.names))
        there = np.flatnonzero(support)
        place = ABSTAINED - np.arange(len(names))  # one answer for another is a flip there, too
        place[there] = np.arange(len(there))
        labels = place[images.index]
        known, answered, lossless = [], [], set()
        for method, model in models.items():
            one = _cell(images, model, method, names)
            answered.append(one)
            if _has_zero(model):
                lossless.add(method)
            own = np.where(_rows(model.right), labels, place[one.predicted])
            class_names = [images.names[number] for number in there]
            known.append(replace(one, labels=labels, predicted=own, class_names=class_names))
        return cls(known, answered, names, frozenset(lossless))

    @property
    def has_control(self) -> bool:
        return any(one.method == CONTROL for one in self.known)

    def recalls(self) -> pd.DataFrame:
        """Return the recalls of the classes with an image, as a study's table has them."""
        return pd.concat([_recalls(one) for one in self.known], ignore_index=True)


def keys(cell: Predictions) -> dict[str, Any]:
    """Return what tables of a study name a cell's networks by, but for their seeds."""
    named = (*cell.panel, cell.method, float(cell.ratio), cell.state)
    return dict(zip(CELL_STATE, named, strict=True))


def _rows(values: np.ndarray) -> np.ndarray:
    """Return values of one network [M] or of several [K, M] as those of several."""
    return values if values.ndim == 2 else values[None]


def _true(model: Answers | Population) -> np.ndarray | None:
    values = model.of_true if isinstance(model, Population) else model.probability
    return None if values is None else _rows(values)


def _has_zero(model: Answers | Population) -> bool:
    true = _true(model)
    return true is not None and not (true > 0).all()


def _cell(
    images: TestSet, model: Answers | Population, method: str, names: list[str]
) -> Predictions:
    # Behind the test set's classes each model has numbers of its own; -1 takes the last place.
    numbers = np.array([names.index(name) for name in model.names[len(images.names) :]], int)
    numbers = np.concatenate([np.arange(len(images.names)), numbers, [len(names) - 1]])
    predicted = numbers[_rows(model.predicted)]
    true = _true(model)
    loss = None if true is None or _has_zero(model) else -np.log(true)
    state = DENSE if method == DENSE else RETRAINED
    sure = None if model.confidence is None else _rows(model.confidence)
    seeds = list(range(len(predicted)))
    return Predictions(
        _PANEL, method, UNCOMPRESSED_TEXT, state, seeds, names, images.index, predicted, {},
        loss=loss, probability=sure,
    )  # fmt: skip


def _recalls(cell: Predictions) -> pd.DataFrame:
    classes = len(cell.class_names)
    counts = Counts.unchecked(cell.labels, cell.predicted, classes)
    calibration = None
    if cell.probability is not None:
        named = np.where(cell.predicted < 0, classes, cell.predicted)
        errors = class_errors(cell.labels, named, cell.probability, classes + 1)
        calibration = errors[:, :classes]
    rows = class_rows(counts, cell.class_names, cell.seeds, calibration=calibration)
    return rows.assign(**keys(cell))
