"""A pass over the images that are fitted to: every batch once, each network in its own order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from recall_distortion import networks
from recall_distortion.networks.seeded import seeded
from recall_distortion.training.descent import Descent
from recall_distortion.training.dropout import Dropout
from recall_distortion.training.images import DeviceImages
from recall_distortion.training.objective import CROSS_ENTROPY, Objective, step
from recall_distortion.training.stacks import Stack


class Pass:
    """Passes of a stack over images with one optimizer; the last batch may be a short one.

    With ``dropout`` its masks are drawn batch by batch, by generators that ``run`` is given. So is
    what a user's network draws in its steps, which is then the only one of the stack.
    ``after_step`` is called after each batch.
    """

    after_step: Callable[[], None] | None = None

    def __init__(
        self,
        stack: Stack,
        optimizer: Descent,
        images: DeviceImages,
        batch_size: int,
        masks: Mapping[int, Tensor],
        objective: Objective = CROSS_ENTROPY,
        dropout: Dropout | None = None,
    ) -> None:
        self.stack = stack
        self.optimizer = optimizer
        self.images = images
        self.batch_size = batch_size
        self.masks = masks
        self.objective = objective
        self.dropout = dropout
        self._draws = networks.draws(stack.network)

    def run(
        self,
        orders: Sequence[torch.Generator],
        choices: Sequence[torch.Generator],
        drops: Sequence[torch.Generator] = (),
    ) -> list[float]:
        """Make one pass and return the mean losses, with one generator a network."""
        images, size = self.images, self.batch_size
        device = images.labels.device
        shuffled, drawn = self._draw(orders).to(device), images.draw(choices)
        # Summed on the device, so that a GPU is not waited for inside the epoch.
        total = torch.zeros(len(self.stack), device=device)
        starts = range(0, len(images), size)
        sizes = [min(size, len(images) - start) for start in starts]
        dropped = self.dropout.draw(drops, sizes) if self.dropout else itertools.repeat(None)
        for start, masks in zip(starts, dropped, strict=False):
            index = shuffled[:, start : start + size]
            chosen = [choice[:, start : start + size].flatten(0, 1) for choice in drawn]
            flat = index.flatten()
            labels = images.labels.index_select(0, flat).view_as(index)
            batch = images.batch(flat, chosen)
            with seeded(drops[0]) if self._draws else nullcontext():
                losses = step(
                    self.stack, self.optimizer, batch, labels, self.masks, self.objective, masks
                )
            total += losses * index.shape[1]
            if self.after_step is not None:
                self.after_step()
        return (total / len(images)).tolist()

    def _draw(self, orders: Sequence[torch.Generator]) -> Tensor:
        """Return one epoch's orders of the images [K, N], on the CPU."""
        count = len(self.images)
        return torch.stack([torch.randperm(count, generator=order) for order in orders])
