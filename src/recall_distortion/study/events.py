"""What a study says of events in a training, and whether that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from recall_distortion.compression.controls import EVENTS
from recall_distortion.compression.event_facts import PERMANENT, REMOVALS, TARGETS
from recall_distortion.compression.facts import Criterion
from recall_distortion.study.strict import Strict

if TYPE_CHECKING:  # which a checker of types cannot follow
    RemovalName = str
    TargetName = str
else:
    RemovalName = Literal[tuple(REMOVALS)]
    TargetName = Literal[tuple(TARGETS)]

LOWEST, HIGHEST = TARGETS
RANDOM = "random"


class Events(Strict):
    """When events come in the training, and what becomes of what they take."""

    start: int = Field(
        ge=0,
        description="After how many epochs of the training the first event comes; 0 is before the "
        "training.",
    )
    end: int = Field(
        ge=0,
        description="After how many epochs the last event may come. The best epoch is one of those "
        "that follow.",
    )
    every: int | None = Field(
        None,
        ge=1,
        description="How many epochs lie between two events; without it there is one event.",
    )
    removal: RemovalName = Field(
        PERMANENT,
        description="What becomes of what an event takes: "
        + "; ".join(f"{name}, {meaning}" for name, meaning in REMOVALS.items())
        + ". Nothing is missing in the end but of what is gone.",
    )
    steps: int | None = Field(
        None,
        ge=1,
        description="For how many steps, batches of training, where the removal is not permanent.",
    )

    def parameters(self) -> dict[str, Any]:
        """Return what a job is told of it but the end, which the control has as well."""
        found: dict[str, Any] = {"start": self.start, "every": self.every or self.end + 1}
        if self.removal != PERMANENT:
            found |= {"removal": self.removal, "steps": self.steps}
        return found

    @property
    def count(self) -> int:
        """How many events there are."""
        return len(range(self.start, self.end + 1, self.every or self.end + 1))

    @model_validator(mode="after")
    def _check(self) -> Events:
        if self.end < self.start:
            raise ValueError(
                f"end ({self.end}) lies before start ({self.start}), so that there is no event; "
                "choose a later end"
            )
        if self.removal == PERMANENT and self.steps is not None:
            raise ValueError("steps: what is gone for good needs none; remove it, or say removal")
        if self.removal != PERMANENT and self.steps is None:
            raise ValueError(f"steps: for how many of them is {self.removal}? Say so")
        return self


def check(schedule: str, events: Events | None, target: str, criterion: Criterion) -> None:
    """Check a method's target and events.

    Raises ``ValueError`` with a message that names the key and what would be valid.
    """
    if (schedule == EVENTS) != (events is not None):
        raise ValueError(
            f"events: schedule {EVENTS} needs them: start, end, every"
            if events is None
            else f"events: only schedule: {EVENTS} has them"
        )
    if target == HIGHEST:
        if criterion.name == RANDOM:
            raise ValueError(f"target: criterion {RANDOM} has no {target}; remove target")
        if criterion.keeps_more or criterion.name == "synflow" or schedule == "gradual":
            what = "schedule gradual" if schedule == "gradual" else f"criterion {criterion.name}"
            raise ValueError(f"target: {what} takes {LOWEST} alone; remove target")
    if schedule != EVENTS:
        return
    if criterion.needs_gradient or criterion.needs_images or criterion.name == "synflow":
        raise ValueError(
            f"criterion: {criterion.name} looks at more than the weights of the time, and events "
            "rank by these alone; choose another criterion"
        )
