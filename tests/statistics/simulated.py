"""What tests ask of the simulation's rows and arrays."""

from __future__ import annotations

import numpy as np

from recall_distortion.simulation import Design, arrays
from recall_distortion.simulation.rows import Row

# Tolerances of random results in Monte Carlo standard errors: with the fixed seeds a test passes or
# fails always, and a right program fails one in 16,000.
SES = 4.0


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row["quantity"]: row for row in rows}


def near(row: Row, value: float, extra: float = 0.0) -> bool:
    """Whether a row's value is within 4 standard errors, as the true ``value`` gives them."""
    error = row["std_error"]
    if 0 < value < 1 and 0 <= row["value"] <= 1:
        error = max(error, np.sqrt(value * (1 - value) / row["studies"]))
    return abs(row["value"] - value) <= SES * error + extra


def observed(design: Design, seed: int) -> tuple[arrays.Truth, arrays.Hits]:
    rng = np.random.default_rng(seed)
    truth = arrays.draw(design, 1, rng)
    return truth, arrays.observe(design, truth, rng)
