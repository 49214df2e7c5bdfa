"""A network without its removed channels: the same layers with fewer rows and columns."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recall_distortion.compression.pruning.channels import layers_of
from recall_distortion.networks import reduced
from recall_distortion.networks.registry import output_positions
from recall_distortion.system.errors import NetworkError

#: How far logits may lie apart, over the largest of them: rounding in double precision, in which
#: both networks are computed, with room for a deep one.
TOLERANCE = 1e-9


def smaller(network: nn.Module, kept: Mapping[str, Tensor]) -> nn.Module:
    """Return a network of the kept channels alone, with the network's numbers; it is a copy.

    ``kept`` are booleans by group.
    """
    return reduced.smaller(network, layers_of(network), kept)


@torch.no_grad()
def check_smaller(
    network: nn.Module,
    state: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    kept: Mapping[str, Tensor],
    images: Tensor,
) -> None:
    """Raise ``NetworkError`` unless a masked network and the smaller one are the same.

    ``state`` is the masked network's; both answer ``images`` [N, C, H, W] in double precision, and
    the smaller one's parameters are as many as the masks leave, its multiply-adds those of the
    weights that they leave.
    """
    whole = copy.deepcopy(network).double().eval()
    whole.load_state_dict(state)
    small = smaller(whole, kept)
    expected, found = whole(images.double()), small(images.double())
    apart = float((found - expected).abs().max() / expected.abs().max().clamp(min=1))
    if not apart <= TOLERANCE:
        raise NetworkError(
            f"{type(network).__name__}: without its removed channels it answers {apart:.1e} of "
            "its largest logit otherwise than with them masked, so that something of them is left; "
            "compare its plan's groups with its module"
        )
    left = {name: parameter.numel() for name, parameter in network.named_parameters()}
    left |= {name: int(mask.sum()) for name, mask in masks.items()}
    for name, parameter in small.named_parameters():
        if left[name] != parameter.numel():
            raise NetworkError(
                f"{type(network).__name__}: of {name} masks leave {left[name]} numbers and the "
                f"network without its removed channels has {parameter.numel()}; compare its plan's "
                "groups with its module"
            )
    if output_positions(small, images[:1].double()) != output_positions(network, images[:1]):
        raise NetworkError(
            f"{type(network).__name__}: its layers make other images without the removed channels"
        )
