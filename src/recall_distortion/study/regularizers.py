"""What may be added to a recipe's loss: facts, and how a study asks for it; without torch.

The functions are in ``training.objective``, which a test holds against these facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from recall_distortion.study.strict import Strict


@dataclass(frozen=True)
class RegularizerFacts:
    """A penalty; ``meaning`` is a phrase of the schema's, ``own`` the options that it alone has.

    ``module`` is what jobs with it import by name.
    """

    name: str
    formula: str
    meaning: str
    source: str
    own: tuple[str, ...] = ()
    module: str = ""


REGULARIZERS: dict[str, RegularizerFacts] = {
    facts.name: facts
    for facts in (
        RegularizerFacts(
            "jumpstart",
            "‖ρ max(1 − M, 0) + (1 − ρ) max(1 + m, 0)‖ over units and points",
            "how far units and points are from giving both signs: of a unit M is the largest and m "
            "the smallest pre-activation in a batch, of an image in a layer those of the layer",
            "Riera et al., CPAIOR 2022, arXiv 2201.12795",
            own=("balance", "aggregation", "layers"),
            module="recall_distortion.fast.cpu.extremes",
        ),
        RegularizerFacts(
            "batch_norm_l1",
            "Σ |γ|",
            "the sum of the absolute scales of batch norm",
            "Liu et al., ICCV 2017, arXiv 1708.06519",
        ),
    )
}
if TYPE_CHECKING:  # which a checker of types cannot follow
    RegularizerName = str
else:
    RegularizerName = Literal[tuple(REGULARIZERS)]


class Regularizer(Strict):
    """A penalty that is added to the loss."""

    weight: float = Field(
        gt=0, le=1e6, description="What the penalty is multiplied by before it is added."
    )
    balance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Of jumpstart: the share ρ of what keeps units and points from being dead; the "
        "rest keeps them from being linear.",
    )
    aggregation: Literal["norm", "mean", "balanced"] = Field(
        "norm",
        description="Of jumpstart: what becomes of all slacks together: norm, their 2-norm; mean, "
        "their mean; balanced, the mean of the units' plus the mean of the points'.",
    )
    layers: Literal["hidden", "all"] = Field(
        "hidden",
        description="Of jumpstart: of which layers: hidden, all but the classifier; or all.",
    )


#: Those of a recipe, by name.
Regularizers = Annotated[dict[RegularizerName, Regularizer], Field()]


def check(regularizers: dict[str, Regularizer]) -> None:
    """Raise ``ValueError`` for an option that a regularizer does not have."""
    for name, one in regularizers.items():
        known = ("weight", *REGULARIZERS[name].own)
        if foreign := sorted(one.model_fields_set - {*known}):
            raise ValueError(
                f"regularizers.{name}: it has no {' and no '.join(foreign)}; valid: "
                + ", ".join(known)
            )


def parameters(regularizers: dict[str, Regularizer]) -> list[dict[str, Any]]:
    """Return what a job is told of them, as ``training.recipe.Regularizer`` has it."""
    return [
        {"name": name, **one.model_dump(include={"weight", *REGULARIZERS[name].own})}
        for name, one in regularizers.items()
    ]


def modules(*used: dict[str, Regularizer]) -> list[str]:
    """Return what jobs with these import by name."""
    names = dict.fromkeys(name for regularizers in used for name in regularizers)
    return [own for name in names if (own := REGULARIZERS[name].module)]
