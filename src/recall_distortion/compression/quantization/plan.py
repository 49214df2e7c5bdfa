"""What decides quantized networks, as a job is told: frozen objects, which ``plain.read`` makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recall_distortion.compression.formats import BITS, is_integer

#: What becomes of the numbers between layers.
FLOAT, STATIC, DYNAMIC = "float", "static", "dynamic"
#: How calibration takes a range from the numbers that a layer gets.
MIN_MAX, PERCENTILE = "min_max", "percentile"


@dataclass(frozen=True)
class Quantizer:
    """A way of quantizing.

    ``weights`` is a format of ``formats.BITS``. ``activations`` are ``float``, left alone, or have
    ``activation_bits``: ``static`` in ranges that ``calibration_images`` gave by the rule
    ``range``, for which ``percentile`` leaves so much of a hundred below the upper end and above
    the lower one; or ``dynamic`` in each image's own. ``of`` names the method whose networks are
    quantized, or ``dense``.
    """

    weights: str
    activations: str
    activation_bits: int
    calibration_images: int
    range: str
    percentile: float
    of: str

    @property
    def bits(self) -> int:
        """The bits of a stored weight."""
        return BITS[self.weights]

    @property
    def integer_weights(self) -> bool:
        """Whether weights are whole numbers times a scale."""
        return is_integer(self.weights)


@dataclass(frozen=True)
class QuantizationPlan:
    """What decides the quantized networks of a bundle, besides cells, data and networks.

    ``selection`` says which training images there are to calibrate with, as in ``TrainingPlan``.
    """

    methods: Mapping[str, Quantizer]
    selection: str
