"""Networks whose convolutions are pooled by 2 and rectified: three layers computed as one."""

from __future__ import annotations

from torch import Tensor, nn

from recall_distortion.fast.cpu.forms import Form, is_own
from recall_distortion.fast.cpu.layers import COMPILED, pooled_convolution
from recall_distortion.fast.plain import refuse_hooks


class PooledForm(Form):
    """A network with such convolutions, ``conv1`` and ``conv2``."""

    def pooled(self, convolution: nn.Conv2d, images: Tensor) -> Tensor:
        """Return a convolution's images, pooled by 2 and rectified."""
        for skipped in (*self._plain, convolution):
            refuse_hooks(skipped, "compiled loops")
        padding, _ = convolution.padding
        return pooled_convolution(images, convolution.weight, convolution.bias, padding)

    @classmethod
    def _computes(cls, network: nn.Module) -> bool:
        if not all(map(_is_computed, (network.conv1, network.conv2))):
            return False
        weight = network.conv1.weight
        return weight.device.type == "cpu" and weight.dtype in COMPILED


def _is_computed(layer: nn.Module) -> bool:
    """Return whether the compiled loops compute what this layer does: it may have been replaced."""
    if not is_own(layer, nn.Conv2d):
        return False
    rows, columns = layer.kernel_size
    return (
        layer.stride == layer.dilation == (1, 1)
        and layer.groups == 1
        and rows == columns
        and layer.padding in ((padding, padding) for padding in range(rows))
        and layer.padding_mode == "zeros"
    )
