"""How much a weight matters: pure functions, one tensor in, its scores out.

Every criterion is called as ``criterion(weight, gradient, *, epsilon, generator)`` and returns a
tensor of the weight's shape; the weights with the lowest scores are pruned.

``gradient`` is that of the mean cross-entropy alone. The paper writes L for the loss with decay and
T = L - (epsilon / 2) |theta|^2 for the loss without it; in PyTorch the decay lives in the
optimizer, so what ``backward()`` gives is already the gradient of T (docs/methods.md, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature

import torch
from torch import Tensor

from recall_distortion.system.errors import NetworkError

Criterion = Callable[..., Tensor]


def magnitude(
    weight: Tensor,
    gradient: Tensor | None = None,
    *,
    epsilon: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return abs(theta): magnitude pruning (MP)."""
    return weight.abs()


def gradient(
    weight: Tensor,
    gradient: Tensor | None,
    *,
    epsilon: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return abs(theta g): the gradient pruning (GP) that was run (ShrinkBench)."""
    return (weight * _given(gradient)).abs()


def regularized_gradient(
    weight: Tensor,
    gradient: Tensor | None,
    *,
    epsilon: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return abs(theta (g + epsilon theta)): GP as the paper's text defines it."""
    return (weight * (_given(gradient) + epsilon * weight)).abs()


def undecayed(
    weight: Tensor,
    gradient: Tensor | None,
    *,
    epsilon: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return abs(-theta g + epsilon theta^2): undecayed pruning (UP) with the absolute value."""
    return undecayed_signed(weight, gradient, epsilon=epsilon).abs()


def undecayed_signed(
    weight: Tensor,
    gradient: Tensor | None,
    *,
    epsilon: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return -theta g + epsilon theta^2 without the absolute value, as the published script did.

    These scores go with ``masks.signed_threshold_masks``, not with an exact count.
    """
    return -weight * _given(gradient) + epsilon * weight**2


def random(
    weight: Tensor,
    gradient: Tensor | None = None,
    *,
    epsilon: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return a uniform score per weight: random pruning (RP)."""
    if generator is None:
        raise NetworkError("random scores need a generator, so that they can be drawn again")
    return torch.rand(weight.shape, generator=generator).to(weight)


CRITERIA: dict[str, Criterion] = {
    function.__name__: function
    for function in (
        magnitude,
        gradient,
        regularized_gradient,
        undecayed,
        undecayed_signed,
        random,
    )
}


def needs_gradient(name: str) -> bool:
    """Return whether a criterion looks at the gradient: one that does has no default for it."""
    return signature(CRITERIA[name]).parameters["gradient"].default is Parameter.empty


def _given(gradient: Tensor | None) -> Tensor:
    if gradient is None:
        raise NetworkError("this criterion needs the gradient of the loss, and none was given")
    return gradient
