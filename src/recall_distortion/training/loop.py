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

#: Images times networks that are evaluated at once, by kind of device. It bounds the memory of the
#: activations and changes no result beyond rounding.
EVALUATION_IMAGES = {"cpu": 1024, "cuda": 16_384}

Report = Callable[[list[dict[str, Any]]], None]


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
) -> Iterator[Fitted | NonFiniteLoss]:
    """Train networks of one architecture and yield for each, in order, its best epoch.

    SGD with Nesterov momentum through the recipe's phases, each with a new optimizer (the published
    script resets momentum at each phase). The best epoch is the one with the lowest mean validation
    loss over all phases. A pruned weight gets no gradient, so momentum and decay leave it exactly
    zero. The data order and augmentation come from a run's seed and ``stage`` alone, so that every
    method and ratio is fine-tuned in the same order. ``network`` is the module to compute with, and
    its weights are overwritten. ``report`` is called after each epoch with one row of the history
    for each network trained at the time.

    Where a loss is not finite a ``NonFiniteLoss``, naming the seed and the epoch, is yielded in
    place of a result; the other networks go on.
    """
    engine = engine or Engine()
    for part in split(runs, engine.at_once):
        stack = engine.open(network, [run.state for run in part])
        yield from _fit_stack(stack, images, recipe, part, stage, report)


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
            for name, value in stack.tensors.items():
                self.tensors[name][better] = value[better]


def _fit_stack(
    stack: Stack,
    images: TrainingImages,
    recipe: Mapping[str, Any],
    runs: Sequence[Run],
    stage: str,
    report: Report | None,
) -> list[Fitted | NonFiniteLoss]:
    prefix = "" if stage == "training" else f"{stage} "
    orders = [generator(run.seed, f"{prefix}order") for run in runs]
    choices = [generator(run.seed, f"{prefix}augmentation") for run in runs]
    masks = _masks(stack, runs)
    with torch.no_grad():
        for position, factor in masks.items():
            stack.parameters[position].mul_(factor)

    histories: list[list[dict[str, Any]]] = [[] for _ in runs]
    failures: dict[int, NonFiniteLoss] = {}
    best = _Best()
    epoch = 0
    for phase_number, phase in enumerate(recipe["phases"], start=1):
        optimizer = _Descent(
            stack.parameters, phase["learning_rate"], recipe["momentum"], recipe["weight_decay"]
        )
        for _ in range(phase["epochs"]):
            epoch += 1
            training = _epoch(
                stack, optimizer, images.fit, recipe["batch_size"], orders, choices, masks
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
                report(rows)
            if len(failures) == len(runs):
                return [failures[k] for k in range(len(runs))]
            best.update(stack, validation, epoch)

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


class _Descent:
    """SGD with Nesterov momentum and weight decay by torch's functional form.

    The class ``torch.optim.SGD`` does the same step, but its first use imports torch's compiler,
    which takes as long as importing torch.
    """

    def __init__(
        self, parameters: list[Tensor], rate: float, momentum: float, decay: float
    ) -> None:
        self.parameters = parameters
        self._buffers: list[Tensor | None] = [None] * len(parameters)
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
    optimizer: _Descent,
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
        logits = stack.logits(images.batch(flat, chosen), training=True)
        losses = _losses(logits, images.labels.index_select(0, flat).view_as(index)).mean(1)
        gradients = torch.autograd.grad(losses.sum(), optimizer.parameters)
        if masks:
            torch._foreach_mul_([gradients[position] for position in masks], list(masks.values()))
        optimizer.step(gradients)
        total += losses.detach() * index.shape[1]
    return (total / len(images)).tolist()


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
