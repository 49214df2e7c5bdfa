"""Which images do populations name otherwise, and how many would they without any compression?

Hooker et al. (arXiv 1911.05248) count the images whose modal label changes. The count means nothing
by itself: it is not 0 for networks retrained without pruning, nor between two dense populations, it
falls with the number of networks, and the images that change are hard ones in any case. So each
cell's stands beside the control's of the same seeds, and all are also counted at one number of
networks, where two dense populations can be compared as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NO_CONTROL, joined, lost_pairs
from recall_distortion.measures.populations import (
    Differing,
    Votes,
    differing_at,
    exchanged,
    vote_distance,
)
from recall_distortion.tables.forgetting import FEWER, MORE, NO_MORE
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import TABLES
from recall_distortion.vocabulary import (
    CELL_STATE,
    CONTROLS,
    DENSE,
    REFERENCE_ARMS,
    RESEED,
    RETRAINED,
    UNCOMPRESSED,
)

SUBSETS = 100  # random choices of fewer networks
RANGE = (5, 95)  # percentiles of them
SUBSET_SEED = 20_210_906
SIGNIFICANT = 0.05  # of p adjusted over a method's ratios
MOST_IMAGES = 25  # of a cell in images.csv, the votes furthest apart first
DRAWN = 60  # images of a panel at random, to see beside them
FEW = "fewer than four networks: nothing can be halved"
# A difference and its opposite are arrangements of their own.
TOO_FEW = "{} seeds have too few exchanges for an adjusted p of 0.05"
LEFT_OUT = "images.csv has {} of {} images"


@dataclass(frozen=True)
class Found:
    """What populations say: a row a cell, a row a cell and class, a row a cell and image."""

    cells: pd.DataFrame
    classes: pd.DataFrame
    images: pd.DataFrame


def populations(cells: Sequence[Predictions], most: int | None = MOST_IMAGES) -> Found:
    """Return what the populations of every cell and state say beside the dense ones.

    ``cells`` are whole cells, each panel's dense networks before its others. A cell is compared
    with the dense networks of its own seeds; rows of ``reseed`` compare the dense networks in odd
    with those in even places. The columns are those of the views ``populations`` and
    ``population_classes`` (``tables.views``), and of images.csv: of a cell ``most`` images, or all.
    """
    panels: dict[Any, list[Predictions]] = {}
    for cell in cells:
        if cell.seeds:
            panels.setdefault(cell.panel, []).append(cell)
    rows: list[dict[str, Any]] = []
    classes: list[dict[str, Any]] = []
    images: list[pd.DataFrame] = []
    for of_panel in panels.values():
        for one in _of_panel(of_panel, most):
            rows.append(one.row)
            classes += one.classes
            images.append(one.images)
    columns = TABLES["images"].names
    every = pd.concat(images, ignore_index=True) if images else pd.DataFrame(columns=columns)
    return Found(pd.DataFrame(rows), pd.DataFrame(classes), every.reindex(columns=columns))


@dataclass(frozen=True)
class _Cell:
    row: dict[str, Any]
    classes: list[dict[str, Any]]
    images: pd.DataFrame


@dataclass(frozen=True)
class _Panel:
    """A panel's dense networks, its controls by name, how many networks all are compared at.

    ``most`` is how many images are listed of a cell.
    """

    dense: Predictions
    controls: dict[str, Predictions]
    fewer: int
    most: int | None


@dataclass(frozen=True)
class _Pair:
    """Two populations of one cell, and the images that they name differently."""

    dense: Votes
    own: Votes
    differing: Differing
    distance: np.ndarray

    @classmethod
    def of(cls, dense: np.ndarray, own: np.ndarray, classes: int) -> _Pair:
        votes = Votes.of(dense, classes), Votes.of(own, classes)
        return cls(*votes, Differing.of(*votes), vote_distance(*votes))


def _of_panel(cells: Sequence[Predictions], most: int | None) -> Iterator[_Cell]:
    dense = next((cell for cell in cells if cell.method == DENSE), None)
    if dense is None:  # all of them failed
        return
    others = [cell for cell in cells if cell.method != DENSE]
    controls = {c.method: c for c in others if c.method in CONTROLS and c.state == RETRAINED}
    sizes = [len(cell.seeds) for cell in others if 2 * len(cell.seeds) >= len(dense.seeds)]
    panel = _Panel(dense, controls, min([len(dense.seeds), *sizes]) // 2, most)
    yield _Cell({**_keys(dense), "n": len(dense.seeds)}, [], _drawn(dense))
    null = None
    if len(dense.seeds) > 1 and not dense.is_one:
        null, reseed = _reseed(panel)
        yield reseed
    families: dict[tuple[str, str], set[str]] = {}
    for cell in others:
        families.setdefault((cell.method, cell.state), set()).add(cell.ratio)
    for cell in others:
        yield _of_cell(panel, cell, len(families[cell.method, cell.state]), null)


def _keys(cell: Predictions) -> dict[str, Any]:
    named = (*cell.panel, cell.method, float(cell.ratio), cell.state)
    return dict(zip(CELL_STATE, named, strict=True))


def _rows(cell: Predictions, seeds: Sequence[int]) -> np.ndarray:
    """Return the labels [K, M] of these seeds, in their order."""
    places = {seed: place for place, seed in enumerate(cell.seeds)}
    return cell.predicted[[places[seed] for seed in seeds]]


def _reseed(panel: _Panel) -> tuple[np.ndarray, _Cell]:
    """Return the images that the halves of the dense networks name differently, and their cell."""
    dense = panel.dense
    seeds = sorted(dense.seeds)
    half = len(seeds) // 2
    first, second = _rows(dense, seeds[0::2][:half]), _rows(dense, seeds[1::2][:half])
    pair = _Pair.of(first, second, len(dense.class_names))
    keys = _keys(dense) | {"method": RESEED, "ratio": UNCOMPRESSED}
    row = keys | _counted(pair) | _accuracies(pair, dense.labels)
    if panel.fewer > 1:
        row |= _at_fewer(panel, dense.predicted, dense.predicted, "disjoint")
    else:
        row["note"] = FEW
    probabilities = _means(dense, seeds[0::2][:half]), _means(dense, seeds[1::2][:half])
    images = _images(keys, pair, dense.labels, *probabilities, panel.most)
    return pair.differing.lowest, _Cell(row, _by_class(keys, pair, dense, None), images)


def _of_cell(panel: _Panel, cell: Predictions, family: int, null: np.ndarray | None) -> _Cell:
    dense, keys = panel.dense, _keys(cell)
    before = _rows(dense, cell.seeds)
    pair = _Pair.of(before, cell.predicted, len(cell.class_names))
    row = keys | _counted(pair)
    notes, of_control = [], None
    if cell.state == RETRAINED and cell.method not in REFERENCE_ARMS:
        row["family_size"] = family
        control = panel.controls.get(cell.control)
        if control is None:
            notes.append(NO_CONTROL)
        else:
            of_control, found = _over_control(panel.dense, control, cell, family)
            null = None if of_control is None else of_control
            row |= found
            notes.append(row.pop("lost", ""))
    row |= _accuracies(pair, cell.labels, null)
    if 1 < panel.fewer <= len(cell.seeds):
        row |= _at_fewer(panel, before, cell.predicted, "paired")
        if 2 * panel.fewer <= len(cell.seeds):
            row |= _at_fewer(panel, before, cell.predicted, "disjoint")
    elif len(cell.seeds) < 4:
        notes.append(FEW)
    probabilities = _means(dense, cell.seeds), _means(cell, cell.seeds)
    images = _images(keys, pair, cell.labels, *probabilities, panel.most)
    if (many := int(pair.differing.possible.sum())) > len(images):
        notes.append(LEFT_OUT.format(len(images), many))
    row["note"] = joined(*notes)
    return _Cell(row, _by_class(keys, pair, cell, of_control), images)


def _counted(pair: _Pair) -> dict[str, Any]:
    """Return how many images are named differently, and by what other rules for ties."""
    found = pair.differing
    return {
        "n": pair.own.networks,
        "pies": int(found.lowest.sum()),
        "share": float(found.lowest.mean()),
        "highest": int(found.highest.sum()),
        "least": int(found.certain.sum()),
        "largest": int(found.possible.sum()),
        "tied": int((pair.dense.tied | pair.own.tied).sum()),
        "distance": float(pair.distance.mean()),
    }


def _accuracies(
    pair: _Pair, labels: np.ndarray, null: np.ndarray | None = None
) -> dict[str, float]:
    """Return how often single networks and modes are right, on PIEs, others and null PIEs."""
    pies = pair.differing.lowest
    dense, own = pair.dense.right(labels), pair.own.right(labels)
    found = {
        "dense_mode_right": _mean((pair.dense.lowest == labels)[pies]),
        "own_mode_right": _mean((pair.own.lowest == labels)[pies]),
    }
    sets = {"pies": pies, "others": ~pies} | ({} if null is None else {"null": null})
    for name, images in sets.items():
        found |= {f"dense_on_{name}": _mean(dense[images]), f"own_on_{name}": _mean(own[images])}
    return found


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan


def _over_control(
    dense: Predictions, control: Predictions, cell: Predictions, family: int
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Return the control's PIEs [M], and what of a cell lies beyond them, by the common seeds."""
    known = set(control.seeds)
    seeds = [seed for seed in cell.seeds if seed in known]
    lost = lost_pairs(len(seeds), len(known | set(cell.seeds)))
    if not seeds:
        return None, {"lost": lost}
    classes = len(cell.class_names)
    before, other = _rows(dense, seeds), _rows(control, seeds)
    of_control = _Pair.of(before, other, classes)
    found = exchanged(of_control.dense, _rows(cell, seeds), other)
    tested = len(seeds) > 1
    p, distance_p = (found.pies_p, found.distance_p) if tested else (np.nan, np.nan)
    row: dict[str, Any] = {
        "control_n": len(seeds),
        "control": int(of_control.differing.lowest.sum()),
        "over_control": found.pies,
        "p": p,
        "p_adjusted": min(1.0, p * family) if tested else np.nan,
        "control_distance": float(of_control.distance.mean()),
        "distance_over_control": found.distance,
        "distance_p": distance_p,
        "distance_p_adjusted": min(1.0, distance_p * family) if tested else np.nan,
        "lost": lost,
    }
    if 2 * family / 2 ** len(seeds) > SIGNIFICANT:
        return of_control.differing.lowest, row | {"lost": joined(lost, TOO_FEW.format(len(seeds)))}
    row["reading"] = _reading(found.pies, row["p_adjusted"])
    row["distance_reading"] = _reading(found.distance, row["distance_p_adjusted"])
    return of_control.differing.lowest, row


