"""What a fast form asks of the plain network that it stands for."""

from __future__ import annotations

import sys

from torch import nn
from torch.nn.modules.module import _has_any_global_hook

from recall_distortion.system.errors import NetworkError


def has_its_own_forward(kind: type[nn.Module]) -> bool:
    """Return whether a class still has the ``forward`` that its source file gave it.

    It may have been replaced before this module was imported, so no copy is compared.
    """
    code = getattr(kind.forward, "__code__", None)
    if code is None:
        return False
    source = sys.modules[kind.__module__].__file__
    return (code.co_filename, code.co_qualname) == (source, f"{kind.__qualname__}.forward")


def refuse_hooks(module: nn.Module, ours: str) -> None:
    """Raise ``NetworkError`` where a module has a hook, which what is ``ours`` would not call."""
    if (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or _has_any_global_hook()
    ):
        raise NetworkError(
            f"{type(module).__name__} has a hook, which the {ours} would not call; call "
            "the plain network, or compute with Engine(fast=False)"
        )
