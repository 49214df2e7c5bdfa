"""The table of estimates seen as one table a question, a row a cell, and back.

A question computes its numbers a row a cell, beside each other; estimates.csv holds them one below
another, so that a new measure is more rows. ``VIEWS`` says once which number is which row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.tables.forgetting import FORGETTING
from recall_distortion.tables.learning import LEARNING
from recall_distortion.tables.parts import (
    ACCURACY,
    ACCURACY_DENSER,
    ACCURACY_EQUAL,
    ALPHA,
    ALPHA_AT_ACCURACY,
    ALPHA_DENSER,
    ALPHA_EQUAL,
    ALPHA_QUANTIZED,
    ALPHA_WITHOUT,
    CLASS,
    COUNT,
    CROSSFIT,
    CROSSFIT_OVER_BOTH,
    DEVIATION,
    FAMILY,
    LARGEST,
    LEADING,
    LEADING_SHARE,
    LEAST,
    MEAN,
    MEAN_OVER_BOTH,
    MEDIAN,
    MEDIAN_CROSSFIT,
    NEVER_NAMED_BY,
    POOLED,
    POWER,
    POWER_CAUTIOUS,
    RECALL,
    SEEDS_NEEDED,
    SHARE,
    WITH_INTERCEPT,
    Part,
    T,
    View,
    alone,
    interval,
)
from recall_distortion.tables.schema import COLUMNS, TABLES, TEXT
from recall_distortion.tables.stability import STABILITY_VIEWS
from recall_distortion.tables.tickets import TICKETS
from recall_distortion.vocabulary import (
    ALL_CLASSES,
    CELL_STATE,
    CONTROL,
    DENSE,
    ONE,
    ZERO,
)


def _against_method(kind: str, quantity: str, accuracy: str) -> list[Part]:
    ends = interval(
        f"{kind}_difference", kind, **FAMILY, verdict=f"{kind}_reading",
        reference=f"{kind}_other",
    )  # fmt: skip
    moved = interval(
        f"{kind}_accuracy", f"{kind}_accuracy", **FAMILY, reference=f"{kind}_other_accuracy"
    )
    if kind == "nominal":
        ends["note"] = "note"
    return [
        Part(quantity, CROSSFIT, ends, "=reference", family="ratios"),
        Part(accuracy, MEAN, moved, "=reference", family="ratios"),
    ]


def _differences(quantity: str, against: str, other: str, **more: str) -> list[Part]:
    said = {"verdict": "verdict", **more, "note": "note"}
    own = {**T, **FAMILY, "reference": other, "p": "p", "p_adjusted": "p_adjusted", **said}
    pooled = {**FAMILY, "reference": f"crossfit_{other}", **said}
    return [
        Part(quantity, estimator, fields, against, family="ratios", leads=estimator)
        for estimator, fields in (
            (MEAN, interval("difference", **own)),
            (CROSSFIT, interval("crossfit_difference", "crossfit", **pooled)),
        )
    ]


VIEWS: dict[str, View] = {
    "slopes": View(
        [
            Part(
                ALPHA, MEAN, interval("mean", **T, **FAMILY, verdict="verdict", note="note"),
                ONE, reference=1.0, family="ratios",
            ),
            Part(ALPHA, MEDIAN_CROSSFIT, alone("alpha_crossfit")),
            Part("networks without a slope", COUNT, {"estimate": "nonfinite"}),
        ]
    ),
    "pooled": View(
        [
            Part(
                ALPHA, CROSSFIT,
                interval("alpha_crossfit", "crossfit", **FAMILY, verdict="crossfit_verdict",
                          note="note"),
                ONE, reference=1.0, family="ratios",
            ),
            Part(ALPHA, POOLED, interval("alpha", **FAMILY), ONE, reference=1.0, family="ratios"),
            Part("r2", POOLED, alone("r2")),
            Part("denominator", MEAN, alone("denominator")),
            Part("reliability", POOLED, alone("reliability")),
            Part("unstable networks", COUNT, alone("unstable", verdict="interpret")),
            Part("effective classes", POOLED, alone("effective_classes", verdict="narrow")),
            Part("effective classes", MEDIAN, alone("median_effective_classes")),
            Part(
                LEADING_SHARE, POOLED,
                alone("leading_share", **LEADING),
                of_class=True,
            ),
            Part("classes never named", COUNT, alone("unnamed")),
        ]
    ),
    "effects": View(_differences(ALPHA, CONTROL, "control", reading="reading")),
    "quantized": View(
        _differences(ALPHA_QUANTIZED, "=origin", "other"), {"against": "origin"}
    ),
    "equal_sparsity": View(
        [
            Part("realised ratio", MEAN,
                 alone("realised_ratio", reference="reference_ratio"), "=reference"),
            *_against_method("nominal", ALPHA, ACCURACY),
            *_against_method("equal", ALPHA_EQUAL, ACCURACY_EQUAL),
            *_against_method("denser", ALPHA_DENSER, ACCURACY_DENSER),
        ],
        {"against": "reference"},
    ),
    "equal_accuracy": View(
        [
            Part(
                ALPHA_AT_ACCURACY, CROSSFIT,
                interval("difference", **FAMILY, reference="other", verdict="verdict",
                         note="note"),
                "=reference", family="ratios",
            )
        ],
        {"against": "reference"},
    ),
    "seeds_needed": View(
        [
            Part(
                SEEDS_NEEDED, POWER,
                alone("seeds", reference="effect", level="level", note="note"), "=question",
            ),
            Part(SEEDS_NEEDED, POWER_CAUTIOUS,
                 alone("seeds_cautious", reference="effect", level="level"), "=question"),
        ],
        {"against": "question", "reference": "effect"},
    ),
    "deviations": View(
        [Part("alpha's deviation", DEVIATION, alone("sd"), "=question")], {"against": "question"}
    ),
    "accuracy": View(
        [
            Part(ACCURACY, MEAN, interval("mean", **T)),
            Part("variance of the balance", MEAN, alone("variance")),
        ]
    ),
    "tradeoff": View(
        [
            Part(
                ACCURACY, MEAN,
                interval("accuracy_change", "accuracy", **T, reference="accuracy_before",
                          verdict="improves", note="note"),
                DENSE,
            ),
            Part(
                ACCURACY, MEAN,
                interval("accuracy_over_control", "over_control", reference="control_accuracy",
                          n="control_n"),
                CONTROL,
            ),
            Part("variance of the balance", MEAN,
                 alone("variance_change", reference="variance_before"), DENSE),
        ]
    ),
    "classes": View(
        [Part(RECALL, MEAN, interval("change", **T, **CLASS, reference="before"), DENSE, True)],
        CLASS,
    ),
    "dense_classes": View(
        [Part(RECALL, MEAN, interval("mean", **T, **CLASS), of_class=True)], CLASS
    ),
    "influence": View(
        [
            Part(
                ALPHA_WITHOUT, MEAN,
                interval("mean", **T, **CLASS, verdict="verdict", note="changes"), ONE, True,
                1.0,
            ),
            Part(SHARE, POOLED, alone("share", **CLASS), "", True),
            Part(NEVER_NAMED_BY, COUNT, alone("unnamed", **CLASS), "", True),
        ],
        CLASS,
    ),
    "measures": View(
        [
            Part("=measure", MEAN, interval("mean", **T, note="note")),
            Part("=measure", MEAN, interval("change", "change", reference="before"), DENSE),
            Part(
                "=measure", MEAN,
                interval("over_control", "over_control", n="control_n", reference="control",
                          p="p", p_adjusted="p_adjusted", family_size="family_size",
                          verdict="verdict"),
                CONTROL, family="ratios",
            ),
        ],
        {"quantity": "measure"},
    ),
    "intercepts": View(
        [
            Part("intercept", MEAN,
                 interval("intercept", "intercept", **T), ZERO, reference=0.0),
            Part(ALPHA, WITH_INTERCEPT, alone("slope_with_intercept")),
        ]
    ),
    "slopes_over_both": View(
        [
            Part(
                ALPHA, CROSSFIT_OVER_BOTH,
                interval("alpha", **FAMILY, verdict="verdict", note="note"), ONE,
                reference=1.0, family="ratios",
            ),
            Part(
                ALPHA, CROSSFIT_OVER_BOTH,
                interval("difference", "difference", **FAMILY, reference="control",
                          verdict="difference_verdict"),
                CONTROL, family="ratios",
            ),
        ]
    ),
    "classes_over_both": View(
        [
            Part(
                RECALL, MEAN_OVER_BOTH,
                interval("change", **CLASS, std_error="std_error", reference="before"), DENSE,
                True,
            )
        ],
        CLASS,
    ),
    "sparsity": View(
        [
            Part("realised ratio", MEAN, alone("mean_ratio", note="note")),
            Part("realised ratio", LEAST, alone("min_ratio")),
            Part("realised ratio", LARGEST, alone("max_ratio")),
            Part("kept fraction", MEAN, alone("kept_fraction")),
            Part("kept weights", MEAN, alone("kept_prunable")),
            Part("prunable weights", MEAN, alone("prunable")),
            Part("parameters", MEAN, alone("total")),
            Part("bits a weight", MEAN, alone("bits")),
            Part("bytes", MEAN, alone("bytes")),
            Part("weights of 0", MEAN, alone("zeros")),
        ]
    ),
    **FORGETTING,
    **STABILITY_VIEWS,
    **TICKETS,
    **LEARNING,
}  # fmt: skip
#: The quantities that views name themselves; no measure may be called like one.
NAMED = {part.quantity for view in VIEWS.values() for part in view.parts}


def melt(name: str, wide: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of estimates.csv that a view's table ``wide`` says."""
    parts = VIEWS[name].parts
    found = [row for record in wide.to_dict("records") for part in parts
             if (row := _row(part, record))]  # fmt: skip
    if not found:
        return pd.DataFrame(columns=COLUMNS["estimates"])
    table = {
        column: _typed([row.get(column) for row in found], column)
        for column in COLUMNS["estimates"]
    }
    return pd.DataFrame(table).astype({"leads": bool})


