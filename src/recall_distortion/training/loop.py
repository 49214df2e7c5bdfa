"""The training of replicates: SGD over phases, keeping the weights of each one's best epoch.

There is one loop for a replicate alone and for K vectorized ones: every tensor has the replicates
as its leading dimension, and what one draws, learns and keeps does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd

from recall_distortion.errors import TrainingError
from recall_distortion.replicates import generator
from recall_distortion.training.engines import Engine
from recall_distortion.training.images import DeviceImages, TrainingImages
from recall_distortion.training.stacks import Stack, split
from recall_distortion.training.unfinished import Unfinished

#: Images times networks that are evaluated at once, by kind of device. It bounds the memory of the
#: activations and changes no result beyond rounding.
EVALUATION_IMAGES = {"cpu": 1024, "cuda": 16_384}

#: Called with one row of the history for each network and the networks' places among all.
Report = Callable[[list[dict[str, Any]], range], None]


class NonFiniteLoss(TrainingError):
    """A replicate's loss stopped being a number."""


@dataclass(frozen=True)
class Run:
    """One network to fit: whose random choices, from which state, with which weights pruned.

    ``masks`` maps weights to booleans of their shapes, false where pruned.
    """

    seed: int
    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Fitted:
    """A fitted replicate: its best epoch's parameters and buffers, and one row per epoch."""

    state: dict[str, Tensor]
    history: list[dict[str, Any]]


def fit(
    network: nn.Module,
    images: TrainingImages,
    recipe: Mapping[str, Any],
    *,
    seed: int,
    stage: str = "training",
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
    recipe: Mapping[str, Any],
    runs: Sequence[Run],
    *,
    engine: Engine | None = None,
    stage: str = "training",
    report: Report | None = None,
    unfinished: Unfinished | None = None,
) -> Iterator[Fitted | NonFiniteLoss]:
    """Train networks of one architecture and yield for each, in order, its best epoch.

    SGD with Nesterov momentum through the recipe's phases, each with a new optimizer (the published
    script resets momentum at each phase). The best epoch is the one with the lowest mean validation
    loss over all phases. A pruned weight gets no gradient, so momentum and decay leave it exactly
    zero. The data order and augmentation come from a run's seed and ``stage`` alone, so that every
    method and ratio is fine-tuned in the same order. ``network`` is the module to compute with, and
    its weights are overwritten. ``report`` is called after each epoch with one row of the history
    for each network trained at the time. ``unfinished`` is where a killed job's training goes on
    from, with the same results, and where this one's is kept.

    Where a loss is not finite a ``NonFiniteLoss``, naming the seed and the epoch, is yielded in
    place of a result; the other networks go on.
    """
    engine = engine or Engine()
    unfinished = unfinished or Unfinished()
    unfinished.bind(recipe=recipe, stage=stage, engine=vars(engine), **_facts(runs))
    fitted = [_as_fitted(*result) for result in unfinished.fitted()]
    if fitted:
        print(f"{len(fitted)} of {len(runs)} networks were trained before", flush=True)
    yield from fitted
    first = 0
    for part in split(runs, engine.at_once):
        places = range(first, first + len(part))
        first = places.stop
        if places.stop <= len(fitted):
            continue
        stack = engine.open(network, [run.state for run in part])
        found = _fit_stack(stack, images, recipe, part, stage, report, unfinished, places)
        unfinished.finish([_as_result(one) for one in found])
        yield from found


def _facts(runs: Sequence[Run]) -> dict[str, Any]:
    """Return whatever distinguishes runs, by name."""
    facts: dict[str, Any] = {"seeds": [run.seed for run in runs]}
    for place, run in enumerate(runs):
        facts |= {f"state/{place}/{name}": value for name, value in run.state.items()}
        facts |= {f"mask/{place}/{name}": value for name, value in (run.masks or {}).items()}
    return facts


def _as_result(found: Fitted | NonFiniteLoss) -> tuple[dict[str, Tensor], Any]:
    if isinstance(found, NonFiniteLoss):
        return {}, {"failure": str(found)}
    return found.state, {"history": found.history}


def _as_fitted(state: dict[str, Tensor], result: Mapping[str, Any]) -> Fitted | NonFiniteLoss:
    if "failure" in result:
        return NonFiniteLoss(result["failure"])
    return Fitted(state, result["history"])


