"""Further measures of a model before and after: one number each for all classes.

They are a study's measures (``measures.of_networks``), and nothing is decided by them. Of several
networks, intervals are a study's as well, over other networks on these images. Of one pair of
models they are over other images: each class's images are drawn anew, with replacement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from recall_distortion.auditing.as_cells import Cells, as_method, keys
from recall_distortion.inference.questions.class_measures import class_measures
from recall_distortion.inference.questions.measures import measured
from recall_distortion.measures.distortion import reseed_pairs
from recall_distortion.measures.measure import Measure
from recall_distortion.measures.networks import further_measures, taken
from recall_distortion.measures.of_networks import MEASURES
from recall_distortion.tables.forgetting import CLASS_MEASURES
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import COUNT, SHARE
from recall_distortion.vocabulary import CONTROL, DENSE, RESEED

#: Test sets that are drawn for the intervals of a pair, and their seed; of large ones fewer, so
#: that they hold no more images than this in all.
RESAMPLES, LEAST_RESAMPLES, RESAMPLED, SEED = 200, 50, 40_000_000, 20_261_128
#: Numbers of a model that are held at once.
_AT_ONCE = 1 << 21
#: Measures that halve the test set, where copies of one image would fall into both halves.
_HALVED = ("max_psi_crossfit",)
NO_LOSS = "a probability of a true class is 0, whose loss is infinite"
HALVED = "no interval: copies of an image that is drawn twice would fall into both halves"
EQUAL = (
    "no interval where every test set drawn anew has the same value, which is no proof that others "
    "would"
)
QUOTIENTS = (
    "no interval: it divides by the errors of each class, and over test sets drawn anew quotients "
    "of few have tails that so many sets do not tell"
)


def fairness(cells: Cells, candidates: Sequence[str], level: float) -> pd.DataFrame:
    """Return a row for each candidate and measure of which anything is known.

    ``auditing.schema`` says what each column holds.
    """
    found = measured(pd.concat(_networks(cells.known), ignore_index=True), level)
    several = len(cells.known[0].seeds) > 1
    spread = {} if several else _spread(cells.known)
    rows = []
    for place, name in enumerate(candidates):
        method = as_method(place)
        own = found[found["method"] == method].set_index("measure")
        reseed = found[found["method"] == RESEED].set_index("measure")
        for measure in MEASURES:
            row = {"candidate": name, "measure": measure.title}
            if measure.title in own.index:
                row |= _row(own.loc[measure.title], several)
                if several:
                    row["reseed"] = reseed["mean"].get(measure.title, np.nan)
                else:
                    row |= _over_images(measure, row, spread, method, level)
                rows.append(row)
            elif _needs_loss(measure) and cells.lossless & {method, DENSE}:
                rows.append(row | {"note": NO_LOSS})
    columns = [*_COLUMNS, *(["reseed"] if several else []), "note"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(note=table["note"].fillna(""))


_COLUMNS = [
    *("candidate", "measure", "before", "after", "after_low", "after_high"),
    *("change", "change_low", "change_high", "control"),
    *("over_control", "over_control_low", "over_control_high"),
]


def _networks(cells: Sequence[Predictions]) -> Iterator[pd.DataFrame]:
    """Yield the measures of each cell's networks, as the table of networks has them."""
    dense = cells[0]
    pairs = reseed_pairs(dense.seeds)
    if pairs:
        first, second = (taken(dense, [pair[side] for pair in pairs]) for side in (0, 1))
        values = further_measures(second, first)
        yield pd.DataFrame(values).assign(**keys(dense) | {"method": RESEED}, seed=first.seeds)
    for cell in cells:
        values = further_measures(cell, None if cell is dense else dense)
        yield pd.DataFrame(values).assign(**keys(cell), seed=cell.seeds)


def _row(found: pd.Series, several: bool) -> dict[str, Any]:
    """Return our columns of a row of the study's question."""
    return {
        "before": found["before"],
        "after": found["mean"],
        "after_low": found["low"],
        "after_high": found["high"],
        **{name: found[name] for name in _COLUMNS[6:]},
        "note": found["note"] if several else "",
    }


def _needs_loss(measure: Measure) -> bool:
    return measure.column.name == "excess_loss_range"


