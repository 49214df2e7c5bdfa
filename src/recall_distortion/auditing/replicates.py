"""Predictions of one network or of several, as they were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recall_distortion.auditing.answers import Answers, TestSet, answers
from recall_distortion.auditing.populations import Population
from recall_distortion.auditing.vectors import array
from recall_distortion.system.errors import AuditError


def answers_of(
    predictions: Any, images: TestSet, where: str, **options: Any
) -> Answers | Population:
    """Return a model's answers to M images, or those of K of its replicates.

    Of one network ``predictions`` are as in ``answers.answers``. Of K they are classes [K, M],
    scores [K, M, C], or a mapping from each network's name to its own. K = 1 is one network.
    Raises ``AuditError``.
    """
    networks = _networks(predictions, images, where)
    if networks is None:
        return answers(predictions, images, where, **options)
    found = {
        name: answers(one, images, f"{where}, network {name}", **options)
        for name, one in networks.items()
    }
    require_columns({f"{where}, network {name}": one for name, one in found.items()})
    return next(iter(found.values())) if len(found) == 1 else Population.of(found, images)


def _networks(predictions: Any, images: TestSet, where: str) -> Mapping[str, Any] | None:
    """Return the predictions of each of several networks, None where there is one."""
    if isinstance(predictions, Mapping):
        if not predictions:
            raise AuditError(f"{where}: names no network")
        return {str(name): one for name, one in predictions.items()}
    if hasattr(predictions, "columns"):  # of a table, a column is a class
        return None
    values = array(predictions, where)
    several = values.ndim == 3 or (
        values.ndim == 2 and values.shape[1] == len(images) != values.shape[0]
    )
    if not several:
        return None
    if values.ndim == 3 and values.shape[1] != len(images):
        raise AuditError(
            f"{where}: has shape {list(values.shape)}, which is {values.shape[0]} networks, "
            f"{values.shape[1]} images and {values.shape[2]} classes, but there are {len(images)} "
            "labels: give [networks, images, classes] of the same images in the same order"
        )
    if not len(values):
        raise AuditError(f"{where}: holds no network")
    return {str(place): one for place, one in enumerate(values)}


def require_pairs(before: Answers | Population, others: Mapping[str, Answers | Population]) -> None:
    """Raise ``AuditError`` unless every model has as many networks as before, of the same names."""
    first = _replicates(before)
    for name, other in others.items():
        own = _replicates(other)
        if len(own) != len(first):
            raise AuditError(
                f"{name}: holds {_count(own)}, and before holds {_count(first)}: give as many, "
                f"network k of {name} must come from network k of before"
            )
        if own != first:
            one, two = next((a, b) for a, b in zip(first, own, strict=True) if a != b)
            raise AuditError(
                f"{name}: network {two} stands where before has network {one}: each network after "
                "belongs to the one before of the same name, in the same order"
            )


def require_columns(models: Mapping[str, Answers | Population]) -> None:
    """Raise ``AuditError`` where models have scores of different numbers of classes."""
    scored = {name: one.columns for name, one in models.items() if one.columns}
    for name, columns in scored.items():
        first, wanted = next(iter(scored.items()))
        if columns != wanted:
            raise AuditError(
                f"{name}: has {columns} columns of scores, and {first.split(', ')[-1]} has "
                f"{wanted}: give the same classes in the same order"
            )


def _replicates(model: Answers | Population) -> list[str]:
    return model.replicates if isinstance(model, Population) else [""]


def _count(names: list[str]) -> str:
    return "1 network" if len(names) == 1 else f"{len(names)} networks"