def _reading(difference: float, p_adjusted: float) -> str:
    if not np.isfinite(p_adjusted):
        return ""
    if p_adjusted > SIGNIFICANT:
        return NO_MORE
    return MORE if difference > 0 else FEWER


def _at_fewer(
    panel: _Panel, dense: np.ndarray, own: np.ndarray, kind: str
) -> dict[str, float | int]:
    """Return median and range of the number of PIEs at the panel's common number of networks.

    ``paired`` takes the same seeds of both, ``disjoint`` other ones. The choices are drawn without
    replacement and overlap, so that their spread is a range and no interval.
    """
    rng = np.random.default_rng(SUBSET_SEED)
    size = panel.fewer
    orders = [rng.permutation(len(own)) for _ in range(SUBSETS)]
    shift = 0 if kind == "paired" else size
    subsets = [(order[:size], order[shift : shift + size]) for order in orders]
    counts = differing_at(dense, own, subsets)
    low, high = np.percentile(counts, RANGE)
    return {"fewer": size, f"{kind}_median": float(np.median(counts)),
            f"{kind}_low": float(low), f"{kind}_high": float(high)}  # fmt: skip


def _by_class(
    keys: dict[str, Any], pair: _Pair, cell: Predictions, control: np.ndarray | None
) -> list[dict[str, Any]]:
    """Return a row for each class: how many of its images are PIEs, and of the control's."""
    names = cell.class_names
    pies = np.bincount(cell.labels[pair.differing.lowest], minlength=len(names))
    others = None if control is None else np.bincount(cell.labels[control], minlength=len(names))
    return [
        {**keys, "class": str(c), "class_name": name, "n": pair.own.networks,
         "pies": int(pies[c]), "control": np.nan if others is None else int(others[c])}
        for c, name in enumerate(names)
    ]  # fmt: skip


