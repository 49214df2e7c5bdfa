"""K networks in fused residual units on a GPU, and their steps captured as CUDA graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recall_distortion.fast.gpu import form
from recall_distortion.networks.dropped import Dropped
from recall_distortion.system.errors import NetworkError
from recall_distortion.training import replicates
from recall_distortion.training.augmentation import PADDING
from recall_distortion.training.descent import Descent
from recall_distortion.training.images import DeviceImages
from recall_distortion.training.objective import CROSS_ENTROPY, Objective, step
from recall_distortion.training.passes import Pass
from recall_distortion.training.stacks import Stack

#: Steps that run before one is captured: they compile the kernels and make the momentum.
WARM_STEPS = 2
#: Of the free memory, what networks may take; and what validation takes besides, in bytes.
SHARE, VALIDATION = 0.9, 2 * 2**30


class Fused(Stack):
    """K networks as the kernels of ``fast.gpu`` compute them.

    Raises ``NetworkError`` where there are none for the network.
    """

    def __init__(
        self,
        network: nn.Module,
        states: Sequence[Mapping[str, Tensor]],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(network, dtype)
        found = form(network)
        if found is None:
            raise NetworkError(f"{type(network).__name__} has no form in fused residual units")
        self.networks = found(network, replicates.stack(states), dtype)
        self.names = list(self.networks.parameters)
        self.parameters = list(self.networks.parameters.values())
        self.tensors = self.networks.tensors

    def outputs(
        self,
        images: Tensor,
        *,
        training: bool = False,
        dropped: Dropped | None = None,
        tapped: Sequence[str] = (),
    ) -> tuple[Tensor, dict[str, list[Tensor]]]:
        """Return each network's logits, as ``Stack`` says; those of evaluation have no gradient.

        Raises ``NetworkError`` for what the kernels have not: masks of what layers get, and what
        they give.
        """
        if dropped or tapped:
            raise NetworkError(
                "fused residual units have neither dropout nor pre-activations; compute with "
                "Engine(fused=False)"
            )
        return self._outputs(images, training, {}, ())

    def _outputs(
        self,
        images: Tensor,
        training: bool,
        dropped: Mapping[str, Tensor],
        tapped: Sequence[str],
    ) -> tuple[Tensor, dict[str, list[Tensor]]]:
        found: Tensor = self.networks.logits(images, training=training)
        return found, {}


class Captured(Pass):
    """Passes whose whole step, the batch's choice included, is on the device.

    The orders of the images, the augmentations' choices and the place in the order are tensors that
    stay where they are, so that a step needs nothing from the host: on a GPU the third one of each
    size of batch is captured and from then on replayed. Elsewhere each runs as it is.
    """

    stack: Fused

    def __init__(
        self,
        stack: Fused,
        optimizer: Descent,
        images: DeviceImages,
        batch_size: int,
        masks: Mapping[int, Tensor],
        objective: Objective = CROSS_ENTROPY,
    ) -> None:
        super().__init__(stack, optimizer, images, batch_size, masks, objective)
        device = images.labels.device
        self._order = torch.zeros(len(stack), len(images), dtype=torch.int64, device=device)
        self._choices: list[Tensor] = []
        self._place = torch.zeros((), dtype=torch.int64, device=device)
        self._counting = torch.arange(batch_size, device=device)
        self._total = torch.zeros(len(stack), device=device)
        self._steps: Counter[int] = Counter()
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._rate = optimizer.rate  # which a captured step has as a constant
        self._pool: Any = None

    def run(
        self,
        orders: Sequence[torch.Generator],
        choices: Sequence[torch.Generator],
        drops: Sequence[torch.Generator] = (),
    ) -> list[float]:
        """Make one pass and return the mean losses, with one generator a network."""
        if self.optimizer.rate != self._rate:
            self._rate = self.optimizer.rate
            self._graphs.clear()
        self._order.copy_(self._draw(orders))
        drawn = self.images.draw(choices)
        self._choices = self._choices or [torch.empty_like(choice) for choice in drawn]
        for kept, choice in zip(self._choices, drawn, strict=True):
            kept.copy_(choice)
        self._place.zero_()
        self._total.zero_()
        for start in range(0, len(self.images), self.batch_size):
            self._next(min(self.batch_size, len(self.images) - start))
        return (self._total / len(self.images)).tolist()

    def _next(self, size: int) -> None:
        """Make the next step, on a batch of so many images for each network."""
        self._steps[size] += 1
        if self._steps[size] > WARM_STEPS and self._place.is_cuda:
            if size not in self._graphs:
                self._graphs[size] = self._capture(size)
            self._graphs[size].replay()
        else:
            self._step(size)
        if self.after_step is not None:
            self.after_step()

    def _capture(self, size: int) -> torch.cuda.CUDAGraph:
        """Return a step as a graph, without making it."""
        torch.cuda.empty_cache()  # a graph's memory is its own
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            self._step(size)
        return graph

    def _step(self, size: int) -> None:
        positions = self._counting[:size] + self._place
        index = self._order.index_select(1, positions)
        labels = self.images.labels.index_select(0, index.flatten()).view_as(index)
        batch = self._batch(index, positions)
        losses = step(self.stack, self.optimizer, batch, labels, self.masks, self.objective)
        self._total += losses * size
        self._place += size

    def _batch(self, index: Tensor, positions: Tensor) -> Tensor:
        """Return images [K B, C, H, W] by one kernel where it knows the augmentations."""
        names, networks = self.images.augmentation, self.stack.networks
        if not networks.knows(names):
            chosen = [choice.index_select(1, positions).flatten(0, 1) for choice in self._choices]
            return self.images.batch(index.flatten(), chosen)
        rows, normalization = self.images.stored()
        found: Tensor = networks.batch(
            rows,
            normalization,
            self._order,
            self._place,
            index.shape[1],
            dict(zip(names, self._choices, strict=True)),
            padding=PADDING,
            dtype=self.stack.dtype,
        )
        return found.flatten(0, 1).permute(0, 3, 1, 2)


def at_once(
    network: nn.Module, images: DeviceImages, batch_size: int, dtype: torch.dtype, most: int
) -> int:
    """Return how many networks, at most so many, fit the GPU's free memory; at least one.

    A forward and a backward pass of one network on a batch are made and the memory that they took
    is read. It counts twice: a step is run before it is captured in memory of its own.
    """
    device = images.labels.device
    size = min(batch_size, len(images))
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    stack = Fused(network, [network.state_dict()], dtype)
    logits = stack.logits(images.batch(slice(0, size)), training=True)
    torch.autograd.grad(logits.sum(), stack.parameters)
    taken = torch.cuda.max_memory_allocated(device) - before
    del stack, logits
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return max(min(int((SHARE * free - VALIDATION) // (2 * taken)), most), 1)
