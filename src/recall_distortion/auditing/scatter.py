"""The classes' recalls before and after as dots of a page's figure, those that lost most named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.auditing.comparison import GAIN, LOSS
from recall_distortion.report import style

#: The class of the page's style for a verdict.
KINDS = {LOSS: "up", GAIN: "down"}
#: Dots that are named, and how far apart their names stand: the figure is a square of 100.
NAMED, _APART = 3, 5.0
_LONGEST = 18  # characters of a name
#: In the figure's units: a letter at most, a dot's half with its edge, and where names may stand.
_LETTER, _DOT, _FIRST, _LAST = 2.6, 2.0, -8.0, 99.0


def scatter(classes: pd.DataFrame) -> dict[str, Any]:
    """Return the dots of classes [C], in a square of 100, and the names of those that lost most."""
    known = classes[np.isfinite(classes["change"])].sort_values("change", kind="stable")
    least = min(known["before"].min(), known["after"].min()) if len(known) else 0.0
    least = np.floor(10 * float(least)) / 10
    size = 100 / (1 - least) if least < 1 else 100.0
    x = (known["before"].to_numpy() - least) * size
    y = 100 - (known["after"].to_numpy() - least) * size
    rows = known.to_dict("records")
    return {
        "least": style.percent(least, 0),
        "dots": [
            {
                "x": f"{across:.2f}",
                "y": f"{down:.2f}",
                "kind": KINDS.get(row["verdict"], "open"),
                "title": f"{style.label(row['name'])}: {style.percent(row['before'])} before, "
                f"{style.percent(row['after'])} after",
            }
            for row, across, down in zip(rows, x, y, strict=True)
        ],
        "names": _names(rows, x, y),
    }


def _names(rows: list[dict[str, Any]], x: np.ndarray, y: np.ndarray) -> list[dict[str, str]]:
    """Return where the names of the classes that lost most stand, none over another or a dot."""
    lost = [place for place in range(min(NAMED, len(rows))) if rows[place]["change"] < 0]
    found: list[dict[str, str]] = []
    lowest = -np.inf
    for place in sorted(lost, key=lambda place: y[place]):
        text = style.label(rows[place]["name"], _LONGEST)
        left, down = _free(x[place], max(y[place] + 1.4, lowest + _APART), len(text), x, y)
        lowest = down
        found.append(
            {
                "text": text,
                "x": f"{x[place] + (-9 if left else 9):.2f}",
                "y": f"{down:.2f}",
                "anchor": "end" if left else "start",
                # From the dot to its name, which another's or a dot may have pushed away.
                "line": f"M{x[place]:.2f} {y[place]:.2f}L{x[place] + (-8 if left else 8):.2f} "
                f"{down - 1.4:.2f}",
            }
        )
    return found


def _free(
    across: float, least: float, letters: int, x: np.ndarray, y: np.ndarray
) -> tuple[bool, float]:
    """Return whether a name stands left of its dot, and how far down, where it covers no dot.

    The first such place from ``least`` on; where there is none, the first of all.
    """
    wide, usual = letters * _LETTER, bool(across > 50)
    for down in np.arange(least, min(least + 40, _LAST), 1.0):
        for left in (usual, not usual):
            start = across - 9 - wide if left else across + 9
            if start < _FIRST or start + wide > 100 - _FIRST:
                continue
            near = (x > start - _DOT) & (x < start + wide + _DOT)
            if not (near & (y > down - 4 - _DOT) & (y < down + 1.5 + _DOT)).any():
                return left, float(down)
    return usual, least
