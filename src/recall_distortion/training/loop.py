"""The training of replicates: a descent over phases, keeping the weights of each one's best epoch.

There is one loop for a replicate alone and for K vectorized ones: every tensor has the replicates
as its leading dimension, and what one draws, learns and keeps does not depend on the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.training import dropout
from recall_distortion.training.course import Course, Fitted, NonFiniteLoss, Run
from recall_distortion.training.descent import descent
from recall_distortion.training.engines import Engine
from recall_distortion.training.events import Happening
from recall_distortion.training.images import DeviceImages, TrainingImages
from recall_distortion.training.masks import check_apart, check_masks, factors
from recall_distortion.training.objective import Objective, cross_entropy
from recall_distortion.training.recipe import Recipe
from recall_distortion.training.removal import Removed
from recall_distortion.training.replicates import TRAINING
from recall_distortion.training.stacks import Stack, split
from recall_distortion.training.unfinished import Unfinished

#: Images times networks that are evaluated at once, by kind of device. It bounds the memory of the
#: activations and changes no result beyond rounding.
EVALUATION_IMAGES = {"cpu": 1024, "cuda": 16_384}

_MASK = "mask/"

#: Called with a stack where its networks' removals are looked at; returns a tensor [K, ...].
Watch = Callable[[Stack], Tensor]
#: Called with one row of the history for each network and the networks' places among all.
Report = Callable[[list[dict[str, Any]], range], None]


def fit(
    network: nn.Module,
    images: TrainingImages,
    recipe: Recipe,
    *,
    seed: int,
    stage: str = TRAINING,
    masks: Mapping[str, Tensor] | None = None,
    report: Report | None = None,
) -> Fitted:
    """Train one network from the weights it holds and return its best epoch.

    See ``fit_runs``. Raises ``NonFiniteLoss`` naming the seed and the epoch.
    """
    run = Run(seed, network.state_dict(), masks)
    (fitted,) = fit_runs(network, images, recipe, [run], stage=stage, report=report)
    if isinstance(fitted, NonFiniteLoss):
        raise fitted
    return fitted


def fit_runs(
    network: nn.Module,
    images: TrainingImages,
    recipe: Recipe,
    runs: Sequence[Run],
    *,
    engine: Engine | None = None,
    stage: str = TRAINING,
    report: Report | None = None,
    unfinished: Unfinished | None = None,
    watch: Watch | None = None,
) -> Iterator[Fitted | NonFiniteLoss]:
    """Train networks of one architecture and yield for each, in order, its best epoch.

    The recipe's optimizer goes through its phases, anew in each (the published script resets
    momentum at each phase). The best epoch is the one with the lowest mean validation
    loss over all phases. What a mask removes gets no gradient, so momentum and decay leave it
    exactly zero, whichever parameter it is of; what a run's removal takes may return. The data
    order and augmentation come from a run's seed and ``stage`` alone, so that every method and
    ratio is fine-tuned in the same order.
    ``network`` is the module to compute with, and its weights are overwritten. ``report`` is called
    after each epoch with one row of the history for each network trained at the time.
    ``unfinished`` is where a killed job's training goes on from, with the same results, and where
    this one's is kept. ``watch`` looks at a run's network just before and after each removal.

    Where a loss is not finite a ``NonFiniteLoss``, naming the seed and the epoch, is yielded in
    place of a result; the other networks go on. Raises ``NetworkError`` for a mask of what is no
    parameter of the network, and for a recipe that asks for what the network has not.
    """
    for run in runs:
        check_masks(run.masks or {}, network)
        check_apart(run)
    if recipe.dropout:
        dropout.layers(network)
    Objective.of(recipe).check(network)
    engine = (engine or Engine()).suited(network, recipe)
    unfinished = unfinished or Unfinished()
    at_once = engine.fitting(network, images.fit, recipe.batch_size)
    facts = {"stage": stage, "engine": vars(engine), "at_once": at_once, **_facts(runs, watch)}
    unfinished.bind(recipe=asdict(recipe), **facts)
    fitted = [_as_fitted(*result) for result in unfinished.fitted()]
    if fitted:
        print(f"{len(fitted)} of {len(runs)} networks were trained before", flush=True)
    yield from fitted
    first = 0
    for part in split(runs, at_once):
        places = range(first, first + len(part))
        first = places.stop
        if places.stop <= len(fitted):
            continue
        stack = engine.open(network, [run.state for run in part])
        found = _fit_stack(
            engine, stack, images, recipe, part, stage, report, unfinished, places, watch
        )
        unfinished.finish([_as_result(one) for one in found])
        yield from found


def _facts(runs: Sequence[Run], watch: Watch | None) -> dict[str, Any]:
    """Return whatever distinguishes runs, by name."""
    facts: dict[str, Any] = {"seeds": [run.seed for run in runs]}
    if watch is not None:
        facts["watch"] = Path(inspect.getfile(type(watch)))
    for place, run in enumerate(runs):
        facts |= {f"state/{place}/{name}": value for name, value in run.state.items()}
        facts |= {f"mask/{place}/{name}": value for name, value in (run.masks or {}).items()}
        if run.meanwhile is not None:
            facts[f"removal/{place}"] = repr(run.meanwhile)
            facts[f"removal/{place}/code"] = Path(inspect.getfile(type(run.meanwhile)))
    return facts


def _as_result(found: Fitted | NonFiniteLoss) -> tuple[dict[str, Tensor], Any]:
    if isinstance(found, NonFiniteLoss):
        return {}, {"failure": str(found)}
    masks = {f"{_MASK}{name}": mask for name, mask in (found.masks or {}).items()}
    return found.state | masks, {
        "history": found.history,
        "masked": found.masks is not None,
        "events": found.events,
    }


def _as_fitted(state: dict[str, Tensor], result: Mapping[str, Any]) -> Fitted | NonFiniteLoss:
    if "failure" in result:
        return NonFiniteLoss(result["failure"])
    masks = {
        name.removeprefix(_MASK): state.pop(name) for name in list(state) if name.startswith(_MASK)
    }
    own = masks if result["masked"] else None
    return Fitted(state, result["history"], own, result["events"])


def _fit_stack(
    engine: Engine,
    stack: Stack,
    images: TrainingImages,
    recipe: Recipe,
    runs: Sequence[Run],
    stage: str,
    report: Report | None,
    unfinished: Unfinished,
    places: range,
    watch: Watch | None,
) -> list[Fitted | NonFiniteLoss]:
    drops = recipe.dropout > 0 or networks.draws(stack.network)
    course = Course.start(stack, runs, stage, dropout=drops)
    masks = factors(stack, runs)
    with torch.no_grad():
        for position, factor in masks.items():
            stack.parameters[position].mul_(factor)
    removed = Removed(stack, [run.removal for run in runs], masks)
    happening = Happening(stack, [run.events for run in runs], [run.seed for run in runs], masks)
    course.further = removed.tensors | {f"event/{n}": v for n, v in happening.tensors.items()}
    course.go_on(unfinished)

    last = 0  # the last epoch of a phase
    for phase_number, phase in enumerate(recipe.phases, start=1):
        first, last = last + 1, last + phase.epochs
        if course.epoch >= last:
            continue
        remembered = course.remembered if course.epoch >= first else {}
        course.optimizer = optimizer = descent(stack.parameters, recipe, remembered)
        one_pass = engine.passes(stack, optimizer, images.fit, recipe, masks)
        one_pass.after_step = happening.after_step
        for epoch in range(course.epoch + 1, last + 1):
            seen = removed.update(epoch - 1, optimizer, course.failures, watch)
            seen |= happening.update(epoch - 1, optimizer, course.failures, watch)
            course.saw(epoch - 1, seen)
            optimizer.rate = rate = phase.rate(epoch - first)
            training = one_pass.run(course.orders, course.choices, course.drops)
            validation, accuracies = _validate(stack, images.validation)
            now = {"phase": phase_number, "epoch": epoch, "learning_rate": rate}
            rows = course.record(runs, now, training, validation, accuracies)
            if report is not None:
                report(rows, places)
            if len(course.failures) == len(runs):
                return course.results()
            course.best.update(stack, _that_may_be_kept(runs, validation, epoch), epoch)
            course.epoch = epoch
            if unfinished.due():
                course.keep(unfinished)
    return course.results(lambda k: (happening if runs[k].events else removed).masks(k))


def _that_may_be_kept(runs: Sequence[Run], losses: list[float], epoch: int) -> list[float]:
    """Return losses, infinite for networks of which this epoch may not be the best."""
    first = [run.meanwhile.first if run.meanwhile is not None else 0 for run in runs]
    return [loss if epoch >= first[k] else float("inf") for k, loss in enumerate(losses)]


def evaluation_batch(stack: Stack, device: torch.device) -> int:
    """Return how many images each network of a stack is evaluated on at once."""
    return max(EVALUATION_IMAGES[device.type] // len(stack), 1)


@torch.no_grad()
def _validate(stack: Stack, images: DeviceImages) -> tuple[list[float], list[float]]:
    """Return each network's mean loss and accuracy over all the images."""
    device = images.labels.device
    loss = torch.zeros(len(stack), device=device)
    correct = torch.zeros(len(stack), device=device, dtype=torch.int64)
    size = evaluation_batch(stack, device)
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        logits = stack.logits(images.batch(part))
        labels = images.labels[part].expand(len(stack), -1)
        loss += cross_entropy(logits, labels).sum(1)
        correct += (logits.argmax(2) == labels).sum(1)
    return (loss / len(images)).tolist(), (correct / len(images)).tolist()
