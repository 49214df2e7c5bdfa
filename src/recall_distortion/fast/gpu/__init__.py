"""The residual networks on a GPU, many at once, in Triton kernels of our own.

The fast form of the networks that ``recall_distortion.networks.<name>`` has is in the module of the
same name here. It is imported by that name, so that a job depends on no form but its own network's,
and Triton is imported where a form is taken.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

__all__ = ["cache", "form", "version"]

_PLAIN = "recall_distortion.networks"


def form(network: nn.Module) -> Any | None:
    """Return the class of K networks like this one as the kernels compute them, or None.

    There is none without Triton, which compiles the kernels. Whether they compute on this device
    what they should is for the caller to find out.
    """
    package, _, name = type(network).__module__.rpartition(".")
    own = f"{__name__}.{name}"
    if package != _PLAIN or find_spec(own) is None or find_spec("triton") is None:
        return None
    module = import_module(own)
    return module.FORM if module.fits(network) else None


def version() -> str:
    """Return Triton's version; there has to be one."""
    import triton

    return str(triton.__version__)


def cache() -> Path:
    """Return the folder in which Triton keeps compiled kernels."""
    from triton import knobs

    return Path(knobs.cache.dir)
