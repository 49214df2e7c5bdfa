"""How replicates are computed: one by one, vectorized or fused, how many at once, how precisely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from recall_distortion.fast import faster
from recall_distortion.networks.sizes import parted
from recall_distortion.training import fused as units
from recall_distortion.training.descent import Descent
from recall_distortion.training.dropout import Dropout
from recall_distortion.training.fused import Captured, Fused
from recall_distortion.training.images import DeviceImages
from recall_distortion.training.objective import Objective
from recall_distortion.training.passes import Pass
from recall_distortion.training.proof import is_proved
from recall_distortion.training.recipe import Recipe
from recall_distortion.training.stacks import Alone, Stack, Vectorized

__all__ = ["Engine", "choose", "choose_for_evaluation", "is_deterministic"]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

#: Networks at once on a CPU, where vectorizing was measured to be faster (docs/performance.md), and
#: the largest side of the images that it was measured for, in pixels.
FASTER_VECTORIZED = {"mlp": 60, "cnn": 60, "lenet5": 30, "thin_mlp": 60, "thin_cnn": 10}
LARGEST_MEASURED = 28
#: Networks at once on a GPU, where vectorizing was measured to be faster for every network, and
#: wherever a study asks for vectorizing without saying how many.
AT_ONCE = 30


@dataclass(frozen=True)
class Engine:
    """A way to compute replicates; ``at_once`` is how many networks it takes as one.

    ``deterministic`` is what torch was set to on a GPU (see ``is_deterministic``). ``fast`` takes a
    network's fast form where there is one (``recall_distortion.fast``); without it every module is
    called, so that hooks fire and second derivatives exist. ``fused`` takes networks in fused
    residual units, with their steps captured, which only a GPU does (``training.proof``).
    """

    at_once: int = 1
    precision: str = "float32"
    deterministic: bool = False
    fast: bool = True
    fused: bool = False

    @property
    def vectorized(self) -> bool:
        """Whether networks are computed as one, not one after another."""
        return self.at_once > 1

    def __str__(self) -> str:
        way = (
            f"vectorized, up to {self.at_once} at once" if self.vectorized else "one after another"
        )
        if self.fused:
            way = f"fused units, up to {self.at_once} at once"
        exact = ", deterministic" if self.deterministic else ""
        return f"{way}{exact}, {self.precision}"

    def module(self, network: nn.Module) -> nn.Module:
        """Return what computes a network: itself, or its fast form with the same tensors."""
        found = faster(network) if self.fast else None
        return network if found is None else found

    def open(self, network: nn.Module, states: Sequence[Mapping[str, Tensor]]) -> Stack:
        """Return networks of the given states, with ``network`` as their module."""
        precision = PRECISIONS[self.precision]
        if self.fused:
            return Fused(network, states, precision)
        # One that is left over gains nothing from vectorizing.
        stack = Vectorized if self.vectorized and len(states) > 1 else Alone
        return stack(self.module(network), states, precision)

    def fitting(self, network: nn.Module, images: DeviceImages, batch_size: int) -> int:
        """Return how many networks are computed at once: fewer where memory does not hold them."""
        if not self.fused or not images.labels.is_cuda:
            return self.at_once
        precision = PRECISIONS[self.precision]
        return units.at_once(network, images, batch_size, precision, self.at_once)

    def passes(
        self,
        stack: Stack,
        optimizer: Descent,
        images: DeviceImages,
        recipe: Recipe,
        masks: Mapping[int, Tensor],
    ) -> Pass:
        """Return what makes passes over the images by a recipe."""
        inputs = optimizer, images, recipe.batch_size, masks, Objective.of(recipe)
        if isinstance(stack, Fused):
            return Captured(stack, *inputs)
        dropout = None
        if recipe.dropout:
            dropout = Dropout(recipe.dropout, stack.network, images.labels.device)
        return Pass(stack, *inputs, dropout)

    def suited(self, network: nn.Module, recipe: Recipe) -> Engine:
        """Return the engine, without the fast ways that a recipe cannot be computed by.

        One printed line says so where that changes something.
        """
        objective = Objective.of(recipe)
        taps = objective.needs_preactivations
        found, reasons = self, []
        half = self.precision != "float32"
        lost = f"in {self.precision}" if half else "but for Jumpstart alone"
        lacking = taps and (half or not objective.is_for_forms)
        if self.fast and lacking and faster(network) is not None:
            found = replace(found, fast=False)
            reasons.append(f"the compiled loops have no pre-activations {lost}")
        for asked, what in (
            (taps, "no pre-activations"),
            (recipe.dropout > 0, "no dropout"),
            (recipe.optimizer != "sgd", f"no {recipe.optimizer}"),
        ):
            if self.fused and asked:
                found = replace(found, fused=False)
                reasons.append(f"fused residual units have {what}")
        if reasons:
            print(f"{found}, by plain modules: {'; '.join(reasons)}", flush=True)
        return found


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
    are vectorized, and by default is what was measured to be fastest. On a GPU residual networks
    are fused instead of vectorized where that has proved itself (``training.proof``).
    """
    on_cpu = torch.device(device).type == "cpu"
    fastest = FASTER_VECTORIZED.get(parted(architecture)[0]) if on_cpu else AT_ONCE
    if on_cpu and image_size > LARGEST_MEASURED:
        fastest = None
    if engine == "sequential" or (engine == "auto" and fastest is None):
        at_once = 1
    else:
        at_once = at_once or fastest or AT_ONCE
    fused = engine != "sequential" and is_proved(architecture, device)
    return Engine(at_once, precision, is_deterministic(device), fused=fused)


def choose_for_evaluation(architecture: str, device: str | torch.device) -> Engine:
    """Return the engine of networks without gradients: alone, for nothing is gained by others."""
    fused = is_proved(architecture, device)
    return Engine(deterministic=is_deterministic(device), fused=fused)


def is_deterministic(device: str | torch.device) -> bool:
    """Return whether torch keeps to deterministic algorithms, which matters on a GPU alone.

    ``processor.prepare`` sets it. It is asked of torch, so that no file says what was not done.
    """
    on_cpu = torch.device(device).type == "cpu"
    return not on_cpu and torch.are_deterministic_algorithms_enabled()
