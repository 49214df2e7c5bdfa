"""What several networks say together: images that most of them name otherwise, tests of classes.

Both are a study's own questions (``inference.questions``), asked of an audit's models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.auditing.answers import TestSet
from recall_distortion.auditing.as_cells import Cells, as_method
from recall_distortion.inference.questions.class_tests import TESTS, class_tests
from recall_distortion.inference.questions.populations import Found, populations
from recall_distortion.tables.gallery import DRAWN
from recall_distortion.vocabulary import CONTROL, DENSE, RESEED

#: Columns of ``populations`` by what the study's question calls them.
_OF_IMAGES = {
    **{name: name for name in ("pies", "share", "least", "largest", "highest", "tied")},
    "dense_mode_right": "before_mode_right", "own_mode_right": "after_mode_right",
    "dense_on_pies": "before_on_pies", "own_on_pies": "after_on_pies",
    "dense_on_others": "before_on_others", "own_on_others": "after_on_others",
    "dense_on_null": "before_on_null", "own_on_null": "after_on_null",
    **{name: name for name in ("control", "over_control", "p", "reading")},
    **{name: name for name in ("distance", "control_distance", "distance_over_control")},
    **{name: name for name in ("distance_p", "distance_reading", "fewer")},
    **{f"paired_{end}": f"at_fewer_{end}" for end in ("median", "low", "high")},
    **{f"disjoint_{end}": f"unpaired_at_fewer_{end}" for end in ("median", "low", "high")},
}  # fmt: skip
_OF_HALVES = {
    "n": "reseed_networks", "pies": "reseed_pies",
    **{f"disjoint_{end}": f"reseed_at_fewer_{end}" for end in ("median", "low", "high")},
}  # fmt: skip
#: What is seen beside the PIEs: of the control, or else of two halves of the networks before.
OF_CONTROL, OF_HALVES = "control", "halves"
_TEXTS = ("reading", "distance_reading")
_TESTED = ("change", "std_error", "df", "p", "p_adjusted", "verdict")


def forgotten(
    images: TestSet, cells: Cells, candidates: Sequence[str], keys: np.ndarray | None
) -> dict[str, pd.DataFrame]:
    """Return the tables of several networks: populations, class_tests, pies and beside_pies.

    ``keys`` [M] names the images. ``auditing.schema`` says what each column holds.
    """
    found = populations(cells.answered, most=None)
    tests, counts = class_tests(cells.recalls())
    return {
        "populations": _of_candidates(found.cells, counts, candidates),
        "class_tests": _of_classes(images, found, tests, candidates),
        "pies": pd.concat(
            [
                _of_images(rows, cells, keys, "candidate", name)
                for place, name in enumerate(candidates)
                for rows in [found.images[found.images["method"] == as_method(place)]]
            ],
            ignore_index=True,
        ),
        "beside_pies": pd.concat(
            [
                _of_images(rows, cells, keys, "group", group)
                for group, rows in _beside(found.images, cells.has_control)
            ],
            ignore_index=True,
        ),
    }


def _of_candidates(
    cells: pd.DataFrame, counts: pd.DataFrame, candidates: Sequence[str]
) -> pd.DataFrame:
    by_method = cells.set_index("method").to_dict("index")
    tested = counts.set_index("method").to_dict("index")
    reseed = by_method.get(RESEED, {})
    rows = []
    for place, name in enumerate(candidates):
        own, moved = by_method[as_method(place)], tested[as_method(place)]
        rows.append(
            {
                "candidate": name,
                "networks": own["n"],
                **_taken(own, _OF_IMAGES),
                **_taken(reseed, _OF_HALVES),
                "note": own["note"],
                "expected": moved["expected"],
                **_counts(moved, TESTS),
                **{f"reseed_{column}": value for column, value in
                   _counts(tested.get(RESEED, {}), TESTS[:3]).items()},
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _taken(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """Return a row's values by our names; what the question leaves out is missing."""
    found = {}
    for theirs, ours in columns.items():
        value = row.get(theirs, np.nan)
        found[ours] = ("" if pd.isna(value) else value) if theirs in _TEXTS else value
    return found


def _counts(row: Mapping[str, Any], tests: Sequence[str]) -> dict[str, Any]:
    names = [f"{test}_{kind}" for test in tests for kind in ("moved", "adjusted")]
    return {name: row.get(name, np.nan) for name in names}


def _of_classes(
    images: TestSet, found: Found, tests: pd.DataFrame, candidates: Sequence[str]
) -> pd.DataFrame:
    support = np.bincount(images.index, minlength=len(images.names))
    parts = []
    for place, name in enumerate(candidates):
        own = found.classes[found.classes["method"] == as_method(place)]
        tested = tests[tests["method"] == as_method(place)].set_index("class_name")
        part = pd.DataFrame({"candidate": name, "name": images.names, "images": support})
        # Behind the test set's classes are further answers, which no image is of.
        part["pies"] = own["pies"].to_numpy()[: len(part)]
        part["control_pies"] = own["control"].to_numpy()[: len(part)]
        rows = tested.reindex(images.names)
        for test in TESTS:
            for column in _TESTED:
                values = rows[f"{test}_{column}"]
                is_text = column == "verdict"  # none of a class without an image
                part[f"{test}_{column}"] = (
                    [*values.astype(object).fillna("")] if is_text else [*values]
                )
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _beside(images: pd.DataFrame, has_control: bool) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield what there is to see beside the PIEs: null PIEs, and images drawn at random."""
    null = images[images["method"] == (CONTROL if has_control else RESEED)]
    yield OF_CONTROL if has_control else OF_HALVES, null[null["is_pie"].astype(bool)]
    yield DRAWN, images[images["method"] == DENSE]


def _of_images(
    rows: pd.DataFrame, cells: Cells, keys: np.ndarray | None, kind: str, name: str
) -> pd.DataFrame:
    """Return rows of the question by our names, behind a column ``kind`` that holds ``name``."""
    names, image = np.array(cells.names, object), rows["image"].to_numpy(int)
    return pd.DataFrame(
        {
            kind: np.full(len(rows), name, object),
            "image": image if keys is None else keys[image],
            "class": names[rows["label"].to_numpy(int)],
            "before": names[rows["dense_label"].to_numpy(int)],
            "after": names[rows["own_label"].to_numpy(int)],
            "agreement_before": rows["dense_agreement"].to_numpy(float),
            "agreement_after": rows["agreement"].to_numpy(float),
            "distance": rows["distance"].to_numpy(float),
            "is_pie": rows["is_pie"].to_numpy(bool),
            "probability_before": rows["dense_probability"].to_numpy(float),
            "probability_after": rows["probability"].to_numpy(float),
        }
    )
