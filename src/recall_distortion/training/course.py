"""What is trained, how far it has come, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from recall_distortion.system.errors import TrainingError
from recall_distortion.training.descent import Descent
from recall_distortion.training.events import Events
from recall_distortion.training.randomness import generator
from recall_distortion.training.removal import Removal
from recall_distortion.training.replicates import TRAINING
from recall_distortion.training.stacks import Stack
from recall_distortion.training.unfinished import Unfinished


class NonFiniteLoss(TrainingError):
    """A replicate's loss stopped being a number."""


@dataclass(frozen=True)
class Run:
    """One network to fit: whose random choices, from which state, with what of it pruned.

    ``masks`` maps parameters, biases and batch norm's among them, to booleans of their shapes,
    false where pruned. ``removal`` removes others while the network is trained, or ``events`` do.
    """

    seed: int
    state: Mapping[str, Tensor]
    masks: Mapping[str, Tensor] | None = None
    removal: Removal | None = None
    events: Events | None = None

    @property
    def meanwhile(self) -> Removal | Events | None:
        """What removes of the network while it is trained."""
        return self.removal or self.events


@dataclass(frozen=True)
class Fitted:
    """A fitted replicate: its best epoch's parameters and buffers, and one row per epoch.

    ``masks`` say what is left of it where weights were removed while it was trained, and ``events``
    what was seen of each removal: after so many epochs (``epoch``), ``before`` and ``after``.
    """

    state: dict[str, Tensor]
    history: list[dict[str, Any]]
    masks: dict[str, Tensor] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Best:
    """The states of the epochs with the lowest validation loss so far, and those losses."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)

    def update(self, stack: Stack, losses: list[float], epoch: int) -> None:
        """Keep the networks whose loss is lower than before."""
        if not self.tensors:
            self.tensors = {name: torch.zeros_like(value) for name, value in stack.tensors.items()}
            self.losses, self.epochs = [float("inf")] * len(stack), [0] * len(stack)
        better = [k for k, loss in enumerate(losses) if loss < self.losses[k]]
        for k in better:
            self.losses[k], self.epochs[k] = losses[k], epoch
        if len(better) == len(stack):
            for name, value in stack.tensors.items():
                self.tensors[name].copy_(value)
        elif better:
            places = torch.tensor(better, device=stack.parameters[0].device)
            for name, value in stack.tensors.items():
                self.tensors[name].index_copy_(0, places, value.index_select(0, places))


@dataclass
class Course:
    """How far the training of a stack has come: all that its next epoch depends on.

    ``optimizer`` is that of the present phase; ``remembered`` are the tensors that a killed job's
    had. ``further`` are tensors by name that are changed in place.
    """

    stack: Stack
    orders: list[torch.Generator]
    choices: list[torch.Generator]
    drops: list[torch.Generator]  # none where nothing is dropped
    histories: list[list[dict[str, Any]]]
    events: list[list[dict[str, Any]]]
    failures: dict[int, NonFiniteLoss] = field(default_factory=dict)
    best: Best = field(default_factory=Best)
    epoch: int = 0
    optimizer: Descent | None = None
    remembered: dict[str, Tensor] = field(default_factory=dict)
    further: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def start(
        cls, stack: Stack, runs: Sequence[Run], stage: str, *, dropout: bool = False
    ) -> Course:
        """Return the course before the first epoch; ``dropout`` where its steps draw, too."""
        prefix = "" if stage == TRAINING else f"{stage} "
        orders = [generator(run.seed, f"{prefix}order") for run in runs]
        choices = [generator(run.seed, f"{prefix}augmentation") for run in runs]
        drops = [generator(run.seed, f"{prefix}dropout") for run in runs] if dropout else []
        return cls(stack, orders, choices, drops, [[] for _ in runs], [[] for _ in runs])

    def keep(self, unfinished: Unfinished) -> None:
        """Write it."""
        tensors = {f"now/{name}": value for name, value in self.stack.tensors.items()}
        tensors |= {f"best/{name}": value for name, value in self.best.tensors.items()}
        if self.optimizer is not None:
            tensors |= {
                f"optimizer/{name}": value for name, value in self.optimizer.tensors().items()
            }
        tensors |= {f"further/{name}": value for name, value in self.further.items()}
        for name, generators in self._generators():
            tensors |= {f"{name}/{k}": one.get_state() for k, one in enumerate(generators)}
        state = {
            "epoch": self.epoch,
            "histories": self.histories,
            "events": self.events,
            "failures": [[k, str(failure)] for k, failure in self.failures.items()],
            "best_losses": self.best.losses,
            "best_epochs": self.best.epochs,
        }
        unfinished.keep(tensors, state)

    def go_on(self, unfinished: Unfinished) -> None:
        """Become what ``keep`` wrote in a killed job, if it did."""
        kept = unfinished.running()
        if kept is None:
            return
        tensors, state = kept
        self.epoch, self.histories = state["epoch"], state["histories"]
        self.events = state["events"]
        self.failures = {k: NonFiniteLoss(message) for k, message in state["failures"]}
        self.best.losses, self.best.epochs = state["best_losses"], state["best_epochs"]
        for name, value in self.stack.tensors.items():
            value.copy_(tensors[f"now/{name}"])
            self.best.tensors[name] = torch.empty_like(value).copy_(tensors[f"best/{name}"])
        for name, value in self.further.items():
            value.copy_(tensors[f"further/{name}"])
        self.remembered = {
            name.removeprefix("optimizer/"): value
            for name, value in tensors.items()
            if name.startswith("optimizer/")
        }
        for name, generators in self._generators():
            for k, one in enumerate(generators):
                one.set_state(tensors[f"{name}/{k}"])
        print(f"training goes on after epoch {self.epoch}", flush=True)

    def _generators(self) -> list[tuple[str, list[torch.Generator]]]:
        return [("order", self.orders), ("choice", self.choices), ("drop", self.drops)]

    def saw(self, epochs: int, seen: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        """Add what was seen of a removal after so many epochs to the networks' events."""
        for k, (before, after) in seen.items():
            found = {"epoch": epochs, "before": before.tolist(), "after": after.tolist()}
            self.events[k].append(found)

    def record(
        self,
        runs: Sequence[Run],
        epoch: Mapping[str, Any],
        training: list[float],
        validation: list[float],
        accuracies: list[float],
    ) -> list[dict[str, Any]]:
        """Add an epoch to the histories and return its rows; a loss that is none is a failure.

        Networks that failed before are left out.
        """
        rows = []
        for k, run in enumerate(runs):
            if k in self.failures:
                continue
            row = {
                "seed": run.seed,
                **epoch,
                "training_loss": training[k],
                "validation_loss": validation[k],
                "validation_accuracy": accuracies[k],
            }
            self.histories[k].append(row)
            rows.append(row)
            failure = _non_finite(row)
            if failure is not None:
                self.failures[k] = failure
        return rows

    def results(
        self, masks: Callable[[int], dict[str, Tensor] | None] = lambda k: None
    ) -> list[Fitted | NonFiniteLoss]:
        """Return each network's best epoch, or why it has none.

        ``masks`` gives what is left of a network, by its place.
        """
        found: list[Fitted | NonFiniteLoss] = []
        for k, history in enumerate(self.histories):
            if k in self.failures:
                found.append(self.failures[k])
                continue
            for row in history:
                row["selected"] = int(row["epoch"] == self.best.epochs[k])
            state = {name: value[k].clone() for name, value in self.best.tensors.items()}
            found.append(Fitted(state, history, masks(k), self.events[k]))
        return found


def _non_finite(row: Mapping[str, Any]) -> NonFiniteLoss | None:
    for name in ("training_loss", "validation_loss"):
        if not row[name] < float("inf"):
            return NonFiniteLoss(
                f"seed {row['seed']}: {name.replace('_', ' ')} is {row[name]} in epoch "
                f"{row['epoch']} (learning rate {row['learning_rate']:g})"
            )
    return None
