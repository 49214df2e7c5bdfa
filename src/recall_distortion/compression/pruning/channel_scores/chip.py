"""Channel independence (CHIP)."""

from __future__ import annotations

import torch
from torch import Tensor

from recall_distortion.compression.pruning.channels import Channels

#: Images whose Gram matrices are held at once.
_AT_ONCE = 64


def observe(maps: Tensor) -> Tensor:
    """Return the mean independence over N images of C channels [C], from their maps [N, C, P].

    CHIP (Sui et al., NeurIPS 2021, arXiv 2110.13981): of an image's maps A [C, P] the independence
    of channel i is ||A||_* - ||A with row i zero||_*, each channel by itself. The nuclear norm is
    the sum of the roots of the Gram matrix's eigenvalues, A A^T or A^T A, whichever is smaller.
    """
    total = torch.zeros(maps.shape[1], dtype=torch.float64, device=maps.device)
    for part in maps.split(_AT_ONCE):
        total += _independence(part.double()).sum(0)
    return total / len(maps)


def _independence(maps: Tensor) -> Tensor:
    """Return the independence [N, C] of channels by image, from maps in double precision."""
    channels, places = maps.shape[1:]
    found = []
    if channels <= places:
        gram = maps @ maps.mT
        whole = _nuclear(gram)
        for i in range(channels):
            others = [other for other in range(channels) if other != i]
            found.append(whole - _nuclear(gram[:, others][:, :, others]))
    else:
        gram = maps.mT @ maps
        whole = _nuclear(gram)
        for i in range(channels):
            own = maps[:, i]
            found.append(whole - _nuclear(gram - own[:, :, None] * own[:, None]))
    return torch.stack(found, 1)


def _nuclear(gram: Tensor) -> Tensor:
    """Return the nuclear norms [N] of matrices from their Gram matrices [N, D, D]."""
    values: Tensor = torch.linalg.eigvalsh(gram)
    return values.clamp(min=0).sqrt().sum(1)


def score(channels: Channels, *, generator: torch.Generator | None = None) -> Tensor:
    """Return the independence of each channel [n], summed over the layers that read it."""
    return torch.stack(list(channels.observed)).sum(0)
