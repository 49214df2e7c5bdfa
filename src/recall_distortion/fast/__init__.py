"""Networks computed faster than by their plain modules, with the same functions.

A fast form is an optimization that may be deleted and change nothing but time. The engine chooses
it; the plain module is its specification, which tests hold it against.
"""

from __future__ import annotations

from torch import nn

from recall_distortion.fast import cpu

__all__ = ["faster"]


def faster(network: nn.Module) -> nn.Module | None:
    """Return what computes a network faster where its weights lie, or None where nothing does.

    The form's tensors are the network's own, by the same names. What a form cannot do it refuses
    with a ``NetworkError``: derivatives but first ones by ``backward()`` and
    ``torch.autograd.grad``, and hooks on the network or on the layers that it computes as one. On
    a CPU LeNet-5, the CNN, the MLPs and the thin CNN have a form; those of the MLPs and of the thin
    CNN are for training, and else leave all to the plain modules.
    """
    return cpu.faster(network)
