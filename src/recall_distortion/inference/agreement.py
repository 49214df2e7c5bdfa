"""Whether a study's tables tell the same, before anything is inferred.

In a table from elsewhere, a digit that changed is noticed by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from recall_distortion.errors import TableError
from recall_distortion.inference.intervals import CELL
from recall_distortion.tables import require_unique

NETWORK = [*CELL, "seed"]
_PANEL = CELL[:2]
_PRUNED = [*CELL[:4], "seed"]
_DENSE = "dense"
_REMADE = "recall.csv, alpha.csv and crossfit.csv"


def require_agreement(
    recall: pd.DataFrame,
    alpha: pd.DataFrame,
    crossfit: pd.DataFrame,
    paths: Sequence[str | Path],
) -> None:
    """Raise ``TableError`` unless the tables hold the same networks with the same numbers.

    Every network has all classes of its data set and the accuracy that its recalls give; its slope
    and accuracies are those of its recalls and its dense network's, and ``alpha_crossfit``, where
    it is there, is the quotient of the cross-fitted sums. ``paths`` of the three tables stand in
    messages.
    """
    of_recall, of_alpha, of_crossfit = map(str, paths)
    for table, name in ((alpha, of_alpha), (crossfit, of_crossfit)):
        require_unique(table, NETWORK, name)
    require_unique(recall, [*NETWORK, "class"], of_recall)
    networks = _networks(recall, of_recall)
    compared = networks[networks["state"] != _DENSE]
    slopes = alpha[alpha["state"] != _DENSE]
    _same_networks(compared, slopes, of_recall, of_alpha)
    _same_networks(alpha, crossfit, of_alpha, of_crossfit)

    expected = _with_dense(networks, recall)
    found = slopes.merge(expected, on=NETWORK, suffixes=("", "_expected"))
    where = f"{of_alpha} and {of_recall}"
    for column in ("alpha", "accuracy_before", "accuracy_after"):
        _equal(found, column, found[f"{column}_expected"], where)
    if "alpha_crossfit" in alpha:
        sums = alpha.merge(crossfit[[*NETWORK, "numerator", "denominator"]], on=NETWORK)
        denominator = "denominator_y" if "denominator_y" in sums else "denominator"
        with np.errstate(invalid="ignore", divide="ignore"):
            quotient = sums["numerator"] / sums[denominator]
        _equal(sums, "alpha_crossfit", quotient, f"{of_alpha} and {of_crossfit}")


def require_sparsities(sparsity: pd.DataFrame, alpha: pd.DataFrame, path: str | Path) -> None:
    """Raise ``TableError`` unless sparsities are whole and follow from the weights beside them.

    A realised ratio counts either the prunable weights or all parameters, as the study says. A
    method that has sparsities at all has one for each of its fine-tuned networks.
    """
    require_unique(sparsity, _PRUNED, str(path))
    kept, prunable, total, found = (
        sparsity[name].to_numpy(float)
        for name in ("kept_prunable", "prunable", "total", "realised_ratio")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        counted = prunable / kept, total / (total - prunable + kept)
    right = np.any([np.isclose(found, ratio, rtol=1e-9, atol=0) for ratio in counted], axis=0)
    what = f"{path}: realised_ratio does not follow from the weights beside it for"
    _refuse(sparsity, ~right, what, path)
    tuned = alpha.loc[alpha["state"] == "finetuned", _PRUNED].astype({"ratio": float})
    known = sparsity[_PRUNED].astype({"ratio": float})
    method = _PRUNED[:3]
    tuned = tuned.merge(known[method].drop_duplicates(), on=method)
    lost = tuned.merge(known, on=_PRUNED, how="left", indicator="side")
    _refuse(lost, lost["side"] == "left_only", f"{path}: no row for", path)


def _networks(recall: pd.DataFrame, path: str) -> pd.DataFrame:
    """Return one row a network with its accuracy, after checking that it is whole."""
    weighted = recall[NETWORK].assign(
        accuracy=recall["accuracy"],
        classes=1,
        support=recall["support"],
        correct=recall["support"] * recall["recall"],
    )
    grouped = weighted.groupby(NETWORK, sort=False, dropna=False)
    found = grouped.agg(
        {"accuracy": "first", "classes": "sum", "support": "sum", "correct": "sum"}
    ).reset_index()
    for column in ("classes", "support"):
        usual = found.groupby(_PANEL[:1])[column].transform("max")
        _refuse(found, found[column] != usual, f"{path}: rows are missing or changed for")
    _equal(found, "accuracy", found["correct"] / found["support"], path)
    return found[[*NETWORK, "accuracy"]]


def _with_dense(networks: pd.DataFrame, recall: pd.DataFrame) -> pd.DataFrame:
    """Return slope and accuracies of every network that has a dense one."""
    key = [*_PANEL, "seed"]
    of_dense = recall.loc[
        recall["state"] == _DENSE, [*key, "class", "normalized_balance", "accuracy"]
    ]
    pairs = recall.loc[
        recall["state"] != _DENSE, [*NETWORK, "class", "normalized_balance", "accuracy"]
    ].merge(of_dense, on=[*key, "class"], suffixes=("", "_before"))
    x, y = pairs["normalized_balance_before"], pairs["normalized_balance"]
    grouped = pairs.assign(xy=x * y, xx=x * x).groupby(NETWORK, sort=False)
    found = grouped.agg(
        {"xy": _sum, "xx": _sum, "accuracy_before": "first", "accuracy": "first"}
    ).reset_index()
    with np.errstate(invalid="ignore", divide="ignore"):
        found["alpha"] = found["xy"] / found["xx"]
    return found.rename(columns={"accuracy": "accuracy_after"}).drop(columns=["xy", "xx"])


def _sum(values: pd.Series) -> float:
    return float(values.to_numpy().sum())  # NaN stays NaN


def _same_networks(left: pd.DataFrame, right: pd.DataFrame, *paths: str) -> None:
    both = left[NETWORK].merge(right[NETWORK], on=NETWORK, how="outer", indicator="side")
    for side, (has, lacks) in zip(("left_only", "right_only"), (paths, paths[::-1]), strict=True):
        _refuse(both, both["side"] == side, f"{lacks} lacks, but {has} has,")


def _equal(table: pd.DataFrame, column: str, expected: pd.Series, where: str) -> None:
    # A column that nothing else here reads was read as it stands, as words where cells are empty.
    found = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    wanted = expected.to_numpy(float)
    wrong = np.isfinite(wanted) & ~np.isclose(found, wanted, rtol=1e-6, atol=1e-9)
    _refuse(table, pd.Series(wrong, table.index), f"{where}: {column} is contradicted for")


def _refuse(
    table: pd.DataFrame, wrong: pd.Series | np.ndarray, what: str, remade: str | Path = _REMADE
) -> None:
    """Raise ``TableError`` of the first wrong row; ``remade`` are the files to delete."""
    if wrong.any():
        row = table.loc[wrong].iloc[0]
        state = f"{row['state']}, " if "state" in row else ""
        raise TableError(
            f"{what} {row['method']} at {row['ratio']:g}, {state}seed {row['seed']:g}, of "
            f"{row['architecture']} on {row['dataset']}; a table is damaged: delete {remade} and "
            "run the study again"
        )