def _means(cell: Predictions, seeds: Sequence[int]) -> np.ndarray | None:
    """Return the mean probability [M] that networks give their labels; None where nobody wrote."""
    if cell.probability is None:
        return None
    places = {seed: place for place, seed in enumerate(cell.seeds)}
    rows = cell.probability[[places[seed] for seed in seeds]]
    means: np.ndarray = rows.mean(axis=0, dtype=float)
    return means


def _images(
    keys: dict[str, Any],
    pair: _Pair,
    labels: np.ndarray,
    dense_probability: np.ndarray | None,
    probability: np.ndarray | None,
    most: int | None,
) -> pd.DataFrame:
    """Return the images that some rule for ties makes PIEs, the votes furthest apart first."""
    images = np.flatnonzero(pair.differing.possible)
    images = images[np.argsort(-pair.distance[images], kind="stable")][:most]
    table = pd.DataFrame({
        "image": images, "label": labels[images], "dense_label": pair.dense.lowest[images],
        "own_label": pair.own.lowest[images], "dense_agreement": pair.dense.agreement[images],
        "agreement": pair.own.agreement[images], "distance": pair.distance[images],
        "is_pie": pair.differing.lowest[images],
    })  # fmt: skip
    for name, values in (("dense_probability", dense_probability), ("probability", probability)):
        table[name] = np.nan if values is None else values[images]
    return table.assign(**keys)


def _drawn(dense: Predictions) -> pd.DataFrame:
    """Return images drawn at random, as the dense networks name them."""
    rng = np.random.default_rng(SUBSET_SEED)
    images = np.sort(rng.permutation(len(dense.labels))[:DRAWN])
    votes = Votes.of(dense.predicted, len(dense.class_names))
    probability = _means(dense, dense.seeds)
    table = pd.DataFrame({
        "image": images, "label": dense.labels[images], "dense_label": votes.lowest[images],
        "own_label": votes.lowest[images], "dense_agreement": votes.agreement[images],
        "agreement": votes.agreement[images], "distance": 0.0, "is_pie": False,
    })  # fmt: skip
    known = np.nan if probability is None else probability[images]
    return table.assign(dense_probability=known, probability=known, **_keys(dense))
