"""What happens to networks at events of their training: part of them is taken, for good or a while.

An event comes between two epochs. It chooses among what no earlier one has chosen. What it takes is
held at zero, or noise is added to it, for so many batches of training; nothing else counts as one.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from recall_distortion.training.descent import Descent
from recall_distortion.training.randomness import generator
from recall_distortion.training.stacks import Stack

#: What becomes of what is taken: it is gone; it is let go at zero, or put back; or nothing is taken
#: and noise is added in its place.
PERMANENT, REGROW, RESTORE, GAUSSIAN = "permanent", "zero_and_regrow", "restore", "gaussian"


@dataclass(frozen=True)
class Event:
    """One event of one network, as masks of its tensors by name.

    ``left`` are false where this event or an earlier one has chosen. ``touched`` are true where
    this one acts: on parameters, and on buffers that are put back with them. ``deviations`` are the
    standard deviations of its noise by the same names.
    """

    left: Mapping[str, Tensor]
    touched: Mapping[str, Tensor]
    deviations: Mapping[str, float] = field(default_factory=dict)


class Events(Protocol):
    """The events in the training of one network.

    ``removal`` is one of the four above, for ``steps`` batches. ``names`` are the parameters of
    which something may be chosen, and ``buffers`` what is put back beside them. ``first`` is the
    first epoch whose network may be kept as the best one. ``repr`` has all that decides what
    happens, as a killed job's training goes on only by the same.
    """

    @property
    def removal(self) -> str: ...

    @property
    def steps(self) -> int: ...

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def buffers(self) -> Sequence[str]: ...

    @property
    def first(self) -> int: ...

    def number(self, epochs: int) -> int | None:
        """Return the number of the event after so many epochs, from 1 on; None where none is."""

    def happen(self, epochs: int, state: Mapping[str, Tensor], left: Mapping[str, Tensor]) -> Event:
        """Return the event after so many epochs, of a network in a state.

        ``left`` are as the event before had them, all true at first.
        """


class Happening:
    """What the events of a stack's networks have done so far.

    ``factors`` are those of the stack's parameters by position (``masks.factors``), which are
    changed in place: a step that is captured reads them where they lie.
    """

    def __init__(
        self,
        stack: Stack,
        events: Sequence[Events | None],
        seeds: Sequence[int],
        factors: Mapping[int, Tensor],
    ) -> None:
        self._stack, self._events, self._seeds = stack, events, seeds
        names = dict.fromkeys(name for one in events if one is not None for name in one.names)
        places = {name: stack.names.index(name) for name in names}
        self._positions = places
        like = {name: stack.tensors[name] for name in names}
        self._factors = {name: factors[places[name]].view_as(like[name]) for name in names}
        self._left = {
            name: torch.ones_like(value, dtype=torch.bool) for name, value in like.items()
        }
        for one in events:
            if one is not None and one.removal == RESTORE:
                like |= {name: stack.tensors[name] for name in one.buffers}
        brief = any(one is not None and one.removal != PERMANENT for one in events)
        # Of the newest event: where it acts, what was there, and the noise of a place.
        self._touched = {n: torch.zeros_like(v, dtype=torch.bool) for n, v in like.items() if brief}
        self._values = {n: torch.zeros_like(v) for n, v in like.items() if brief}
        self._deviations = {n: torch.zeros(len(stack)) for n in names if brief}
        self._epochs = torch.zeros(len(stack), dtype=torch.int64)
        self._steps = torch.zeros(len(stack), dtype=torch.int64)  # that are left of the newest
        self.after_step = self._after_step if brief else None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What the next epoch depends on, by name; it is changed in place."""
        parts = {
            "factor": self._factors,
            "left": self._left,
            "touched": self._touched,
            "value": self._values,
            "deviation": self._deviations,
        }
        found = {f"{part}/{name}": v for part, own in parts.items() for name, v in own.items()}
        return found | {"epochs": self._epochs, "steps": self._steps}

    @torch.no_grad()
    def update(
        self,
        epochs: int,
        optimizer: Descent,
        failed: Container[int],
        watch: Callable[[Stack], Tensor] | None = None,
    ) -> dict[int, tuple[Tensor, Tensor]]:
        """Let the events after so many epochs happen; ``failed`` networks have none any more.

        Returns what ``watch``, which maps a stack to a tensor [K, ...], sees of each of these
        networks just before and just after, by its place.
        """
        now = {
            k: one
            for k, one in enumerate(self._events)
            if one is not None and k not in failed and one.number(epochs) is not None
        }
        before = watch(self._stack) if watch is not None and now else None
        for k, one in now.items():
            self._begin(k, one, epochs, optimizer)
        if watch is None or before is None:
            return {}
        after = watch(self._stack)
        return {k: (before[k], after[k]) for k in now}

    def masks(self, k: int) -> dict[str, Tensor] | None:
        """Return what is left of a network, as booleans; None where it has no events."""
        one = self._events[k]
        return None if one is None else {name: self._factors[name][k].bool() for name in one.names}

    def _begin(self, k: int, one: Events, epochs: int, optimizer: Descent) -> None:
        state = {name: value[k] for name, value in self._stack.tensors.items()}
        event = one.happen(epochs, state, {name: self._left[name][k] for name in one.names})
        for name, mask in event.left.items():
            self._left[name][k].copy_(mask)
        if one.removal != PERMANENT:
            self._epochs[k], self._steps[k] = epochs, one.steps
            for name, values in self._touched.items():
                values[k].copy_(event.touched.get(name, torch.zeros_like(values[k])))
                self._values[name][k].copy_(state[name])
        if one.removal == GAUSSIAN:
            for name, deviations in self._deviations.items():
                deviations[k] = event.deviations.get(name, 0.0)
            self._noise(k)
            return
        for name in self._positions:
            if name in event.touched:
                self._hold(k, name, event.touched[name], optimizer)

    def _hold(self, k: int, name: str, touched: Tensor, optimizer: Descent) -> None:
        """Hold part of a parameter at zero; the optimizer forgets what it remembers of it."""
        kept = ~touched.to(self._left[name].device)
        self._factors[name][k].mul_(kept)
        self._stack.tensors[name][k].mul_(kept)
        for of_parameters in optimizer.moments().values():
            moment = of_parameters[self._positions[name]]
            if moment is not None:
                moment.view_as(self._stack.tensors[name])[k].mul_(kept)

    @torch.no_grad()
    def _after_step(self) -> None:
        """Count a batch of training; give back what was held for as many, or add the next noise."""
        for k, steps in enumerate(self._steps.tolist()):
            one = self._events[k]
            if not steps or one is None:
                continue
            self._steps[k] -= 1
            if one.removal == GAUSSIAN:
                if steps > 1:
                    self._noise(k)
            elif steps == 1:
                self._release(k, one)

    def _release(self, k: int, one: Events) -> None:
        for name in one.names:
            self._factors[name][k].fill_(1)
        if one.removal == RESTORE:
            for name in (*one.names, *one.buffers):
                value = self._stack.tensors[name][k]
                value.copy_(torch.where(self._touched[name][k], self._values[name][k], value))

    def _noise(self, k: int) -> None:
        """Add noise to a network's newest choice, drawn for this event and this of its batches."""
        epochs, left = int(self._epochs[k]), int(self._steps[k])
        drawing = generator(self._seeds[k], f"event noise {epochs} {left}")
        for name, deviations in self._deviations.items():
            deviation = float(deviations[k])
            if deviation:
                value = self._stack.tensors[name][k]
                noise = torch.randn(value.shape, generator=drawing).to(value.device)
                value.add_(torch.where(self._touched[name][k], deviation * noise, 0.0))
