"""Values of the command ``audit``'s words."""

from __future__ import annotations

import argparse
from pathlib import Path

#: What --seed may be beside a number.
ALL_SEEDS = "all"


def folder(text: str) -> Path:
    """Return the name of a folder."""
    if not text:  # as of a variable that is not set; it would be the folder that one is in
        raise argparse.ArgumentTypeError("the name of a folder, not an empty one")
    return Path(text)


def seed(text: str) -> int | str:
    """Return a seed, or that all are meant."""
    try:
        return text if text == ALL_SEEDS else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a whole number or all, not {text!r}") from None


def limit(text: str) -> float:
    """Return a limit above 0."""
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"a number above 0, such as 0.001, not {text!r}")
    return found
