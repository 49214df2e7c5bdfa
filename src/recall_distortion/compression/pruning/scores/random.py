"""Random pruning (RP)."""

from __future__ import annotations

import torch
from torch import Tensor

from recall_distortion.system.errors import NetworkError


def score(
    weight: Tensor,
    gradient: Tensor | None = None,
    *,
    epsilon: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return a uniform score per weight: random pruning (RP)."""
    if generator is None:
        raise NetworkError("random scores need a generator, so that they can be drawn again")
    return torch.rand(weight.shape, generator=generator).to(weight)
