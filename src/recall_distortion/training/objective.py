"""What training makes small: cross-entropy and regularizers; and one step along its gradients.

A regularizer is an entry of ``REGULARIZERS``; what studies say of it is in ``study.regularizers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.fast import cpu
from recall_distortion.fast.cpu.jumpstart import Jumpstart
from recall_distortion.networks.dropped import Dropped
from recall_distortion.system.errors import NetworkError
from recall_distortion.training.descent import Descent
from recall_distortion.training.recipe import Recipe, Regularizer
from recall_distortion.training.stacks import Stack, Taken


@dataclass(frozen=True)
class Kind:
    """A regularizer: its penalties [K], and the layers whose results it needs, by their names.

    ``names`` raises ``NetworkError`` for a network that has nothing to regularize.
    """

    penalty: Callable[[Regularizer, Stack, Taken], Tensor]
    names: Callable[[Regularizer, nn.Module], list[str]]
    needs_preactivations: bool = False


@dataclass(frozen=True)
class Objective:
    """A recipe's loss: the cross-entropy with smoothed labels, and its regularizers."""

    label_smoothing: float = 0.0
    regularizers: tuple[Regularizer, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe) -> Objective:
        """Return what a recipe trains by."""
        return cls(recipe.label_smoothing, recipe.regularizers)

    def check(self, network: nn.Module) -> None:
        """Raise ``NetworkError`` for a regularizer that finds nothing in a network."""
        for one in self.regularizers:
            REGULARIZERS[one.name].names(one, network)

    @property
    def needs_preactivations(self) -> bool:
        """Whether plain modules are needed, whose layers are called."""
        return any(REGULARIZERS[one.name].needs_preactivations for one in self.regularizers)

    @property
    def is_for_forms(self) -> bool:
        """Whether fast forms compute all of it: they have one regularizer alone, Jumpstart."""
        return [one.name for one in self.regularizers] in ([], ["jumpstart"])

    def losses(
        self, stack: Stack, images: Tensor, labels: Tensor, dropped: Dropped | None = None
    ) -> Tensor:
        """Return each network's mean loss [K] on images [K B, C, H, W] with labels [K, B].

        What layers get is multiplied by the masks of ``dropped`` (``training.dropout``).
        """
        tapping = self._tapping(stack)
        tapped = dict.fromkeys(name for names in tapping.values() for name in names)
        logits, taken = stack.outputs(images, training=True, dropped=dropped, tapped=[*tapped])
        losses = cross_entropy(logits, labels, self.label_smoothing).mean(1)
        for one in self.regularizers:
            own = {name: taken[name] for name in tapping.get(one, ())}
            penalties = REGULARIZERS[one.name].penalty(one, stack, own)
            losses = torch.add(losses, penalties, alpha=one.weight)
        return losses

    def gradients(
        self, stack: Stack, images: Tensor, labels: Tensor, dropped: Dropped | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return what ``losses`` does, and the gradients of the stack's parameters."""
        found = None
        if self.is_for_forms:
            jumpstart = None
            for one, names in self._tapping(stack).items():
                jumpstart = Jumpstart(one.weight, one.balance, one.aggregation, tuple(names))
            found = stack.gradients(images, labels, dropped, self.label_smoothing, jumpstart)
        if found is not None:
            return found
        losses = self.losses(stack, images, labels, dropped)
        return losses.detach(), torch.autograd.grad(losses.sum(), stack.parameters)

    def _tapping(self, stack: Stack) -> dict[Regularizer, list[str]]:
        """Return of what layers the regularizers need pre-activations."""
        return {
            one: REGULARIZERS[one.name].names(one, stack.network)
            for one in self.regularizers
            if REGULARIZERS[one.name].needs_preactivations
        }


#: The loss of a recipe that says nothing of it.
CROSS_ENTROPY = Objective()


def step(
    stack: Stack,
    optimizer: Descent,
    images: Tensor,
    labels: Tensor,
    masks: Mapping[int, Tensor],
    objective: Objective = CROSS_ENTROPY,
    dropped: Dropped | None = None,
) -> Tensor:
    """Make one step on images [K B, C, H, W] with labels [K, B]; return the mean losses [K]."""
    losses, gradients = objective.gradients(stack, images, labels, dropped)
    if masks:
        torch._foreach_mul_([gradients[position] for position in masks], list(masks.values()))
    optimizer.step(gradients)
    return losses


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy [K, B] of logits [K, B, classes].

    With ``smoothing`` s the right class has the share 1 - s of a label and all classes together
    the share s (Szegedy et al., 2016, arXiv 1512.00567, section 7).
    """
    # With the images innermost the classes' exponentials are taken over whole arrays.
    return F.cross_entropy(logits.mT, labels, reduction="none", label_smoothing=smoothing)


def _layers(regularizer: Regularizer, network: nn.Module) -> list[str]:
    """Return the convolutions and linear layers, the classifier among them where all are asked."""
    classifier = networks.classifier(network)
    found = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
        and (regularizer.layers == "all" or module is not classifier)
    ]
    if not found:
        raise NetworkError(f"jumpstart: {type(network).__name__} has no hidden layer")
    return found


def _jumpstart(regularizer: Regularizer, stack: Stack, taken: Taken) -> Tensor:
    """Return Jumpstart's penalties [K] (Riera et al., 2022, arXiv 2201.12795).

    Of a unit, a channel, M is the largest and m the smallest of its pre-activations over the batch
    and positions; of a point, an image in a layer, over the layer's units and positions. Where
    M <= 0 it is dead, where m > 0 linear; a slack, balance max(1 - M, 0) + (1 - balance)
    max(1 + m, 0), is zero where it is neither by a margin of 1. Equal extremes share a gradient.
    """
    balance, aggregation = regularizer.balance, regularizer.aggregation
    # In single precision, whatever autocast leaves a layer's results in.
    layers = [
        z if z.dtype == torch.float64 else z.float() for calls in taken.values() for z in calls
    ]
    units = sum(z.shape[2] for z in layers)
    if cpu.compiles() and all(z.device.type == "cpu" for z in layers):
        extremes = cpu.load_extremes()
        if all(extremes.layout(z) is not None for z in layers):
            found = extremes.Extremes.apply(*layers)
            penalties: Tensor = extremes.Penalties.apply(found, units, balance, aggregation)
            return penalties
    return AGGREGATIONS[aggregation](_slacks(balance, layers), units)


def _slacks(balance: float, layers: Sequence[Tensor]) -> Tensor:
    """Return the slacks of all units and then all points of layers, [K, units + points]."""
    units_highest, units_lowest, points_highest, points_lowest = zip(
        *map(_extremes, layers), strict=True
    )
    highest = torch.cat([*units_highest, *points_highest], 1)
    lowest = torch.cat([*units_lowest, *points_lowest], 1)
    return balance * F.relu(1 - highest) + (1 - balance) * F.relu(1 + lowest)


def _extremes(z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return of pre-activations [K, B, units, ...] the extremes of units and of points.

    They are the largest and the smallest of each unit [K, units] and of each point [K, B].
    """
    if z.dim() == 3:
        units_highest, units_lowest, points_highest, points_lowest = Extremes.apply(z, 1, 2)
    else:
        # First over positions, which leaves little for the others.
        highest, lowest = (part.flatten(2) for part in Extremes.apply(z, (*range(3, z.dim()),)))
        units_highest, _, points_highest, _ = Extremes.apply(highest, 1, 2)
        _, units_lowest, _, points_lowest = Extremes.apply(lowest, 1, 2)
    return (
        units_highest.squeeze(1),
        units_lowest.squeeze(1),
        points_highest.squeeze(2),
        points_lowest.squeeze(2),
    )


class Extremes(torch.autograd.Function):
    """``amax`` and ``amin`` over each of some dimensions, which are kept, with their gradients.

    PyTorch's own gradients go by way of booleans, which takes several times as long.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, *dimensions: int | tuple[int, ...]) -> tuple[Tensor, ...]:
        """Return for each of the dimensions the largest and the smallest values."""
        ctx.set_materialize_grads(False)
        ctx.dimensions = [one for one in dimensions for _ in range(2)]
        found = [
            kind(z, one, keepdim=True) for one in dimensions for kind in (torch.amax, torch.amin)
        ]
        ctx.save_for_backward(z, *found)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradient of z, which equal extremes share."""
        z, *found = ctx.saved_tensors
        total, there = None, torch.empty_like(z)
        for value, gradient, dimensions in zip(found, gradients, ctx.dimensions, strict=True):
            if gradient is None:
                continue
            torch.eq(z, value, out=there)
            shared = gradient / there.sum(dimensions, keepdim=True)
            total = there * shared if total is None else total.addcmul_(there, shared)
        return total, *[None] * (len(found) // 2)


#: How slacks [K, units + points], of so many units, become one number a network.
AGGREGATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "norm": lambda slacks, units: torch.linalg.vector_norm(slacks, dim=1),
    "mean": lambda slacks, units: slacks.mean(1),
    "balanced": lambda slacks, units: slacks[:, :units].mean(1) + slacks[:, units:].mean(1),
}


def _scales(regularizer: Regularizer, network: nn.Module) -> list[str]:
    found = [
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    if not found:
        raise NetworkError(
            f"batch_norm_l1: {type(network).__name__} has no batch norm, so that there is nothing "
            "to regularize; take it out of the recipe, or a network with batch norm"
        )
    return found


def _batch_norm_l1(regularizer: Regularizer, stack: Stack, taken: Taken) -> Tensor:
    """Return the sums [K] of the absolute scales of batch norm (Liu et al., 2017, equation 1).

    "Learning Efficient Convolutional Networks through Network Slimming", arXiv 1708.06519.
    """
    places = [stack.names.index(name) for name in _scales(regularizer, stack.network)]
    scales = [stack.parameters[place].reshape(len(stack), -1) for place in places]
    return torch.cat(scales, 1).abs().sum(1)


REGULARIZERS: dict[str, Kind] = {
    "jumpstart": Kind(_jumpstart, _layers, needs_preactivations=True),
    "batch_norm_l1": Kind(_batch_norm_l1, _scales),
}
