"""Which channels are one: numbers for them, of which some are joined and some always stay."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

#: The number of what is no channel and stays, and that of zeros beside channels, which fit any.
STAYS, FREE = 0, -1


class Identities:
    """Numbers of channels, from 1 on; those that go together are joined (union-find).

    A class may be marked by why it always stays.
    """

    def __init__(self) -> None:
        self._parent = [STAYS]
        self._why: dict[int, str] = {}

    def new(self, count: int) -> Tensor:
        """Return so many new numbers [count]."""
        first = len(self._parent)
        self._parent += range(first, first + count)
        return torch.arange(first, first + count)

    def _root(self, one: int) -> int:
        while self._parent[one] != one:
            self._parent[one] = one = self._parent[self._parent[one]]
        return one

    def join(self, one: int, other: int, why: str) -> None:
        """Have two channels go together; one that goes with what is no channel stays, for ``why``.

        What is free goes with anything.
        """
        if FREE in (one, other) or one == other:
            return
        if STAYS in (one, other):
            self.keep([one or other], why)
            return
        kept, gone = sorted((self._root(one), self._root(other)))
        if kept == gone:
            return
        self._parent[gone] = kept
        if gone in self._why:
            self._why.setdefault(kept, self._why.pop(gone))

    def keep(self, channels: Tensor | Iterable[int], why: str) -> None:
        """Have channels stay, and all that go with them; the first reason counts."""
        numbers = channels.unique().tolist() if isinstance(channels, Tensor) else channels
        for one in numbers:
            if one > STAYS:
                self._why.setdefault(self._root(one), why)

    def why(self, one: int) -> str:
        """Return why a channel always stays; empty where it may go."""
        return self._why.get(self._root(one), "") if one > STAYS else ""

    def classes(self, channels: Tensor) -> list[int]:
        """Return by channel the number of its class, ``STAYS`` of those that always stay."""
        roots = {one: self._root(one) for one in channels.unique().tolist() if one > STAYS}
        return [
            STAYS if one <= STAYS or roots[one] in self._why else roots[one]
            for one in channels.tolist()
        ]

    def same(self, channels: Tensor) -> Tensor:
        """Return numbers that are equal where channels go together."""
        distinct, places = channels.unique(return_inverse=True)
        own = [one if one <= STAYS else self._root(one) for one in distinct.tolist()]
        return torch.tensor(own, dtype=torch.int64)[places]
