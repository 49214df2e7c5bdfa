"""Networks of linear layers with rectifiers between them, in training, as one function.

A step of such networks is mostly what lies between their multiplications: biases, rectifiers and
masks of dropout are passes through memory, forward and backward, and each is a call of PyTorch.
Here they are one loop, and Jumpstart's extremes are found beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recall_distortion.fast import cpu
from recall_distortion.fast.cpu.forms import Form, is_own
from recall_distortion.fast.cpu.jumpstart import FoundExtremes, Jumpstart, parted
from recall_distortion.fast.plain import refuse_hooks
from recall_distortion.networks.dropped import Dropped

#: The side that ``networks.mlp`` and ``networks.thin_mlp`` average images to.
SIDE = 8
_NARROW = 16
#: Random bits of layers' inputs, a layer's first column, the lowest that keep, and the scale.
Bits = tuple[Any, int, int, float]
#: What the loops get where nothing is dropped.
_NOTHING_DROPPED = np.empty((0, 0), np.int8), 0, 0, 1.0
_NONE_DROPPED = Dropped(torch.empty(0), {}, 0, 1.0)


class RectifiedForm(Form):
    """A network of linear layers in the order of their names, all but the last one rectified.

    Called as a module it is the plain network; ``stacked_gradients`` is the training of K networks.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        named = _layers(network)
        self._layers = {k: one for k, one in named.items() if isinstance(one, nn.Linear)}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        (network,) = self._plain
        logits: Tensor = network(images)
        return logits

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
        layers in ``dropped`` get is multiplied by its masks.
        """
        for skipped in (self, *self._plain, *self._layers.values()):
            refuse_hooks(skipped, "compiled loops")
        x = images.flatten(0, 1)
        if x.shape[-2:] != (SIDE, SIDE):
            x = F.adaptive_avg_pool2d(x, SIDE)
        x = x.reshape(*images.shape[:2], -1)
        found = rectified(x, self._layers, tensors, labels, dropped, label_smoothing, jumpstart)
        return found.losses, found.gradients

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


#: What adds to the gradient of a tapped layer's results that of its extremes.
Spread = Callable[[Tensor], None]


@dataclass(frozen=True)
class Step:
    """The mean losses [K] of networks, and their gradients by the names of parameters.

    And where these are asked for, those of what the layers got, and of the extremes before.
    """

    losses: Tensor
    gradients: dict[str, Tensor]
    of_x: Tensor | None
    of_before: Tensor | None


def rectified(
    x: Tensor,
    layers: Mapping[str, nn.Linear],
    tensors: Mapping[str, Tensor],
    labels: Tensor,
    dropped: Dropped | None,
    label_smoothing: float,
    jumpstart: Jumpstart | None,
    *,
    before: FoundExtremes | None = None,
    needs_x: bool = False,
) -> Step:
    """Return the losses of linear layers on x [K, B, features], all but the last one rectified.

    ``before`` are the extremes of layers before these, and the other arguments those of a form's
    ``stacked_gradients``. All this is no function of autograd, whose own calls are a third of a
    small network's step.
    """
    dropped = dropped or _NONE_DROPPED
    names = [*layers]
    mask = dropped[names[0]].to(x.dtype) if names[0] in dropped else None
    weights = [tensors[f"{name}.weight"] for name in names]
    biases = [tensors[f"{name}.bias"] for name in names]
    bits = [_bits(dropped, name) for name in names[1:]]
    inputs, outputs = _forward(x if mask is None else x * mask, weights, biases, bits)
    losses, of_z = _cross_entropy(outputs[-1], labels, label_smoothing)
    of_before: Tensor | None = None
    extremes: dict[int, Spread] = {}
    if jumpstart:
        tapped = [n for n, name in enumerate(names) if name in jumpstart.layers]
        penalties, of_before, extremes = _penalized(outputs, tapped, jumpstart, before)
        losses.add_(penalties, alpha=jumpstart.weight)
    gradients, of_x = _backward(of_z, weights, inputs, outputs, bits, extremes, needs_x)
    parts = itertools.product(names, ("weight", "bias"))
    named = {".".join(pair): found for pair, found in zip(parts, gradients, strict=True)}
    if of_x is not None and mask is not None:
        of_x = of_x * mask
    return Step(losses, named, of_x, of_before)


def _forward(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], bits: Sequence[Bits]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return of each layer what it gets [K, B, features] and what it gives."""
    # Numba takes half a second to import, and where there is a GPU it need not be there.
    from recall_distortion.fast.cpu import rectifier

    inputs, outputs = [x], []
    for weight, bias, own in zip(weights, biases, [*bits, None], strict=True):
        z = torch.bmm(inputs[-1], weight.mT)
        outputs.append(z)
        if own is None:
            z += bias[:, None]
        else:
            inputs.append(torch.empty_like(z))
            rectifier.forward(z.numpy(), bias.contiguous().numpy(), *own, inputs[-1].numpy())
    return inputs, outputs


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return the mean losses [K] of logits [K, B, classes], and the logits' gradient."""
    # With the images innermost the classes' exponentials are taken over whole arrays.
    shares = torch.log_softmax(logits.mT, 1)
    _, classes, batch = shares.shape
    losses = F.nll_loss(shares, labels, reduction="none")
    if smoothing:
        losses = (1 - smoothing) * losses - smoothing / classes * shares.sum(1)
    others = -smoothing / classes / batch
    of_shares = torch.full_like(shares, others)
    of_shares.scatter_(1, labels[:, None], others - (1 - smoothing) / batch)
    # What autograd calls: computed in another way, gradients would differ by roundings.
    of_logits = torch.ops.aten._log_softmax_backward_data(of_shares, shares, 1, shares.dtype)
    return losses.mean(1), of_logits.mT


