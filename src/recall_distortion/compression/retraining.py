"""What follows a pruning: from which weights, by which recipe and in which order networks go on.

A control is retrained in the same way with nothing removed. Each retraining but fine-tuning begins
with weights of an earlier time or fresh ones, or by an earlier learning rate, and sees the images
in an order of its own: by the training's own, an unpruned network rewound to its initial weights
would become the dense one again. Momentum starts anew, batch norm's statistics are rewound with the
weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.controls import (
    EARLY,
    FINETUNE,
    GRADUAL,
    INITIALIZATION,
    TRANSFER,
    TRANSFER_SHUFFLED,
    WHILE_TRAINED,
)
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.system.errors import TrainingError
from recall_distortion.training import (
    Engine,
    NonFiniteLoss,
    Recipe,
    Run,
    TrainingImages,
    Unfinished,
    fit_runs,
)
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import FINE_TUNING, TRAINING, Block, copy_state

#: Of the masks that are shuffled, where the others are left as they are.
SHUFFLED = "shuffled"
#: Those that begin with the weights of an epoch of the training.
STARTING_EARLY = frozenset({"rewind", SHUFFLED})
#: What random streams are called after: a shuffled mask is trained as what it is read against, and
#: what comes from another data set as what is rewound on this one.
_STAGES = {
    FINETUNE: FINE_TUNING,
    **dict.fromkeys((SHUFFLED, TRANSFER, TRANSFER_SHUFFLED), "rewind"),
}


@dataclass(frozen=True)
class Retraining:
    """One way of going on after a pruning.

    ``starts`` has by seed the weights that it begins with, and is empty where it goes on with those
    that are left. ``of_dense`` says whether a network just before it was the dense one, pruned.
    ``lost`` says of seeds that cannot begin why.
    """

    name: str
    recipe: Recipe
    starts: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)
    lost: Mapping[int, str] = field(default_factory=dict)

    def stage(self, number: int) -> str:
        """Return what the random streams of a round are called after.

        Each round that goes on draws its order and augmentation anew. One that rewinds begins again
        in the same order, and so does its control, which needs no rounds.
        """
        own = _STAGES.get(self.name, self.name)
        return f"{own} {number + 1}" if number and self.of_dense else own

    @property
    def of_dense(self) -> bool:
        """Whether it goes on with the weights that are left."""
        return not self.starts and not self.lost

    def masks(self, masks: Mapping[str, Tensor], seed: int) -> Mapping[str, Tensor]:
        """Return the masks to retrain under.

        Shuffled ones are permuted within each layer, by one order at all ratios.
        """
        if self.name not in (SHUFFLED, TRANSFER_SHUFFLED):
            return masks
        drawing = generator(seed, "mask shuffle")
        found = {}
        for name, mask in masks.items():
            order = torch.randperm(mask.numel(), generator=drawing).to(mask.device)
            found[name] = mask.flatten()[order].view_as(mask)
        return found


def prepare(
    name: str,
    network: nn.Module,
    images: TrainingImages,
    plan: CompressionPlan,
    seeds: Sequence[int],
    engine: Engine,
    unfinished: Unfinished,
) -> Retraining:
    """Return a retraining by its name, with what it begins with for each seed.

    Weights of a later epoch than the first are trained again, which gives the training's own.
    Raises ``NonFiniteLoss`` where that cannot be, which no dense network of these seeds allows.
    """
    found = Retraining(name, _recipe(plan, name))
    if name == "reinit":
        return replace(found, starts=drawn(network, seeds, "reinit initialization"))
    if name not in STARTING_EARLY:
        return found
    own = plan.retrainings[name]
    starts: Mapping[int, Mapping[str, Tensor]] = drawn(network, seeds, "initialization")
    if own.epochs:
        starts, lost = trained(
            network, images, until(own.recipe, own.epochs), starts, engine, unfinished
        )
        for error in lost.values():
            raise error
    return replace(found, starts=starts)


def scored(
    at: str, network: nn.Module, dense: Block, retraining: Retraining
) -> Mapping[int, Mapping[str, Tensor]]:
    """Return by seed the weights that are scored: a block's, or those of an earlier time.

    ``at`` is a word of ``controls``. Initial weights are drawn again, early ones are those that the
    retraining begins with.
    """
    if at == INITIALIZATION:
        return drawn(network, dense.seeds, "initialization")
    if at == EARLY:
        return retraining.starts
    return {seed: dense.state(seed) for seed in dense.seeds}


def recipe_of(plan: CompressionPlan, name: str) -> Recipe:
    """Return the recipe that a method's networks, or a control's, are trained by."""
    schedule = plan.schedule(name)
    if schedule in WHILE_TRAINED:
        own = plan.gradual if schedule == GRADUAL else plan.events
        assert own is not None  # the study has said so of every bundle with such a method
        return own.recipe
    return _recipe(plan, plan.retraining(name))


def _recipe(plan: CompressionPlan, retraining: str) -> Recipe:
    if retraining == FINETUNE:
        return plan.recipe
    own = plan.retrainings[retraining]
    return after(own.recipe, own.epochs)


def until(recipe: Recipe, epochs: int) -> Recipe:
    """Return the first epochs of a recipe."""
    return _cut(recipe, 0, epochs)


def after(recipe: Recipe, epochs: int) -> Recipe:
    """Return a recipe without its first epochs."""
    return _cut(recipe, epochs, recipe.epochs)


def _cut(recipe: Recipe, begin: int, end: int) -> Recipe:
    """Return the part of a recipe between two numbers of epochs."""
    phases, first = [], 0
    for phase in recipe.phases:
        inside = slice(max(begin - first, 0), min(max(end - first, 0), phase.epochs))
        if inside.stop > inside.start:
            epochs = inside.stop - inside.start
            phases.append(replace(phase, epochs=epochs, rates=phase.rates[inside]))
        first += phase.epochs
    if not phases:
        raise TrainingError(f"of {first} epochs of training none is left to begin or go on with")
    return replace(recipe, phases=tuple(phases))


def drawn(network: nn.Module, seeds: Sequence[int], purpose: str) -> dict[int, dict[str, Tensor]]:
    """Return by seed the initial weights that a purpose's stream draws."""
    found = {}
    for seed in seeds:
        networks.initialize(network, generator(seed, purpose))
        found[seed] = copy_state(network)
    return found


@dataclass(frozen=True)
class _Last:
    """Removes nothing, and has the last of so many epochs kept, whichever was the best."""

    first: int
    names: tuple[str, ...] = ()

    def masks(self, epochs: int, weights: Mapping[str, Tensor]) -> None:
        """Return nothing: all stays."""


def trained(
    network: nn.Module,
    images: TrainingImages,
    recipe: Recipe,
    starts: Mapping[int, Mapping[str, Tensor]],
    engine: Engine,
    unfinished: Unfinished,
) -> tuple[dict[int, Mapping[str, Tensor]], dict[int, NonFiniteLoss]]:
    """Return the weights after a recipe's last epoch, in the order of the dense networks.

    By seed, and apart from them what became of those whose loss is not finite.
    """
    runs = [Run(seed, state, removal=_Last(recipe.epochs)) for seed, state in starts.items()]
    fitted = fit_runs(
        network, images, recipe, runs, engine=engine, stage=TRAINING, unfinished=unfinished
    )
    found: dict[int, Mapping[str, Tensor]] = {}
    lost = {}
    for run, one in zip(runs, fitted, strict=True):
        if isinstance(one, NonFiniteLoss):
            lost[run.seed] = one
        else:
            found[run.seed] = one.state
    return found, lost
