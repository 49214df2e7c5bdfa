"""Layers that the networks share and torch does not have as they need them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def adaptive_max_pool(images: Tensor, size: int) -> Tensor:
    """Return images [B, C, H, W] pooled to [B, C, size, size] by the maxima of even windows.

    It is ``adaptive_max_pool2d``, whose gradient a GPU sums in any order where windows overlap, so
    that torch refuses it where algorithms must be deterministic. There each window is taken alone;
    equal maxima then share a gradient that otherwise one of them gets.
    """
    if images.device.type == "cpu" or not torch.are_deterministic_algorithms_enabled():
        return F.adaptive_max_pool2d(images, size)
    return _window_maxima(images, size)


def _window_maxima(images: Tensor, size: int) -> Tensor:
    rows, columns = (
        [slice(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
        for length in images.shape[-2:]
    )
    maxima = [images[..., row, column].amax((-2, -1)) for row in rows for column in columns]
    pooled: Tensor = torch.stack(maxima, -1).unflatten(-1, (size, size))
    return pooled