@dataclass
class _Best:
    """The states of the epochs with the lowest validation loss so far, and those losses."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)

    def update(self, stack: Stack, losses: list[float], epoch: int) -> None:
        """Keep the networks whose loss is lower than before."""
        if not self.tensors:
            self.tensors = {name: torch.zeros_like(value) for name, value in stack.tensors.items()}
            self.losses, self.epochs = [float("inf")] * len(stack), [0] * len(stack)
        better = [k for k, loss in enumerate(losses) if loss < self.losses[k]]
        for k in better:
            self.losses[k], self.epochs[k] = losses[k], epoch
        if len(better) == len(stack):
            for name, value in stack.tensors.items():
                self.tensors[name].copy_(value)
        elif better:
            places = torch.tensor(better, device=stack.parameters[0].device)
            for name, value in stack.tensors.items():
                self.tensors[name].index_copy_(0, places, value.index_select(0, places))


@dataclass
class _Course:
    """How far the training of a stack has come: all that its next epoch depends on."""

    stack: Stack
    orders: list[torch.Generator]
    choices: list[torch.Generator]
    histories: list[list[dict[str, Any]]]
    failures: dict[int, NonFiniteLoss] = field(default_factory=dict)
    best: _Best = field(default_factory=_Best)
    epoch: int = 0
    momentum: list[Tensor | None] = field(default_factory=list)

    @classmethod
    def start(cls, stack: Stack, runs: Sequence[Run], stage: str) -> _Course:
        """Return the course before the first epoch."""
        prefix = "" if stage == "training" else f"{stage} "
        orders = [generator(run.seed, f"{prefix}order") for run in runs]
        choices = [generator(run.seed, f"{prefix}augmentation") for run in runs]
        return cls(stack, orders, choices, [[] for _ in runs])

    def keep(self, unfinished: Unfinished) -> None:
        """Write it."""
        tensors = {f"now/{name}": value for name, value in self.stack.tensors.items()}
        tensors |= {f"best/{name}": value for name, value in self.best.tensors.items()}
        tensors |= {
            f"momentum/{position}": value
            for position, value in enumerate(self.momentum)
            if value is not None
        }
        for name, generators in self._generators():
            tensors |= {f"{name}/{k}": one.get_state() for k, one in enumerate(generators)}
        state = {
            "epoch": self.epoch,
            "histories": self.histories,
            "failures": [[k, str(failure)] for k, failure in self.failures.items()],
            "best_losses": self.best.losses,
            "best_epochs": self.best.epochs,
        }
        unfinished.keep(tensors, state)

    def go_on(self, unfinished: Unfinished) -> None:
        """Become what ``keep`` wrote in a killed job, if it did."""
        kept = unfinished.running()
        if kept is None:
            return
        tensors, state = kept
        self.epoch, self.histories = state["epoch"], state["histories"]
        self.failures = {k: NonFiniteLoss(message) for k, message in state["failures"]}
        self.best.losses, self.best.epochs = state["best_losses"], state["best_epochs"]
        for name, value in self.stack.tensors.items():
            value.copy_(tensors[f"now/{name}"])
            self.best.tensors[name] = torch.empty_like(value).copy_(tensors[f"best/{name}"])
        # Momentum lies in memory as its parameter does: the fused step relies on it.
        self.momentum = [
            torch.empty_like(parameter, requires_grad=False).copy_(tensors[f"momentum/{position}"])
            if f"momentum/{position}" in tensors
            else None
            for position, parameter in enumerate(self.stack.parameters)
        ]
        for name, generators in self._generators():
            for k, one in enumerate(generators):
                one.set_state(tensors[f"{name}/{k}"])
        print(f"training goes on after epoch {self.epoch}", flush=True)

    def _generators(self) -> list[tuple[str, list[torch.Generator]]]:
        return [("order", self.orders), ("choice", self.choices)]


def _fit_stack(
    stack: Stack,
    images: TrainingImages,
    recipe: Mapping[str, Any],
    runs: Sequence[Run],
    stage: str,
    report: Report | None,
    unfinished: Unfinished,
    places: range,
) -> list[Fitted | NonFiniteLoss]:
    course = _Course.start(stack, runs, stage)
    masks = _masks(stack, runs)
    with torch.no_grad():
        for position, factor in masks.items():
            stack.parameters[position].mul_(factor)
    course.go_on(unfinished)

    histories, failures, best = course.histories, course.failures, course.best
    last = 0  # the last epoch of a phase
    for phase_number, phase in enumerate(recipe["phases"], start=1):
        first, last = last + 1, last + phase["epochs"]
        if course.epoch >= last:
            continue
        if course.epoch < first:
            course.momentum = [None] * len(stack.parameters)
        optimizer = Descent(
            stack.parameters,
            course.momentum,
            phase["learning_rate"],
            recipe["momentum"],
            recipe["weight_decay"],
        )
        for epoch in range(course.epoch + 1, last + 1):
            training = _epoch(
                stack,
                optimizer,
                images.fit,
                recipe["batch_size"],
                course.orders,
                course.choices,
                masks,
            )
            validation, accuracies = _validate(stack, images.validation)
            rows = []
            for k, run in enumerate(runs):
                if k in failures:
                    continue
                row = {
                    "seed": run.seed,
                    "phase": phase_number,
                    "epoch": epoch,
                    "learning_rate": phase["learning_rate"],
                    "training_loss": training[k],
                    "validation_loss": validation[k],
                    "validation_accuracy": accuracies[k],
                }
                histories[k].append(row)
                rows.append(row)
                failure = _non_finite(row)
                if failure is not None:
                    failures[k] = failure
            if report is not None:
                report(rows, places)
            if len(failures) == len(runs):
                return [failures[k] for k in range(len(runs))]
            best.update(stack, validation, epoch)
            course.epoch = epoch
            if unfinished.due():
                course.keep(unfinished)

    found: list[Fitted | NonFiniteLoss] = []
    for k, history in enumerate(histories):
        for row in history:
            row["selected"] = int(row["epoch"] == best.epochs[k])
        state = {name: value[k].clone() for name, value in best.tensors.items()}
        found.append(failures[k] if k in failures else Fitted(state, history))
    return found


def _masks(stack: Stack, runs: Sequence[Run]) -> dict[int, Tensor]:
    """Return by position among the parameters 1 for each weight [K, ...] to train and 0 for others.

    Only weights that some network has under a mask are among them.
    """
    masked = {name for run in runs for name in run.masks or {}}
    return {
        position: torch.stack(
            [
                run.masks[name].to(parameter)
                if run.masks and name in run.masks
                else torch.ones_like(stack.tensors[name][k])
                for k, run in enumerate(runs)
            ]
        ).view_as(parameter)
        for position, (name, parameter) in enumerate(
            zip(stack.names, stack.parameters, strict=True)
        )
        if name in masked
    }


def _non_finite(row: Mapping[str, Any]) -> NonFiniteLoss | None:
    for name in ("training_loss", "validation_loss"):
        if not row[name] < float("inf"):
            return NonFiniteLoss(
                f"seed {row['seed']}: {name.replace('_', ' ')} is {row[name]} in epoch "
                f"{row['epoch']} (learning rate {row['learning_rate']:g})"
            )
    return None


class Descent:
    """SGD with Nesterov momentum and weight decay by torch's functional form.

    The class ``torch.optim.SGD`` does the same step, but its first use imports torch's compiler,
    which takes as long as importing torch.
    """

    def __init__(
        self,
        parameters: list[Tensor],
        buffers: list[Tensor | None],
        rate: float,
        momentum: float,
        decay: float,
    ) -> None:
        self.parameters = parameters
        self._buffers = buffers  # None before the first step; the step writes into the list
        self._options = {
            "lr": rate,
            "momentum": momentum,
            "nesterov": momentum > 0,
            "weight_decay": decay,
            "dampening": 0.0,
            "maximize": False,
            "fused": True,
        }

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Change the parameters by one step along their gradients."""
        # The fused kernel walks through memory, so a gradient must lie there as its parameter does:
        # a convolution's may come back in another order of dimensions.
        aligned = [
            gradient
            if gradient.stride() == parameter.stride()
            else torch.empty_like(parameter).copy_(gradient)
            for parameter, gradient in zip(self.parameters, gradients, strict=True)
        ]
        sgd(self.parameters, aligned, self._buffers, **self._options)


