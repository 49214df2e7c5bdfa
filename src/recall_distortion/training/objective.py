"""What training makes small: the networks' losses, and one step along their gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from recall_distortion.training.descent import Descent
from recall_distortion.training.stacks import Stack


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
