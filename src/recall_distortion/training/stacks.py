"""K networks of one architecture as one function of images: a network alone, or K vectorized."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recall_distortion.fast.cpu.jumpstart import Jumpstart
from recall_distortion.networks.dropped import Dropped
from recall_distortion.training import replicates
from recall_distortion.training.batch_norm import ElementaryBatchNorm

T = TypeVar("T")


#: Of each tapped layer by its name what it gave [K, B, ...], once for each time it was used.
Taken = dict[str, list[Tensor]]


@runtime_checkable
class StackedForm(Protocol):
    """A fast form that computes the gradients of K networks in training at once itself."""

    def stacked_gradients(
        self,
        tensors: Mapping[str, Tensor],
        images: Tensor,
        labels: Tensor,
        dropped: Dropped | None,
        label_smoothing: float,
        jumpstart: Jumpstart | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean losses [K] on images [K, B, C, H, W], and the gradients of ``tensors``.

        Labels are [K, B], and ``tensors`` the networks' parameters by name [K, ...]. What the
        layers in ``dropped`` get is multiplied by its masks [K, B, features].
        """


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
        # In half precision the plain modules compute, as autocast has it.
        self._form: StackedForm | None = None
        if dtype == next(network.parameters()).dtype == torch.float32:
            self._form = network if isinstance(network, StackedForm) else None
        self._training: bool | None = None
        # What a layer gave is then overwritten by what comes after it, so that a copy is taken.
        self._in_place = any(getattr(module, "inplace", False) for module in network.modules())
        # Of frozen parameters too, which a network may have alone.
        self._first = next(name for name, _ in network.named_parameters())

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def logits(self, images: Tensor, *, training: bool = False) -> Tensor:
        """Return each network's logits [K, B, classes] in its parameters' precision.

        In training each network has images of its own, [K B, C, H, W], and batch norm updates its
        running statistics; otherwise all have the same, [B, C, H, W].
        """
        return self.outputs(images, training=training)[0]

    def _set_mode(self, training: bool) -> None:
        # Of a small network alone, going through all modules is a twentieth of a step. Another
        # stack may have the same network.
        if not self._training == self.network.training == training:
            self.network.train(training)
            self._training = training

    def outputs(
        self,
        images: Tensor,
        *,
        training: bool = False,
        dropped: Dropped | None = None,
        tapped: Sequence[str] = (),
    ) -> tuple[Tensor, Taken]:
        """Return the logits, and what the layers named in ``tapped`` give.

        What the layers in ``dropped`` get is multiplied by its masks [K, B, features].
        """
        self._set_mode(training)
        half = self.dtype != torch.float32
        with torch.autocast(images.device.type, dtype=self.dtype, enabled=half):
            logits, taken = self._outputs(images, training, dropped or {}, tapped)
        return logits.to(self.tensors[self._first].dtype), taken

    @torch.no_grad()
    def gradients(
        self,
        images: Tensor,
        labels: Tensor,
        dropped: Dropped | None,
        label_smoothing: float,
        jumpstart: Jumpstart | None,
    ) -> tuple[Tensor, list[Tensor]] | None:
        """Return the mean losses [K] in training, and the gradients of ``parameters``, by a form.

        None where there is none, so that plain modules compute. Images are [K B, C, H, W], their
        labels [K, B], and layers get what ``outputs`` says.
        """
        # A parameter's hooks are autograd's to call.
        if self._form is None or any(value._backward_hooks for value in self.parameters):
            return None
        self._set_mode(training=True)
        own = images.unflatten(0, (len(self), -1))
        with torch.autocast(images.device.type, enabled=False):
            losses, found = self._form.stacked_gradients(
                self.tensors, own, labels, dropped, label_smoothing, jumpstart
            )
        both = zip(self.names, self.parameters, strict=True)
        return losses, [found[name].reshape(parameter.shape) for name, parameter in both]

    @abstractmethod
    def _outputs(
        self,
        images: Tensor,
        training: bool,
        dropped: Mapping[str, Tensor],
        tapped: Sequence[str],
    ) -> tuple[Tensor, Taken]: ...


@contextmanager
def _hooked(
    network: nn.Module, dropped: Mapping[str, Tensor], tapped: Sequence[str], copied: bool
) -> Iterator[dict[str, list[Tensor]]]:
    """Within the context multiply what layers get by ``dropped``, and take what others give."""
    taken: dict[str, list[Tensor]] = {name: [] for name in tapped}
    handles = []
    for name, mask in dropped.items():
        thin = functools.partial(_thinned, mask)
        handles.append(network.get_submodule(name).register_forward_pre_hook(thin))
    for name in tapped:
        take = functools.partial(_take, taken[name], copied)
        handles.append(network.get_submodule(name).register_forward_hook(take))
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()


def _thinned(mask: Tensor, module: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    return (given[0] * mask.to(given[0].dtype),)


def _take(
    taken: list[Tensor], copied: bool, module: nn.Module, given: tuple[Tensor], result: Tensor
) -> None:
    taken.append(result.clone() if copied else result)


def _trained(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters but those that a user's network freezes, which stay as they are."""
    return (named for named in network.named_parameters() if named[1].requires_grad)


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
        trained = dict(_trained(network))
        self.names, self.parameters = list(trained), list(trained.values())
        self.tensors = {
            name: value.detach()[None] for name, value in network.state_dict(keep_vars=True).items()
        }

    def _outputs(
        self,
        images: Tensor,
        training: bool,
        dropped: Mapping[str, Tensor],
        tapped: Sequence[str],
    ) -> tuple[Tensor, Taken]:
        own = {name: mask[0] for name, mask in dropped.items()}
        with _hooked(self.network, own, tapped, self._in_place) as taken:
            logits: Tensor = self.network(images)
        stacked = {name: [value[None] for value in values] for name, values in taken.items()}
        return logits[None], stacked


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
        named = {name: stacked[name].requires_grad_() for name, _ in _trained(network)}
        self.names, self.parameters = list(named), list(named.values())
        self._buffers = {name: value for name, value in stacked.items() if name not in named}
        self._parameters = named
        self.tensors = {name: value.detach() for name, value in stacked.items()}

    def _outputs(
        self,
        images: Tensor,
        training: bool,
        dropped: Mapping[str, Tensor],
        tapped: Sequence[str],
    ) -> tuple[Tensor, Taken]:
        if training:
            images = images.unflatten(0, (len(self), -1))

        def outputs(
            parameters: dict[str, Tensor],
            buffers: dict[str, Tensor],
            images: Tensor,
            dropped: dict[str, Tensor],
        ) -> tuple[Tensor, Taken]:
            # What is taken leaves as a result of the call, in which alone it is one network's.
            with _hooked(self.network, dropped, tapped, self._in_place) as taken:
                found: Tensor = functional_call(self.network, (parameters, buffers), (images,))
            return found, taken

        dimensions = (0, 0, 0 if training else None, 0)
        # torch has a rule of its own on a CPU in single precision alone, where it is faster.
        on_cpu = images.device.type == "cpu" and self.dtype == torch.float32
        with nullcontext() if on_cpu else ElementaryBatchNorm():
            found: tuple[Tensor, Taken] = torch.vmap(outputs, dimensions)(
                self._parameters, self._buffers, images, dict(dropped)
            )
        return found
