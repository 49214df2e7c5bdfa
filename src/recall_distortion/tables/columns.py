"""What a table is declared of: columns of some kinds, and what identifies a row."""

from __future__ import annotations

from dataclasses import dataclass

# Kinds of columns: words, even where one looks like a number ("1", "NA"); True, False or nothing;
# any number; a number from 0 to 1; a whole number from 0 on; a ratio from 1 on.
TEXT, TRUTH, NUMBER, SHARE, COUNT, RATIO = "text", "truth", "number", "share", "count", "ratio"


@dataclass(frozen=True)
class Column:
    """A column: its name, kind and meaning, and the words that it may hold if these are few.

    ``later`` marks what tables of earlier versions lack; it is read as empty there.
    """

    name: str
    kind: str
    meaning: str
    words: tuple[str, ...] = ()
    later: bool = False


@dataclass(frozen=True)
class Table:
    """A table: what a row is, the columns that identify one, and all columns in their order."""

    row: str
    key: list[str]
    columns: list[Column]

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return [column.name for column in self.columns]
