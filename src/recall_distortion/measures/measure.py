"""What a measure of a network is, beside recalls and slopes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import POSSIBLE
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import COLUMNS, Column

HIGHER, LOWER = "higher", "lower"


class Described(Protocol):
    """What has a column of networks.csv, and a name in estimates.csv and on pages."""

    @property
    def column(self) -> Column:
        """The column."""

    @property
    def title(self) -> str:
        """What pages call it."""

    @property
    def worse(self) -> str | None:
        """Which values are worse: ``HIGHER``, ``LOWER``, or None where that cannot be said."""


@dataclass(frozen=True)
class Measure:
    """One number of a network: its column of networks.csv, what pages call it, where it is from.

    ``of`` returns it for K networks [K], from their predictions and those of their dense networks,
    row by row; in rows of ``reseed`` the first of a pair is the dense one. A number that does not
    exist for a network is NaN. ``relative`` measures hold a network against its dense one, so that
    dense networks themselves have none; ``pooled`` are those that take something of all the dense
    networks together, so that a network's value is another beside others. ``worse`` says which
    values are: ``HIGHER``, ``LOWER``, or None where that cannot be said.
    """

    column: Column
    title: str
    source: str
    of: Callable[[Predictions, Predictions], np.ndarray]
    relative: bool = False
    pooled: bool = False
    worse: str | None = HIGHER

    def values(self, own: Predictions, dense: Predictions | None) -> np.ndarray:
        """Return the measure of K networks as float64 [K]; ``dense`` is None of dense networks.

        Raises ``TableError``, naming the measure, where the function returns anything but K numbers
        that the column's kind allows.
        """
        wanted = (len(own.seeds),)
        if not own.seeds or (self.relative and dense is None):
            return np.full(wanted, np.nan)
        found = np.asarray(self.of(own, own if dense is None else dense), dtype=float)
        if found.shape != wanted:
            raise TableError(
                f"measure {self.title!r}: returned shape {list(found.shape)} for {own}; a measure "
                f"is one number a network, {list(wanted)}"
            )
        possible, words = POSSIBLE.get(self.column.kind, (np.isfinite, "a number"))
        wrong = ~np.isnan(found) & ~possible(found)
        if wrong.any():
            raise TableError(
                f"measure {self.title!r}: returned {found[wrong][0]:g} for {own}, which is not "
                f"{words}, as its column's kind {self.column.kind!r} says"
            )
        return found


def require_different_names(measures: Sequence[Described], taken: Iterable[str] = ()) -> None:
    """Raise ``TableError`` for a column or a title that two measures have, or that is taken.

    ``taken`` are the titles of what is no measure.
    """
    columns = Counter([*COLUMNS["networks"], *(measure.column.name for measure in measures)])
    titles = Counter([*taken, *(measure.title for measure in measures)])
    for measure in measures:
        for name, found in ((measure.column.name, columns), (measure.title, titles)):
            if found[name] > 1:
                raise TableError(
                    f"measure {measure.title!r}: the name {name!r} is taken; give it another one"
                )
