"""The factor by which batch norm multiplies a channel."""

from __future__ import annotations

import torch
from torch import Tensor

from recall_distortion.compression.pruning.channels import Channels
from recall_distortion.system.errors import NetworkError


def score(channels: Channels, *, generator: torch.Generator | None = None) -> Tensor:
    """Return the sum of batch norm's absolute factors of a channel [n].

    Network slimming (Liu et al., ICCV 2017, arXiv 1708.06519), here without its regularizer. Raises
    ``NetworkError`` where no batch norm follows.
    """
    if not channels.scales:
        raise NetworkError("channels without a batch norm have no score by its factor")
    return torch.stack([one.double().abs() for one in channels.scales]).sum(0)