def _over_images(
    measure: Measure,
    row: dict[str, Any],
    spread: dict[tuple[str, str], dict[str, float]],
    method: str,
    level: float,
) -> dict[str, Any]:
    """Return the ends of a pair's intervals, by the spread over test sets drawn anew.

    They are centred on what is measured: a test set drawn anew has more noise than the one at hand,
    which raises every maximum again, so that its percentiles would lie too high.
    """
    column = measure.column.name
    if measure.column.kind == COUNT:
        return {}
    if column in _HALVED:
        return {"note": HALVED}
    if measure.pooled:
        return {"note": QUOTIENTS}
    z = float(special.ndtri((1 + level) / 2))
    found: dict[str, Any] = {}
    for name, error in spread[method, column].items():
        if np.isnan(row[name]):
            continue
        if error == 0:
            found["note"] = EQUAL
            continue
        low, high = row[name] - z * error, row[name] + z * error
        if name == "after":  # none of them is below 0
            low, high = max(low, 0.0), min(high, 1.0 if measure.column.kind == SHARE else np.inf)
        found |= {f"{name}_low": low, f"{name}_high": high}
    return found


def _spread(cells: Sequence[Predictions]) -> dict[tuple[str, str], dict[str, float]]:
    """Return standard deviations over test sets whose images are drawn anew within classes.

    By method and measure's column: of the value ``after``, of its ``change`` and of its difference
    ``over_control``, all models with the same images.
    """
    measures = [one for one in MEASURES if one.column.name not in _HALVED and not one.pooled]
    parts = [[_values(measures, one, drawn[0]) for one in drawn] for drawn in _drawn(cells)]
    values = np.concatenate(parts, axis=2)  # [cells, measures, resamples]
    methods = [cell.method for cell in cells]
    control = methods.index(CONTROL) if CONTROL in methods else None
    found = {}
    for own, method in zip(values, methods, strict=True):
        differences = {"after": own, "change": own - values[0]}
        if control is not None:
            differences["over_control"] = own - values[control]
        for number, measure in enumerate(measures):
            found[method, measure.column.name] = {
                name: float(of[number].std(ddof=1)) for name, of in differences.items()
            }
    return found


def _drawn(cells: Sequence[Predictions]) -> Iterator[list[Predictions]]:
    """Yield all cells on some test sets whose images are drawn anew within each class.

    Each test set stands in a row, as a network does. Images are in the order of their classes, so
    that labels stay as they are.
    """
    order = np.argsort(cells[0].labels, kind="stable")
    labels = cells[0].labels[order]
    support = np.bincount(labels)
    size, start = support[labels], (np.cumsum(support) - support)[labels]
    rng = np.random.default_rng(SEED)
    count = len(labels)
    left = min(max(RESAMPLED // count, LEAST_RESAMPLES), RESAMPLES)
    while left:
        rows = min(max(_AT_ONCE // count, 1), left)
        left -= rows
        chosen = order[start + (rng.random((rows, count)) * size).astype(np.int64)]
        yield [_at(cell, labels, chosen) for cell in cells]


def _at(cell: Predictions, labels: np.ndarray, chosen: np.ndarray) -> Predictions:
    """Return a network's predictions of images [R, M], those of each row as a network's."""
    loss, probability = (
        None if values is None else values[0][chosen] for values in (cell.loss, cell.probability)
    )
    return replace(
        cell, seeds=list(range(len(chosen))), labels=labels, predicted=cell.predicted[0][chosen],
        loss=loss, probability=probability,
    )  # fmt: skip


def _values(measures: Sequence[Measure], own: Predictions, dense: Predictions) -> np.ndarray:
    """Return the measures of networks, [measures, networks], each beside its own dense one."""
    before = None if own is dense else dense
    return np.array([one.values(own, before) for one in measures])


_ENDS = ("_low", "_high")
_OF_CLASS = {
    "before": "change_reference",
    "after": "mean",
    **{name: name for name in ("change", "change_low", "change_high")},
    "control": "over_control_reference",
    **{name: name for name in ("over_control", "over_control_low", "over_control_high")},
}


def class_fairness(cells: Cells, candidates: Sequence[str], level: float) -> pd.DataFrame:
    """Return a row for each candidate, class and measure of classes (``class_measures``)."""
    found = class_measures(cells.recalls(), level)
    several = len(cells.known[0].seeds) > 1
    parts = []
    for place, name in enumerate(candidates):
        own = found[found["method"] == as_method(place)]
        for column, title in CLASS_MEASURES.items():
            if own[f"{column}_mean"].notna().any():
                part = pd.DataFrame(
                    {"candidate": name, "name": own["class_name"], "measure": title}
                )
                for ours, theirs in _OF_CLASS.items():
                    if several or not theirs.endswith(_ENDS):
                        part[ours] = own[f"{column}_{theirs}"]
                parts.append(part)
    return pd.concat(parts, ignore_index=True)
