"""Jumpstart as fast forms are asked for it, and the extremes of pre-activations that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Jumpstart:
    """Jumpstart's penalty (``training.objective``) on the layers of these names."""

    weight: float
    balance: float
    aggregation: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class FoundExtremes:
    """The extremes [2, K, units + points] of layers' pre-activations, so many of them of units.

    The largest are first.
    """

    values: Tensor
    units: int

    @property
    def points(self) -> int:
        """How many of them are of points."""
        return self.values.shape[-1] - self.units

    def detach(self) -> FoundExtremes:
        """Return the same without a gradient."""
        return FoundExtremes(self.values.detach(), self.units)

    @classmethod
    def joined(cls, parts: Sequence[FoundExtremes]) -> FoundExtremes:
        """Return the extremes of all layers, of which there is one at least."""
        if len(parts) == 1:
            return parts[0]
        of_units = [part.values[..., : part.units] for part in parts]
        of_points = [part.values[..., part.units :] for part in parts]
        return cls(torch.cat([*of_units, *of_points], -1), sum(part.units for part in parts))


def parted(sizes: Sequence[tuple[int, int]], gradient: Tensor) -> list[Tensor]:
    """Return the gradients of the parts that were joined, of these units and points, of that."""
    if len(sizes) == 1:
        return [gradient]
    units, points = zip(*sizes, strict=True)
    pieces = gradient.split([*units, *points], -1)
    both = zip(pieces[: len(sizes)], pieces[len(sizes) :], strict=True)
    return [torch.cat(pair, -1) for pair in both]
