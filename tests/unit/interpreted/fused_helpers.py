"""What the interpreted tests share."""

from __future__ import annotations

import torch

from recall_distortion import networks
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the largest difference, as a part of the largest expected number."""
    difference = (found.double() - expected.double()).abs().max()
    return (difference / expected.double().abs().max()).item()


def states_of(network, seeds=(0, 1)):
    """Return initial states whose batch norms differ from channel to channel."""
    found = []
    for seed in seeds:
        networks.initialize(network, generator(seed, "initialization"))
        state = copy_state(network)
        rng = torch.Generator().manual_seed(seed)
        for name, value in state.items():
            if "bn" in name and value.dim():
                value.add_(torch.rand(value.shape, generator=rng) - 0.3)
                value.abs_()
        found.append(state)
    return found
