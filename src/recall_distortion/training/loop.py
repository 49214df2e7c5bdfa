"""The training of one replicate: SGD over phases, keeping the weights of the best epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd

from recall_distortion.errors import TrainingError
from recall_distortion.replicates import copy_state, generator
from recall_distortion.training.images import DeviceImages, TrainingImages

EVALUATION_BATCH = 1024  # images; bounds the activations' memory, does not change any result


class NonFiniteLoss(TrainingError):
    """A replicate's loss stopped being a number."""


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
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Fitted:
    """Train a network from the weights it holds and return its best epoch.

    SGD with Nesterov momentum through the recipe's phases, each with a new optimizer (the published
    script resets momentum at each phase). The best epoch is the one with the lowest mean validation
    loss over all phases. ``masks`` maps weights to boolean tensors of their shapes: a pruned weight
    gets no gradient, so momentum and decay leave it exactly zero. ``report`` is called with each
    epoch's row of the history. The data order and augmentation come from ``seed`` and ``stage``
    alone, so that every method and ratio is fine-tuned in the same order.

    Raises ``NonFiniteLoss`` naming the seed and the epoch.
    """
    prefix = "" if stage == "training" else f"{stage} "
    order = generator(seed, f"{prefix}order")
    augmentation = generator(seed, f"{prefix}augmentation")
    named = dict(network.named_parameters())
    parameters = list(named.values())
    positions = {name: position for position, name in enumerate(named)}
    masked = [positions[name] for name in masks or {}]
    factors = [mask.to(named[name]) for name, mask in (masks or {}).items()]
    with torch.no_grad():
        for position, factor in zip(masked, factors, strict=True):
            parameters[position].mul_(factor)

    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = {}
    best_loss, chosen = float("inf"), 0
    for phase_number, phase in enumerate(recipe["phases"], start=1):
        optimizer = _Descent(
            parameters, phase["learning_rate"], recipe["momentum"], recipe["weight_decay"]
        )
        for _ in range(phase["epochs"]):
            training_loss = _epoch(
                network,
                optimizer,
                images.fit,
                recipe["batch_size"],
                order,
                augmentation,
                masked,
                factors,
            )
            validation_loss, accuracy = _validate(network, images.validation)
            row = {
                "seed": seed,
                "phase": phase_number,
                "epoch": len(history) + 1,
                "learning_rate": phase["learning_rate"],
                "training_loss": training_loss,
                "validation_loss": validation_loss,
                "validation_accuracy": accuracy,
            }
            history.append(row)
            if report is not None:
                report(row)
            for name in ("training_loss", "validation_loss"):
                if not row[name] < float("inf"):
                    raise NonFiniteLoss(
                        f"seed {seed}: {name.replace('_', ' ')} is {row[name]} in epoch "
                        f"{row['epoch']} (learning rate {phase['learning_rate']:g})"
                    )
            if validation_loss < best_loss:
                best_loss = validation_loss
                best = copy_state(network)
                chosen = row["epoch"]
    for row in history:
        row["selected"] = int(row["epoch"] == chosen)
    return Fitted(best, history)


class _Descent:
    """SGD with Nesterov momentum and weight decay by torch's functional form.

    The class ``torch.optim.SGD`` does the same step, but its first use imports torch's compiler,
    which takes as long as importing torch.
    """

    def __init__(
        self, parameters: list[nn.Parameter], rate: float, momentum: float, decay: float
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
    network: nn.Module,
    optimizer: _Descent,
    images: DeviceImages,
    batch_size: int,
    order: torch.Generator,
    augmentation: torch.Generator,
    masked: list[int],
    factors: list[Tensor],
) -> float:
    """Make one pass over the images in a new order and return the mean training loss."""
    network.train()
    shuffled = torch.randperm(len(images), generator=order).to(images.labels.device)
    # Summed on the device, so that a GPU is not waited for inside the epoch.
    total = torch.zeros((), device=images.labels.device)
    for index in shuffled.split(batch_size):
        loss = F.cross_entropy(network(images.batch(index, augmentation)), images.labels[index])
        gradients = torch.autograd.grad(loss, optimizer.parameters)
        if factors:
            torch._foreach_mul_([gradients[position] for position in masked], factors)
        optimizer.step(gradients)
        total += loss.detach() * len(index)
    return float(total) / len(images)


@torch.no_grad()
def _validate(network: nn.Module, images: DeviceImages) -> tuple[float, float]:
    """Return the mean loss and the accuracy over all the images."""
    network.eval()
    loss = torch.zeros((), device=images.labels.device)
    correct = torch.zeros((), device=images.labels.device, dtype=torch.int64)
    for start in range(0, len(images), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        logits = network(images.batch(part))
        labels = images.labels[part]
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    return float(loss) / len(images), float(correct) / len(images)
