"""What decides pruned networks, as a job is told: frozen objects, which ``plain.read`` makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recall_distortion.compression.controls import (
    FINETUNE,
    TRAINED,
    WAY_OF,
    control_of,
)
from recall_distortion.training.recipe import Computing, Recipe


@dataclass(frozen=True)
class MethodEvents:
    """When a method's events come in a training, and what becomes of what they take.

    The first is after ``start`` epochs, the others ``every`` so many epochs, as far as they come no
    later than those of the plan end. ``removal`` is a word of ``training.events``, for ``steps``
    batches of training.
    """

    start: int
    every: int
    removal: str = "permanent"
    steps: int = 0


@dataclass(frozen=True)
class Method:
    """A way of pruning.

    ``criterion`` scores weights and ``scope`` says what scores are ranked over, one of
    ``pruning.masks.SCOPES``; ``schedule`` says in which rounds. ``gradient_examples`` are the
    training images of the criterion's gradient, ``epsilon`` what it takes for the weight decay.
    ``unit`` is what is removed as one; fractions are then of units, and ``feature_images`` the
    training images of whose feature maps a criterion of channels is. ``channels`` are how many
    stay of each group where no fraction says so. ``retraining`` says what follows. Where
    ``of_sparsity`` a ratio stands for the share of prunable weights that goes, 1 - 1 / ratio to two
    decimals. ``at`` says which weights are scored: those of the trained network, those that the
    retraining begins with, or the initial ones. ``target`` says whether the lowest or the highest
    scores go; ``events`` are those of the schedule of this name. With ``ticket`` nothing is scored:
    masks are those of this method's networks of another data set.
    """

    criterion: str
    scope: str
    schedule: str
    gradient_examples: int
    epsilon: float
    unit: str = "weight"
    of_sparsity: bool = False
    retraining: str = FINETUNE
    at: str = TRAINED
    feature_images: int = 0
    channels: Mapping[str, int] | None = None
    target: str = "lowest"
    events: MethodEvents | None = None
    ticket: str = ""


@dataclass(frozen=True)
class GradualPlan:
    """What decides networks that are pruned while they are trained, and their control.

    ``recipe`` is that of the training; the first weights go after ``begin`` epochs, the last after
    ``end``.
    """

    recipe: Recipe
    begin: int
    end: int


@dataclass(frozen=True)
class EventsPlan:
    """What decides networks with events in their training, and their control.

    ``recipe`` is that of the training. No event comes after more than ``end`` epochs, and the best
    epoch is one of those that follow.
    """

    recipe: Recipe
    end: int


@dataclass(frozen=True)
class RetrainingPlan:
    """What decides a retraining that is no fine-tuning.

    ``recipe`` is that of the dense networks' training, of which the first ``epochs`` are left out.
    """

    recipe: Recipe
    epochs: int = 0


@dataclass(frozen=True)
class CompressionPlan:
    """What decides the pruned networks of a bundle of methods, besides ratios, data and weights.

    ``methods`` are by name; a control's is None: nothing is pruned and the same retraining follows.
    ``gradual`` and ``events`` are there where any is of that schedule, and ``retrainings`` has by
    its name each that is no fine-tuning. ``count`` says what a ratio counts; ``recipe`` is that of
    the fine-tuning, and ``selection`` and ``engine`` are as in ``TrainingPlan``. ``unit`` is what
    the rounds of a control are counted in. ``plan`` is a word for the network's layers, where their
    groups of channels decide what is removed. ``source`` is there where any method begins
    with another data set's weights: how these were trained, and after which epoch they are taken.
    """

    methods: Mapping[str, Method | None]
    count: str
    recipe: Recipe
    selection: str
    engine: Computing = field(default_factory=Computing)
    gradual: GradualPlan | None = None
    retrainings: Mapping[str, RetrainingPlan] = field(default_factory=dict)
    unit: str = "weight"
    plan: str = ""
    events: EventsPlan | None = None
    source: RetrainingPlan | None = None

    def schedule(self, name: str) -> str:
        """Return the schedule of a method, or that which a control is of."""
        method = self.methods[name]
        return WAY_OF[name][0] if method is None else method.schedule

    def retraining(self, name: str) -> str:
        """Return the retraining of a method, or that which a control is of."""
        method = self.methods[name]
        return WAY_OF[name][1] if method is None else method.retraining

    def at(self, name: str) -> str:
        """Return which weights a method scores; a control, which scores none, is as most are."""
        method = self.methods[name]
        return TRAINED if method is None else method.at

    def control(self, name: str) -> str:
        """Return what a method's effects are read against; a control is its own."""
        method = self.methods[name]
        return name if method is None else control_of(method.schedule, method.retraining)


@dataclass(frozen=True)
class Cell:
    """One method at one ratio of a panel."""

    method: str
    ratio: str

    def __str__(self) -> str:
        return f"{self.method} at {self.ratio}"
