"""The small networks in compiled loops on a CPU.

The fast form of the networks that ``recall_distortion.networks.<name>`` has is in the module of the
same name here. It is imported by that name, so that a job depends on no form but its own network's.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from torch import nn

__all__ = ["compiles", "faster", "load_extremes"]

_PLAIN = "recall_distortion.networks"


def faster(network: nn.Module) -> nn.Module | None:
    """Return the fast form of a network that lies on a CPU, or None where there is none.

    There is none without Numba, which compiles the loops.
    """
    package, _, name = type(network).__module__.rpartition(".")
    form = f"{__name__}.{name}"
    if package != _PLAIN or find_spec(form) is None or not compiles():
        return None
    found: nn.Module | None = import_module(form).FORM.of(network)
    return found


@cache
def compiles() -> bool:
    """Return whether loops can be compiled: whether there is Numba."""
    return find_spec("numba") is not None


@cache
def load_extremes() -> ModuleType:
    """Return the compiled extremes of pre-activations, which Jumpstart's jobs alone depend on.

    Numba takes half a second to import, and where there is a GPU it need not be there.
    """
    return import_module(f"{__name__}.extremes")
