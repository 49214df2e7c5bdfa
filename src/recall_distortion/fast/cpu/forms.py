"""What the fast forms share: the layers of another's network, three of them computed as one."""

from __future__ import annotations

from torch import Tensor, nn

from recall_distortion.fast.cpu.layers import COMPILED, pooled_convolution
from recall_distortion.fast.plain import has_its_own_forward, refuse_hooks


class Form(nn.Module):
    """A network of another's layers: their parameters are shared, by the same names.

    ``plain`` is the class of the networks that it computes.
    """

    plain: type[nn.Module]

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._plain = (network,)  # in a tuple, or it would be a layer of this one
        for name, layer in network.named_children():
            self.add_module(name, layer)

    def train(self, mode: bool = True) -> Form:
        """Set the plain network's mode too, whose layers these are."""
        for network in self._plain:
            network.train(mode)
        return super().train(mode)

    def pooled(self, convolution: nn.Conv2d, images: Tensor) -> Tensor:
        """Return a convolution's images, pooled by 2 and rectified."""
        for skipped in (*self._plain, convolution):
            refuse_hooks(skipped, "compiled loops")
        padding, _ = convolution.padding
        return pooled_convolution(images, convolution.weight, convolution.bias, padding)

    @classmethod
    def of(cls, network: nn.Module) -> Form | None:
        """Return a network's fast form, or None where the network is none of these on a CPU.

        There is none where a convolution was replaced, or a ``forward`` of it or of the network:
        the form would compute what the network no longer does.
        """
        # A class derived from the plain one may compute something else.
        if type(network) is not cls.plain or "forward" in vars(network):
            return None
        if not has_its_own_forward(cls.plain):
            return None
        if not all(map(_is_computed, (network.conv1, network.conv2))):
            return None
        weight = network.conv1.weight
        if weight.device.type != "cpu" or weight.dtype not in COMPILED:
            return None
        return cls(network)


def _is_computed(layer: nn.Module) -> bool:
    """Return whether the compiled loops compute what this layer does: it may have been replaced."""
    if type(layer) is not nn.Conv2d or {"forward", "_conv_forward"} & set(vars(layer)):
        return False
    if not {type(layer.weight), type(layer.bias)} <= {nn.Parameter, Tensor}:
        return False  # no bias, or a tensor whose functions are its own
    rows, columns = layer.kernel_size
    return (
        layer.stride == layer.dilation == (1, 1)
        and layer.groups == 1
        and rows == columns
        and layer.padding in ((padding, padding) for padding in range(rows))
        and layer.padding_mode == "zeros"
    )
