"""The layers that are quantized, with batch norm folded into those that it follows."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recall_distortion.system.errors import NetworkError


@dataclass(frozen=True)
class Layers:
    """The convolutions and linear layers of a network by name, each with its batch norm's name.

    The norm's name is empty where none follows. The classifier is among them.
    """

    norms: Mapping[str, str]

    @classmethod
    def of(cls, network: nn.Module, images: Tensor) -> Layers:
        """Return the layers that a network calls on images [B, C, H, W], in their order.

        Which batch norm follows which layer is seen in a call, whatever the module's names are.
        Raises ``NetworkError`` for a batch norm that does not follow a layer, or a layer that is
        called twice: neither can be folded.
        """
        made: dict[int, tuple[str, Tensor]] = {}  # tensors are kept, so that no id occurs twice
        norms: dict[str, str] = {}

        def see(name: str, module: nn.Module, given: Tensor, result: Tensor) -> None:
            if isinstance(module, nn.BatchNorm2d):
                layer, _ = made.pop(id(given), ("", given))
                if not layer or norms[layer]:
                    raise NetworkError(
                        f"{name} of {type(network).__name__} normalizes what no convolution or "
                        "linear layer gives, so it cannot be folded into one; such a network "
                        "cannot be quantized"
                    )
                norms[layer] = name
            elif name in norms:
                raise NetworkError(
                    f"{type(network).__name__} calls {name} twice; such a network cannot be "
                    "quantized"
                )
            else:
                norms[name] = ""
                made[id(result)] = name, result

        hooks = [
            module.register_forward_hook(
                lambda module, given, result, name=name: see(name, module, given[0], result)
            )
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
        ]
        was_training = network.training
        try:
            with torch.no_grad():
                network.eval()(images)
        finally:
            network.train(was_training)
            for hook in hooks:
                hook.remove()
        return cls(norms)

    def folded(self, network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``<layer>.weight`` and ``<layer>.bias`` of each layer in float32, norms folded in.

        ``state`` is the network's, by whose running statistics a norm multiplies. They are
        computed in float64 and rounded once.
        """
        found = {}
        for name, norm in self.norms.items():
            weight = state[f"{name}.weight"].double()
            bias = state.get(f"{name}.bias", torch.zeros(len(weight), device=weight.device))
            bias = bias.double()
            if norm:
                gamma, beta, mean, variance = (
                    state[f"{norm}.{part}"].double()
                    for part in ("weight", "bias", "running_mean", "running_var")
                )
                module = network.get_submodule(norm)
                assert isinstance(module, nn.BatchNorm2d)
                epsilon = module.eps
                factor = gamma / torch.sqrt(variance + epsilon)
                weight = weight * factor.view(-1, *(1,) * (weight.dim() - 1))
                bias = (bias - mean) * factor + beta
            found[f"{name}.weight"] = weight.float()
            found[f"{name}.bias"] = bias.float()
        return found

    def without_norms(self, network: nn.Module) -> nn.Module:
        """Return the network for folded tensors: itself where it has no batch norm."""
        whole = all(network.get_submodule(name).bias is not None for name in self.norms)
        if whole and not any(self.norms.values()):
            return network
        found = deepcopy(network)
        for name, norm in self.norms.items():
            layer = found.get_submodule(name)
            if layer.bias is None:
                layer.bias = nn.Parameter(layer.weight.new_zeros(len(layer.weight)))
            if norm:
                replace(found, norm, nn.Identity())
        return found


def replace(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module in the place of a network's part of that name."""
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
