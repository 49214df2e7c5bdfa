"""One step of training: K networks' losses, gradients and the descent along them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.sgd import sgd

from recall_distortion.training.stacks import Stack


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
        self._options: dict[str, Any] = {
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


def step(
    stack: Stack,
    optimizer: Descent,
    images: Tensor,
    labels: Tensor,
    masks: Mapping[int, Tensor],
) -> Tensor:
    """Make one step on images [K B, C, H, W] with labels [K, B]; return the mean losses [K]."""
    losses = cross_entropy(stack.logits(images, training=True), labels).mean(1)
    gradients = torch.autograd.grad(losses.sum(), optimizer.parameters)
    if masks:
        torch._foreach_mul_([gradients[position] for position in masks], list(masks.values()))
    optimizer.step(gradients)
    return losses.detach()


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy [K, B] of logits [K, B, classes]."""
    # With the images innermost the classes' exponentials are taken over whole arrays.
    return F.cross_entropy(logits.mT, labels, reduction="none")
