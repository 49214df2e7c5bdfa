"""The networks by the names a study uses, their initial weights, and what of them is prunable."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from recall_distortion.networks.definition import Definition
from recall_distortion.networks.parameters import Counts
from recall_distortion.networks.plans import architecture
from recall_distortion.networks.sizes import parted
from recall_distortion.system.errors import NetworkError

#: Layers whose weights a pruning may remove.
WEIGHTED = nn.Linear, nn.modules.conv._ConvNd
#: The attribute of a user's network that holds what is known of it (``networks.own``).
OWN = "_recall_distortion"


def constructor(name: str) -> Callable[[int, int], nn.Module]:
    """Return what makes a network of (channels, classes); raises ``NetworkError`` if unknown."""
    # By name, so that a job depends on the code of no network but its own.
    module = import_module(f"recall_distortion.networks.{architecture(name).family}")
    network, size = parted(name)
    return functools.partial(module.NETWORKS[network], **size)


def build(
    name: str,
    *,
    channels: int,
    classes: int,
    own: Definition | None = None,
    image: tuple[int, int] | None = None,
) -> nn.Module:
    """Return the network ``name`` for images of ``channels``, with logits [N, ``classes``].

    Its initial weights come from PyTorch's global generator; ``initialize`` draws them again from
    a generator of one's own. With ``own`` a user's function makes it, and ``image`` is the height
    and width of images. Raises ``NetworkError`` for an unknown name or impossible sizes.
    """
    if own is not None:
        found = import_module("recall_distortion.networks.own")
        of_user: nn.Module = found.build(name, own, channels=channels, classes=classes, image=image)
        return of_user
    make = constructor(name)
    if channels < 1 or classes < 2:
        raise NetworkError(
            f"{name} needs at least 1 channel and 2 classes, not {channels} and {classes}"
        )
    network = make(channels, classes)
    network.architecture = name  # type: ignore[assignment]  # torch declares tensors and modules
    _initialize(network, None)
    return network


def known(network: nn.Module) -> Any:
    """Return what is known of a network that a user's function made, None of one of these here."""
    return getattr(network, OWN, None)


def draws(network: nn.Module) -> bool:
    """Return whether a network draws from the global generators while it is trained."""
    return known(network) is not None and bool(known(network).draws)


def on_device(network: nn.Module, device: str | torch.device) -> nn.Module:
    """Return a network on a device, in the layout that is fastest for the networks here.

    A user's module keeps the layout that it was written for.
    """
    if known(network) is None:
        network = network.to(memory_format=torch.channels_last)
    return network.to(device)


def classifier(network: nn.Module) -> nn.Module:
    """Return the last layer, which is never pruned."""
    of_user = known(network)
    return network.get_submodule("classifier" if of_user is None else of_user.classifier)


def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter anew from ``generator`` and reset every buffer, in place.

    The ResNets' weights are Kaiming-normal (He et al. 2015), those of the other networks and all
    biases uniform as PyTorch's layers have them. Draws go through the modules in order and are made
    by a CPU's ``generator``, so one generator state gives one network, whatever the network's
    device and memory layout. A user's network is made anew under a seed from ``generator``.
    """
    if known(network) is not None:
        known(network).initialize(network, generator)
    else:
        _initialize(network, generator)


def prunable_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return name -> weight of each convolution and linear layer but the classifier, in order.

    Of a user's network those that were found or named.
    """
    if known(network) is not None:
        return {name: network.get_parameter(name) for name in known(network).prunable}
    # torch declares weights as plain tensors.
    return {f"{name}.weight": module.weight for name, module in _prunable_modules(network)}  # type: ignore[misc]


def counts(network: nn.Module) -> Counts:
    """Return the network's parameter counts as ``plans.parameter_counts`` does by name."""
    weights = prunable_parameters(network)
    modules = {name.rpartition(".")[0] for name in weights}
    return Counts(
        total=sum(parameter.numel() for parameter in network.parameters()),
        prunable_modules=sum(
            parameter.numel()
            for module in modules
            for parameter in network.get_submodule(module).parameters(recurse=False)
        ),
        prunable_weights=sum(weight.numel() for weight in weights.values()),
    )


@torch.no_grad()
def output_positions(network: nn.Module, images: Tensor) -> dict[str, int]:
    """Return by weight how many places of an image its layer is applied to.

    ``images`` [N, C, H, W] are shown to the network, whose layers' outputs are counted, of all
    calls. Of a linear layer that gets features it is 1, of one that gets tokens their number.
    """
    found: dict[str, int] = {}
    handles = []

    def watch(name: str, weights: Sequence[str], width: int) -> None:
        def see(layer: nn.Module, given: tuple[Tensor, ...], made: Any) -> None:
            result = made[0] if isinstance(made, tuple) else made
            for weight in weights:
                places = result.numel() // (len(images) * width)
                found[f"{name}.{weight}"] = found.get(f"{name}.{weight}", 0) + places

        handles.append(network.get_submodule(name).register_forward_hook(see))

    for name, module in network.named_modules():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            watch(name, ["in_proj_weight", "out_proj.weight"], module.embed_dim)
        elif isinstance(module, WEIGHTED) and "weight" in module._parameters:
            watch(name, ["weight"], len(module.weight))
    training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return found


def _prunable_modules(network: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
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
