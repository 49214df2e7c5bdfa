"""What estimates.csv says of populations, as parts of their questions' tables."""

from __future__ import annotations

from recall_distortion.tables.parts import (
    CLASS,
    COUNT,
    FAMILY,
    LARGEST,
    LEAST,
    MEAN,
    Part,
    View,
    alone,
)
from recall_distortion.vocabulary import CONTROL

# Quantities.
PIES = "PIEs"
PIES_AT_FEWER = "PIEs at fewer networks"
VOTE_DISTANCE = "vote distance"


def _right(where: str, images: str) -> list[Part]:
    quantity = f"accuracy on {images}"
    return [
        Part(quantity, "dense networks", alone(f"dense_on_{where}")),
        Part(quantity, "compressed networks", alone(f"own_on_{where}")),
    ]


def _over_control(quantity: str, estimator: str, start: str, **more: str) -> Part:
    prefix = f"{start}_" if start else ""
    fields = {"n": "control_n", "estimate": f"{prefix}over_control", **FAMILY,
              "p": f"{prefix}p", "p_adjusted": f"{prefix}p_adjusted",
              "reference": f"control_{start}" if start else "control",
              "verdict": f"{prefix}reading", **more}  # fmt: skip
    return Part(quantity, estimator, fields, CONTROL, family="ratios")


def _at_fewer(kind: str) -> Part:
    fields = {"n": "fewer", "estimate": f"{kind}_median", "low": f"{kind}_low",
              "high": f"{kind}_high"}  # fmt: skip
    return Part(PIES_AT_FEWER, f"{kind} seeds", fields)


#: The views of what compressed networks forget, by name.
FORGETTING: dict[str, View] = {
    "populations": View(
        [
            Part(PIES, COUNT, alone("pies", note="note")),
            Part(PIES, "share", alone("share")),
            Part(PIES, "highest label", alone("highest")),
            Part(PIES, LEAST, alone("least")),
            Part(PIES, LARGEST, alone("largest")),
            Part("tied modes", COUNT, alone("tied")),
            _over_control(PIES, COUNT, ""),
            _at_fewer("paired"),
            _at_fewer("disjoint"),
            Part(VOTE_DISTANCE, MEAN, alone("distance")),
            _over_control(VOTE_DISTANCE, MEAN, "distance"),
            *_right("pies", "PIEs"),
            *_right("others", "other images"),
            *_right("null", "null PIEs"),
            Part("PIEs named right", "dense mode", alone("dense_mode_right")),
            Part("PIEs named right", "compressed mode", alone("own_mode_right")),
        ]
    ),
    "population_classes": View(
        [Part(PIES, COUNT, alone("pies", **CLASS, reference="control"), "", True)], CLASS
    ),
}
