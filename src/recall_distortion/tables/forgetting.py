"""What estimates.csv says of populations, classes and frequency, as parts of views."""

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
from recall_distortion.vocabulary import CONTROL, DENSE, INCONCLUSIVE

# Verdicts against the control: of populations, and of measures.
MORE, FEWER, NO_MORE = "more than the control", "fewer than the control", INCONCLUSIVE
WORSE, BETTER = "worse", "better"
# Quantities.
PIES = "PIEs"
PIES_AT_FEWER = "PIEs at fewer networks"
VOTE_DISTANCE = "vote distance"
BALANCE = "recall balance"
CLASSES_MOVED = "classes moved"
CLASSES_MOVED_ADJUSTED = "classes moved, adjusted"


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


# How classes are tested: what stands as estimator, by the columns of the question.
PUBLISHED = "Welch, the population's accuracy"
CLASS_TESTS = {
    "published": (PUBLISHED, DENSE),
    "own": ("Welch, own accuracy", DENSE),
    "paired": ("paired", DENSE),
    "control": ("paired", CONTROL),
}


def _class_test(name: str) -> Part:
    estimator, against = CLASS_TESTS[name]
    columns = ("n", "std_error", "df", "p", "p_adjusted", "verdict")
    fields = {"estimate": f"{name}_change", **{column: f"{name}_{column}" for column in columns}}
    fields |= {"family_size": "classes", **CLASS}
    return Part(BALANCE, estimator, fields, against, True, family="classes")


def _class_counts(name: str) -> list[Part]:
    estimator, against = CLASS_TESTS[name]
    fields = {"n": f"{name}_n", "reference": "expected"}
    return [
        Part(CLASSES_MOVED, estimator, fields | {"estimate": f"{name}_moved"}, against),
        Part(
            CLASSES_MOVED_ADJUSTED, estimator,
            {"n": f"{name}_n", "estimate": f"{name}_adjusted"}, against,
        ),
    ]  # fmt: skip


# Quantities of a class by the names that columns of the question begin with.
CLASS_MEASURES = {
    "named_share": "share named over true",
    "calibration_error": "class calibration error",
}


def _class_measure(name: str) -> list[Part]:
    mean = {"estimate": f"{name}_mean", "low": f"{name}_low", "high": f"{name}_high", "n": "n"}
    found = [Part(CLASS_MEASURES[name], MEAN, {**mean, "level": "level", **CLASS}, "", True)]
    for start, against in (("change", DENSE), ("over_control", CONTROL)):
        prefix = f"{name}_{start}"
        fields = {"estimate": prefix, "low": f"{prefix}_low", "high": f"{prefix}_high",
                  "reference": f"{prefix}_reference", "n": f"{prefix}_n"}  # fmt: skip
        part = Part(
            CLASS_MEASURES[name], MEAN, {**fields, "level": "level", **CLASS}, against, True
        )
        found.append(part)
    return found


# Slopes of recall change over classes: quantity and estimator, in the order of the question.
PER_TENFOLD = "recall change per tenfold training images"
PER_RECALL = "recall change per unit of dense recall"
FREQUENCY_SLOPES = {
    "images": (PER_TENFOLD, MEAN),
    "dense_recall": (PER_RECALL, MEAN),
    "images_beside": (PER_TENFOLD, "beside dense recall"),
    "dense_recall_beside": (PER_RECALL, "beside training images"),
}


def _frequency(name: str) -> list[Part]:
    quantity, estimator = FREQUENCY_SLOPES[name]
    mean = {"n": "n", "estimate": name, "low": f"{name}_low", "high": f"{name}_high"}
    over = {"n": "control_n", "estimate": f"{name}_over_control", "low": f"{name}_over_low",
            "high": f"{name}_over_high", "reference": f"{name}_control", "p": f"{name}_p",
            "p_adjusted": f"{name}_p_adjusted", **FAMILY, "note": "note"}  # fmt: skip
    return [
        Part(quantity, estimator, {**mean, "level": "level"}),
        Part(quantity, estimator, {**over, "level": "level"}, CONTROL, family="ratios"),
    ]


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
    "class_tests": View([_class_test(name) for name in CLASS_TESTS], CLASS),
    "class_measures": View(
        [part for name in CLASS_MEASURES for part in _class_measure(name)], CLASS
    ),
    "class_counts": View([part for name in CLASS_TESTS for part in _class_counts(name)]),
    "frequency": View([part for name in FREQUENCY_SLOPES for part in _frequency(name)]),
    "population_classes": View(
        [Part(PIES, COUNT, alone("pies", **CLASS, reference="control"), "", True)], CLASS
    ),
}
