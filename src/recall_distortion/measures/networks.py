"""From predictions to the tables of recall and of networks: arrays in, tables out.

Like ``distortion`` this needs no study, no network, no file and no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.measures.calibration import class_errors
from recall_distortion.measures.distortion import (
    Counts,
    HalfBalances,
    class_means,
    class_rows,
    crossfit_sums,
    effective_classes,
    intercepts,
    quotients,
    reseed_pairs,
    slopes,
    split_halves,
)
from recall_distortion.measures.of_networks import FURTHER, MEASURES
from recall_distortion.system.errors import TableError
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import (
    COLUMNS,
    CONTROLLED,
    COUNTED,
    CURVATURE,
    DEAD_UNITS,
    DENSE_MULTIPLY_ADDS,
    EMPTIED,
    OVERLAPS,
    QUANTIZED,
    STABILITY,
    Column,
)
from recall_distortion.vocabulary import (
    CELL,
    COMPRESSED,
    DENSE,
    NETWORK,
    PANEL,
    RESEED,
    STATES,
    UNCOMPRESSED,
    Panel,
)

SPARSITY = ["realised_ratio", "kept_fraction", "kept_prunable", "prunable", "total"]
_MADE = ["device", "engine", "torch"]


@dataclass(frozen=True)
class Observed:
    """What the slopes of K networks of one test set are computed from, a row each.

    ``accuracy`` [K], normalized ``balance`` [K, C], ``halves`` [S, K, C] each; without halves the
    cross-fitted sums are the plain ones, as of recalls known without error.
    """

    seeds: list[int]
    accuracy: np.ndarray
    balance: np.ndarray
    halves: HalfBalances | None

    def take(self, seeds: Sequence[int]) -> Observed:
        """Return the networks of these seeds, in their order."""
        rows = [self.seeds.index(seed) for seed in seeds]
        halves = self.halves
        if halves is not None:
            halves = HalfBalances(halves.first[:, rows], halves.second[:, rows])
        return Observed(list(seeds), self.accuracy[rows], self.balance[rows], halves)


def slopes_table(before: Observed, after: Observed) -> pd.DataFrame:
    """Return the slopes of the networks ``after`` on those ``before``, row by row."""
    x, y = before.balance, after.balance
    alphas = slopes(x, y)
    if before.halves is None or after.halves is None:
        numerator, denominator = (x * y).sum(1), (x**2).sum(1)
    else:
        numerator, denominator = crossfit_sums(before.halves, after.halves)
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = 1 - ((y - alphas[:, None] * x) ** 2).sum(1) / (y**2).sum(1)
    intercept, slope = intercepts(x, y)
    return pd.DataFrame(
        {
            "seed": before.seeds,
            "accuracy": after.accuracy,
            "accuracy_before": before.accuracy,
            "alpha": alphas,
            "alpha_crossfit": quotients(numerator, denominator),
            "crossfit_numerator": numerator,
            "crossfit_denominator": denominator,
            "r2": r2,
            "denominator": (x**2).sum(1),
            "effective_classes": effective_classes(x**2),
            "intercept": intercept,
            "slope_with_intercept": slope,
        }
    )


def reseed_table(dense: Observed) -> pd.DataFrame:
    """Return the slopes between dense networks, as if the second of a pair were the first pruned.

    They say how far training anew from another seed moves the recalls of the classes, a baseline
    for what compression does. The rows' seed is the first of the pair.
    """
    pairs = reseed_pairs(dense.seeds)
    first, second = ([pair[i] for pair in pairs] for i in (0, 1))
    found = slopes_table(dense.take(first), dense.take(second))
    return found.assign(method=RESEED, ratio=UNCOMPRESSED, state=DENSE)


def measure(
    predictions: Sequence[Predictions],
    sparsity: pd.DataFrame,
    failures: Sequence[Mapping[str, Any]],
    *,
    splits: int = 20,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables recall and networks of a study.

    ``predictions`` are blocks of replicates in any order, ``sparsity`` has ``CELL``, seed and
    ``SPARSITY``, and ``failures`` have ``NETWORK``, failure and what the network failed on (device,
    engine, torch). The rows' order depends on the order in which panels and methods first appear,
    not on how their seeds are cut into blocks; rows of ``reseed`` come where the dense networks do,
    before those of any method.
    """
    cells: dict[tuple[Panel, str, str, str], list[Predictions]] = {}
    for part in predictions:
        key = (part.panel, part.method, part.ratio, part.state)
        cells.setdefault(key, []).append(part)
    merged = _ordered([_Cell.of(parts) for parts in cells.values()])
    recall, networks = _measured(merged, splits)
    # Where every dense network failed there is none to measure.
    none = pd.DataFrame(columns=NETWORK).astype({"ratio": float, "seed": int})
    table = pd.concat([frame for frame in networks if len(frame)] or [none], ignore_index=True)
    table = table.merge(sparsity.astype({"ratio": float}), on=[*CELL, "seed"], how="left")
    table = _counted(table, sparsity)
    if failures:
        failed = pd.DataFrame(failures).astype({"ratio": float})
        table = pd.concat([table.assign(failure=""), failed], ignore_index=True)
    table = _sorted(table.assign(failure=table.get("failure", "")), merged)
    arms = Controls.of_predictions(predictions).arms
    table["control"] = [arms.get(method, "") for method in table["method"]]
    recalls = pd.concat(recall, ignore_index=True) if recall else pd.DataFrame()
    columns = further(table)
    return (
        recalls.reindex(columns=COLUMNS["recall"]),
        table.reindex(columns=[*COLUMNS["networks"], *(column.name for column in columns)]),
    )


