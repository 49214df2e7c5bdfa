"""The networks by the names a study uses, their initial weights, and what of them is prunable."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from recall_distortion.networks.parameters import Counts
from recall_distortion.networks.plans import architecture
from recall_distortion.networks.sizes import parted
from recall_distortion.system.errors import NetworkError


def constructor(name: str) -> Callable[[int, int], nn.Module]:
    """Return what makes a network of (channels, classes); raises ``NetworkError`` if unknown."""
    # By name, so that a job depends on the code of no network but its own.
    module = import_module(f"recall_distortion.networks.{architecture(name).family}")
    network, size = parted(name)
    return functools.partial(module.NETWORKS[network], **size)


def build(name: str, *, channels: int, classes: int) -> nn.Module:
    """Return the network ``name`` for images of ``channels``, with logits [N, ``classes``].

    Its initial weights come from PyTorch's global generator; ``initialize`` draws them again from
    a generator of one's own. Raises ``NetworkError`` for an unknown name or impossible sizes.
    """
    make = constructor(name)
    if channels < 1 or classes < 2:
        raise NetworkError(
            f"{name} needs at least 1 channel and 2 classes, not {channels} and {classes}"
        )
    network: Any = make(channels, classes)
    network.architecture = name
    _initialize(network, None)
    return network  # type: ignore[no-any-return]


def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter anew from ``generator`` and reset every buffer, in place.

    The ResNets' weights are Kaiming-normal (He et al. 2015), those of the other networks and all
    biases uniform as PyTorch's layers have them. Draws go through the modules in order and are made
    by a CPU's ``generator``, so one generator state gives one network, whatever the network's
    device and memory layout.
    """
    _initialize(network, generator)


def prunable_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return name -> weight of each convolution and linear layer but the classifier, in order."""
    return {f"{name}.weight": module.weight for name, module in _prunable_modules(network)}


def counts(network: nn.Module) -> Counts:
    """Return the network's parameter counts as ``plans.parameter_counts`` does by name."""
    modules = [module for _, module in _prunable_modules(network)]
    return Counts(
        total=sum(parameter.numel() for parameter in network.parameters()),
        prunable_modules=sum(
            parameter.numel() for module in modules for parameter in module.parameters()
        ),
        prunable_weights=sum(module.weight.numel() for module in modules),
    )


@torch.no_grad()
def output_positions(network: nn.Module, images: Tensor) -> dict[str, int]:
    """Return by weight how many places of an image its layer is applied to.

    ``images`` [N, C, H, W] are shown to the network, whose layers' outputs are counted. Of a linear
    layer it is 1.
    """
    found: dict[str, int] = {}
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):

            def see(
                layer: nn.Module, given: tuple[Tensor, ...], made: Tensor, name: str = name
            ) -> None:
                found[f"{name}.weight"] = made[0, 0].numel()

            handles.append(module.register_forward_hook(see))
    training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return found


def _prunable_modules(network: nn.Module) -> list[tuple[str, nn.Module]]:
    return [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module is not network.classifier
    ]


@torch.no_grad()
def _initialize(network: nn.Module, generator: torch.Generator | None) -> None:
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if network.kaiming_normal:
                draw = nn.init.kaiming_normal_
            else:
                # PyTorch's default: uniform within 1 / sqrt(inputs), as for the bias.
                draw = functools.partial(nn.init.kaiming_uniform_, a=math.sqrt(5))
            _draw(draw, module.weight, generator)
            if module.bias is not None:
                bound = 1 / math.sqrt(module.weight[0].numel())
                draw = functools.partial(nn.init.uniform_, a=-bound, b=bound)
                _draw(draw, module.bias, generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            raise NetworkError(
                f"no rule says how to initialize {name}, a {type(module).__name__}; add one"
            )


def _draw(
    draw: Callable[..., Tensor], parameter: Tensor, generator: torch.Generator | None
) -> None:
    """Fill a parameter with what ``draw`` puts into a tensor of its shape on the CPU."""
    # Numbers are drawn in the order in which they lie in memory: here always the channels last, as
    # the workflow's networks have them.
    form = torch.channels_last if parameter.dim() == 4 else torch.contiguous_format
    drawn = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu", memory_format=form)
    parameter.copy_(draw(drawn, generator=generator))
