"""Synaptic flow (SynFlow), which looks at no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recall_distortion import networks
from recall_distortion.compression.pruning.criteria import given

#: Weights go in so many rounds, and are scored anew in each.
ROUNDS = 100


def score(
    weight: Tensor,
    gradient: Tensor | None,
    *,
    epsilon: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return abs(theta g) in float64, where g is the gradient of the flow (``gradient``)."""
    return (weight.double() * given(gradient)).abs()


def gradient(
    network: nn.Module, state: Mapping[str, Tensor], shape: Sequence[int]
) -> dict[str, Tensor]:
    """Return the gradient of the flow by prunable weight, in float64.

    The flow R is the sum of the outputs for one image of ones, of ``shape`` [C, H, W], of the
    network with the absolute value of all its state: weights, biases, batch norm's parameters and
    statistics (Tanaka et al., NeurIPS 2020, arXiv 2006.05467, and their code, GitHub
    ganguli-lab/Synaptic-Flow). Batch norm is in evaluation mode. ``state`` is the network's, which
    itself is left as it is. In float32 the flow of a deep network is too large.
    """
    absolute = {
        name: value.detach().abs().to(torch.float64) if value.is_floating_point() else value
        for name, value in state.items()
    }
    weights = {
        name: absolute[name].requires_grad_() for name in networks.prunable_parameters(network)
    }
    device = next(iter(absolute.values())).device
    ones = torch.ones(1, *shape, dtype=torch.float64, device=device)
    mode = network.training
    network.eval()
    flow = functional_call(network, absolute, (ones,)).sum()
    network.train(mode)
    return dict(zip(weights, torch.autograd.grad(flow, list(weights.values())), strict=True))
