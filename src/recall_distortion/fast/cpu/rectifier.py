"""A linear layer's bias, rectifier and dropout in one loop, compiled by Numba for a CPU.

Arrays are contiguous and [K, B, features], of K networks in single precision. Bits of dropout are
those of ``networks.dropped.Dropped``, none where nothing is dropped. Each number is computed as
PyTorch computes it, to the last bit.
"""

from __future__ import annotations

import numpy as np

from recall_distortion.fast.cpu.compiling import called, compiled

_compiled = compiled()


@_compiled
def _forward(z, bias, bits, first, lowest, scale, passed):  # type: ignore[no-untyped-def]
    """Add the bias [K, features] to z, and write what the rectifier and dropout let pass.

    The layer's bits begin at column ``first``, and what is kept is multiplied by ``scale``.
    """
    networks, batch, features = z.shape
    kept, nothing = np.float32(scale), np.float32(0)
    for k in range(networks):
        added = bias[k]
        for b in range(batch):
            row, to = z[k, b], passed[k, b]
            for i in range(features):
                row[i] += added[i]
                to[i] = nothing if row[i] < 0 else row[i]
        if bits.size:
            to, own = passed[k].reshape(batch * features), bits[k, first:]
            for i in range(len(to)):
                to[i] *= kept if own[i] >= lowest else nothing


@_compiled
def _backward(z, bits, first, lowest, scale, gradient):  # type: ignore[no-untyped-def]
    """Turn the gradient of what passed into that of z."""
    networks, batch, features = z.shape
    kept, nothing = np.float32(scale), np.float32(0)
    for k in range(networks):
        row, to = z[k].reshape(batch * features), gradient[k].reshape(batch * features)
        if bits.size:
            own = bits[k, first:]
            for i in range(len(to)):
                to[i] *= kept if own[i] >= lowest else nothing
        for i in range(len(to)):
            to[i] = nothing if row[i] <= 0 else to[i]


forward, backward = called(_forward), called(_backward)
