"""Undecayed pruning (UP) with the absolute value."""

from __future__ import annotations

import torch
from torch import Tensor

from recall_distortion.compression.pruning.scores import undecayed_signed


def score(
    weight: Tensor,
    gradient: Tensor | None,
    *,
    epsilon: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return abs(-theta g + epsilon theta^2): undecayed pruning (UP) with the absolute value."""
    return undecayed_signed.score(weight, gradient, epsilon=epsilon).abs()
