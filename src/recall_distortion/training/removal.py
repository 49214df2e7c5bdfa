"""Weights that are removed from networks while they are trained, and that may return."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from recall_distortion.training.descent import Descent
from recall_distortion.training.stacks import Stack


class Removal(Protocol):
    """What removes weights of one network while it is trained.

    ``names`` are the parameters that it may remove weights of; ``first`` is the first epoch whose
    network may be kept as the best one. It is written, as a killed job's training goes on only by
    the same: ``repr`` has all that decides what it does.
    """

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def first(self) -> int: ...

    def masks(self, epochs: int, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
        """Return what stays after so many epochs, false where removed; None for what there was.

        ``weights`` are by name, removed ones as they were when they were removed.
        """


class Removed:
    """What is removed from a stack so far, by the removals of its networks.

    ``factors`` are those of the stack's parameters by position (``masks.factors``), which are
    changed in place: a step that is captured reads them where they lie.
    """

    def __init__(
        self, stack: Stack, removals: Sequence[Removal | None], factors: Mapping[int, Tensor]
    ) -> None:
        self._stack, self._removals = stack, removals
        names = dict.fromkeys(name for one in removals if one is not None for name in one.names)
        self._positions = {name: stack.names.index(name) for name in names}
        self._factors = {
            name: factors[place].view_as(stack.tensors[name])
            for name, place in self._positions.items()
        }
        self._values = {name: torch.zeros_like(stack.tensors[name]) for name in names}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What the next epoch depends on, by name; it is changed in place."""
        values = {f"value/{name}": value for name, value in self._values.items()}
        return values | {f"factor/{name}": factor for name, factor in self._factors.items()}

    @torch.no_grad()
    def update(
        self,
        epochs: int,
        optimizer: Descent,
        failed: Container[int],
        watch: Callable[[Stack], Tensor] | None = None,
    ) -> dict[int, tuple[Tensor, Tensor]]:
        """Remove, and give back, what the removals say after so many epochs.

        A weight that returns has the value that it had; of neither it nor one that goes does the
        optimizer remember a gradient. Networks that ``failed`` are left alone. Returns what
        ``watch``, which maps a stack to a tensor [K, ...], sees of each network that loses a weight
        just before and just after, by its place.
        """
        masks = {
            k: removal.masks(epochs, self._whole(k, removal)) or {}
            for k, removal in enumerate(self._removals)
            if removal is not None and k not in failed
        }
        losing = [k for k, own in masks.items() if watch is not None and self._loses(k, own)]
        before = watch(self._stack) if watch is not None and losing else None
        for k, own in masks.items():
            self._apply(k, own, optimizer)
        if watch is None or before is None:
            return {}
        after = watch(self._stack)
        return {k: (before[k], after[k]) for k in losing}

    def _whole(self, k: int, removal: Removal) -> dict[str, Tensor]:
        # Of what is removed there is a value, of what is there none: one of both is zero.
        return {n: self._stack.tensors[n][k] + self._values[n][k] for n in removal.names}

    def _loses(self, k: int, masks: Mapping[str, Tensor]) -> bool:
        return any(
            bool((self._factors[name][k] * ~mask.to(self._factors[name].device)).any())
            for name, mask in masks.items()
        )

    def _apply(self, k: int, masks: Mapping[str, Tensor], optimizer: Descent) -> None:
        for name, mask in masks.items():
            now, value = self._stack.tensors[name][k], self._values[name][k]
            whole = now + value
            factor, before = self._factors[name][k], self._factors[name][k].clone()
            factor.copy_(mask)
            now.copy_(whole * factor)
            value.copy_(whole * (1 - factor))
            for of_parameters in optimizer.moments().values():
                moment = of_parameters[self._positions[name]]
                if moment is not None:
                    moment.view_as(self._stack.tensors[name])[k].mul_(factor * before)

    def masks(self, k: int) -> dict[str, Tensor] | None:
        """Return what is left of a network, as booleans; None where nothing removes of it."""
        removal = self._removals[k]
        if removal is None:
            return None
        return {name: self._factors[name][k].bool() for name in removal.names}
