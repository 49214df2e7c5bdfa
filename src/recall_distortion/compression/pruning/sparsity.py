"""What masks really leave of a network, whichever of its parameters they lie on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.training.masks import check_masks


@dataclass(frozen=True)
class Sparsity:
    """What a set of masks really leaves of a network.

    ``prunable`` counts the weights that may be pruned, ``kept_prunable`` those left of them and
    ``total`` all parameters; ``kept_fraction`` is kept_prunable / prunable. ``realised_ratio``
    counts as the study does: total over the parameters left, biases and batch norm's among them, or
    prunable weights over those left. ``empty_layers`` counts the prunable layers of which no weight
    is left.
    """

    realised_ratio: float
    kept_fraction: float
    kept_prunable: int
    prunable: int
    total: int
    empty_layers: int

    @classmethod
    def of(cls, masks: Mapping[str, Tensor], network: nn.Module, count: str) -> Sparsity:
        """Return the sparsity of masks of any of a network's parameters; others are left whole.

        ``count`` is ``total`` or ``prunable``, as in a study. Raises ``NetworkError`` for a mask of
        anything else, or of another shape.
        """
        check_masks(masks, network)
        counts = networks.counts(network)
        prunable = networks.prunable_parameters(network)
        removed = {name: int((~mask).sum()) for name, mask in masks.items()}
        kept = counts.prunable_weights - sum(removed.get(name, 0) for name in prunable)
        whole, left = counts.total, counts.total - sum(removed.values())
        if count == "prunable":
            whole, left = counts.prunable_weights, kept
        return cls(
            whole / left if left else float("inf"),
            kept / counts.prunable_weights,
            kept,
            counts.prunable_weights,
            counts.total,
            sum(removed.get(name) == weight.numel() for name, weight in prunable.items()),
        )