def whole_cells(predictions: Sequence[Predictions]) -> list[Predictions]:
    """Return the blocks of replicates joined to cells, ordered as ``measure`` orders them."""
    cells: dict[tuple[Panel, str, str, str], list[Predictions]] = {}
    for part in predictions:
        key = (part.panel, part.method, part.ratio, part.state)
        cells.setdefault(key, []).append(part)
    return [cell.predictions for cell in _ordered([_Cell.of(parts) for parts in cells.values()])]


def further(networks: pd.DataFrame) -> list[Column]:
    """Return the columns of networks.csv behind the schema's: measures, and what some studies have.

    The latter are of quantized networks, of methods with a control of their own, of networks that
    lost all of a layer, of those whose multiply-adds were counted, of the loss's curvature, of dead
    units, of what masks share, and of pruning events.
    """
    quantized = "bits" in networks and networks["bits"].notna().any()
    controlled = "control" in networks and (networks["control"] != "").any()
    emptied = "empty_layers" in networks and (networks["empty_layers"] > 0).any()
    counted = "multiply_adds" in networks and networks["multiply_adds"].notna().any()
    return [
        *FURTHER,
        *(COUNTED if counted else ()),
        *(QUANTIZED if quantized else ()),
        *(CONTROLLED if controlled else ()),
        *(EMPTIED if emptied else ()),
        *(CURVATURE if "surviving" in networks and networks["surviving"].notna().any() else ()),
        *(DEAD_UNITS if "units" in networks and networks["units"].notna().any() else ()),
        *(OVERLAPS if "mask_iou" in networks and networks["mask_iou"].notna().any() else ()),
        *(STABILITY if "instability" in networks and networks["instability"].notna().any() else ()),
    ]


def _counted(table: pd.DataFrame, sparsity: pd.DataFrame) -> pd.DataFrame:
    """Return networks with the multiply-adds of those of which nothing was removed."""
    whole = DENSE_MULTIPLY_ADDS.name
    if whole not in sparsity:
        return table
    known = sparsity.dropna(subset=whole).groupby(PANEL)[whole].first().rename("_of_panel")
    table = table.merge(known, on=PANEL, how="left")
    is_whole = table["realised_ratio"].isna() & (table["method"] != RESEED)
    adds = table["multiply_adds"].mask(is_whole, table["_of_panel"])
    return table.assign(multiply_adds=adds).drop(columns=[whole, "_of_panel"])


@dataclass(frozen=True)
class _Cell:
    """All blocks of one cell and state, ordered by seed; ``made`` says what made each network."""

    predictions: Predictions
    made: pd.DataFrame

    @classmethod
    def of(cls, parts: Sequence[Predictions]) -> _Cell:
        first = parts[0]
        for part in parts[1:]:
            _same_test_set(part, first)
        seeds = np.concatenate([np.asarray(part.seeds, int) for part in parts])
        order = np.argsort(seeds, kind="stable")
        if len(np.unique(seeds)) != len(seeds):
            raise TableError(
                f"{first}: a seed was evaluated twice; delete the study's predictions and run it "
                "again"
            )
        ways = [asdict(next(iter(part.trained))) for part in parts for _ in part.seeds]
        made = pd.DataFrame([ways[i] for i in order], columns=_MADE)
        own = {
            name: _together([getattr(part, name) for part in parts], order)
            for name in ("predicted", "loss", "probability")
        }
        whole = Predictions(**{**vars(first), **own, "seeds": seeds[order].tolist()})
        return cls(whole, made)


def _together(parts: Sequence[np.ndarray | None], order: np.ndarray) -> np.ndarray | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known)[order] if len(known) == len(parts) else None


def _same_test_set(left: Predictions, right: Predictions) -> None:
    if left.class_names != right.class_names or not np.array_equal(left.labels, right.labels):
        raise TableError(
            f"{left.panel}: {left.method} at {left.ratio} and "
            f"{right.method} at {right.ratio} were evaluated on different test sets, in whole or "
            "in part; delete the study's predictions and run it again"
        )


