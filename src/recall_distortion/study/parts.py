"""The parts that a study file is made of: data sets, recipes, methods, panels, jobs.

A key that is not defined here is an error, and so is a value of another type.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from recall_distortion.catalogue import ARCHITECTURES, CRITERIA, SOURCES

DENSE = "dense"
CONTROL = "control"
RESEED = "reseed"  # slopes between dense networks of two seeds, which every study's tables hold
RESERVED = (DENSE, CONTROL, RESEED)  # what tables say in place of a pruning method

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
SourceName = Literal[tuple(SOURCES)]  # type: ignore[valid-type]
ArchitectureName = Literal[tuple(ARCHITECTURES)]  # type: ignore[valid-type]
CriterionName = Literal[tuple(CRITERIA)]  # type: ignore[valid-type]


class Strict(BaseModel):
    """A model without unknown keys, conversions, changes and infinite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Dataset(Strict):
    """Where a data set comes from and how it is split."""

    source: SourceName = Field(description="The kind of data set.")
    path: str | None = Field(
        None, description="The .npz file (arrays) or the folder of class folders (folder)."
    )
    holdout: float = Field(
        0.1, gt=0, lt=1, description="Fraction of the training set held out for validation."
    )
    test_fraction: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Fraction set aside for testing, for sources without a test set of their own.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of the random splits, one for all networks.")

    @model_validator(mode="after")
    def _check_path(self) -> Dataset:
        if SOURCES[self.source].needs_path and not self.path:
            raise ValueError(f"source {self.source!r} needs a path")
        if not SOURCES[self.source].needs_path and self.path is not None:
            raise ValueError(
                f"source {self.source!r} takes no path; only arrays and folder do"
                " (torchvision's sets are looked for under data_root)"
            )
        facts = SOURCES[self.source]
        if self.test_fraction is not None and facts.has_test_set and not facts.needs_path:
            raise ValueError(f"source {self.source!r} has a test set; remove test_fraction")
        return self


class Phase(Strict):
    """A stretch of training at one learning rate; momentum starts anew with each phase."""

    epochs: int = Field(ge=1, le=10_000, description="Passes over the training images.")
    learning_rate: float = Field(gt=0, le=100, description="SGD's step size.")


class Recipe(Strict):
    """How a network is trained or fine-tuned: SGD with Nesterov momentum."""

    phases: list[Phase] = Field(min_length=1, description="Run one after another.")
    batch_size: int = Field(128, ge=1, description="Images a step.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum; 0 is plain SGD.")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty of the optimizer.")
    augmentation: list[Literal["flip", "crop"]] = Field(
        [],
        description="flip: mirrored with probability 1/2; crop: random crop after padding by 4.",
    )


class RecipePair(Strict):
    """How the dense networks are trained and how the pruned ones are fine-tuned."""

    training: Recipe = Field(description="From initial weights to the dense network.")
    finetuning: Recipe = Field(description="After pruning, and for the control without it.")


class Method(Strict):
    """A pruning method: what scores a weight, what the scores are ranked over, and when."""

    criterion: CriterionName = Field(description="The score of a weight; the lowest go.")
    scope: Literal["global", "layer"] = Field(
        "global", description="Rank all prunable weights together, or each layer's alone."
    )
    schedule: Literal["one_shot"] = Field(
        "one_shot", description="Prune once, then fine-tune with the masks held."
    )
    gradient_examples: int = Field(
        128, ge=1, description="Training images whose mean loss gives the gradient."
    )
    epsilon: float | None = Field(
        None,
        ge=0,
        description="The decay that the criterion adds or deducts; by default the weight decay "
        "of the training recipe.",
    )

    @model_validator(mode="after")
    def _check_scope(self) -> Method:
        if self.criterion == "undecayed_signed" and self.scope == "layer":
            raise ValueError("undecayed_signed reproduces a global threshold; use scope: global")
        return self


METHODS: dict[str, Method] = {
    "magnitude": Method(criterion="magnitude"),
    "layerwise_magnitude": Method(criterion="magnitude", scope="layer"),
    "gradient": Method(criterion="gradient"),
    "regularized_gradient": Method(criterion="regularized_gradient"),
    "undecayed": Method(criterion="undecayed"),
    "undecayed_signed": Method(criterion="undecayed_signed"),
    "random": Method(criterion="random"),
}


class Panel(Strict):
    """Architectures trained on one data set, and the methods that each is pruned by."""

    dataset: Name = Field(description="A key of datasets.")
    architectures: list[ArchitectureName] = Field(min_length=1, description="Networks to train.")
    methods: list[Name] = Field(
        min_length=1,
        description=f"{CONTROL} (fine-tuning without pruning), {', '.join(METHODS)}, or a key of "
        "methods.",
    )
    recipe: Name | None = Field(
        None, description="A key of recipes; may be left out where there is only one."
    )


class Jobs(Strict):
    """How the work is cut into jobs; a replicate's result does not depend on it."""

    replicates: int = Field(10, ge=1, description="Consecutive seeds that one job carries.")
    ratios: int = Field(
        1,
        ge=1,
        description="Consecutive ratios that one job carries; with 1 an added ratio recomputes no "
        "other.",
    )
    at_once: int | None = Field(
        None,
        ge=1,
        description="Networks that are vectorized at once, at most; by default what was measured "
        "to be fastest. Less needs less memory.",
    )
    bundles: dict[Name, list[Name]] = Field(
        {},
        description=f"Methods, {CONTROL} among them, that share a job, which pays where starting "
        "Python costs more than training; a method in no bundle has jobs of its own.",
    )
