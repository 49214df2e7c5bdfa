"""The parts that a study file is made of: recipes, methods, panels, jobs.

A key that is not defined here is an error, and so is a value of another type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from recall_distortion.compression.controls import (
    CONTROL_OF,
    FINETUNE,
    GRADUAL,
    ITERATIVE,
    TRAINED,
    WHILE_TRAINED,
)
from recall_distortion.compression.event_facts import TARGETS
from recall_distortion.compression.facts import (
    BUILT_IN,
    CHANNEL,
    PROFILES,
    RETRAININGS,
    SCHEDULES,
    SCORED,
    UNITS,
    WEIGHT,
    Criterion,
)
from recall_distortion.networks.plans import KNOWN
from recall_distortion.study import beginning, channels
from recall_distortion.study import events as of_events
from recall_distortion.study.architectures import ArchitectureName
from recall_distortion.study.events import Events, TargetName
from recall_distortion.study.naming import in_order
from recall_distortion.study.quantizers import BUILT_IN_QUANTIZERS, Quantizer
from recall_distortion.study.strict import Name, Strict
from recall_distortion.study.transfers import Transfer
from recall_distortion.vocabulary import CONTROL, CONTROL_GRADUAL, CONTROLS

Ratio = Annotated[float, Field(gt=1, le=1e6)]
Sparsity = Annotated[float, Field(ge=0.01, le=0.99, multiple_of=0.01)]
if TYPE_CHECKING:  # which a checker of types cannot follow
    CriterionName = str
    ScheduleName = str
    RetrainingName = str
    Scored = str
    UnitName = str
    ProfileName = str
else:
    CriterionName = Literal[tuple(dict.fromkeys(n for u in UNITS.values() for n in u.criteria))]
    ScheduleName = Literal[tuple(SCHEDULES)]
    RetrainingName = Literal[tuple(RETRAININGS)]
    Scored = Literal[tuple(SCORED)]
    UnitName = Literal[tuple(UNITS)]
    ProfileName = Literal[tuple(PROFILES)]


class Method(Strict):
    """A pruning method: what scores a weight, what the scores are ranked over, and when."""

    criterion: CriterionName = Field(
        description="What scores a weight, or a channel; those with the lowest scores are pruned. "
        + " ".join(f"Of unit {n}: {', '.join(unit.criteria)}." for n, unit in UNITS.items())
    )
    unit: UnitName = Field(
        WEIGHT.name,
        description="What is removed as one: "
        + "; ".join(f"{name}, {facts.meaning}" for name, facts in UNITS.items())
        + ".",
    )
    scope: Literal["global", "layer", "erk"] = Field(
        "global",
        description="global ranks all prunable weights together, layer those of each layer alone; "
        "so does erk, which keeps larger fractions of smaller layers (Erdős–Rényi kernel). "
        "Channels have layer alone, and by default.",
    )
    schedule: ScheduleName = Field(
        "one_shot",
        description="When weights are pruned: "
        + "; ".join(f"{name}, {facts.meaning}" for name, facts in SCHEDULES.items())
        + ".",
    )
    at: Scored = Field(
        TRAINED,
        description="Which weights are scored: "
        + "; ".join(f"{name}, {meaning}" for name, meaning in SCORED.items())
        + ". What is scored before the training is over is rewound, unless retraining says else.",
    )
    retraining: RetrainingName = Field(
        FINETUNE,
        description="What follows the pruning: "
        + "; ".join(f"{name}, {facts.meaning}" for name, facts in RETRAININGS.items())
        + ".",
    )
    rewind_epochs: int = Field(
        0,
        ge=0,
        description="With retraining rewind, rewind_rate or shuffled: the epoch of the training "
        "that it begins after; 0 is the initial weights.",
    )
    begin: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="With schedule gradual: after which share of the training's epochs pruning "
        "begins.",
    )
    end: float = Field(
        0.7,
        gt=0,
        lt=1,
        description="With schedule gradual: after which share of the training's epochs the last "
        "weight is pruned. The best epoch is one of those that follow.",
    )
    target: TargetName = Field(
        of_events.LOWEST,
        description="What goes: "
        + "; ".join(f"{name}, {meaning}" for name, meaning in TARGETS.items())
        + ". With criterion random any alike goes.",
    )
    events: Events | None = Field(
        None, description="With schedule events: when they come, and what becomes of what goes."
    )
    gradient_examples: int = Field(
        128,
        ge=1,
        description="How many training images the gradient is computed from, where the criterion "
        "has one.",
    )
    feature_images: int = Field(
        640,
        ge=1,
        description="How many training images' feature maps a criterion looks at, where it does.",
    )
    profile: ProfileName | None = Field(
        None,
        description="How many channels stay of which layer, as published, in place of ratios: "
        + "; ".join(
            f"{n}, ratio {facts.ratio} of {facts.architecture}" for n, facts in PROFILES.items()
        )
        + ".",
    )
    removed: channels.Removed | None = Field(
        None,
        description="Which share of which layer's channels goes, as {conv2: 0.3, fc1: 0.9}; what "
        "stays is rounded up, and layers that are not named stay whole. The ratio of what it "
        "leaves, which names its cell, stands beside it: ratios: [2.5].",
    )
    epsilon: float | None = Field(
        None,
        ge=0,
        description="The number that the criterion takes for the weight decay, where it has one; "
        "by default the weight decay of the recipe that trained the network.",
    )

    ratios: list[Ratio] | None = Field(
        None,
        min_length=1,
        description="The ratios that this method prunes to; by default those of the study.",
    )
    sparsities: list[Sparsity] | None = Field(
        None,
        min_length=1,
        description="In place of ratios: the shares of the prunable weights that this method "
        "removes, to two decimals. The ratio that names a cell is then 1 / (1 - sparsity), to two "
        "decimals.",
    )

    @property
    def own_ratios(self) -> list[float] | None:
        """The ratios that the method sets; those of sparsities have two decimals."""
        if self.profile is not None:
            return [PROFILES[self.profile].ratio]
        if self.sparsities is None:
            return self.ratios
        return [round(1 / (1 - sparsity), 2) for sparsity in self.sparsities]

    @property
    def facts(self) -> Criterion:
        """What is known of the criterion, as one of the method's unit."""
        return UNITS[self.unit].criteria[self.criterion]

    def parameters(self) -> dict[str, Any]:
        """Return what decides a job's networks, besides the ratios, which its cells have."""
        apart = {"ratios", "sparsities", "begin", "end", "retraining", "rewind_epochs", "at"}
        apart |= {"unit", "feature_images", "profile", "removed", "target", "events"}
        found = self.model_dump(exclude=apart)
        if self.unit != WEIGHT.name:
            found["unit"] = self.unit
        if self.facts.needs_images:
            found["feature_images"] = self.feature_images
        if self.sparsities is not None:
            found["of_sparsity"] = True
        if self.retraining != FINETUNE:
            found["retraining"] = self.retraining
        if self.at != TRAINED:
            found["at"] = self.at
        if self.target == of_events.HIGHEST:
            found["target"] = self.target
        if self.events is not None:
            found["events"] = self.events.parameters()
        return found

    @model_validator(mode="before")
    @classmethod
    def _begin(cls, values: Any) -> Any:
        return beginning.completed(values)

    @model_validator(mode="after")
    def _check_beginning(self) -> Method:
        beginning.check(self.at, self.schedule, self.retraining, self.rewind_epochs)
        return self

    @field_validator("ratios", "sparsities")
    @classmethod
    def _ratios_differ(cls, ratios: list[float] | None) -> list[float] | None:
        return None if ratios is None else in_order(ratios)

    @model_validator(mode="before")
    @classmethod
    def _scope_of_unit(cls, values: Any) -> Any:
        """Give a unit its own scope where none is said."""
        if isinstance(values, dict) and values.get("unit") == CHANNEL.name:
            return {"scope": CHANNEL.scopes[0], **values}
        return values

    @model_validator(mode="after")
    def _check_unit(self) -> Method:
        unit, given = UNITS[self.unit], self.model_fields_set
        if self.criterion not in unit.criteria:
            raise ValueError(
                f"criterion: {self.criterion} does not score a {unit.name}; valid with unit: "
                f"{unit.name}: {', '.join(unit.criteria)}"
            )
        if self.scope not in unit.scopes:
            raise ValueError(f"scope: unit {unit.name} takes {', '.join(unit.scopes)} alone")
        for key, is_used, what in (
            ("feature_images", self.facts.needs_images, "looks at no feature maps"),
            ("gradient_examples", self.facts.needs_gradient, "looks at no gradient"),
            ("epsilon", self.facts.uses_epsilon, "has no such number"),
        ):
            if key in given and not is_used:
                raise ValueError(f"{key}: {self.criterion} {what}; remove it")
        channels.check(self.unit, self.schedule, self.profile, self.removed, self.ratios)
        if unit != CHANNEL:
            return self
        if self.schedule == GRADUAL:
            raise ValueError(f"schedule {GRADUAL} removes single weights; remove unit or schedule")
        if self.retraining == "shuffled":
            raise ValueError(
                "retraining shuffled permutes single weights, which would be no channels; compare "
                "with criterion: random in its place"
            )
        if self.sparsities is not None:
            raise ValueError("sparsities are shares of single weights; use ratios for channels")
        return self

    @model_validator(mode="after")
    def _check_events(self) -> Method:
        # After the unit, which says whether there are facts of the criterion.
        of_events.check(self.schedule, self.events, self.target, self.facts)
        return self

    @model_validator(mode="after")
    def _check_scope(self) -> Method:
        if self.facts.keeps_more and self.scope != "global":
            raise ValueError(f"{self.criterion} reproduces a global threshold; use scope: global")
        if self.ratios is not None and self.sparsities is not None:
            raise ValueError("ratios and sparsities say the same thing twice; remove one of them")
        return self

    @model_validator(mode="after")
    def _check_retraining(self) -> Method:
        if self.schedule in WHILE_TRAINED and self.retraining != FINETUNE:
            raise ValueError(
                f"retraining: nothing follows schedule {self.schedule}, by which networks are "
                "trained once; remove one of them"
            )
        if self.schedule == ITERATIVE:
            known = [retraining for schedule, retraining in CONTROL_OF if schedule == ITERATIVE]
            if self.retraining not in known:
                raise ValueError(
                    f"retraining: schedule {ITERATIVE} takes {', '.join(known)}, not "
                    f"{self.retraining}"
                )
            if self.own_ratios is not None:
                raise ValueError(
                    f"schedule {ITERATIVE} runs at the study's ratios, as its control does; remove "
                    f"{'ratios and sparsities' if self.profile is None else 'profile'}"
                )
        if self.rewind_epochs and not RETRAININGS[self.retraining].rewinds:
            names = [name for name, facts in RETRAININGS.items() if facts.rewinds]
            raise ValueError(
                f"rewind_epochs: retraining {self.retraining} rewinds nothing; "
                f"{', '.join(names)} do"
            )
        return self

    @model_validator(mode="after")
    def _check_schedule(self) -> Method:
        set_here = {"begin", "end"} & self.model_fields_set
        if self.schedule != GRADUAL:
            if set_here:
                raise ValueError(
                    f"{' and '.join(sorted(set_here))}: only schedule: {GRADUAL} has it"
                )
            return self
        if self.criterion != "magnitude":
            raise ValueError(
                f"schedule {GRADUAL} ranks weights by magnitude alone; use criterion: magnitude"
            )
        if not self.begin < self.end:
            raise ValueError(f"begin ({self.begin:g}) lies before end ({self.end:g})")
        return self


