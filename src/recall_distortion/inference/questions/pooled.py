"""One slope over the classes of all replicates of a cell, and whether single slopes can be trusted.

The slope of one network divides by sum_c Bn^2 of its dense network. Where that is no larger than
what the sampling error of a finite test set leaves of it, single slopes are unstable and biased,
and only the slope pooled over the replicates, cross-fitted, says something (docs/methods.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NARROW, NARROW_EACH, NO_END, UNNAMED, joined
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, require_level, verdict
from recall_distortion.measures.distortion import (
    denominator_error,
    effective_classes,
    reseed_pairs,
)
from recall_distortion.measures.rounding import below
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import (
    CELL_STATE,
    DENSE,
    NETWORK,
    PANEL,
    RESEED,
    UNCOMPRESSED,
    CellState,
)

COLUMNS = [
    *CELL_STATE, "n", "alpha", "low", "high", "r2", "alpha_crossfit", "crossfit_low",
    "crossfit_high", "crossfit_verdict", "level", "family_size", "denominator", "reliability",
    "unstable", "interpret", "effective_classes", "median_effective_classes", "leading_index",
    "leading_class", "leading_share", "unnamed", "narrow", "note",
]  # fmt: skip
# Which slopes of a cell are to be interpreted: those of its networks, or the pooled one alone.
PER_NETWORK, POOLED_ALONE = "slopes of single networks", "cross-fitted slope of all networks"
# With fewer effective classes one class has most of the slope's weight.
LEAST_EFFECTIVE = 2.0
# Why a slope is narrow, in the column of that name.
FEW_CLASSES, ONE_EACH, NEVER_NAMED = "few classes", "one class each", "a class is never named"
# A denominator this many standard errors above zero is distinguishable from it.
DISTINGUISHABLE = 2.0

FEW = f"fewer than {bootstrap.LEAST_REPLICATES} replicates: no bootstrap interval"
FEW_TELLING = (
    f"fewer than {bootstrap.LEAST_REPLICATES} replicates have balances before pruning: no "
    "bootstrap interval"
)
FEW_CARRY = (
    f"fewer than {bootstrap.LEAST_EFFECTIVE:g} effective replicates, since one dense network "
    "makes up nearly all of the denominator: no {}bootstrap interval"
)
NO_HALVES = "a class has one test image, so it cannot be split into halves: no cross-fitted slope"
NO_CROSSFIT = "the cross-fitted sums of {} of {} replicates are not finite: no cross-fitted slope"
NO_BALANCE = "{} of {} replicates have balances that are not finite (an accuracy of 0): no slope"
NO_SPREAD = "equal recalls before pruning in every replicate: no slope"
INDISTINCT = (
    "{} of {} dense denominators cannot be distinguished from zero: interpret the cross-fitted "
    "slope of all networks only"
)
TOO_SMALL = "the test set is too small for the differences between the classes' recalls"
INDISTINCT_SUM = (
    "the pooled dense denominator cannot be distinguished from zero either: no cross-fitted "
    "interval; "
    f"{TOO_SMALL}"
)
NOT_ABOVE_ZERO = (
    "the pooled dense denominator is estimated at zero or below: no cross-fitted slope and no "
    f"reliability; {TOO_SMALL}"
)


def pooled(
    recall: pd.DataFrame, networks: pd.DataFrame, level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return the pooled slope of every cell and state of ``networks``, one row each, in its order.

    ``recall`` and ``networks`` are the tables of that name; of the latter the keys and the
    cross-fitted sums are used. The result has ``COLUMNS``:

    - ``alpha`` = sum_s sum_c Bn Bn_t / sum_s sum_c Bn^2 over replicates s and classes c, with the
      interval of the seed-level bootstrap at ``level``, ``r2`` uncentred, ``denominator`` the mean
      over replicates of sum_c Bn^2;
    - ``alpha_crossfit`` the same of the cross-fitted sums, with interval and verdict against 1;
    - ``reliability`` = the cross-fitted over the plain denominator: the share of the dense
      balances' size that is not sampling error, which is what the plain slope is attenuated by
      where the errors before and after pruning are independent. Of a denominator that is not
      above zero there is neither it nor ``alpha_crossfit``;
    - ``effective_classes`` = 1 / sum over classes of squared shares in ``denominator``, and
      ``median_effective_classes`` the median of the networks' own; ``unnamed`` counts the classes
      that no dense network of the cell ever names. ``narrow`` says, of three classes or
      more, whether fewer than ``LEAST_EFFECTIVE`` are effective (``FEW_CLASSES``), or are in the
      median (``ONE_EACH``), or else one is unnamed (``NEVER_NAMED``). ``leading_class`` has the
      largest share, ``leading_share``; where a class is never named, of those the largest. Of two
      classes the shares are those of their supports, and the slope is the ratio of one gap, after
      to before;
    - ``unstable`` counts the replicates whose cross-fitted denominator is not ``DISTINGUISHABLE``
      standard errors above zero; with none, slopes of single networks can be trusted
      (``interpret``).

    A cell with a replicate that has no finite value has NaN, and ``note`` says why: leaving the
    replicate out would pick among the outcomes.

    Raises ``TableError`` on a missing column, rows that occur twice, rows of ``networks`` that the
    recalls lack, a senseless level.
    """
    require_level(level)
    of_class = ["class", "class_name", "support", "predicted", "recall", "accuracy",
                "normalized_balance"]  # fmt: skip
    require_columns(recall, [*NETWORK, *of_class], "the recall table")
    require_columns(networks, [*NETWORK, *_CROSSFIT], "the networks table")
    require_unique(recall, [*NETWORK, "class"], "the recall table")
    used = compared(networks).astype({"ratio": float})
    require_unique(used, NETWORK, "the networks table")
    recalls = dict(list(recall.astype({"ratio": float}).groupby(PANEL, sort=False)))
    if lost := [key for key in used.groupby(PANEL, sort=False).groups if key not in recalls]:
        raise TableError(f"the recall table has no rows of {lost[0][1]} on {lost[0][0]}")
    rows: list[dict[str, Any]] = []
    for key, group in used.groupby(PANEL, sort=False):
        sums = _sums(recalls[key], group[[*NETWORK, *_CROSSFIT]])
        rows += _cells(sums, _dense_classes(recalls[key]), level)
    return pd.DataFrame(rows, columns=COLUMNS)


