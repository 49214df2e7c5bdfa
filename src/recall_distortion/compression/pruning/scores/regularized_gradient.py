"""Gradient pruning (GP) as the paper's text defines it."""

from __future__ import annotations

import torch
from torch import Tensor

from recall_distortion.compression.pruning.criteria import given


def score(
    weight: Tensor,
    gradient: Tensor | None,
    *,
    epsilon: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return abs(theta (g + epsilon theta)): GP as the paper's text defines it."""
    return (weight * (given(gradient) + epsilon * weight)).abs()
