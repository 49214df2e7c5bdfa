"""How many parameters a network has, as a ratio counts them; without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """Parameters of a network.

    ``total`` counts every parameter, ``prunable_modules`` all parameters of the prunable
    convolutions and linear layers (ShrinkBench's accounting), ``prunable_weights`` only the
    weights among them, which are what a mask covers.
    """

    total: int
    prunable_modules: int
    prunable_weights: int
