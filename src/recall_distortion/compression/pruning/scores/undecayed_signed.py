"""Undecayed pruning (UP) as the published script ran it."""

from __future__ import annotations

import torch
from torch import Tensor

from recall_distortion.compression.pruning.criteria import given
from recall_distortion.compression.pruning.masks import signed_threshold_masks


def score(
    weight: Tensor,
    gradient: Tensor | None,
    *,
    epsilon: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return -theta g + epsilon theta^2 without the absolute value, as the published script did.

    Its threshold does not keep an exact count (``select``).
    """
    return -weight * given(gradient) + epsilon * weight**2


#: Which weights stay, by their scores and the fraction to keep.
select = signed_threshold_masks
