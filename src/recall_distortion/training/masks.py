"""Masks in training: of weights, biases and batch norm's parameters alike, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from recall_distortion.system.errors import NetworkError
from recall_distortion.training.course import Run
from recall_distortion.training.stacks import Stack


def check_masks(masks: Mapping[str, Tensor], network: nn.Module) -> None:
    """Raise ``NetworkError`` for a mask of what is no parameter of a network, or of another shape.

    A mask is of booleans, false where something is removed.
    """
    parameters = dict(network.named_parameters())
    for name, mask in masks.items():
        if name not in parameters:
            raise NetworkError(
                f"a mask is of {name}, which is no parameter of {type(network).__name__}; valid: "
                + ", ".join(parameters)
            )
        if mask.shape != parameters[name].shape or mask.dtype != torch.bool:
            raise NetworkError(
                f"the mask of {name} is {mask.dtype} {[*mask.shape]}; give one of torch.bool "
                f"{[*parameters[name].shape]}"
            )


def factors(stack: Stack, runs: Sequence[Run]) -> dict[int, Tensor]:
    """Return by position among a stack's parameters 1 for what is trained and 0 for what is not.

    They are [K, ...] as the parameters are. Only what some network has under a mask is among them.
    """
    masked = {name for run in runs for name in run.masks or {}}
    return {
        position: torch.stack(
            [
                run.masks[name].to(parameter)
                if run.masks and name in run.masks
                else torch.ones_like(stack.tensors[name][k])
                for k, run in enumerate(runs)
            ]
        ).view_as(parameter)
        for position, (name, parameter) in enumerate(
            zip(stack.names, stack.parameters, strict=True)
        )
        if name in masked
    }
