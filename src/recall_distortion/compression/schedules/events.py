"""Pruned at events of the dense network's own training (Bartoldson et al., NeurIPS 2020).

From the dense network's initial weights and in its order, so that the two are a pair. An event
comes after every so many epochs; after i of n of them the share (1 - f) i / n of the units is
chosen, f being what a ratio leaves ("The Generalization-Stability Tradeoff In Neural Network
Pruning", arXiv 1906.03728), or what the method leaves of each group. What becomes of what is chosen
is the method's ``removal``. The best epoch is one of those after the end of the plan, for all of
its methods and for the control, which loses nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.events import Watch
from recall_distortion.compression.methods import CompressionPlan, EventsPlan, Method, MethodEvents
from recall_distortion.compression.pruning import units
from recall_distortion.compression.pruning.selection import method_masks
from recall_distortion.compression.retraining import drawn
from recall_distortion.compression.rounds import Results, to_keep
from recall_distortion.compression.spans import check_steps
from recall_distortion.compression.while_trained import Trained, train
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import Engine, Run, TrainingImages, Unfinished
from recall_distortion.training.events import GAUSSIAN, PERMANENT, RESTORE, Event
from recall_distortion.training.replicates import TRAINING
from recall_distortion.vocabulary import CONTROL_EVENTS


@dataclass(frozen=True)
class OfMethod:
    """The events of one network (``training.events.Events``).

    ``fraction`` of the units of ``method`` is left after the last. Random choices are by ``seed``,
    one order for all events. ``scored`` computes scores; its weights are overwritten.
    """

    method: Method
    fraction: float
    end: int
    seed: int
    scored: nn.Module = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    buffers: tuple[str, ...] = field(repr=False)

    @property
    def own(self) -> MethodEvents:
        """When the events come, and what they do."""
        assert self.method.events is not None  # the study has said so of every such method
        return self.method.events

    @property
    def removal(self) -> str:
        """What becomes of what is chosen."""
        return self.own.removal

    @property
    def steps(self) -> int:
        """For how many batches."""
        return self.own.steps

    @property
    def first(self) -> int:
        """The first epoch after the end."""
        return self.end + 1

    @property
    def epochs(self) -> range:
        """After how many epochs the events come."""
        return range(self.own.start, self.end + 1, self.own.every)

    def number(self, epochs: int) -> int | None:
        """Return the number of the event after so many epochs; None where none is."""
        return self.epochs.index(epochs) + 1 if epochs in self.epochs else None

    def share(self, number: int) -> float:
        """Return the share of all units that no event up to this one has chosen."""
        many = len(self.epochs)
        if number == many:
            return self.fraction  # exactly
        return 1 - (1 - self.fraction) * number / many

    def counts(self, number: int, sizes: Mapping[str, int]) -> dict[str, int] | None:
        """Return how many units of each group no event up to this one has chosen.

        None where a share of all says so; ``sizes`` are the groups'. Rounded up, as in the
        published code (GitHub bbartoldson/GeneralizationStabilityTradeoff, models.py).
        """
        last, many = self.method.channels, len(self.epochs)
        if last is None:
            return None
        return {
            name: last[name] - (last[name] - size) * (many - number) // many
            for name, size in sizes.items()
        }

    @torch.no_grad()
    def happen(self, epochs: int, state: Mapping[str, Tensor], left: Mapping[str, Tensor]) -> Event:
        """Return the event after so many epochs."""
        number = self.number(epochs)
        assert number is not None  # as the one who calls has seen
        network, unit = self.scored, units.load(self.method.unit)
        network.load_state_dict(state)
        before = unit.left(network, left)
        counts = self.counts(number, {name: mask.numel() for name, mask in before.items()})
        method = replace(self.method, channels=counts)
        (after,) = method_masks(
            network, method, [self.share(number)], None, seed=self.seed, within=left
        )
        kept = unit.left(network, after)
        chosen = {name: before[name] & ~kept[name] for name in before}
        if self.removal in (PERMANENT, RESTORE):
            without = unit.masks(network, {name: ~mask for name, mask in chosen.items()})
            touched = {name: ~mask for name, mask in without.items()}
            if self.removal == RESTORE and unit.statistics is not None:
                touched |= unit.statistics(network, chosen)
            return Event(after, touched)
        if unit.made_of is None:
            raise NetworkError(f"unit {self.method.unit} says not which weights make one")
        touched = dict(unit.made_of(network, chosen))
        if self.removal != GAUSSIAN:
            return Event(after, touched)
        weights = {name: state[name][mask] for name, mask in unit.made_of(network, before).items()}
        # Where an earlier event has chosen all of a layer there is nothing to add noise to.
        deviations = {
            name: float(own.std(correction=0)) if own.numel() else 0.0
            for name, own in weights.items()
        }
        return Event(after, touched, deviations)


@dataclass(frozen=True)
class Nothing:
    """The removal of a control: nothing, with the best epoch one after the end."""

    first: int
    names: tuple[str, ...] = ()

    def masks(self, epochs: int, weights: Mapping[str, Tensor]) -> None:
        """Return nothing: all stays."""


def train_all(
    network: nn.Module,
    images: TrainingImages,
    plan: CompressionPlan,
    ratios: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    engine: Engine,
    unfinished: Unfinished,
    watch: Watch,
) -> Results:
    """Return what comes of networks trained with the events of each method, at its ratios.

    A method of the plan that is None is the control. ``watch`` counts what networks get right
    before and after each event. Raises ``NetworkError`` for a ratio that the
    network cannot reach, and for events that there are no batches for.
    """
    own = plan.events
    assert own is not None  # the study has said so of every bundle with such a method
    for name in ratios:
        method = plan.methods[name]
        if method is not None and method.events is not None:
            batches = -(-len(images.fit) // own.recipe.batch_size)
            when = method.events
            check_steps(name, when.start, when.every, own.end, when.steps, batches)
    trained = Trained(own.recipe, TRAINING, CONTROL_EVENTS, watch)
    starts = drawn(network, seeds, "initialization")
    runs = {
        (name, ratio): list(_runs(network, images, plan, own, name, ratio, starts))
        for name, of_method in ratios.items()
        for ratio in of_method
    }
    return train(trained, network, images, plan, runs, engine, unfinished)


def _runs(
    network: nn.Module,
    images: TrainingImages,
    plan: CompressionPlan,
    own: EventsPlan,
    name: str,
    ratio: str,
    starts: Mapping[int, Mapping[str, Tensor]],
) -> Iterator[Run]:
    method = plan.methods[name]
    if method is None:
        for seed, state in starts.items():
            yield Run(seed, state, removal=Nothing(own.end + 1))
        return
    height, width = images.fit.shape[1:]
    fraction = to_keep(network, method, ratio, plan.count, method.unit, (height, width))
    scored, unit = copy.deepcopy(network), units.load(method.unit)
    whole = {
        name: torch.ones_like(value, dtype=torch.bool)
        for name, value in networks.prunable_parameters(scored).items()
    }
    every = unit.left(scored, whole)
    names = tuple(unit.masks(scored, every))
    buffers = tuple(unit.statistics(scored, every)) if unit.statistics else ()
    for seed, state in starts.items():
        of_seed = OfMethod(method, fraction, own.end, seed, scored, names, buffers)
        yield Run(seed, state, events=of_seed)
