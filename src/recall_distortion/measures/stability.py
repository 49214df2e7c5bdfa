"""How much accuracy each removal costs at once: the instability of pruning.

The instability of an event is (before - after) / before, for the accuracies just before and just
after it (Bartoldson et al., 2020, arXiv 1906.03728), a network's the mean over its events. One shot
is one event, from the dense network to the compressed one; those within a training are counted by
its job. Where networks go on from other weights than those that are left there is no event. What is
set against an outcome is measured on one half of the test images, the outcome on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recall_distortion.measures.distortion import normalized, slopes
from recall_distortion.tables.events import EVENTS, STABILITY
from recall_distortion.tables.halves import HALVES, halves
from recall_distortion.tables.predictions import Predictions
from recall_distortion.vocabulary import (
    ALL_CLASSES,
    CELL,
    COMPRESSED,
    CONTROL,
    CONTROL_EVENTS,
    CONTROL_REWIND_RATE,
    CONTROLS,
    DENSE,
    NETWORK,
    RETRAINED,
    Panel,
)

#: What goes on, in a single round, from the dense network's weights that are left.
_ONE_SHOT = (CONTROL, CONTROL_REWIND_RATE)


@dataclass(frozen=True)
class Event:
    """A network's event: its number and epoch, and counts [2, C] by half and class."""

    number: int
    epoch: int
    support: np.ndarray
    before: np.ndarray
    after: np.ndarray


#: A network: data set, architecture, recipe, method, ratio, seed.
_Key = tuple[str, str, str, str, float, int]
#: The correct answers [2, C] of dense networks by half and class.
_Dense = Mapping[tuple[Panel, int], np.ndarray]


def stability(
    parts: Sequence[Predictions], of_jobs: pd.DataFrame, networks: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of events and of networks, this with the columns of ``STABILITY``.

    ``parts`` are a study's predictions, ``of_jobs`` the rows that its jobs wrote (the table
    job_events), ``networks`` the table of that name.
    """
    dense = _of_dense(parts)
    found = dict(_of_jobs(_of_trained(of_jobs, parts)))
    for key, event in _of_one_shot(parts, dense):
        found.setdefault(key, [event])
    order = dict.fromkeys(networks[[*CELL, "seed"]].itertuples(index=False, name=None))
    rows = [row for key in order for event in found.get(key, []) for row in _rows(key, event)]
    measured = pd.DataFrame(_of_networks(parts, dense, found), columns=[*NETWORK, *_NAMES])
    table = networks.merge(measured.astype({"ratio": float}), on=NETWORK, how="left")
    return pd.DataFrame(rows, columns=EVENTS.names), table


_NAMES = [column.name for column in STABILITY]


def correct(part: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the support [2, C] and correct answers [K, 2, C] by half and class."""
    classes = len(part.class_names)
    places = halves(len(part.labels)) * classes + part.labels.astype(int)
    support = np.bincount(places, minlength=HALVES * classes)
    counts = [
        np.bincount(places[own == part.labels], minlength=HALVES * classes)
        for own in part.predicted
    ]
    shape = (HALVES, classes)
    return support.reshape(shape), np.reshape(counts, (len(counts), *shape)).astype(int)


def _of_trained(table: pd.DataFrame, parts: Sequence[Predictions]) -> pd.DataFrame:
    """Return the rows of events but those before any training, when all answers are by chance."""
    while_trained = {(*part.panel, part.method) for part in parts if part.control == CONTROL_EVENTS}
    places = table[[*CELL[:4]]].itertuples(index=False, name=None)
    before = np.array([place in while_trained for place in places], dtype=bool)
    return table[~(before & (table["epoch"] == 0).to_numpy())]


def _of_jobs(table: pd.DataFrame) -> Iterator[tuple[_Key, list[Event]]]:
    for key, own in table.groupby([*CELL, "seed"], sort=False):
        events = []
        for number, rows in own.groupby("event"):
            rows = rows.sort_values(["half", "class"])
            counts = (
                rows[name].to_numpy(int).reshape(HALVES, -1)
                for name in ("support", "before", "after")
            )
            events.append(Event(int(number), int(rows["epoch"].iloc[0]), *counts))
        yield (*key[:4], float(key[4]), int(key[5])), events


def _of_dense(parts: Sequence[Predictions]) -> _Dense:
    return {
        (part.panel, seed): own
        for part in parts
        if part.method == DENSE
        for seed, own in zip(part.seeds, correct(part)[1], strict=True)
    }


def _of_one_shot(parts: Sequence[Predictions], dense: _Dense) -> Iterator[tuple[_Key, Event]]:
    retrained = {(part.panel, part.method) for part in parts if part.state == RETRAINED}
    for part in parts:
        is_pruned = (part.panel, part.method) in retrained  # a quantizer's networks are not
        if part.state != COMPRESSED or part.control not in _ONE_SHOT or not is_pruned:
            continue
        support, after = correct(part)
        for seed, own in zip(part.seeds, after, strict=True):
            key = (*part.panel, part.method, float(part.ratio), seed)
            yield key, Event(1, 0, support, dense[part.panel, seed], own)


def _rows(key: _Key, event: Event) -> Iterator[dict[str, object]]:
    named = dict(zip([*CELL, "seed"], key, strict=True))
    named |= {"event": event.number, "epoch": event.epoch}
    support, before, after = (
        counts.sum(0) for counts in (event.support, event.before, event.after)
    )
    images = support.sum()
    yield {
        **named, "class": ALL_CLASSES, "before": before.sum() / images,
        "after": after.sum() / images,
    }  # fmt: skip
    for label in np.flatnonzero(support):
        yield {
            **named, "class": str(label), "before": before[label] / support[label],
            "after": after[label] / support[label],
        }  # fmt: skip


def _of_networks(
    parts: Sequence[Predictions], dense: _Dense, events: Mapping[_Key, Sequence[Event]]
) -> Iterator[dict[str, object]]:
    """Yield the columns of every network with events, and of the controls of such methods."""
    methods = {(*key[:4],) for key in events}
    controls = {
        (part.panel, part.control) for part in parts if (*part.panel, part.method) in methods
    }
    for part in parts:
        is_control = part.method in CONTROLS and (part.panel, part.method) in controls
        if part.method == DENSE:
            continue
        support, counts = correct(part)
        cell = (*part.panel, part.method, float(part.ratio))
        for seed, own in zip(part.seeds, counts, strict=True):
            own_events = events.get((*cell, seed), () if is_control else None)
            if own_events is None:
                continue
            row = dict(zip(NETWORK, (*cell, part.state, seed), strict=True))
            yield (
                row | _instabilities(own_events) | _outcomes(support, dense[part.panel, seed], own)
            )


def _instabilities(events: Sequence[Event]) -> dict[str, float]:
    """Return the mean over events of all images' and of each half's; 0 of none."""
    if not events:
        return dict.fromkeys(_NAMES[:3], 0.0)
    before, after = (
        np.array([getattr(event, name).sum(1) for event in events], float)
        for name in ("before", "after")
    )
    before = np.column_stack([before.sum(1), before])
    after = np.column_stack([after.sum(1), after])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = ((before - after) / before).mean(0)
    return dict(zip(_NAMES[:3], np.where(np.isfinite(found), found, np.nan), strict=True))


def _outcomes(support: np.ndarray, before: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """Return accuracy and alpha of each half, from counts [2, C], dense and own."""
    accuracy = own.sum(1) / support.sum(1)
    alphas = slopes(normalized(before, support), normalized(own, support))
    return dict(zip(_NAMES[3:], (*accuracy, *alphas), strict=True))
