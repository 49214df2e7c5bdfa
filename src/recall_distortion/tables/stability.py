"""What estimates.csv says of instability and what follows it, as a view."""

from __future__ import annotations

from recall_distortion.tables.parts import ACCURACY, ALPHA, Part, View
from recall_distortion.vocabulary import CONTROL

#: What stands against instability, by the columns of networks.csv.
OUTCOMES = {"accuracy": ACCURACY, "alpha": ALPHA}
#: Words of the slopes: what the outcome does where instability rises.
RISES, FALLS = "rises", "falls"
BETWEEN, WITHIN = "slope between arms", "slope within arms"
TAU, TAU_ARMS = "Kendall’s tau, networks", "Kendall’s tau, arms"


def quantity(outcome: str) -> str:
    """Return what estimates.csv calls an outcome set against instability."""
    return f"{OUTCOMES[outcome]} by instability"


def _parts(outcome: str) -> list[Part]:
    common = {"n": "n", "level": "level"}
    slopes = [
        Part(
            quantity(outcome),
            estimator,
            {
                **common, "df": "df", "estimate": start, "std_error": f"{start}_error",
                "low": f"{start}_low", "high": f"{start}_high", "p": f"{start}_p",
                "verdict": f"{start}_verdict", "note": "note",
            },
            CONTROL,
        )
        for estimator, start in (
            (BETWEEN, f"{outcome}_between"), (WITHIN, f"{outcome}_within"),
        )
    ]  # fmt: skip
    tau = f"{outcome}_tau"
    return [
        *slopes,
        Part(
            quantity(outcome),
            TAU,
            {**common, "df": "df", "estimate": tau, "low": f"{tau}_low", "high": f"{tau}_high",
             "p": f"{tau}_p", "note": f"{tau}_note"},
        ),
        Part(
            quantity(outcome),
            TAU_ARMS,
            {"n": "arms", "estimate": f"{tau}_arms", "p": f"{tau}_arms_p"},
        ),
    ]  # fmt: skip


STABILITY_VIEWS: dict[str, View] = {
    "instability": View([part for outcome in OUTCOMES for part in _parts(outcome)])
}
