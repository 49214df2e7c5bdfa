"""How replicates are computed: one after another or vectorized, how many at once, how precisely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recall_distortion.fast import faster
from recall_distortion.training.stacks import Alone, Stack, Vectorized

__all__ = ["Engine", "choose", "is_deterministic"]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

#: Networks at once on a CPU, where vectorizing was measured to be faster (docs/performance.md), and
#: the largest side of the images that it was measured for, in pixels.
FASTER_VECTORIZED = {"mlp": 60, "cnn": 60, "lenet5": 30}
LARGEST_MEASURED = 28
#: Networks at once on a GPU, where vectorizing was measured to be faster for every network, and
#: wherever a study asks for vectorizing without saying how many.
AT_ONCE = 30


@dataclass(frozen=True)
class Engine:
    """A way to compute replicates; ``at_once`` is how many networks it takes as one.

    ``deterministic`` is what torch was set to on a GPU (see ``is_deterministic``). ``fast`` takes a
    network's fast form where there is one (``recall_distortion.fast``); without it every module is
    called, so that hooks fire and second derivatives exist.
    """

    at_once: int = 1
    precision: str = "float32"
    deterministic: bool = False
    fast: bool = True

    @property
    def vectorized(self) -> bool:
        """Whether networks are computed as one, not one after another."""
        return self.at_once > 1

    def __str__(self) -> str:
        way = (
            f"vectorized, up to {self.at_once} at once" if self.vectorized else "one after another"
        )
        exact = ", deterministic" if self.deterministic else ""
        return f"{way}{exact}, {self.precision}"

    def module(self, network: nn.Module) -> nn.Module:
        """Return what computes a network: itself, or its fast form with the same tensors."""
        found = faster(network) if self.fast else None
        return network if found is None else found

    def open(self, network: nn.Module, states: Sequence[Mapping[str, Tensor]]) -> Stack:
        """Return networks of the given states, with ``network`` as their module."""
        stack = Vectorized if self.vectorized else Alone
        return stack(self.module(network), states, PRECISIONS[self.precision])


def choose(
    architecture: str,
    image_size: int,
    device: str | torch.device,
    *,
    engine: str = "auto",
    at_once: int | None = None,
    precision: str = "float32",
) -> Engine:
    """Return the engine for a network, as a study asks for it or as was measured to be fastest.

    ``engine`` is ``sequential``, ``vectorized`` or ``auto``; ``at_once`` bounds how many networks
    are vectorized, and by default is what was measured to be fastest.
    """
    on_cpu = torch.device(device).type == "cpu"
    fastest = FASTER_VECTORIZED.get(architecture) if on_cpu else AT_ONCE
    if on_cpu and image_size > LARGEST_MEASURED:
        fastest = None
    if engine == "sequential" or (engine == "auto" and fastest is None):
        at_once = 1
    else:
        at_once = at_once or fastest or AT_ONCE
    return Engine(at_once, precision, is_deterministic(device))


def is_deterministic(device: str | torch.device) -> bool:
    """Return whether torch keeps to deterministic algorithms, which matters on a GPU alone.

    ``processor.prepare`` sets it. It is asked of torch, so that no file says what was not done.
    """
    on_cpu = torch.device(device).type == "cpu"
    return not on_cpu and torch.are_deterministic_algorithms_enabled()
