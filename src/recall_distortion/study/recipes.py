"""How a study's networks are trained: what may stand in a recipe, and what a job is told of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from recall_distortion.study import regularizers
from recall_distortion.study.rates import Cosine, Phase, Step, warmed
from recall_distortion.study.regularizers import Regularizers
from recall_distortion.study.strict import Strict

Share = Annotated[float, Field(ge=0, lt=1)]

#: What only some optimizers have, by their names.
_OF_OPTIMIZER = {
    "sgd": ("momentum", "nesterov"),
    "adam": ("betas", "eps"),
    "adamw": ("betas", "eps"),
}
#: What every job is told; the rest, where it is not as by default, so that what is added to recipes
#: changes no job of a study that was there before.
_ALWAYS = ("phases", "batch_size", "momentum", "weight_decay", "augmentation")


class Recipe(Strict):
    """How a network is trained or fine-tuned: by default SGD with Nesterov momentum."""

    phases: Annotated[list[Phase], Field(min_length=1)] | None = Field(
        None, description="The phases of training, in their order."
    )
    cosine: Cosine | None = Field(
        None, description="In place of phases: a learning rate that falls by half a cosine."
    )
    step: Step | None = Field(
        None,
        description="In place of phases: a learning rate that is multiplied at milestones, while "
        "the optimizer goes on.",
    )
    warmup: int = Field(
        0,
        ge=0,
        description="The epochs of a warm-up, in which the learning rate rises in even steps to "
        "that of the first epoch after it.",
    )
    batch_size: int = Field(128, ge=1, description="How many images a step takes.")
    optimizer: Literal["sgd", "adam", "adamw"] = Field(
        "sgd",
        description="What goes along the gradients: sgd, with momentum; adam; or adamw, which is "
        "Adam with decoupled weight decay.",
    )
    momentum: float = Field(
        0.9, ge=0, lt=1, description="Momentum of sgd, Nesterov's by default; 0 is plain SGD."
    )
    nesterov: bool = Field(True, description="Whether the momentum of sgd is Nesterov's.")
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)] = Field(
        [0.9, 0.999],
        description="How much of the means of gradients and of their squares adam and adamw keep "
        "in a step.",
    )
    eps: float = Field(
        1e-8, gt=0, le=1, description="What adam and adamw add to the root of the mean square."
    )
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="Weight decay: each step adds this multiple of a weight to its gradient; with "
        "adamw the step takes it, times the learning rate, from the weight itself.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="The share of each label that all classes have alike, in the training loss; "
        "the best epoch is chosen by labels as they are.",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        le=0.99,
        description="The share of what each linear layer gets, but for a layer of pixels, that is "
        "set to zero in training, at random.",
    )
    regularizers: Regularizers = Field(
        {},
        description="Penalties that are added to the loss, by name: "
        + "; ".join(
            f"{facts.name}, {facts.meaning} ({facts.source})"
            for facts in regularizers.REGULARIZERS.values()
        )
        + ".",
    )
    augmentation: list[Literal["flip", "crop"]] = Field(
        [],
        description="How training images are varied. flip: mirrored left to right with probability "
        "1/2; crop: cut out at a random place after 4 pixels were added on each side.",
    )

    @property
    def epochs(self) -> int:
        """How many epochs the recipe has."""
        alone = self.cosine or self.step
        return alone.epochs if alone else sum(phase.epochs for phase in self.phases or [])

    def parameters(self) -> dict[str, Any]:
        """Return what a job is told of it, as ``training.recipe.Recipe`` has it."""
        found = {"phases": self._phases()} | self.model_dump(
            exclude={"phases", "cosine", "step", "warmup"}
        )
        if self.regularizers:
            found["regularizers"] = regularizers.parameters(self.regularizers)
        return found

    def _phases(self) -> list[dict[str, Any]]:
        """Return the phases with the rates of their epochs where these differ."""
        alone = self.cosine or self.step
        if alone:
            rates = alone.rates(self.warmup)
            rate, rates = alone.learning_rate, [*warmed(rates[0], self.warmup), *rates]
            return [{"epochs": alone.epochs, "learning_rate": rate, "rates": rates}]
        phases = [phase.model_dump() for phase in self.phases or []]
        if self.warmup:
            rate, after = phases[0]["learning_rate"], phases[0]["epochs"] - self.warmup
            phases[0]["rates"] = [*warmed(rate, self.warmup), *[rate] * after]
        return phases

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = serialize(self)
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        return {
            name: value
            for name, value in found.items()
            if name in _ALWAYS or getattr(self, name) != defaults[name]
        }

    @model_validator(mode="after")
    def _check_rates(self) -> Recipe:
        given = [name for name in ("phases", "cosine", "step") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "give one of phases, cosine and step"
                + (f", not {' and '.join(given)}" if given else "; there is none")
            )
        until = self.epochs
        if self.phases:
            until = self.phases[0].epochs
        elif self.step:
            until = self.step.milestones[0]
        if self.warmup >= until:
            raise ValueError(
                f"warmup: {self.warmup} epochs; at least one at the full rate follows before the "
                f"rate changes or training ends, so that at most {until - 1} are left for it"
            )
        return self

    @model_validator(mode="after")
    def _check_regularizers(self) -> Recipe:
        regularizers.check(self.regularizers)
        return self

    @model_validator(mode="after")
    def _check_optimizer(self) -> Recipe:
        own = _OF_OPTIMIZER[self.optimizer]
        others = {name for names in _OF_OPTIMIZER.values() for name in names} - {*own}
        if foreign := sorted(others & self.model_fields_set):
            raise ValueError(
                f"{' and '.join(foreign)}: optimizer {self.optimizer} has {' and '.join(own)} "
                "instead"
            )
        return self


class RecipePair(Strict):
    """How the dense networks are trained and how the pruned ones are fine-tuned."""

    training: Recipe = Field(description="From the initial weights to the dense network.")
    finetuning: Recipe = Field(
        description="How networks are trained after pruning; the control alike, without pruning."
    )

    def modules(self) -> list[str]:
        """Return what jobs import by name for what is added to their losses."""
        return regularizers.modules(self.training.regularizers, self.finetuning.regularizers)
