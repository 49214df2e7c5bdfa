"""What the fast forms share: the layers of another's network, some of them computed as one."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeGuard, TypeVar

from torch import Tensor, nn

from recall_distortion.fast.plain import has_its_own_forward

Kind = TypeVar("Kind", bound=nn.Module)


class Form(nn.Module):
    """A network of another's layers: their parameters are shared, by the same names.

    ``plain`` is the class of the networks that it computes, and ``parts`` are the names of what
    these are made of, in the order in which they are called.
    """

    plain: type[nn.Module]
    parts: tuple[str, ...]

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._plain = (network,)  # in a tuple, or it would be a layer of this one
        for name, layer in network.named_children():
            self.add_module(name, layer)

    def train(self, mode: bool = True) -> Form:
        """Set the plain network's mode too, whose layers these are."""
        for network in self._plain:
            network.train(mode)
        self.training = mode
        return self

    @classmethod
    def of(cls, network: nn.Module) -> Form | None:
        """Return a network's fast form, or None where the network is none of these on a CPU.

        There is none where a layer was replaced, added, or given a tensor of another one, or where
        a ``forward`` of it or of the network was replaced: the form would compute what the network
        no longer does.
        """
        # A class derived from the plain one may compute something else.
        if type(network) is not cls.plain or "forward" in vars(network):
            return None
        if not has_its_own_forward(cls.plain):
            return None
        if tuple(name for name, _ in network.named_children()) != cls.parts:
            return None
        named = dict(network.named_parameters(remove_duplicate=False))
        if len(named) > len(dict(network.named_parameters())) or not cls._computes(network):
            return None
        return cls(network)

    @classmethod
    @abstractmethod
    def _computes(cls, network: nn.Module) -> bool:
        """Return whether the loops are for a plain network's layers as they are."""


def is_own(layer: nn.Module, kind: type[Kind]) -> TypeGuard[Kind]:
    """Return whether a layer is of a kind, with functions and tensors that nothing replaced."""
    if type(layer) is not kind or {"forward", "_conv_forward"} & set(vars(layer)):
        return False
    # No bias, or a tensor whose functions are its own.
    return {type(layer.weight), type(layer.bias)} <= {nn.Parameter, Tensor}
