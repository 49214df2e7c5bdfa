"""From files of predictions to the tables of a study: recall, slopes, and what they come from.

Like ``distortion`` this needs no study, no network and no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from recall_distortion import checksums
from recall_distortion.columns import (
    ALPHA_COLUMNS,
    CROSSFIT_COLUMNS,
    ENGINE_COLUMNS,
    FAILURE_COLUMNS,
    INTERCEPT_COLUMNS,
    RECALL_COLUMNS,
    SPARSITY_COLUMNS,
)
from recall_distortion.distortion import (
    RESEED,
    Counts,
    HalfBalances,
    check_classes,
    class_rows,
    crossfit_sums,
    effective_classes,
    intercept_check,
    quotients,
    reseed_pairs,
    slopes,
    split_halves,
)
from recall_distortion.errors import TableError
from recall_distortion.files import unreadable
from recall_distortion.tables import read_table, write_table

STATES = ("dense", "pruned", "finetuned")


@dataclass(frozen=True, order=True)
class Trained:
    """What trained networks, or fine-tuned them; all empty where nothing says."""

    device: str = ""
    engine: str = ""
    torch: str = ""

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> Trained:
        """Return what a file's facts say: a GPU has a name, a CPU is that and nothing more."""
        device = facts["device"]
        if device != "cpu":
            device = facts.get("gpu", device)
        return cls(device, facts["engine"], facts["torch"])


@dataclass(frozen=True)
class Predictions:
    """K networks' predicted labels [K, M] of one cell and state, with the true labels [M].

    ``trained`` says how many of the networks were made by what.
    """

    dataset: str
    architecture: str
    method: str
    ratio: str
    state: str
    seeds: list[int]
    class_names: list[str]
    labels: np.ndarray
    predicted: np.ndarray
    trained: dict[Trained, int]


