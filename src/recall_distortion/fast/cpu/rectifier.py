"""A linear layer's bias, rectifier and dropout in one loop, compiled by Numba for a CPU.

Arrays are contiguous, float32 and [K, B, features], of K networks; a mask of dropout may be empty.
Each number is computed as PyTorch computes it, to the last bit.
"""

from __future__ import annotations

import numpy as np

from recall_distortion.fast.cpu.compiling import called, compiled

_compiled = compiled()


@_compiled
def _forward(z, bias, mask, passed):  # type: ignore[no-untyped-def]
    """Add the bias [K, features] to z, and write what the rectifier and the mask let pass."""
    networks, batch, features = z.shape
    for k in range(networks):
        for b in range(batch):
            added, row, to = bias[k], z[k, b], passed[k, b]
            for i in range(features):
                row[i] += added[i]
                to[i] = 0 if row[i] < 0 else row[i]
            if mask.size:
                factors = mask[k, b]
                for i in range(features):
                    to[i] *= factors[i]


@_compiled
def _backward(z, mask, gradient):  # type: ignore[no-untyped-def]
    """Turn the gradient of what passed into that of z."""
    networks, batch, features = z.shape
    nothing = np.float32(0)
    for k in range(networks):
        for b in range(batch):
            row, to = z[k, b], gradient[k, b]
            if mask.size:
                factors = mask[k, b]
                for i in range(features):
                    to[i] *= factors[i]
            for i in range(features):
                to[i] = nothing if row[i] <= 0 else to[i]


forward, backward = called(_forward), called(_backward)
