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


def check_apart(run: Run) -> None:
    """Raise ``NetworkError`` where what removes of a run meanwhile has masks already."""
    if run.removal is not None and run.events is not None:
        raise NetworkError("a run has a removal or events; give it one of both")
    names = () if run.meanwhile is None else run.meanwhile.names
    if both := [name for name in names if name in (run.masks or {})]:
        raise NetworkError(
            f"{', '.join(both)}: pruned by a mask and while it is trained; give a run one of both"
        )


def factors(stack: Stack, runs: Sequence[Run]) -> dict[int, Tensor]:
    """Return by position among a stack's parameters 1 for what is trained and 0 for what is not.

    They are [K, ...] as the parameters are. Only what some network has under a mask, or what may be
    removed from it, is among them.
    """
    masked = {name for run in runs for name in run.masks or {}}
    masked |= {name for run in runs if run.meanwhile is not None for name in run.meanwhile.names}
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