def _penalized(
    outputs: Sequence[Tensor],
    tapped: Sequence[int],
    jumpstart: Jumpstart,
    before: FoundExtremes | None,
) -> tuple[Tensor, Tensor | None, dict[int, Spread]]:
    """Return Jumpstart's penalties [K], and the gradients of all extremes, weighted.

    Those of ``before``, and those of the ``tapped`` layers by their numbers.
    """
    loops, own = cpu.load_extremes(), [outputs[n] for n in tapped]
    parts = [before] if before else []
    if own:
        parts.append(FoundExtremes(loops.find(own), sum(z.shape[-1] for z in own)))
    found = FoundExtremes.joined(parts)
    penalties, derivatives = loops.penalize(
        found.values, found.units, jumpstart.balance, jumpstart.aggregation
    )
    derivatives *= jumpstart.weight
    gradients = parted([(part.units, part.points) for part in parts], derivatives)
    spread = loops.spread(own, parts[-1].values, gradients[-1]) if own else []
    return (
        penalties,
        gradients[0] if before else None,
        dict(zip(tapped, spread, strict=True)),
    )


def _backward(
    of_z: Tensor,
    weights: Sequence[Tensor],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    bits: Sequence[Bits],
    extremes: Mapping[int, Spread],
    needs_x: bool,
) -> tuple[list[Tensor], Tensor | None]:
    """Return the gradients of weights and biases in turn, and that of x where it is needed.

    ``of_z`` is that of the last layer's results but for what its extremes add.
    """
    from recall_distortion.fast.cpu import rectifier

    gradients: list[Tensor] = []
    for n in reversed(range(len(weights))):
        x = inputs[n]
        if n in extremes:
            of_z = of_z.contiguous()  # as z lies in memory
            extremes[n](of_z)
        # PyTorch's own order of the factors takes longer, and was seen to round in another way
        # for so few inputs or outputs alone.
        narrow = min(x.shape[-1], of_z.shape[-1]) < _NARROW
        of_weight = torch.bmm(x.mT, of_z).mT if narrow else torch.bmm(of_z.mT, x)
        gradients[:0] = of_weight, of_z.sum(1)
        if n or needs_x:
            of_z = torch.bmm(of_z, weights[n])
        if n:
            rectifier.backward(outputs[n - 1].numpy(), *bits[n - 1], of_z.numpy())
    return gradients, of_z if needs_x else None


def _bits(dropped: Dropped, name: str) -> Bits:
    """Return what the loops get by which a layer's inputs are dropped."""
    if name not in dropped:
        return _NOTHING_DROPPED
    first, _ = dropped.places[name]
    return dropped.bits.numpy(), first, dropped.lowest, dropped.scale