METHODS: dict[str, Method | Quantizer] = {
    **{name: Method.model_validate(vars(facts)) for name, facts in BUILT_IN.items()},
    **BUILT_IN_QUANTIZERS,
}

# Controls beside those that a panel's description explains.
_FURTHER = [arm for arm in CONTROLS if arm not in (CONTROL, CONTROL_GRADUAL)]

#: What tells the kinds of a study's own methods apart, which messages leave out of a key.
KINDS: dict[str, type[Strict]] = {
    "pruning": Method,
    "quantizing": Quantizer,
    "transferring": Transfer,
}


def _kind(values: Any) -> str:
    """Return the kind of a method: one that says what weights are kept in quantizes.

    One that says where its ticket is from transfers it.
    """
    if isinstance(values, Transfer) or (isinstance(values, dict) and "ticket_from" in values):
        return "transferring"
    if isinstance(values, Quantizer) or (isinstance(values, dict) and "weights" in values):
        return "quantizing"
    return "pruning"


OwnMethod = Annotated[
    Annotated[Method, Tag("pruning")]
    | Annotated[Quantizer, Tag("quantizing")]
    | Annotated[Transfer, Tag("transferring")],
    Discriminator(_kind),
]


class Panel(Strict):
    """Architectures trained on one data set, and the methods that each is compressed by."""

    dataset: Name = Field(description="The name of a data set of this study.")
    architectures: list[ArchitectureName] = Field(
        min_length=1,
        description=f"The networks to train on it: {', '.join(KNOWN)}, or one's own that this "
        "study names under architectures.",
    )
    methods: list[Name] = Field(
        min_length=1,
        description=f"How they are compressed: {', '.join(METHODS)}, or a method that this study "
        f"defines under methods; {CONTROL} is the same fine-tuning without pruning, and "
        f"{CONTROL_GRADUAL} the same training without it, for what is pruned gradually; other "
        f"retrainings and schedules have controls of theirs: {', '.join(_FURTHER)}.",
    )
    recipe: Name | None = Field(
        None,
        description="The name of a recipe of this study; may be left out where there is only one.",
    )


class Jobs(Strict):
    """How the work is cut into jobs; a replicate's result does not depend on it."""

    replicates: int = Field(10, ge=1, description="How many consecutive seeds a job trains.")
    ratios: int = Field(
        1,
        ge=1,
        description="How many consecutive ratios a job prunes at; with 1, adding a ratio to the "
        "study recomputes no other.",
    )
    at_once: int | None = Field(
        None,
        ge=1,
        description="How many networks are computed at once, at most; by default the number that "
        "was measured to be fastest. Fewer need less memory.",
    )
    bundles: dict[Name, list[Name]] = Field(
        {},
        description="Methods, controls among them, that share a job, by a name of your choice. It "
        "saves time where starting Python takes longer than training. A method in no bundle has "
        "jobs of its own. What quantizes shares no job with what trains.",
    )
