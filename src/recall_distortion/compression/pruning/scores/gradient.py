"""Gradient pruning (GP) as it was run."""

from __future__ import annotations

import torch
from torch import Tensor

from recall_distortion.compression.pruning.criteria import given


def score(
    weight: Tensor,
    gradient: Tensor | None,
    *,
    epsilon: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return abs(theta g): the gradient pruning (GP) that was run (ShrinkBench)."""
    return (weight * given(gradient)).abs()
