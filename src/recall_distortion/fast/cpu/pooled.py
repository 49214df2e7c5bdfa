"""Networks of convolutions, pooled by 2 and rectified, and then linear layers.

A convolution with pooling and rectifier is one layer of compiled loops. In training the linear
layers are those of ``rectified``, and Jumpstart's extremes are found beside both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recall_distortion.fast import cpu
from recall_distortion.fast.cpu.forms import Form, is_own
from recall_distortion.fast.cpu.jumpstart import FoundExtremes, Jumpstart
from recall_distortion.fast.cpu.layers import (
    COMPILED,
    StackedPooledConvolution,
    check_sizes,
    in_precision,
    pooled_convolution,
)
from recall_distortion.fast.cpu.rectified import rectified
from recall_distortion.fast.plain import refuse_hooks
from recall_distortion.networks.dropped import Dropped
from recall_distortion.networks.layers import adaptive_max_pool


class PooledForm(Form):
    """A network of such layers in the order of their names, all but the last one rectified.

    Its linear layers get images pooled to ``side``.
    """

    side: ClassVar[int]

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        named = dict(network.named_children())
        self._convolutions = {k: one for k, one in named.items() if isinstance(one, nn.Conv2d)}
        self._linear = {k: one for k, one in named.items() if isinstance(one, nn.Linear)}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, classes] of images [N, C, H, W]."""
        x = images
        for layer in self._convolutions.values():
            for skipped in (*self._plain, layer):
                refuse_hooks(skipped, "compiled loops")
            assert layer.bias is not None  # as is_own says
            x = pooled_convolution(x, layer.weight, layer.bias, _padding(layer))
        x = self._pooled_to_side(x).flatten(1)
        *hidden, classifier = self._linear.values()
        for linear in hidden:
            x = F.relu(linear(x))
        logits: Tensor = classifier(x)
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
        linear layers in ``dropped`` get is multiplied by its masks.
        """
        for skipped in (self, *self._plain, *self._convolutions.values(), *self._linear.values()):
            refuse_hooks(skipped, "compiled loops")
        names = [f"{name}.{part}" for name in self._convolutions for part in ("weight", "bias")]
        own = {name: tensors[name].detach().requires_grad_() for name in names}
        tapped = jumpstart.layers if jumpstart else ()
        with torch.enable_grad():
            x, before = self._convolved(own, images, tapped)
            x = self._pooled_to_side(x.flatten(0, 1)).reshape(*images.shape[:2], -1)
        found = rectified(
            x.detach(),
            self._linear,
            tensors,
            labels,
            dropped,
            label_smoothing,
            jumpstart,
            before=before.detach() if before else None,
            needs_x=True,
        )
        reached = [x, before.values] if before else [x]
        given = [found.of_x, found.of_before] if before else [found.of_x]
        gradients = torch.autograd.grad(reached, [*own.values()], given)
        return found.losses, found.gradients | dict(zip(names, gradients, strict=True))

    def _convolved(
        self, tensors: Mapping[str, Tensor], images: Tensor, tapped: Sequence[str]
    ) -> tuple[Tensor, FoundExtremes | None]:
        """Return what the convolutions make of images, and the extremes of the tapped ones."""
        first, *_ = self._convolutions.values()
        x, peaks, found = in_precision(images, first.weight.dtype), [], []
        for name, layer in self._convolutions.items():
            weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
            padding = _padding(layer)
            check_sizes(x.shape[2:], weight.shape[1:], padding)
            rows, columns = (size + 2 * padding - weight.shape[-1] + 1 for size in x.shape[3:])
            if name in tapped and (rows % 2 or columns % 2):
                # Pooling leaves numbers out, which count as extremes.
                z = torch.vmap(partial(F.conv2d, padding=padding))(x, weight, bias).contiguous()
                x = F.relu(F.max_pool2d(z.flatten(0, 1), 2)).unflatten(0, z.shape[:2])
                found.append(FoundExtremes(cpu.load_extremes().Extremes.apply(z), z.shape[2]))
            else:
                x, own = StackedPooledConvolution.apply(x, weight, bias, padding, name in tapped)
                peaks += [own] if name in tapped else []
        if peaks:
            units = sum(own.shape[-1] for own in peaks)
            found.append(FoundExtremes(cpu.load_extremes().OfPeaks.apply(*peaks), units))
        return x, FoundExtremes.joined(found) if found else None

    def _pooled_to_side(self, x: Tensor) -> Tensor:
        return x if x.shape[-2:] == (self.side,) * 2 else adaptive_max_pool(x, self.side)

    @classmethod
    def _computes(cls, network: nn.Module) -> bool:
        first, second = (network.get_submodule(name) for name in ("conv1", "conv2"))
        linear = (layer for layer in network.children() if layer not in (first, second))
        if not _is_computed(first) or not _is_computed(second):
            return False
        if not all(is_own(layer, nn.Linear) for layer in linear):
            return False
        return first.weight.device.type == "cpu" and first.weight.dtype in COMPILED


def _padding(layer: nn.Conv2d) -> int:
    assert not isinstance(layer.padding, str)  # as _is_computed says
    return layer.padding[0]


def _is_computed(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether the compiled loops compute what this layer does: it may have been replaced."""
    if not is_own(layer, nn.Conv2d):
        return False
    rows, columns = layer.kernel_size
    return (
        layer.stride == layer.dilation == (1, 1)
        and layer.groups == 1
        and rows == columns
        and layer.padding in [(padding, padding) for padding in range(rows)]
        and layer.padding_mode == "zeros"
    )