def read_predictions(path: str | Path) -> tuple[list[Predictions], list[dict[str, Any]]]:
    """Return what a file of predictions holds, and the failures it records.

    Predictions from elsewhere need not say what made their networks; a file that says it for some
    cells has to say it for all. Raises ``TableError`` naming the file where it is missing, damaged
    or foreign.
    """
    remedy = "delete the file and run the study again"
    try:
        checksums.verify(path)
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {})["recall_distortion"])
            labels = file.get_tensor("labels")
            _check_names(metadata)
            found = []
            for key, seeds in metadata["seeds"].items():
                method, ratio, state = key.split("/")
                if state not in STATES or not 1 <= float(ratio) < math.inf:
                    raise ValueError(f"the key {key!r}")
                if not _are_seeds(seeds):
                    raise ValueError(f"the seeds of {key} are not different whole numbers")
                predicted = (
                    file.get_tensor(f"{key}/predicted")
                    if seeds
                    else np.zeros((0, len(labels)), np.int16)
                )
                if predicted.shape != (len(seeds), len(labels)):
                    raise TableError(
                        f"{path}: {key} holds predictions of shape {predicted.shape} for "
                        f"{len(seeds)} seeds and {len(labels)} images; {remedy}"
                    )
                network = f"{metadata['architecture']} on {metadata['dataset']}"
                where = f"{path}: {network}, {method} at {ratio}"
                check_classes(labels, predicted, metadata["class_names"], where)
                found.append(
                    Predictions(
                        metadata["dataset"],
                        metadata["architecture"],
                        method,
                        ratio,
                        state,
                        seeds,
                        metadata["class_names"],
                        labels,
                        predicted.astype(np.int64),
                        {_trained(metadata, f"{method}/{ratio}"): len(seeds)},
                    )
                )
            _check_failures(metadata["failures"], {part.method for part in found})
            failures = [
                {
                    "dataset": metadata["dataset"],
                    "architecture": metadata["architecture"],
                    **failure,
                }
                for failure in metadata["failures"]
            ]
    except FileNotFoundError:
        raise TableError(f"{path}: no such file; run the study again") from None
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        if why := unreadable(path, error):
            raise TableError(why) from None
        raise TableError(f"{path}: damaged ({error}); {remedy}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TableError(f"{path}: not a file of predictions ({error}); {remedy}") from None
    return found, failures


def _check_names(metadata: Mapping[str, Any]) -> None:
    names = metadata["class_names"]
    texts = [metadata["dataset"], metadata["architecture"], *names]
    if not isinstance(names, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("data set, architecture and class_names are not texts")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"class_names holds {repeated[0]!r} twice")


def _are_seeds(values: Any) -> bool:
    if not isinstance(values, list):
        return False
    whole = all(type(value) is int and 0 <= value < 2**63 for value in values)
    return whole and len(set(values)) == len(values)


def _check_failures(failures: list[Mapping[str, Any]], methods: set[str]) -> None:
    texts = ("method", "ratio", "stage", "reason")
    for failure in failures:
        if set(failure) != {*texts, "seed"} or not _are_seeds([failure["seed"]]):
            raise ValueError(f"the failure {failure!r}")
        if not all(isinstance(failure[name], str) for name in texts):
            raise ValueError(f"the failure {failure!r}")
        if failure["method"] not in methods or not float(failure["ratio"]) >= 1:
            raise ValueError(f"a failure of {failure['method']!r} at {failure['ratio']!r}")


def _trained(metadata: Mapping[str, Any], cell: str) -> Trained:
    if "made" not in metadata:
        return Trained()
    return Trained.of(metadata["made"][cell]["trained"])


def measure(
    predictions: Iterable[str | Path],
    sparsity: Iterable[str | Path],
    tables: Mapping[str, str | Path],
    *,
    splits: int = 20,
) -> None:
    """Write a study's tables recall, alpha, crossfit, intercepts, engines, sparsity and failures.

    ``tables`` maps those names to paths. The rows' order depends on the order in which data sets,
    architectures and methods first appear, not on how their seeds are cut into files; rows of
    ``reseed`` (``_reseed``) come where the dense networks do, before those of any method.
    """
    cells: dict[tuple[str, ...], list[Predictions]] = {}
    files: dict[tuple[Any, ...], str | Path] = {}
    failures: list[dict[str, Any]] = []
    for path in predictions:
        found, failed = read_predictions(path)
        failures += failed
        for part in found:
            key = (part.dataset, part.architecture, part.method, part.ratio, part.state)
            cells.setdefault(key, []).append(part)
            for seed in part.seeds:
                if (other := files.setdefault((*key, seed), path)) != path:
                    raise TableError(
                        f"{other} and {path} both hold seed {seed} of {part.architecture} on "
                        f"{part.dataset}, {part.method} at {part.ratio}; one of them, or the "
                        "weights under dense or compressed that it was made of, is another's: "
                        "delete both, and these weights of both, and run the study again"
                    )
    # All that can be damaged is read before anything is written.
    known = {key[:3] for key in cells}
    rows = [row for path in sparsity for row in _sparsities(path, known)]
    merged = _ordered([_merge(parts) for parts in cells.values()])
    recall, alpha, intercepts = _measured(merged, splits)
    write_table(tables["recall"], recall, RECALL_COLUMNS)
    write_table(tables["alpha"], alpha, ALPHA_COLUMNS)
    quotients = {"crossfit_numerator": "numerator", "crossfit_denominator": "denominator"}
    crossfit = [frame.drop(columns="denominator").rename(columns=quotients) for frame in alpha]
    write_table(tables["crossfit"], crossfit, CROSSFIT_COLUMNS)
    write_table(tables["intercepts"], intercepts, INTERCEPT_COLUMNS)
    write_table(tables["engines"], [pd.DataFrame(_engines(merged))], ENGINE_COLUMNS)
    methods = list(dict.fromkeys(part.method for part in merged))
    networks = list(dict.fromkeys((part.dataset, part.architecture) for part in merged))
    ranks = {name: rank for rank, name in enumerate(methods)}

    def position(row: Mapping[str, Any]) -> tuple:
        network = networks.index((row["dataset"], row["architecture"]))
        return network, ranks[row["method"]], float(row["ratio"]), row["seed"]

    write_table(tables["sparsity"], [pd.DataFrame(sorted(rows, key=position))], SPARSITY_COLUMNS)
    write_table(tables["failures"], [pd.DataFrame(sorted(failures, key=position))], FAILURE_COLUMNS)


def _sparsities(path: str | Path, known: Collection[tuple[str, ...]]) -> list[dict[Hashable, Any]]:
    """Return a block's table of sparsities; ``known`` are networks and methods with predictions."""
    rows = read_table(path, SPARSITY_COLUMNS).to_dict("records")
    for line, row in enumerate(rows, start=2):
        if (row["dataset"], row["architecture"], row["method"]) not in known:
            raise TableError(
                f"{path}, line {line}: {row['method']} of {row['architecture']} on "
                f"{row['dataset']} has no predictions; delete the file and run the study again"
            )
    return rows


def _merge(parts: list[Predictions]) -> Predictions:
    """Return the blocks of one cell and state as one, ordered by seed."""
    first = parts[0]
    for part in parts[1:]:
        _same_test_set(part, first)
    seeds = np.concatenate([np.asarray(part.seeds, int) for part in parts])
    predicted = np.concatenate([part.predicted for part in parts])
    order = np.argsort(seeds, kind="stable")
    if len(np.unique(seeds)) != len(seeds):
        raise TableError(
            f"{first.architecture} on {first.dataset}, {first.method} at {first.ratio}: a seed was "
            "evaluated twice; delete the study's predictions and run it again"
        )
    trained: dict[Trained, int] = {}
    for part in parts:
        for made_by, count in part.trained.items():
            trained[made_by] = trained.get(made_by, 0) + count
    own = {"seeds": seeds[order].tolist(), "predicted": predicted[order], "trained": trained}
    return Predictions(**{**vars(first), **own})


def _same_test_set(left: Predictions, right: Predictions) -> None:
    if left.class_names != right.class_names or not np.array_equal(left.labels, right.labels):
        raise TableError(
            f"{left.architecture} on {left.dataset}: {left.method} at {left.ratio} and "
            f"{right.method} at {right.ratio} were evaluated on different test sets, in whole or "
            "in part; delete the study's predictions and run it again"
        )


def _ordered(cells: list[Predictions]) -> list[Predictions]:
    networks = list(dict.fromkeys((cell.dataset, cell.architecture) for cell in cells))
    methods = list(dict.fromkeys(cell.method for cell in cells))

    def position(cell: Predictions) -> tuple:
        return (
            networks.index((cell.dataset, cell.architecture)),
            cell.method != "dense",
            methods.index(cell.method),
            float(cell.ratio),
            STATES.index(cell.state),
        )

    return sorted(cells, key=position)


def _engines(cells: list[Predictions]) -> list[dict[str, Any]]:
    """Return for each cell what trained its networks, and how many of them.

    A cell all of whose replicates failed keeps its row, with none: what it failed under is worth
    knowing. Networks before fine-tuning are those of the dense cell, masked.
    """
    return [
        {
            "dataset": cell.dataset,
            "architecture": cell.architecture,
            "method": cell.method,
            "ratio": cell.ratio,
            **asdict(trained),
            "seeds": count,
        }
        for cell in cells
        if cell.state != "pruned"
        for trained, count in sorted(cell.trained.items())
    ]


@dataclass(frozen=True)
class _Networks:
    """What the slopes of K networks of one test set are computed from, a row each."""

    seeds: list[int]
    accuracy: np.ndarray  # [K]
    balance: np.ndarray  # normalized [K, C]
    halves: HalfBalances  # [S, K, C]

    def take(self, seeds: list[int]) -> _Networks:
        rows = [self.seeds.index(seed) for seed in seeds]
        return _Networks(
            seeds,
            self.accuracy[rows],
            self.balance[rows],
            HalfBalances(self.halves.first[:, rows], self.halves.second[:, rows]),
        )


def _measured(
    cells: list[Predictions], splits: int
) -> tuple[list[pd.DataFrame], list[pd.DataFrame], list[pd.DataFrame]]:
    """Return the frames of recall, of the slopes with what they are quotients of, of intercepts."""
    recall, alpha, intercepts = [], [], []
    dense: dict[tuple[str, str], tuple[Predictions, _Networks, np.ndarray]] = {}
    for cell in cells:
        where = f"{cell.architecture} on {cell.dataset}, {cell.method} at {cell.ratio}"
        counts = Counts.of(cell.labels, cell.predicted, cell.class_names, where)
        network = {"dataset": cell.dataset, "architecture": cell.architecture}
        keys = {
            **network,
            "method": cell.method,
            "ratio": float(cell.ratio),
            "state": cell.state,
        }
        if cell.seeds:
            table = class_rows(counts, cell.class_names, cell.seeds)
            recall.append(table.assign(**keys))
        found = dense.get((cell.dataset, cell.architecture))
        if cell.method != "dense":
            if found is None:
                raise TableError(f"{where}: there are no predictions of its dense networks")
            _same_test_set(cell, found[0])
            if lost := sorted(set(cell.seeds) - set(found[0].seeds)):
                raise TableError(
                    f"{where}: there is no dense network of seed {lost[0]} to compare with"
                )
        halves = found[2] if found else split_halves(cell.labels, splits)
        correct = cell.predicted == cell.labels
        own = _Networks(
            cell.seeds,
            counts.accuracy,
            counts.normalized_balance,
            HalfBalances.of(cell.labels, correct, halves, len(cell.class_names)),
        )
        if cell.method == "dense":
            dense[cell.dataset, cell.architecture] = cell, own, halves
            alpha.append(_reseed(own).assign(**network))
            continue
        before = found[1].take(cell.seeds)
        alpha.append(_slopes(before, own).assign(**keys))
        check = intercept_check(before.balance, own.balance, counts.support)
        intercepts.append(pd.DataFrame([{**keys, **check}]))
    return recall, alpha, intercepts


def _reseed(dense: _Networks) -> pd.DataFrame:
    """Return the slopes between dense networks, as if the second of a pair were the first pruned.

    They say how far training anew from another seed moves the recalls of the classes, a baseline
    for what pruning does. The rows' seed is the first of the pair.
    """
    pairs = reseed_pairs(dense.seeds)
    first, second = ([pair[i] for pair in pairs] for i in (0, 1))
    found = _slopes(dense.take(first), dense.take(second))
    return found.assign(method=RESEED, ratio=1.0, state="dense")


def _slopes(before: _Networks, after: _Networks) -> pd.DataFrame:
    """Return the slopes of the networks ``after`` on those ``before``, row by row."""
    x, y = before.balance, after.balance
    alphas = slopes(x, y)
    numerator, denominator = crossfit_sums(before.halves, after.halves)
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = 1 - ((y - alphas[:, None] * x) ** 2).sum(1) / (y**2).sum(1)
    return pd.DataFrame(
        {
            "seed": before.seeds,
            "alpha": alphas,
            "alpha_crossfit": quotients(numerator, denominator),
            "crossfit_numerator": numerator,
            "crossfit_denominator": denominator,
            "r2": r2,
            "denominator": (x**2).sum(1),
            "effective_classes": effective_classes(x**2),
            "accuracy_before": before.accuracy,
            "accuracy_after": after.accuracy,
        }
    )
