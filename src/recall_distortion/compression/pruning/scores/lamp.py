"""Layer-adaptive magnitude-based pruning (LAMP)."""

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
    """Return theta^2 over the sum of the squares at least as large in the layer, in float64.

    LAMP (Lee et al., ICLR 2021, arXiv 2010.07611, section 2). Scores of different layers compare:
    a layer's scale does not matter, its largest weight scores 1, and of k equal largest ones each
    scores 1 / k. Where all weights are zero, so are their scores.
    """
    # On a CPU, where running sums are always made in one order.
    squares = weight.detach().flatten().cpu().double().square()
    ordered, order = squares.sort(descending=True)
    # Weights of equal size end in the same sum: that behind the last of them.
    _, group, sizes = ordered.unique_consecutive(return_inverse=True, return_counts=True)
    last = (sizes.cumsum(0) - 1)[group]
    sums = ordered.cumsum(0)[last]
    scores = torch.empty_like(squares)
    scores[order] = torch.where(ordered > 0, ordered / sums, 0.0)
    return scores.view(weight.shape).to(weight.device)
