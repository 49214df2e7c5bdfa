"""How else than by fine-tuning a network's methods train, and the control of each such way.

All methods of one network that are trained alike share one control, so they share what decides it:
from which epoch they rewind, between which they are pruned. In rounds and at once the rate is
rewound to one epoch, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recall_distortion.compression import controls
from recall_distortion.compression.controls import EVENTS, FINETUNE, GRADUAL, WHILE_TRAINED
from recall_distortion.study.parts import Method
from recall_distortion.study.recipes import Recipe
from recall_distortion.vocabulary import (
    CONTROL,
    CONTROL_EVENTS,
    CONTROL_GRADUAL,
    CONTROL_ITERATIVE,
    CONTROL_ITERATIVE_RATE,
    CONTROL_REINIT,
    CONTROL_REWIND,
    CONTROL_REWIND_RATE,
    CONTROL_TRANSFER,
    CONTROLS,
)

Methods = Mapping[str, Method | None]  # of one network, by name; controls and quantizers are None

# What a control stands beside, for messages, and a method that would do.
_BESIDE = {
    CONTROL_GRADUAL: ("is pruned gradually", "gradual, or a method of that schedule"),
    CONTROL_EVENTS: ("has events in its training", "a method with schedule: events"),
    CONTROL_REWIND: (
        "is rewound",
        "a method with retraining: rewind, or at: initialization",
    ),
    CONTROL_REWIND_RATE: ("has its rate rewound", "a method with retraining: rewind_rate"),
    CONTROL_ITERATIVE: ("is fine-tuned in rounds", "a method with schedule: iterative"),
    CONTROL_ITERATIVE_RATE: (
        "has its rate rewound in rounds",
        "a method with schedule: iterative and retraining: rewind_rate",
    ),
    CONTROL_REINIT: ("gets fresh weights", "a method with retraining: reinit"),
    CONTROL_TRANSFER: (
        "begins with another data set's weights",
        "a method with ticket_from and no retraining: reinit",
    ),
}


def control_of(method: Method) -> str:
    """Return the arm that a method's effects are read against."""
    return controls.control_of(method.schedule, method.retraining)


def check(where: str, methods: Methods, recipe: Recipe) -> None:
    """Check the ways in which a network is trained beside fine-tuning.

    ``recipe`` is that of its training. Raises ``ValueError`` where methods of one control differ in
    what they share with it, where a control stands alone, and where the training has too few
    epochs.
    """
    for arm in CONTROLS:
        own = _of_arm(arm, methods)
        if arm in methods and arm != CONTROL and not own:
            what, wanted = _BESIDE[arm]
            raise ValueError(
                f"panels: {where} lists {arm} and nothing that {what}; list {wanted}, or remove it"
            )
        for name, method in own.items():
            first = next(iter(own))
            if _shared(method) != _shared(own[first]):
                raise ValueError(
                    f"methods.{name}: it has {_words(method)}, and {first} has "
                    f"{_words(own[first])}; {where} has one {arm} for both, so give them the same, "
                    "or a recipe each"
                )
    rates = {**_of_arm(CONTROL_REWIND_RATE, methods), **_of_arm(CONTROL_ITERATIVE_RATE, methods)}
    if len({method.rewind_epochs for method in rates.values()}) > 1:
        raise ValueError(
            f"methods: {' and '.join(rates)} rewind the rate of {where} to different epochs; give "
            "them one rewind_epochs, or a recipe each"
        )
    if _of_arm(CONTROL_GRADUAL, methods):
        _span(where, methods, recipe)
    if _of_arm(CONTROL_EVENTS, methods):
        _last(where, methods, recipe)
    epochs = _epochs(recipe)
    for name, pruning in methods.items():
        if pruning is not None and pruning.rewind_epochs >= epochs:
            raise ValueError(
                f"methods.{name}.rewind_epochs: {where} is trained for {epochs} epochs, so that "
                f"{pruning.rewind_epochs} leave none to train again; choose fewer"
            )


def parameters(
    where: str, methods: Methods, bundle: Sequence[str], recipe: Recipe
) -> dict[str, Any]:
    """Return what further decides a bundle's networks; nothing where all are fine-tuned."""
    found: dict[str, Any] = {}
    ways = {name: _way(name, methods[name]) for name in bundle}
    if GRADUAL in ways.values():
        begin, end = _span(where, methods, recipe)
        found["gradual"] = {"recipe": recipe.parameters(), "begin": begin, "end": end}
    if EVENTS in ways.values():
        found["events"] = {"recipe": recipe.parameters(), "end": _last(where, methods, recipe)}
    if retrainings := sorted({*ways.values()} - {*WHILE_TRAINED, FINETUNE}):
        found["retrainings"] = {
            name: {"recipe": recipe.parameters(), "epochs": rewound(name, methods)}
            for name in retrainings
        }
    return found


def _way(name: str, method: Method | None) -> str:
    """Return the schedule of what is pruned while trained, or else the retraining."""
    found = controls.WAY_OF[name] if method is None else (method.schedule, method.retraining)
    return found[0] if found[0] in WHILE_TRAINED else found[1]


def _of_arm(arm: str, methods: Methods) -> dict[str, Method]:
    return {n: method for n, method in methods.items() if method and control_of(method) == arm}


def _shared(method: Method) -> tuple[float, ...]:
    """Return what a method has in common with its control."""
    if method.schedule == GRADUAL:
        return method.begin, method.end
    if method.events is not None:
        return (method.events.end,)
    return (method.rewind_epochs,)


def _words(method: Method) -> str:
    if method.schedule == GRADUAL:
        return f"begin {method.begin:g} and end {method.end:g}"
    if method.events is not None:
        return f"events that end after {method.events.end} epochs"
    return f"rewind_epochs {method.rewind_epochs}"


def _epochs(recipe: Recipe) -> int:
    return recipe.epochs


def rewound(retraining: str, methods: Methods) -> int:
    """Return the epoch that a retraining begins after; a control's is that of its methods."""
    arms = {arm for (_, name), arm in controls.CONTROL_OF.items() if name == retraining}
    return next(m.rewind_epochs for m in methods.values() if m and control_of(m) in arms)


def _span(where: str, methods: Methods, recipe: Recipe) -> tuple[int, int]:
    """Return after how many epochs a network's gradual pruning begins and ends."""
    name, method = next(iter(_of_arm(CONTROL_GRADUAL, methods).items()))
    epochs = _epochs(recipe)
    begin, end = round(method.begin * epochs), round(method.end * epochs)
    if not begin < end < epochs:
        raise ValueError(
            f"methods.{name}: of the {epochs} epochs in which {where} is trained, pruning would "
            f"begin after {begin} and end after {end}; it takes at least one epoch, and one more "
            "must follow. Change begin or end, or train longer"
        )
    return begin, end


def _last(where: str, methods: Methods, recipe: Recipe) -> int:
    """Return after how many epochs the last event may come."""
    name, method = next(iter(_of_arm(CONTROL_EVENTS, methods).items()))
    assert method.events is not None  # every method of the schedule has them
    epochs, end = _epochs(recipe), method.events.end
    if end >= epochs:
        raise ValueError(
            f"methods.{name}.events: {where} is trained for {epochs} epochs, and the best one is "
            f"among those after the end of the events, {end}; choose an end of at most "
            f"{epochs - 1}, or train longer"
        )
    return end
