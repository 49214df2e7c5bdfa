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
    """Return where the names of the classes that lost most stand, none over another."""
    lost = [place for place in range(min(NAMED, len(rows))) if rows[place]["change"] < 0]
    found = []
    lowest = -np.inf
    for place in sorted(lost, key=lambda place: y[place]):
        lowest = max(y[place] + 1.4, lowest + _APART)
        left = x[place] > 50
        found.append(
            {
                "text": style.label(rows[place]["name"], _LONGEST),
                "x": f"{x[place] + (-9 if left else 9):.2f}",
                "y": f"{lowest:.2f}",
                "anchor": "end" if left else "start",
                # From the dot to its name, which another's may have pushed down.
                "line": f"M{x[place]:.2f} {y[place]:.2f}L{x[place] + (-8 if left else 8):.2f} "
                f"{lowest - 1.4:.2f}",
            }
        )
    return found