def _row(part: Part, record: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the row that a part says of a view's; none where it has no number and no note."""
    row = {key: record[key] for key in CELL_STATE} | {
        "class": ALL_CLASSES, "estimator": part.estimator, "family": part.family,
        "reference": part.reference, "leads": False,
    }  # fmt: skip
    for column, word in (("quantity", part.quantity), ("against", part.against)):
        row[column] = record[word.removeprefix("=")] if word.startswith("=") else word
    row |= {column: record[own] for column, own in part.fields.items() if own in record}
    if part.leads:
        row["leads"] = record["basis"] == part.leads
        if not row["leads"]:
            row["verdict"] = row["reading"] = ""
            # Without a control nothing leads, and the first part says why.
            if record["basis"] or part.leads != MEAN:
                row["note"] = ""
    said = (row.get(column) for column in ("estimate", "note") if column in part.fields)
    return row if any(_is_known(value) for value in said) else {}


def spread(name: str, estimates: pd.DataFrame) -> pd.DataFrame:
    """Return a view's table from the rows of estimates.csv, its cells in their order.

    A text that is missing is "", a number NaN.
    """
    view = VIEWS[name]
    keys = dict(zip(CELL_STATE, CELL_STATE, strict=True)) | dict(view.places)
    kinds = {own: column for column, own in keys.items()}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for part in view.parts:
        chosen = estimates[_chosen(part, view, estimates)]
        fields = {own: column for column, own in part.fields.items()}
        given = {own: _known(chosen[column]) for own, column in fields.items()}
        kinds |= fields
        if part.leads:
            leads = chosen["leads"].astype(bool)
            given["basis"] = [part.leads if one else None for one in leads]
            for own in ("verdict", "reading"):
                given[own] = _known(chosen[own].where(leads, ""))
        for i, key in enumerate(zip(*(_known(chosen[column]) for column in keys), strict=True)):
            row = rows.setdefault(key, dict(zip(keys.values(), key, strict=True)))
            for own, values in given.items():
                # The first of what several parts say of one row: n, level, notes.
                if row.get(own) is None:
                    row[own] = values[i]
    kinds |= {"basis": "estimator"} if any(part.leads for part in view.parts) else {}
    table = {own: _typed([row.get(own) for row in rows.values()], kinds[own]) for own in kinds}
    return in_order_of_cells(pd.DataFrame(table).astype(estimates.dtypes[CELL_STATE]), estimates)


def _chosen(part: Part, view: View, estimates: pd.DataFrame) -> pd.Series:
    """Return which rows of estimates.csv a part is."""
    named = [part.quantity]
    if part.quantity.startswith("="):  # what no view names itself
        named = [quantity for quantity in estimates["quantity"].unique() if quantity not in NAMED]
    chosen = estimates["quantity"].isin(named) & (estimates["estimator"] == part.estimator)
    chosen &= (estimates["class"] != ALL_CLASSES) == part.of_class
    if not part.against.startswith("="):
        chosen &= estimates["against"] == part.against
    elif view.places.get("against") == "reference":
        chosen &= ~estimates["against"].isin((ONE, ZERO, CONTROL, DENSE, ""))
    return chosen


def _is_known(value: Any) -> bool:
    return not (value is None or value is pd.NA or value == "" or value != value)


def _known(values: pd.Series) -> list[Any]:
    """Return values with None for those that are missing."""
    return [value if _is_known(value) else None for value in values]


def _typed(values: list[Any], column: str) -> pd.Series:
    """Return values as a column of estimates.csv holds them, what is missing included."""
    if column in _TEXTS:
        words = [value if _is_known(value) else "" for value in values]
        return pd.Series(words, dtype=object)
    return pd.Series([value if _is_known(value) else np.nan for value in values], dtype=float)


_TEXTS = {column.name for column in TABLES["estimates"].columns if column.kind == TEXT}


def in_order_of_cells(found: pd.DataFrame, estimates: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the order in which their cells first stand in estimates.csv."""
    cells = estimates[CELL_STATE].drop_duplicates().reset_index(drop=True)
    place = found.merge(cells.reset_index(names="_place"), on=CELL_STATE, how="left")["_place"]
    return found.iloc[np.argsort(place.to_numpy(), kind="stable")].reset_index(drop=True)
