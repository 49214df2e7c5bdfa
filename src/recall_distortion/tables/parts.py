"""How rows of estimates.csv are said: parts of a question's table, and the words that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# Estimators.
MEAN, POOLED, CROSSFIT, MEDIAN, COUNT = "mean", "pooled", "cross-fitted", "median", "count"
MEDIAN_CROSSFIT = "median, cross-fitted"
LEAST, LARGEST, WITH_INTERCEPT = "least", "largest", "with an intercept"
DEVIATION = "standard deviation"
# Of other seeds and other images, where all other intervals over seeds are of these images.
MEAN_OVER_BOTH, CROSSFIT_OVER_BOTH = "mean, seeds and images", "cross-fitted, seeds and images"
POWER, POWER_CAUTIOUS = "power 0.8", "power 0.8, cautious"

# Quantities.
ALPHA = "alpha"
ALPHA_EQUAL = "alpha at equal sparsity"
ALPHA_DENSER = "alpha against denser networks"
ALPHA_AT_ACCURACY = "alpha beyond the control, at equal accuracy"
ALPHA_QUANTIZED = "alpha beyond the networks quantized"
ALPHA_WITHOUT = "alpha without the class"
ACCURACY = "accuracy"
ACCURACY_EQUAL = "accuracy at equal sparsity"
ACCURACY_DENSER = "accuracy against denser networks"
RECALL = "recall"
SHARE = "share of the denominator"
LEADING_SHARE = "largest share of the denominator"
NEVER_NAMED_BY = "networks that never name the class"
SEEDS_NEEDED = "seeds needed"


@dataclass(frozen=True)
class Part:
    """Rows of estimates.csv: one number of each row of a view, with what goes along with it.

    ``fields`` maps columns of estimates.csv to those of the view. ``quantity`` and ``against`` are
    a word each, or the name of the view's column that holds it where it begins with "=". ``leads``
    is the word of the view's column ``basis`` in whose rows this part leads and has the view's
    verdict and reading.
    """

    quantity: str
    estimator: str
    fields: Mapping[str, str]
    against: str = ""
    of_class: bool = False
    reference: float | None = None
    family: str = ""
    leads: str = ""


@dataclass(frozen=True)
class View:
    """A question's table: what identifies its rows beside cell and state, and its parts.

    ``places`` are columns of estimates.csv that identify rows of the view too, by the view's names.
    """

    parts: Sequence[Part]
    places: Mapping[str, str] = field(default_factory=dict)


def interval(estimate: str, start: str = "", **more: str) -> dict[str, str]:
    """Return the fields of a number with its interval; ``start`` begins the ends' columns."""
    prefix = f"{start}_" if start else ""
    return {"n": "n", "estimate": estimate, "low": f"{prefix}low", "high": f"{prefix}high",
            "level": "level", **more}  # fmt: skip


def alone(estimate: str, **more: str) -> dict[str, str]:
    """Return the fields of a number without an interval."""
    return {"n": "n", "estimate": estimate, **more}


T = {"std_error": "std_error", "df": "df"}
FAMILY = {"family_size": "family_size"}
CLASS = {"class": "class", "class_name": "class_name"}
LEADING = {"class": "leading_index", "class_name": "leading_class"}