_CROSSFIT = ["crossfit_numerator", "crossfit_denominator"]
_OF_PANEL = NETWORK[len(PANEL) :]  # what identifies a network of a panel


def _sums(recall: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return, per row of one panel's networks, the sums over classes that slopes are made of."""
    table = recall.pivot(index=_OF_PANEL, columns="class")
    before = rows[_OF_PANEL].assign(method=DENSE, ratio=UNCOMPRESSED, state=DENSE)
    after = rows[_OF_PANEL].copy()
    reseed = rows["method"] == RESEED
    dense_seeds = recall.loc[recall["method"] == DENSE, "seed"].unique()
    partners = rows["seed"].map(dict(reseed_pairs(dense_seeds)))
    after[reseed] = before.assign(seed=partners)[reseed]
    dense = _looked_up(table, before, "recall")
    x = dense["normalized_balance"].to_numpy(float)
    y = _looked_up(table["normalized_balance"], after, "recall").to_numpy(float)
    recalls, support, accuracy = (
        dense[name].to_numpy(float) for name in ("recall", "support", "accuracy")
    )
    error = denominator_error(recalls, support, accuracy, x)
    half = rows["crossfit_denominator"].to_numpy(float)
    return rows.assign(
        product=(x * y).sum(1),
        before=(x**2).sum(1),
        after=(y**2).sum(1),
        numerator=rows["crossfit_numerator"].to_numpy(float),
        denominator=half,
        error=error,
        # Not "less than": one that is unknown, or zero without error, is not distinguishable.
        indistinct=~(half > DISTINGUISHABLE * error),
        single=support.min(1) < 2,
    )


def _dense_classes(recall: pd.DataFrame) -> pd.DataFrame:
    """Return the dense networks' squared balances and predictions: rows seeds, columns classes."""
    dense = recall[recall["method"] == DENSE]
    dense = dense.assign(square=dense["normalized_balance"] ** 2)
    names = dense.drop_duplicates("class").set_index("class")["class_name"]
    found = dense.pivot(index="seed", columns="class", values=["square", "predicted"])
    return found.rename(columns=names, level="class")


def _looked_up(table: pd.DataFrame, rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of ``table`` that have the keys ``rows``, in their order."""
    keys = list(table.index.names)
    found = table.index.get_indexer(pd.MultiIndex.from_frame(rows[keys]))
    if (found < 0).any():
        lost = rows.iloc[int(np.argmin(found))]
        described = ", ".join(f"{key}={lost[key]}" for key in keys)
        raise TableError(
            f"the {name} table has no row for {described}, which the networks table's rows need; "
            "take all tables from one study"
        )
    return table.iloc[found]


def _cells(sums: pd.DataFrame, classes: pd.DataFrame, level: float) -> list[dict[str, Any]]:
    """Return the rows of one panel's cells; those of the same seeds share a bootstrap.

    ``classes`` is what ``_dense_classes`` gives.
    """
    cells = {
        CellState(*key): group.sort_values("seed")
        for key, group in sums.groupby(CELL_STATE, sort=False)
    }
    shared: dict[tuple[int, ...], list[CellState]] = {}
    for key, group in cells.items():
        shared.setdefault(tuple(group["seed"]), []).append(key)
    found: dict[CellState, dict[str, Any]] = {}
    for keys in shared.values():
        columns = {
            name: np.column_stack([cells[key][name].to_numpy(float) for key in keys])
            for name in ("product", "before", "numerator", "denominator")
        }
        plain = bootstrap.ratio(columns["product"], columns["before"])
        crossed = bootstrap.ratio(columns["numerator"], columns["denominator"])
        ends = [*plain.interval(level), *crossed.interval(level)]
        for i, key in enumerate(keys):
            values = (plain.estimate[i], crossed.estimate[i], *(end[i] for end in ends))
            weights = _weights(classes.loc[cells[key]["seed"]])
            found[key] = _row(cells[key], weights, level, *map(float, values))
    families = Counter(key._replace(ratio=0) for key in cells)
    return [
        {
            **key._asdict(),
            "family_size": families[key._replace(ratio=0)],
            **found[key],
        }
        for key in cells
    ]


def _weights(classes: pd.DataFrame) -> dict[str, Any]:
    """Return what the classes of a cell weigh in its slope, from those of its dense networks."""
    squares = classes["square"].sum(skipna=False)
    effective = float(effective_classes(squares.to_numpy(float)))
    own = effective_classes(classes["square"].to_numpy(float))
    own = own[np.isfinite(own)]  # a network without balances has no slope that a class could carry
    each = float(np.median(own)) if len(own) else np.nan
    unnamed = (classes["predicted"] == 0).all().to_numpy()
    known = bool(np.isfinite(effective))
    narrow = ""
    if known and len(squares) > 2:
        if below(effective, LEAST_EFFECTIVE):
            narrow = FEW_CLASSES
        elif below(each, LEAST_EFFECTIVE):
            narrow = ONE_EACH
        elif unnamed.any():
            narrow = NEVER_NAMED
    weights = squares.where(unnamed, -1) if narrow == NEVER_NAMED else squares
    leading = int(weights.to_numpy().argmax()) if known else 0
    return {
        "effective_classes": effective,
        "median_effective_classes": each,
        "leading_index": leading if known else "",
        "leading_class": squares.index[leading] if known else "",
        "leading_share": float(squares.iloc[leading] / squares.sum()) if known else np.nan,
        "unnamed": int(unnamed.sum()),
        "narrow": narrow,
    }


def _row(
    cell: pd.DataFrame,
    weights: dict[str, Any],
    level: float,
    alpha: float,
    alpha_crossfit: float,
    low: float,
    high: float,
    crossfit_low: float,
    crossfit_high: float,
) -> dict[str, Any]:
    n = len(cell)
    product, before, after, half = (
        cell[name].sum(skipna=False) for name in ("product", "before", "after", "denominator")
    )
    distinct = bool(half > DISTINGUISHABLE * np.sqrt((cell["error"] ** 2).sum()))
    crossfit_end = crossfit_low
    telling = int((cell["before"] > 0).sum())
    if not distinct or telling < bootstrap.LEAST_REPLICATES:
        crossfit_low = crossfit_high = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.float64(product) ** 2 / (before * after)
        reliability = np.float64(half) / before if half > 0 else np.nan
    unstable = int(cell["indistinct"].sum())
    return {
        "n": n,
        "alpha": alpha,
        "low": low,
        "high": high,
        "r2": float(r2),
        "alpha_crossfit": alpha_crossfit,
        "crossfit_low": crossfit_low,
        "crossfit_high": crossfit_high,
        "crossfit_verdict": verdict(crossfit_low, crossfit_high),
        "level": level,
        "denominator": before / n,
        "reliability": float(reliability),
        "unstable": unstable,
        "interpret": POOLED_ALONE if unstable else PER_NETWORK,
        **weights,
        "note": joined(
            _note(
                cell, half, distinct, ended=[bool(np.isfinite(end)) for end in (low, crossfit_end)]
            ),
            narrow_note(weights),
        ),
    }


def narrow_note(row: Mapping[str, Any]) -> str:
    """Return what a row of the pooled table notes of a slope that rests on few classes."""
    unnamed, name, share = int(row["unnamed"]), row["leading_class"], 100 * row["leading_share"]
    classes = "a class is" if unnamed == 1 else f"{unnamed} classes are"
    also = f", and {classes} never predicted by a dense network" if unnamed else ""
    return {
        "": "",
        FEW_CLASSES: NARROW.format(name, share, also),
        ONE_EACH: NARROW_EACH.format(also),
        NEVER_NAMED: UNNAMED.format(name, share),
    }[row["narrow"]]


def _note(cell: pd.DataFrame, half: float, distinct: bool, ended: list[bool]) -> str:
    """Return what is missing and why.

    ``half`` is the pooled cross-fitted denominator, ``distinct`` whether it can be told from zero,
    ``ended`` whether the draws gave the plain and the cross-fitted interval their ends.
    """
    n, unstable = len(cell), int(cell["indistinct"].sum())
    unbalanced = int((~np.isfinite(cell["product"])).sum())
    uncrossed = int((~np.isfinite(cell["numerator"] + cell["denominator"])).sum())
    flat = not cell["before"].any()
    known = half > 0 and not (unbalanced or uncrossed or flat or cell["single"].any())
    notes = []
    if unbalanced:
        notes.append(NO_BALANCE.format(unbalanced, n))
    elif flat:
        notes.append(NO_SPREAD)
    if cell["single"].any():
        notes.append(NO_HALVES)
    elif uncrossed > unbalanced:
        notes.append(NO_CROSSFIT.format(uncrossed, n))
    if unstable and not uncrossed:
        notes.append(INDISTINCT.format(unstable, n))
        if not distinct:
            notes.append(INDISTINCT_SUM if half > 0 or flat else NOT_ABOVE_ZERO)
    if n < bootstrap.LEAST_REPLICATES:
        notes.append(FEW)
    elif (cell["before"] > 0).sum() < bootstrap.LEAST_REPLICATES and not (unbalanced or flat):
        notes.append(FEW_TELLING)
    elif known and not all(ended):
        which = "" if not any(ended) else "cross-fitted " if ended[0] else "plain "
        sums = cell[["before", "denominator"]].to_numpy(float)
        few = bootstrap.effective_replicates(sums) < bootstrap.LEAST_EFFECTIVE
        carried = any(few[i] and not ended[i] for i in range(2))
        notes.append((FEW_CARRY if carried else NO_END).format(which))
    return joined(*notes)
