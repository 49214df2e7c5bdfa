"""Masks of dropout as random bits, of which those who compute networks make what they need."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dropped(Mapping[str, Tensor]):
    """A batch's masks [K, B, features] by layer: zero where something is dropped, else ``scale``.

    ``bits`` are signed numbers [K, columns], without gaps. Those of a layer begin at the column in
    ``places``, image by image, and keep what they stand for where they are at least ``lowest``.
    """

    bits: Tensor
    places: Mapping[str, tuple[int, tuple[int, int]]]  # the first column, and (B, features)
    lowest: int
    scale: float

    def __getitem__(self, name: str) -> Tensor:
        first, size = self.places[name]
        own = self.bits[:, first : first + math.prod(size)].unflatten(1, size)
        # Compared into numbers at once: by way of booleans it takes eight times as long.
        kept = torch.empty(own.shape, device=own.device)
        return torch.ge(own, self.lowest, out=kept).mul_(self.scale)

    def __contains__(self, name: object) -> bool:  # else a mask would be made for it
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)
