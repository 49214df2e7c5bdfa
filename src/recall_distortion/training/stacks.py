"""K networks of one architecture as one function of images: a network alone, or K vectorized."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recall_distortion.training import replicates
from recall_distortion.training.batch_norm import ElementaryBatchNorm

T = TypeVar("T")


def split(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield runs of consecutive items, at most so many each and of even size.

    A last stack of few networks would waste what vectorizing gains.
    """
    parts = -(-len(items) // most)
    for number in range(parts):
        yield items[number * len(items) // parts : (number + 1) * len(items) // parts]


class Stack(ABC):
    """K networks that are trained or evaluated at once.

    ``names`` and ``parameters`` are the tensors to fit, and ``tensors`` maps the names of all
    parameters and buffers to [K, ...]. They are what the networks compute with, not copies.
    """

    names: list[str]
    parameters: list[Tensor]
    tensors: dict[str, Tensor]

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        self.network = network
        self.dtype = dtype

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def logits(self, images: Tensor, *, training: bool = False) -> Tensor:
        """Return each network's logits [K, B, classes] in its parameters' precision.

        In training each network has images of its own, [K B, C, H, W], and batch norm updates its
        running statistics; otherwise all have the same, [B, C, H, W].
        """
        self.network.train(training)
        half = self.dtype != torch.float32
        with torch.autocast(images.device.type, dtype=self.dtype, enabled=half):
            logits = self._logits(images, training)
        return logits.to(self.parameters[0].dtype)

    @abstractmethod
    def _logits(self, images: Tensor, training: bool) -> Tensor: ...


class Alone(Stack):
    """One network, in its own module."""

    def __init__(
        self,
        network: nn.Module,
        states: Sequence[Mapping[str, Tensor]],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(network, dtype)
        (state,) = states
        network.load_state_dict(state)
        self.names = [name for name, _ in network.named_parameters()]
        self.parameters = list(network.parameters())
        self.tensors = {
            name: value.detach()[None] for name, value in network.state_dict(keep_vars=True).items()
        }

    def _logits(self, images: Tensor, training: bool) -> Tensor:
        logits: Tensor = self.network(images)
        return logits[None]


class Vectorized(Stack):
    """K networks as one, by ``torch.vmap`` over the leading dimension of all their tensors.

    Gradients are taken outside of vmap: the parameters [K, ...] are leaves, and a sum of the
    networks' losses has for each network the gradients of its own.
    """

    def __init__(
        self,
        network: nn.Module,
        states: Sequence[Mapping[str, Tensor]],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(network, dtype)
        device = next(network.parameters()).device
        stacked = {name: value.to(device) for name, value in replicates.stack(states).items()}
        named = {name: stacked[name].requires_grad_() for name, _ in network.named_parameters()}
        self.names, self.parameters = list(named), list(named.values())
        self._buffers = {name: value for name, value in stacked.items() if name not in named}
        self._parameters = named
        self.tensors = {name: value.detach() for name, value in stacked.items()}

    def _logits(self, images: Tensor, training: bool) -> Tensor:
        if training:
            images = images.unflatten(0, (len(self), -1))

        def logits(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor
        ) -> Tensor:
            found: Tensor = functional_call(self.network, (parameters, buffers), (images,))
            return found

        dimensions = (0, 0, 0 if training else None)
        # torch has a rule of its own on a CPU in single precision alone, where it is faster.
        on_cpu = images.device.type == "cpu" and self.dtype == torch.float32
        with nullcontext() if on_cpu else ElementaryBatchNorm():
            found: Tensor = torch.vmap(logits, dimensions)(self._parameters, self._buffers, images)
        return found
