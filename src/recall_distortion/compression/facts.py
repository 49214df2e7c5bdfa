"""What is known of criteria and built-in methods without torch; studies and pages read it.

Sentences stand here, so no job that computes networks imports this: a better one retrains nothing.
The functions are in ``pruning.scores``, which a test holds against these facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_PAPER = "Good et al., NeurIPS 2022, arXiv 2206.02976"
_SCRIPT = "the authors’ script, GitHub yuxwind/shrinkbench_generate_model"


@dataclass(frozen=True)
class Criterion:
    """What scores a weight; the weights with the lowest scores are pruned.

    In ``formula`` θ is the weight, g the gradient of the mean cross-entropy by it, without weight
    decay, and ε what the criterion takes for the weight decay. ``keeps_more`` marks a threshold
    that leaves more weights than the ratio asks for.
    """

    name: str
    formula: str
    meaning: str
    source: str
    needs_gradient: bool = False
    uses_epsilon: bool = False
    keeps_more: bool = False


CRITERIA: dict[str, Criterion] = {
    facts.name: facts
    for facts in (
        Criterion(
            "magnitude",
            "|θ|",
            "The smallest weights go: magnitude pruning (MP).",
            f"{_PAPER}, section 6",
        ),
        Criterion(
            "gradient",
            "|θ g|",
            "To first order, how much the loss would change without the weight: gradient pruning "
            "(GP) as it was run; by the formula in the paper’s text it is undecayed pruning, too.",
            f"{_PAPER}, section 6, as in ShrinkBench, GitHub JJGO/shrinkbench",
            needs_gradient=True,
        ),
        Criterion(
            "regularized_gradient",
            "|θ (g + ε θ)|",
            "As gradient, but with the weight decay in the loss: gradient pruning (GP) as the "
            "paper’s text defines it.",
            _PAPER,
            needs_gradient=True,
            uses_epsilon=True,
        ),
        Criterion(
            "undecayed",
            "|−θ g + ε θ²|",
            "To first order, the change of the loss without the weight, plus ε θ² for the weight "
            "decay: undecayed pruning (UP) as it was published, with the absolute value.",
            f"{_PAPER}, section 6",
            needs_gradient=True,
            uses_epsilon=True,
        ),
        Criterion(
            "undecayed_signed",
            "−θ g + ε θ²",
            "Undecayed pruning (UP) as the published script ran it, without the absolute value: "
            "its threshold spares weights with large negative scores, too, so that more weights "
            "stay than the ratio asks for.",
            _SCRIPT,
            needs_gradient=True,
            uses_epsilon=True,
            keeps_more=True,
        ),
        Criterion(
            "random",
            "a random number",
            "Weights go at random, each as likely as any other: random pruning (RP).",
            f"{_PAPER}, section 6",
        ),
    )
}


@dataclass(frozen=True)
class Unit:
    """What is removed as one."""

    name: str
    meaning: str


#: What every method of a study removes.
WEIGHT = Unit("weight", "single weights; biases and batch norm are left alone")

UNITS: dict[str, Unit] = {facts.name: facts for facts in (WEIGHT,)}


@dataclass(frozen=True)
class Schedule:
    """When a method prunes and retrains; ``meaning`` is a phrase of the page's and the schema's."""

    name: str
    meaning: str


SCHEDULES: dict[str, Schedule] = {
    facts.name: facts for facts in (Schedule("one_shot", "pruned once, then fine-tuned"),)
}


@dataclass(frozen=True)
class BuiltIn:
    """A method that studies may name without defining it; ε is the training's weight decay."""

    criterion: str
    scope: Literal["global", "layer"] = "global"


BUILT_IN: dict[str, BuiltIn] = {
    "magnitude": BuiltIn("magnitude"),
    "layerwise_magnitude": BuiltIn("magnitude", scope="layer"),
    **{name: BuiltIn(name) for name in CRITERIA if name != "magnitude"},
}
