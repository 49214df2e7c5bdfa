"""What is pruned while it is trained: between which epochs, what else decides it, its control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recall_distortion.study.parts import GRADUAL, Method, Recipe
from recall_distortion.vocabulary import CONTROL_GRADUAL


def is_gradual(name: str, method: Method | None) -> bool:
    """Return whether a method, or a control, is of networks that are pruned while trained."""
    return name == CONTROL_GRADUAL if method is None else method.schedule == GRADUAL


def span(where: str, methods: Mapping[str, Method | None], recipe: Recipe) -> tuple[int, int]:
    """Return after how many epochs a network's gradual pruning begins and ends.

    ``methods`` are all those of the network, ``recipe`` is that of its training. Raises
    ``ValueError`` where they differ, since they have one control, where nothing is pruned
    gradually, and where the training has too few epochs.
    """
    gradual = {
        name: method
        for name, method in methods.items()
        if method is not None and method.schedule == GRADUAL
    }
    if not gradual:
        raise ValueError(
            f"panels: {where} lists {CONTROL_GRADUAL} and nothing that is pruned gradually; list "
            "gradual, or a method of that schedule, or remove it"
        )
    (first, shared), *others = gradual.items()
    for name, method in others:
        if (method.begin, method.end) != (shared.begin, shared.end):
            raise ValueError(
                f"methods.{name}: it begins and ends at {method.begin:g} and {method.end:g}, and "
                f"{first} at {shared.begin:g} and {shared.end:g}; {where} has one "
                f"{CONTROL_GRADUAL} for both, so give them the same, or a recipe each"
            )
    epochs = sum(phase.epochs for phase in recipe.phases)
    begin, end = round(shared.begin * epochs), round(shared.end * epochs)
    if not begin < end < epochs:
        raise ValueError(
            f"methods.{first}: of the {epochs} epochs in which {where} is trained, pruning would "
            f"begin after {begin} and end after {end}; it takes at least one epoch, and one more "
            "must follow. Change begin or end, or train longer"
        )
    return begin, end


def parameters(
    where: str, methods: Mapping[str, Method | None], bundle: tuple[str, ...], recipe: Recipe
) -> dict[str, Any]:
    """Return what further decides a bundle's networks; nothing where none is pruned gradually."""
    if not any(is_gradual(name, methods[name]) for name in bundle):
        return {}
    begin, end = span(where, methods, recipe)
    return {"gradual": {"recipe": recipe.model_dump(), "begin": begin, "end": end}}
