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
from recall_distortion.fast.cpu.layers import (
    COMPILED,
    StackedPooledConvolution,
    check_sizes,
    in_precision,
    pooled_convolution,
)
from recall_distortion.fast.cpu.rectified import FoundExtremes, rectified
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

    def stacked(
        self,
        tensors: Mapping[str, Tensor],
        images: Tensor,
        dropped: Dropped | None,
        tapped: Sequence[str],
    ) -> tuple[Tensor, FoundExtremes | None]:
        """Return logits [K, B, classes] of images [K, B, C, H, W], and the tapped layers' extremes.

        ``tensors`` are the networks' parameters by name, [K, ...], or of one as it has them. What
        the linear layers in ``dropped`` get is multiplied by its masks.
        """
        for skipped in (self, *self._plain, *self._convolutions.values(), *self._linear.values()):
            refuse_hooks(skipped, "compiled loops")
        first, *_ = self._convolutions.values()
        x, peaks, found = in_precision(images, first.weight.dtype), [], []
        for name, layer in self._convolutions.items():
            weight, bias = (
                tensors[f"{name}.{part}"].reshape(len(images), *getattr(layer, part).shape)
                for part in ("weight", "bias")
            )
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
        x = self._pooled_to_side(x.flatten(0, 1)).reshape(*images.shape[:2], -1)
        logits, extremes = rectified(x, self._linear, tensors, dropped, tapped)
        return logits, FoundExtremes.joined([*found, *extremes])

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
