"""Figures as files: their names, and what a page has to know of each without drawing it again.

This needs no drawing library, so that a page made from finished figures does not wait for one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from recall_distortion.system.errors import TableError
from recall_distortion.system.files import unreadable
from recall_distortion.vocabulary import Panel

KINDS = ("effects", "alpha", "tradeoff", "together", "balances", "accuracy", "recall")
SPARSITY = "sparsity.png"
# Beside the pictures: the other fields of each ``Picture``.
CAPTIONS = "captions.json"


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, its natural size, and what its caption says of points left out."""

    png: bytes
    width: int  # CSS pixels
    height: int
    outside: int = 0
    nonfinite: int = 0
    logarithmic: bool = False
    classes_of_many: int = 0  # how many classes are shown where there are more
    own_axes: int = 0  # how many cells do not fit the axes of the others


def figure_name(kind: str, panel: Panel) -> str:
    """Return the name of the file of one kind of figure of a panel."""
    return f"{kind}-{_slug(*panel)}.png"


def figure_names(panels: list[Panel]) -> list[str]:
    """Return the names of the files that ``figures.write_figures`` writes for these panels.

    Each kind has one file a panel, as alpha-digits-cnn-usual.png; sparsity.png shows all panels.
    """
    return [*(figure_name(kind, panel) for kind in KINDS for panel in panels), SPARSITY]


def _slug(*names: str) -> str:
    """Return names as part of a file name, without anything that a path would read."""
    return "-".join(
        re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".") or "unnamed" for name in names
    )


def read_figures(folder: Path, panels: list[Panel]) -> dict[str, Picture]:
    """Return what ``figures.write_figures`` wrote into ``folder`` for these panels, by file name.

    Raises ``TableError`` naming the file that is missing or damaged.
    """
    remedy = "draw the figures again"
    path = Path(folder) / CAPTIONS
    found = {}
    try:
        captions = json.loads(path.read_text("utf-8"))
        for name in figure_names(panels):
            caption = captions[name]
            path = Path(folder) / name
            found[name] = Picture(path.read_bytes(), **caption)
    except FileNotFoundError:
        raise TableError(f"{path}: no such file; {remedy}") from None
    except OSError as error:
        raise TableError(unreadable(path, error) or f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise TableError(f"{Path(folder) / CAPTIONS}: damaged ({error}); {remedy}") from None
    return found