def _epoch(
    stack: Stack,
    optimizer: Descent,
    images: DeviceImages,
    batch_size: int,
    orders: Sequence[torch.Generator],
    choices: Sequence[torch.Generator],
    masks: Mapping[int, Tensor],
) -> list[float]:
    """Make one pass over the images, each network in its own order, and return the mean losses."""
    device = images.labels.device
    shuffled = torch.stack([torch.randperm(len(images), generator=order) for order in orders])
    shuffled, drawn = shuffled.to(device), images.draw(choices)
    # Summed on the device, so that a GPU is not waited for inside the epoch.
    total = torch.zeros(len(stack), device=device)
    for start in range(0, len(images), batch_size):
        index = shuffled[:, start : start + batch_size]
        chosen = [choice[:, start : start + batch_size].flatten(0, 1) for choice in drawn]
        flat = index.flatten()
        labels = images.labels.index_select(0, flat).view_as(index)
        losses = step(stack, optimizer, images.batch(flat, chosen), labels, masks)
        total += losses * index.shape[1]
    return (total / len(images)).tolist()


def step(
    stack: Stack,
    optimizer: Descent,
    images: Tensor,
    labels: Tensor,
    masks: Mapping[int, Tensor],
) -> Tensor:
    """Make one step on images [K B, C, H, W] with labels [K, B]; return the mean losses [K]."""
    losses = _losses(stack.logits(images, training=True), labels).mean(1)
    gradients = torch.autograd.grad(losses.sum(), optimizer.parameters)
    if masks:
        torch._foreach_mul_([gradients[position] for position in masks], list(masks.values()))
    optimizer.step(gradients)
    return losses.detach()


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy [K, B] of logits [K, B, classes]."""
    # With the images innermost the classes' exponentials are taken over whole arrays.
    return F.cross_entropy(logits.mT, labels, reduction="none")


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
        loss += _losses(logits, labels).sum(1)
        correct += (logits.argmax(2) == labels).sum(1)
    return (loss / len(images)).tolist(), (correct / len(images)).tolist()
