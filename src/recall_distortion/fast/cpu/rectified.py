"""Networks of linear layers with rectifiers between them, in training, as one function.

A step of such networks is mostly what lies between their multiplications: biases, rectifiers and
masks of dropout are passes through memory, forward and backward, and each is a call of PyTorch.
Here they are one loop, and Jumpstart's extremes are found beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recall_distortion.fast import cpu
from recall_distortion.fast.cpu.forms import Form, is_own
from recall_distortion.fast.plain import refuse_hooks
from recall_distortion.networks.dropped import Dropped
from recall_distortion.system.errors import NetworkError

#: The side that ``networks.mlp`` and ``networks.thin_mlp`` average images to.
SIDE = 8
_NARROW = 16
#: Random bits of layers' inputs, a layer's first column, the lowest that keep, and the scale.
Bits = tuple[Any, int, int, float]
#: What the loops get where nothing is dropped.
_NOTHING_DROPPED = np.empty((0, 0), np.int8), 0, 0, 1.0


@dataclass(frozen=True)
class FoundExtremes:
    """The extremes [2, K, units + points] of layers' pre-activations, so many of them of units."""

    values: Tensor
    units: int

    @classmethod
    def joined(cls, parts: Sequence[FoundExtremes]) -> FoundExtremes | None:
        """Return the extremes of all layers, or None where there are none."""
        if len(parts) < 2:
            return parts[0] if parts else None
        of_units = [part.values[..., : part.units] for part in parts]
        of_points = [part.values[..., part.units :] for part in parts]
        return cls(torch.cat([*of_units, *of_points], -1), sum(part.units for part in parts))

    def penalties(self, balance: float, aggregation: str) -> Tensor:
        """Return Jumpstart's penalties [K]."""
        found: Tensor = cpu.load_extremes().Penalties.apply(
            self.values, self.units, balance, aggregation
        )
        return found


class RectifiedForm(Form):
    """A network of linear layers in the order of their names, all but the last one rectified.

    Called as a module it is the plain network; ``stacked`` is the training of K networks. Of one a
    step is mostly calls, and the loops' own take longer than PyTorch's.
    """

    pays_alone = False

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        named = _layers(network)
        self._layers = {k: one for k, one in named.items() if isinstance(one, nn.Linear)}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        (network,) = self._plain
        logits: Tensor = network(images)
        return logits

    def stacked(
        self,
        tensors: Mapping[str, Tensor],
        images: Tensor,
        dropped: Dropped | None,
        tapped: Sequence[str],
    ) -> tuple[Tensor, FoundExtremes | None]:
        """Return logits [K, B, classes] of images [K, B, C, H, W], and the tapped layers' extremes.

        ``tensors`` are the networks' parameters by name, [K, ...], or of one as it has
        them. What the layers in ``dropped`` get is multiplied by its masks.
        """
        for skipped in (self, *self._plain, *self._layers.values()):
            refuse_hooks(skipped, "compiled loops")
        x = images.flatten(0, 1)
        if x.shape[-2:] != (SIDE, SIDE):
            x = F.adaptive_avg_pool2d(x, SIDE)
        x = x.reshape(*images.shape[:2], -1)
        logits, extremes = rectified(x, self._layers, tensors, dropped, tapped)
        return logits, FoundExtremes.joined(extremes)

    @classmethod
    def _computes(cls, network: nn.Module) -> bool:
        return all(
            is_own(layer, nn.Linear)
            and layer.weight.device.type == "cpu"
            and layer.weight.dtype == torch.float32
            for layer in _layers(network).values()
        )


