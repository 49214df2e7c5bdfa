"""The learning rates of recipes epoch by epoch: cosine, steps, and the warm-up before them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from recall_distortion.study.strict import Strict

Epochs = Annotated[int, Field(ge=1, le=10_000)]
Rate = Annotated[float, Field(gt=0, le=100)]


class Phase(Strict):
    """A stretch of training at one learning rate; the optimizer starts anew with each phase."""

    epochs: Epochs = Field(description="How often it passes over the training images.")
    learning_rate: Rate = Field(description="The step size in this phase.")


class Cosine(Strict):
    """A learning rate that falls by half a cosine, as PyTorch's CosineAnnealingLR."""

    epochs: Epochs = Field(
        description="How often training passes over the images, the warm-up included."
    )
    learning_rate: Rate = Field(description="The step size in the first epoch after the warm-up.")
    eta_min: float = Field(0.0, ge=0, description="What the step size falls towards.")

    @model_validator(mode="after")
    def _check(self) -> Cosine:
        if self.eta_min >= self.learning_rate:
            raise ValueError("eta_min: it is below the learning rate, which falls towards it")
        return self

    def rates(self, warmup: int) -> list[float]:
        """Return the rate of each epoch after so many epochs of warm-up."""
        count, span = self.epochs - warmup, self.learning_rate - self.eta_min
        return [
            self.eta_min + span * (1 + math.cos(math.pi * epoch / count)) / 2
            for epoch in range(count)
        ]


class Step(Strict):
    """A learning rate that is multiplied at milestones, as by PyTorch's MultiStepLR."""

    epochs: Epochs = Field(
        description="How often training passes over the images, the warm-up included."
    )
    learning_rate: Rate = Field(description="The step size before the first milestone.")
    milestones: list[Epochs] = Field(
        min_length=1,
        description="After how many epochs of training, the warm-up included, the step size is "
        "multiplied.",
    )
    gamma: float = Field(0.1, gt=0, lt=1, description="What it is multiplied by.")

    @model_validator(mode="after")
    def _check(self) -> Step:
        if any(one >= other for one, other in pairwise(self.milestones)):
            raise ValueError("milestones: give them in rising order, each once")
        if self.milestones[-1] >= self.epochs:
            raise ValueError(f"milestones: of {self.epochs} epochs none follows the last one")
        return self

    def rates(self, warmup: int) -> list[float]:
        """Return the rate of each epoch after so many epochs of warm-up."""
        return [
            self.learning_rate * self.gamma ** sum(epoch >= one for one in self.milestones)
            for epoch in range(warmup, self.epochs)
        ]


def warmed(rate: float, warmup: int) -> list[float]:
    """Return the rates of a warm-up, which rise in even steps to the rate that follows."""
    return [rate * epoch / (warmup + 1) for epoch in range(1, warmup + 1)]
