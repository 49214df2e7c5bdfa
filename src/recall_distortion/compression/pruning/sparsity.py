"""What masks really leave of a network, whichever of its parameters they lie on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from recall_distortion import networks
from recall_distortion.system.errors import NetworkError
from recall_distortion.training.masks import check_masks


@dataclass(frozen=True)
class Sparsity:
    """What a set of masks really leaves of a network.

    ``prunable`` counts the weights that may be pruned, ``kept_prunable`` those left of them and
    ``total`` all parameters; ``kept_fraction`` is kept_prunable / prunable. ``realised_ratio``
    counts as the study does: total over the parameters left (``kept_total``), biases and batch
    norm's among them, prunable weights over those left, or multiply-adds over those left.
    ``empty_layers`` counts the prunable layers of which no weight is left. ``multiply_adds`` are
    those of one image for the weights that are left, ``dense_multiply_adds`` those of all: one for
    each weight of a convolution or linear layer and place of the image that it is applied to.
    """

    realised_ratio: float
    kept_fraction: float
    kept_prunable: int
    prunable: int
    total: int
    empty_layers: int
    kept_total: int
    multiply_adds: int | None = None
    dense_multiply_adds: int | None = None

    @classmethod
    def of(
        cls,
        masks: Mapping[str, Tensor],
        network: nn.Module,
        count: str,
        positions: Mapping[str, int] | None = None,
    ) -> Sparsity:
        """Return the sparsity of masks of any of a network's parameters; others are left whole.

        ``count`` is ``total``, ``prunable`` or ``multiply_adds``, as in a study; ``positions`` are
        those of ``networks.output_positions``, without which nobody counts the last. Raises
        ``NetworkError`` for a mask of anything else, or of another shape.
        """
        check_masks(masks, network)
        counts = networks.counts(network)
        prunable = networks.prunable_parameters(network)
        removed = {name: int((~mask).sum()) for name, mask in masks.items()}
        kept = counts.prunable_weights - sum(removed.get(name, 0) for name in prunable)
        whole, left = total, kept_total = counts.total, counts.total - sum(removed.values())
        adds = dense_adds = None
        if positions is not None:
            weights = {name: network.get_parameter(name).numel() for name in positions}
            dense_adds = sum(many * positions[name] for name, many in weights.items())
            adds = dense_adds - sum(removed.get(name, 0) * positions[name] for name in weights)
        if count == "prunable":
            whole, left = counts.prunable_weights, kept
        elif count == "multiply_adds":
            if adds is None or dense_adds is None:
                raise NetworkError("multiply-adds are counted by the positions of layers' outputs")
            whole, left = dense_adds, adds
        return cls(
            whole / left if left else float("inf"),
            kept / counts.prunable_weights,
            kept,
            counts.prunable_weights,
            total,
            sum(removed.get(name) == weight.numel() for name, weight in prunable.items()),
            kept_total,
            adds,
            dense_adds,
        )
