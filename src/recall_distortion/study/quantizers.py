"""What a study says of quantizing: numbers with fewer bits, after training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from recall_distortion.compression.facts import ACTIVATIONS, QUANTIZERS, RANGES
from recall_distortion.compression.formats import BITS, is_integer, ratio
from recall_distortion.study.strict import Name, Strict
from recall_distortion.vocabulary import DENSE

if TYPE_CHECKING:  # which a checker of types cannot follow
    FormatName = str
    RangeName = str
else:
    FormatName = Literal[tuple(BITS)]
    RangeName = Literal[tuple(RANGES)]

# Keys that calibration alone reads.
_OF_CALIBRATION = ("calibration_images", "range", "percentile")


class Quantizer(Strict):
    """A method that quantizes: with how many bits weights and activations are kept."""

    weights: FormatName = Field(
        description="The numbers that weights are kept in; whole numbers have a scale each output "
        "channel."
    )
    activations: Literal["float", "static", "dynamic"] = Field(
        "float",
        description="The numbers between layers: "
        + "; ".join(f"{name}, {meaning}" for name, meaning in ACTIVATIONS.items()).format(
            bits="few"
        )
        + ".",
    )
    activation_bits: int = Field(
        8, ge=2, le=8, description="The bits of static and dynamic activations."
    )
    calibration_images: int = Field(
        256,
        ge=1,
        description="How many training images, drawn from the replicate's seed, static activations "
        "are calibrated with.",
    )
    range: RangeName = Field(
        "min_max",
        description="The range that calibration gives: "
        + "; ".join(f"{name}, {meaning}" for name, meaning in RANGES.items())
        + ".",
    )
    percentile: float = Field(
        99.9,
        gt=50,
        lt=100,
        description="The upper end of the range that percentile gives; the lower end lies as far "
        "above 0.",
    )
    of: Name = Field(
        DENSE,
        description=f"Which networks are quantized: {DENSE}, or those of a method of the same "
        "panel, control among them, after their retraining.",
    )

    @model_validator(mode="before")
    @classmethod
    def _check_no_ratios(cls, values: Any) -> Any:
        if isinstance(values, dict) and "ratios" in values:
            raise ValueError(
                "a quantizer takes no ratios: it runs at its own alone, 32 over its bits, times "
                "those of the networks that it quantizes; remove ratios"
            )
        return values

    @model_validator(mode="after")
    def _check_activations(self) -> Quantizer:
        given = self.model_fields_set
        if self.activations == "float" and "activation_bits" in given:
            raise ValueError("activation_bits: float activations have none; remove it")
        if self.activations != "float" and not is_integer(self.weights):
            whole = ", ".join(name for name in BITS if is_integer(name))
            raise ValueError(
                f"activations: {self.activations} multiplies whole numbers, which {self.weights} "
                f"weights are not; valid for weights: {whole}"
            )
        if self.activations != "static" and (unused := given.intersection(_OF_CALIBRATION)):
            name = next(key for key in _OF_CALIBRATION if key in unused)
            raise ValueError(f"{name}: only activations: static are calibrated; remove it")
        if self.range != "percentile" and "percentile" in given:
            raise ValueError("percentile: only range: percentile has one; remove it")
        return self

    def ratio(self, of: float = 1.0) -> float:
        """Return the nominal ratio of networks quantized, those at ratio ``of`` before."""
        return ratio(self.weights, of)


BUILT_IN_QUANTIZERS: dict[str, Quantizer] = {
    name: Quantizer(weights=facts.weights, activations=facts.activations)
    for name, facts in QUANTIZERS.items()
}
