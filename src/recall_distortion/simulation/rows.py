"""The rows of the simulation's table."""

from __future__ import annotations

from typing import Any

import numpy as np

from recall_distortion.simulation.design import Design

# Of the truth and the nominal value: what a perfect method would give. Theory: what mathematics
# says that this method gives, where that is known.
COLUMNS = [
    "family",
    "quantity",
    "seeds",
    "images",
    "support",
    "distribution",
    "alpha",
    "effect",
    "agreement",
    "accuracy",
    "balance_sd",
    "note",
    "nominal",
    "theory",
    "value",
    "std_error",
    "studies",
]

Row = dict[str, Any]


def settings(design: Design, **more: Any) -> Row:
    """Return the columns that say what was simulated; the slope and agreement are the last cell's.

    Other columns come from ``more``.
    """
    images, support = "exact", "balanced"
    if design.images is not None:
        images = str(round(float(design.support.mean())))
        support = "balanced" if len(set(design.support.tolist())) == 1 else "unbalanced"
    last = design.cells[-1]
    return {
        "seeds": design.seeds,
        "images": images,
        "support": support,
        "distribution": f"lognormal {design.skew:g}" if design.skew else "normal",
        "alpha": last.alpha,
        "agreement": last.agreement,
        "accuracy": design.accuracy,
        "balance_sd": design.balance_sd,
        "note": "",
        **more,
    }


def share(quantity: str, events: np.ndarray, **columns: Any) -> Row:
    """Return the row of how often something happens, with the binomial standard error."""
    value = float(np.mean(events))
    # At 0 or 1 the estimated error would be 0; half an event more is the usual remedy.
    n = len(events)
    bounded = min(max(value, 0.5 / n), 1 - 0.5 / n)
    return {
        "quantity": quantity,
        "value": value,
        "std_error": float(np.sqrt(bounded * (1 - bounded) / n)),
        "studies": n,
        **columns,
    }


def mean(quantity: str, values: np.ndarray, **columns: Any) -> Row:
    """Return the row of the mean of one value per study; a value that is not finite spoils it."""
    return {
        "quantity": quantity,
        "value": float(np.mean(values)),
        "std_error": float(np.std(values, ddof=1) / np.sqrt(len(values))),
        "studies": len(values),
        **columns,
    }
