"""How much a weight matters: pure functions by name, one tensor in, its scores out.

>>> import torch
>>> from recall_distortion.compression.pruning import criteria
>>> criteria.magnitude(torch.tensor([0.5, -2.0]))
tensor([0.5000, 2.0000])

Every criterion is called as ``criterion(weight, gradient, *, epsilon, generator)`` and returns a
tensor of the weight's shape; the weights with the lowest scores are pruned. Each is the function
``score`` of its own module in ``scores``; ``compression.facts`` has what is known of it.

``gradient`` is that of the mean cross-entropy alone. The paper writes L for the loss with decay and
T = L - (epsilon / 2) |theta|^2 for the loss without it; in PyTorch the decay lives in the
optimizer, so what ``backward()`` gives is already the gradient of T (docs/methods.md, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from inspect import Parameter, signature

from torch import Tensor

from recall_distortion.system.errors import NetworkError

_SCORES = "recall_distortion.compression.pruning.scores"


@dataclass(frozen=True)
class Criterion:
    """What scores weights.

    ``select(scores, fraction, within=masks)`` makes masks of the scores by parameter and the
    fraction to keep, within those made before, where not the weights with the highest scores stay.
    ``gradient(network, state, shape)`` is there where the scores look at another gradient than the
    loss's, one that needs the shape of an image and none of them: by prunable weight, of a network
    with such tensors. Then weights go in so many ``rounds``, scored in each as they are left.
    """

    score: Callable[..., Tensor]
    select: Callable[..., dict[str, Tensor]] | None = None
    gradient: Callable[..., dict[str, Tensor]] | None = None
    rounds: int = 1

    @property
    def needs_gradient(self) -> bool:
        """Whether scores look at the loss's gradient: they have no default for it, nor another."""
        needed = signature(self.score).parameters["gradient"].default is Parameter.empty
        return needed and self.gradient is None


def load(name: str) -> Criterion:
    """Return a criterion by its name; raises ``NetworkError`` for an unknown one."""
    module = f"{_SCORES}.{name}"
    if not name.isidentifier() or find_spec(module) is None:
        raise NetworkError(f"unknown criterion {name!r}; there is no module {module}")
    found = import_module(module)
    return Criterion(
        found.score,
        getattr(found, "select", None),
        getattr(found, "gradient", None),
        getattr(found, "ROUNDS", 1),
    )


def given(gradient: Tensor | None) -> Tensor:
    """Return a gradient; raises ``NetworkError`` where there is none."""
    if gradient is None:
        raise NetworkError("this criterion needs the gradient of the loss, and none was given")
    return gradient


def __getattr__(name: str) -> Callable[..., Tensor]:
    try:
        return load(name).score
    except NetworkError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
