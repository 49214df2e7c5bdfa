"""How a study's networks are trained: what may stand in a recipe, and what a job is told of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

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


class Phase(Strict):
    """A stretch of training at one learning rate; the optimizer starts anew with each phase."""

    epochs: int = Field(
        ge=1, le=10_000, description="How often it passes over the training images."
    )
    learning_rate: float = Field(gt=0, le=100, description="The step size in this phase.")


class Recipe(Strict):
    """How a network is trained or fine-tuned: by default SGD with Nesterov momentum."""

    phases: list[Phase] = Field(min_length=1, description="The phases of training, in their order.")
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
    augmentation: list[Literal["flip", "crop"]] = Field(
        [],
        description="How training images are varied. flip: mirrored left to right with probability "
        "1/2; crop: cut out at a random place after 4 pixels were added on each side.",
    )

    @property
    def epochs(self) -> int:
        """How many epochs the recipe has."""
        return sum(phase.epochs for phase in self.phases)

    def parameters(self) -> dict[str, Any]:
        """Return what a job is told of it, as ``training.recipe.Recipe`` has it."""
        return self.model_dump()

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
