"""The L2 norm of filters."""

from __future__ import annotations

import torch
from torch import Tensor

from recall_distortion.compression.pruning.channels import Channels


def score(channels: Channels, *, generator: torch.Generator | None = None) -> Tensor:
    """Return the Euclidean norm of all weights of the filters that make a channel [n].

    Li et al., ICLR 2017, arXiv 1608.08710, beside the L1 norm.
    """
    return torch.stack([one.double().square().sum(1) for one in channels.filters]).sum(0).sqrt()
