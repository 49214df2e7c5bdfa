"""Random channels."""

from __future__ import annotations

import torch
from torch import Tensor

from recall_distortion.compression.pruning.channels import Channels
from recall_distortion.system.errors import NetworkError


def score(channels: Channels, *, generator: torch.Generator | None = None) -> Tensor:
    """Return a uniform score for each channel [n]."""
    if generator is None:
        raise NetworkError("random scores need a generator, so that they can be drawn again")
    return torch.rand(channels.size, generator=generator)
