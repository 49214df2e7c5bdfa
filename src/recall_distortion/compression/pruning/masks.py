"""Which weights stay: masks from scores, and what a pruning ratio means for a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import BoolTensor, Tensor, nn

from recall_distortion import networks
from recall_distortion.compression.ratios import fraction_to_keep
from recall_distortion.networks.parameters import Counts
from recall_distortion.system.errors import NetworkError


def keep_fraction(network: nn.Module, ratio: float, count: str = "total") -> float:
    """Return the fraction of a network's prunable weights that a pruning ratio leaves.

    ``count="total"`` is ShrinkBench's rule, (total / ratio - (total - prunable)) / prunable, with
    the prunable modules' biases counted in; ``count="prunable"`` is 1 / ratio.

    Raises ``NetworkError`` where no weight would be left, naming the largest feasible ratio.
    """
    return fraction_to_keep(networks.counts(network), ratio, count, type(network).__name__)


def global_masks(
    scores: Mapping[str, Tensor],
    fraction: float,
    *,
    generator: torch.Generator | None = None,
) -> dict[str, BoolTensor]:
    """Return masks that keep exactly ``round(fraction * size)`` of all weights, the highest scored.

    ``scores`` maps names to tensors of any shape; the masks have their shapes. Ties are broken by
    a random order from ``generator``, by default one seeded with 0.

    Raises ``NetworkError`` for scores that are not finite or a fraction outside 0 to 1.
    """
    _check(scores, fraction)
    flat = torch.cat([value.detach().flatten().cpu() for value in scores.values()])
    kept = _highest(flat, round(fraction * flat.numel()), generator)
    return _split(kept, scores)


def layer_masks(
    scores: Mapping[str, Tensor],
    fraction: float,
    *,
    generator: torch.Generator | None = None,
) -> dict[str, BoolTensor]:
    """Return masks that keep exactly ``round(fraction * size)`` of each tensor's weights."""
    _check(scores, fraction)
    generator = generator or torch.Generator().manual_seed(0)
    masks = {}
    for name, value in scores.items():
        flat = value.detach().flatten().cpu()
        kept = _highest(flat, round(fraction * flat.numel()), generator)
        masks[name] = kept.view(value.shape).to(value.device)
    return masks


def signed_threshold_masks(scores: Mapping[str, Tensor], fraction: float) -> dict[str, BoolTensor]:
    """Return the masks of the published script for signed scores.

    ShrinkBench's threshold q is the (1 - fraction) quantile (linear interpolation) of all the
    signed scores, and its mask removes scores strictly between -q and q. Large negative scores
    survive, so more weights are kept than asked, and all of them where q is not positive.
    """
    _check(scores, fraction)
    # Double precision and a sort in place of torch.quantile, which refuses more than 2^24 values.
    flat = torch.cat([value.detach().flatten().cpu().double() for value in scores.values()])
    ordered = flat.sort().values
    position = (1 - fraction) * (flat.numel() - 1)
    low = int(position)
    high = min(low + 1, flat.numel() - 1)
    q = ordered[low] + (position - low) * (ordered[high] - ordered[low])
    return _split(~((flat < q) & (flat > -q)), scores)


@dataclass(frozen=True)
class Sparsity:
    """What a set of masks really leaves of a network.

    ``prunable`` and ``kept_prunable`` count weights under masks, ``total`` all parameters;
    ``kept_fraction`` is kept_prunable / prunable. ``realised_ratio`` counts as the study does:
    total over the parameters left, or prunable weights over those left.
    """

    realised_ratio: float
    kept_fraction: float
    kept_prunable: int
    prunable: int
    total: int

    @classmethod
    def of(cls, masks: Mapping[str, Tensor], counts: Counts, count: str) -> Sparsity:
        """Return the sparsity of masks that cover a network's prunable weights."""
        prunable = sum(mask.numel() for mask in masks.values())
        if prunable != counts.prunable_weights:
            raise NetworkError(
                f"the masks cover {prunable} weights of {counts.prunable_weights} prunable ones"
            )
        kept = int(sum(int(mask.sum()) for mask in masks.values()))
        if count == "total":
            ratio = counts.total / (counts.total - (prunable - kept))
        else:
            ratio = prunable / kept if kept else float("inf")
        return cls(ratio, kept / prunable, kept, prunable, counts.total)


def _check(scores: Mapping[str, Tensor], fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise NetworkError(f"the fraction of weights to keep lies between 0 and 1, not {fraction}")
    if not scores:
        raise NetworkError("there are no weights to prune")
    for name, value in scores.items():
        if not torch.isfinite(value).all():
            raise NetworkError(f"the scores of {name} are not all finite, so they rank nothing")


def _highest(flat: Tensor, keep: int, generator: torch.Generator | None) -> Tensor:
    """Return a boolean vector with the ``keep`` highest scores set, ties in random order."""
    generator = generator or torch.Generator().manual_seed(0)
    shuffled = torch.randperm(flat.numel(), generator=generator)
    order = shuffled[flat[shuffled].argsort(descending=True, stable=True)]
    kept = torch.zeros(flat.numel(), dtype=torch.bool)
    kept[order[:keep]] = True
    return kept


def _split(flat: Tensor, like: Mapping[str, Tensor]) -> dict[str, BoolTensor]:
    parts = flat.split([value.numel() for value in like.values()])
    return {
        name: part.view(value.shape).to(value.device)
        for (name, value), part in zip(like.items(), parts, strict=True)
    }
