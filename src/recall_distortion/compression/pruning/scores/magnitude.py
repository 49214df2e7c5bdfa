"""Magnitude pruning (MP)."""

from __future__ import annotations

import torch
from torch import Tensor


def score(
    weight: Tensor,
    gradient: Tensor | None = None,
    *,
    epsilon: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return abs(theta): magnitude pruning (MP)."""
    return weight.abs()
