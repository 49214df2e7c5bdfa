"""Networks by name: LeNet-5, LeNet-300-100, the CIFAR ResNets, a small MLP, a small CNN.

>>> from recall_distortion import networks
>>> network = networks.build("lenet5", channels=1, classes=10)
>>> networks.counts(network)
Counts(total=61706, prunable_modules=60856, prunable_weights=60630)

Every network has the attribute ``classifier``, its last linear layer, which is never pruned. The
functions come with torch, which is imported when one of them is first asked for; ``plans`` is what
a study reads and needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recall_distortion.networks.registry import (
        build,
        classifier,
        constructor,
        counts,
        draws,
        initialize,
        known,
        on_device,
        output_positions,
        prunable_parameters,
    )

__all__ = [
    "build",
    "classifier",
    "constructor",
    "counts",
    "draws",
    "initialize",
    "known",
    "on_device",
    "output_positions",
    "prunable_parameters",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recall_distortion.networks import registry

    return getattr(registry, name)
