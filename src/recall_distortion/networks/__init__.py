"""Networks by name: LeNet-5, the CIFAR ResNets, a small MLP and a small CNN.

>>> from recall_distortion import networks
>>> network = networks.build("lenet5", channels=1, classes=10)
>>> networks.counts(network)
Counts(total=61706, prunable_modules=60856, prunable_weights=60630)

Every network has the attribute ``classifier``, its last linear layer, which is never pruned.
"""

from __future__ import annotations

from recall_distortion.networks.registry import (
    NETWORKS,
    build,
    counts,
    initialize,
    prunable_parameters,
)

__all__ = ["NETWORKS", "build", "counts", "initialize", "prunable_parameters"]