def _ordered(cells: list[_Cell]) -> list[_Cell]:
    parts = [cell.predictions for cell in cells]
    panels = list(dict.fromkeys(part.panel for part in parts))
    methods = list(dict.fromkeys(part.method for part in parts))

    def position(cell: _Cell) -> tuple[int, bool, int, float, int]:
        part = cell.predictions
        return (
            panels.index(part.panel),
            part.method != DENSE,
            methods.index(part.method),
            float(part.ratio),
            STATES.index(part.state),
        )

    return sorted(cells, key=position)


def _sorted(table: pd.DataFrame, cells: list[_Cell]) -> pd.DataFrame:
    """Return the networks in the order of the cells, ``reseed`` behind the dense ones."""
    parts = [cell.predictions for cell in cells]
    panels = {panel: i for i, panel in enumerate(dict.fromkeys(part.panel for part in parts))}
    methods = dict.fromkeys([DENSE, RESEED, *(part.method for part in parts)])
    ranks = {method: i for i, method in enumerate(methods)}
    keys = pd.DataFrame(
        {
            "panel": [panels[panel] for panel in table[PANEL].itertuples(index=False, name=None)],
            "method": table["method"].map(ranks),
            "ratio": table["ratio"],
            "state": table["state"].map(STATES.index),
            "seed": table["seed"],
        }
    )
    return table.iloc[keys.sort_values(list(keys), kind="stable").index].reset_index(drop=True)


def _measured(cells: list[_Cell], splits: int) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Return the frames of recall and of networks, a cell each."""
    recall, networks = [], []
    dense: dict[Panel, tuple[Predictions, Observed, np.ndarray]] = {}
    for cell in cells:
        part = cell.predictions
        panel = part.panel
        if part.method != DENSE:
            _check_dense(part, dense[panel][0] if panel in dense else None)
        halves = dense[panel][2] if panel in dense else split_halves(part.labels, splits)
        counts, own = _observed(part, halves)
        keys = dict(zip(CELL, (*panel, part.method, float(part.ratio)), strict=True))
        keys["state"] = part.state
        if part.seeds:
            recall.append(_recalls(part, counts).assign(**keys))
        made = (
            cell.made if part.state != COMPRESSED else cell.made.assign(**dict.fromkeys(_MADE, ""))
        )
        if part.method == DENSE:
            dense[panel] = part, own, halves
            table = pd.DataFrame({"seed": own.seeds, "accuracy": own.accuracy})
            networks.append(table.assign(**keys, **further_measures(part, None)).join(made))
            if part.is_one:
                continue  # between it and itself there is nothing
            reseed = panel._asdict() | dict.fromkeys(_MADE, "")
            firsts, seconds = ([pair[i] for pair in reseed_pairs(own.seeds)] for i in (0, 1))
            found = further_measures(taken(part, seconds), taken(part, firsts))
            networks.append(reseed_table(own).assign(**reseed, **found))
        else:
            before = dense[panel][1].take(part.seeds)
            found = further_measures(part, taken(dense[panel][0], part.seeds))
            networks.append(slopes_table(before, own).assign(**keys, **found).join(made))
    return recall, networks


def taken(part: Predictions, seeds: Sequence[int]) -> Predictions:
    """Return the predictions of these seeds, in their order."""
    rows = [part.seeds.index(seed) for seed in seeds]
    loss, probability = (
        None if values is None else values[rows] for values in (part.loss, part.probability)
    )
    return replace(
        part, seeds=list(seeds), predicted=part.predicted[rows], loss=loss, probability=probability
    )


def further_measures(own: Predictions, dense: Predictions | None) -> dict[str, np.ndarray]:
    """Return the further measures of networks by column; ``dense`` is None of dense networks."""
    return {measure.column.name: measure.values(own, dense) for measure in MEASURES}


def _observed(part: Predictions, halves: np.ndarray) -> tuple[Counts, Observed]:
    counts = Counts.of(part.labels, part.predicted, part.class_names, str(part))
    correct = part.predicted == part.labels
    balances = HalfBalances.of(part.labels, correct, halves, len(part.class_names))
    return counts, Observed(part.seeds, counts.accuracy, counts.normalized_balance, balances)


def _recalls(part: Predictions, counts: Counts) -> pd.DataFrame:
    classes = len(part.class_names)
    loss, confidence = (
        class_means(part.labels, values, classes) for values in (part.loss, part.probability)
    )
    calibration = None
    if part.probability is not None:
        calibration = class_errors(part.labels, part.predicted, part.probability, classes)
    return class_rows(
        counts, part.class_names, part.seeds, loss=loss, confidence=confidence,
        calibration=calibration,
    )  # fmt: skip


def _check_dense(part: Predictions, dense: Predictions | None) -> None:
    """Raise ``TableError`` where a network's dense network is missing or saw other images."""
    if dense is None:
        raise TableError(f"{part}: there are no predictions of its dense networks")
    _same_test_set(part, dense)
    if lost := sorted(set(part.seeds) - set(dense.seeds)):
        raise TableError(f"{part}: there is no dense network of seed {lost[0]} to compare with")