def _layers(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that hold others' none, by their names."""
    return {name: layer for name, layer in network.named_modules() if not [*layer.children()]}


def rectified(
    x: Tensor,
    layers: Mapping[str, nn.Linear],
    tensors: Mapping[str, Tensor],
    dropped: Dropped | None,
    tapped: Sequence[str],
) -> tuple[Tensor, list[FoundExtremes]]:
    """Return what linear layers make of x [K, B, features], all but the last one rectified.

    And the extremes of the tapped ones. The other arguments are those of ``stacked``.
    """
    dropped = dropped or Dropped(torch.empty(0), {}, 0, 1.0)
    first, *later = layers
    if first in dropped:
        x = x * dropped[first]
    bits = [_bits(dropped, name) for name in later]
    taps = [number for number, name in enumerate(layers) if name in tapped]
    own = [tensors[f"{name}.{part}"] for name in layers for part in ("weight", "bias")]
    logits, extremes = _Rectified.apply(x, bits, taps, *own)
    if not taps:
        return logits, []
    units = sum(tensors[f"{name}.bias"].shape[-1] for name in layers if name in tapped)
    return logits, [FoundExtremes(extremes, units)]


class _Rectified(torch.autograd.Function):
    """Linear layers of K networks, and a rectifier after each but the last one."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        bits: Sequence[Bits],
        tapped: Sequence[int],
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the last layer's results, and the extremes of the ``tapped`` ones.

        ``x`` is [K, B, features], and ``tensors`` are each layer's weight and bias, [K, ...], or of
        one network without K. By ``bits`` the inputs of all but the first one are dropped.
        """
        # Numba takes half a second to import, and where there is a GPU it need not be there.
        from recall_distortion.fast.cpu import rectifier

        ctx.alone = tensors[0].dim() == 2
        if ctx.alone:
            tensors = tuple(value[None] for value in tensors)
        weights, biases = tensors[::2], tensors[1::2]
        inputs, outputs = [x], []
        for n, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            z = torch.bmm(inputs[-1], weight.mT)
            outputs.append(z)
            if n == len(bits):
                z += bias[:, None]
            else:
                passed = torch.empty_like(z)
                added = bias.detach().contiguous().numpy()
                rectifier.forward(z.numpy(), added, *bits[n], passed.numpy())
                inputs.append(passed)
        ctx.bits, ctx.tapped = bits, tapped
        extremes = x.new_empty(0)
        if tapped:
            extremes = cpu.load_extremes().find([outputs[number] for number in tapped])
        ctx.save_for_backward(*weights, *inputs, *outputs, extremes)
        return z, extremes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, of_extremes: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of weights and biases, and of ``x`` where it needs one.

        Raises ``NetworkError`` where they are to have gradients of their own
        (``create_graph=True``).
        """
        if torch.is_grad_enabled():  # torch records a backward pass that is to be differentiated
            raise NetworkError(
                "the compiled layers have first derivatives alone; with create_graph=True take the "
                "plain network, or Engine(fast=False)"
            )
        from recall_distortion.fast.cpu import rectifier

        *saved, extremes = ctx.saved_tensors
        count = len(saved) // 3
        weights, inputs, outputs = saved[:count], saved[count : 2 * count], saved[2 * count :]
        columns = {}
        if ctx.tapped:
            spread, starts = cpu.load_extremes().spread, cpu.load_extremes().starts
            columns = dict(zip(ctx.tapped, starts([outputs[n] for n in ctx.tapped]), strict=True))
        gradients: list[Tensor] = []
        for n in reversed(range(count)):
            x, last = inputs[n], n == count - 1
            if n in columns:
                if last:  # it belongs to who gave it
                    gradient = gradient.clone(memory_format=torch.contiguous_format)
                spread(outputs[n], columns[n], extremes, of_extremes, gradient)
            # PyTorch's own order of the factors takes longer, and was seen to round in another way
            # for so few inputs or outputs alone.
            narrow = min(x.shape[-1], gradient.shape[-1]) < _NARROW
            of_weight = torch.bmm(x.mT, gradient).mT if narrow else torch.bmm(gradient.mT, x)
            gradients[:0] = of_weight, gradient.sum(1)
            if n or ctx.needs_input_grad[0]:
                gradient = torch.bmm(gradient, weights[n])
            if n:
                rectifier.backward(outputs[n - 1].numpy(), *ctx.bits[n - 1], gradient.numpy())
        if ctx.alone:
            gradients = [value[0] for value in gradients]
        return gradient if ctx.needs_input_grad[0] else None, None, None, *gradients


def _bits(dropped: Dropped, name: str) -> Bits:
    """Return what the loops get by which a layer's inputs are dropped."""
    if name not in dropped:
        return _NOTHING_DROPPED
    first, _ = dropped.places[name]
    return dropped.bits.numpy(), first, dropped.lowest, dropped.scale
