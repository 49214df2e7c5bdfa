"""Whether a study's tables agree, before anything is inferred.

In a table from elsewhere, a digit that changed is noticed by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from recall_distortion.inference.questions.slopes import compared
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import require_unique
from recall_distortion.vocabulary import (
    DENSE,
    NETWORK,
    PANEL,
    RESEED,
    RETRAINED,
    Panel,
    format_ratio,
)

_FLOAT_BYTES = 4  # of a parameter as networks are trained
_REMADE = "recall.csv and networks.csv"


def require_agreement(
    recall: pd.DataFrame, networks: pd.DataFrame, paths: Sequence[str | Path]
) -> None:
    """Raise ``TableError`` unless both tables hold the same networks with the same numbers.

    Every network has all classes of its data set and the accuracy that its recalls give; its slope
    and accuracies are those of its recalls and its dense network's, and ``alpha_crossfit`` is the
    quotient of the cross-fitted sums. ``paths`` of the two tables stand in messages.
    """
    of_recall, of_networks = map(str, paths)
    evaluated = networks[networks["failure"].fillna("") == ""]
    require_unique(evaluated, NETWORK, of_networks)
    require_unique(recall, [*NETWORK, "class"], of_recall)
    measured = _networks(recall, of_recall)
    _same_networks(measured, evaluated[evaluated["method"] != RESEED], of_recall, of_networks)

    where = f"{of_networks} and {of_recall}"
    slopes = compared(networks)
    slopes = slopes[slopes["method"] != RESEED]
    found = slopes.merge(_with_dense(measured, recall), on=NETWORK, suffixes=("", "_expected"))
    for column in ("alpha", "accuracy_before", "accuracy"):
        _equal(found, column, found[f"{column}_expected"], where)
    dense = evaluated[evaluated["method"] == DENSE]
    dense = dense.merge(measured, on=NETWORK, suffixes=("", "_expected"))
    _equal(dense, "accuracy", dense["accuracy_expected"], where)
    every = compared(networks)
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient = every["crossfit_numerator"] / every["crossfit_denominator"]
    _equal(every, "alpha_crossfit", quotient, of_networks)


def require_sparsities(networks: pd.DataFrame, path: str | Path) -> None:
    """Raise ``TableError`` unless sparsities are whole and follow from the weights beside them.

    A realised ratio counts the prunable weights, all parameters or multiply-adds, as the study
    says, and of quantized networks their bytes. A method that has sparsities at all has one for
    each of its retrained networks.
    """
    known = networks[networks["realised_ratio"].notna()]
    size = known.get("bytes", pd.Series(np.nan, known.index)).to_numpy(float)
    kept, prunable, total, found = (
        known[name].to_numpy(float)
        for name in ("kept_prunable", "prunable", "total", "realised_ratio")
    )
    adds, dense_adds, left = _counts(networks, known)
    left = np.where(np.isnan(left), total - prunable + kept, left)
    with np.errstate(invalid="ignore", divide="ignore"):
        counted = prunable / kept, total / left, dense_adds / adds
        of_bytes = np.isclose(found, _FLOAT_BYTES * total / size, rtol=1e-9, atol=0)
    right = np.any([np.isclose(found, ratio, rtol=1e-9, atol=0) for ratio in counted], axis=0)
    right = np.where(np.isnan(size), right, of_bytes)
    what = f"{path}: realised_ratio does not follow from the weights beside it for"
    _refuse(known, ~right, what, path)
    retrained = compared(networks)
    retrained = retrained[retrained["state"] == RETRAINED]
    method = [*PANEL, "method"]
    retrained = retrained.merge(known[method].drop_duplicates(), on=method)
    lacking = retrained["realised_ratio"].isna()
    _refuse(retrained, lacking, f"{path}: no realised_ratio for", path)


def _counts(networks: pd.DataFrame, known: pd.DataFrame) -> tuple[np.ndarray, ...]:
    """Return multiply-adds, those of the dense networks, and the parameters left; NaN for none."""
    if "multiply_adds" not in networks:
        nothing = np.full(len(known), np.nan)
        return nothing, nothing, nothing
    dense = networks[networks["method"] == DENSE].groupby(PANEL)["multiply_adds"].first()
    of_dense = known[PANEL].merge(dense.reset_index(), on=PANEL, how="left")["multiply_adds"]
    adds, left = known["multiply_adds"], known["kept_total"]
    return adds.to_numpy(float), of_dense.to_numpy(float), left.to_numpy(float)


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
        usual = found.groupby("dataset")[column].transform("max")
        _refuse(found, found[column] != usual, f"{path}: rows are missing or changed for")
    _equal(found, "accuracy", found["correct"] / found["support"], path)
    return found[[*NETWORK, "accuracy"]]


def _with_dense(networks: pd.DataFrame, recall: pd.DataFrame) -> pd.DataFrame:
    """Return slope and accuracies of every network that has a dense one."""
    key = [*PANEL, "seed"]
    of_dense = recall.loc[
        recall["state"] == DENSE, [*key, "class", "normalized_balance", "accuracy"]
    ]
    pairs = recall.loc[
        recall["state"] != DENSE, [*NETWORK, "class", "normalized_balance", "accuracy"]
    ].merge(of_dense, on=[*key, "class"], suffixes=("", "_before"))
    x, y = pairs["normalized_balance_before"], pairs["normalized_balance"]
    grouped = pairs.assign(xy=x * y, xx=x * x).groupby(NETWORK, sort=False)
    found = grouped.agg(
        {"xy": _sum, "xx": _sum, "accuracy_before": "first", "accuracy": "first"}
    ).reset_index()
    with np.errstate(invalid="ignore", divide="ignore"):
        found["alpha"] = found["xy"] / found["xx"]
    return found.drop(columns=["xy", "xx"])


def _sum(values: pd.Series) -> float:
    return float(values.to_numpy().sum())  # NaN stays NaN


def _same_networks(left: pd.DataFrame, right: pd.DataFrame, *paths: str) -> None:
    both = left[NETWORK].merge(right[NETWORK], on=NETWORK, how="outer", indicator="side")
    for side, (has, lacks) in zip(("left_only", "right_only"), (paths, paths[::-1]), strict=True):
        _refuse(both, both["side"] == side, f"{lacks} lacks, but {has} has,")


def _equal(table: pd.DataFrame, column: str, expected: pd.Series, where: str) -> None:
    found = table[column].to_numpy(float)
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
        network = Panel(*row[PANEL])
        raise TableError(
            f"{what} {row['method']} at {format_ratio(row['ratio'])}, {state}seed "
            f"{row['seed']:g}, of {network}; a table is damaged: delete {remade} and run the study "
            "again"
        )
