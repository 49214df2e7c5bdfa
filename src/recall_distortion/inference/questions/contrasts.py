"""The paper's four questions about slopes, and two more, as t-tests (paper, sections 6.2, 7).

Each question compares two levels, ``left`` and ``right``, of fine-tuned slopes; the estimate is
always mean(left) - mean(right) and ``alternative`` is what the test tries to show about it, in
scipy's words.

============ ================================ ======================= =========== =================
question     pairs (left, right)              claim                   alternative test
============ ================================ ======================= =========== =================
ratio        consecutive ratios (low, high)   the high intensifies    less        paired by seed
architecture consecutive depths (small, deep) the small intensifies   greater     Welch
dataset      (easy, hard)                     the hard intensifies    less        Welch
method       all pairs of methods             they differ             two-sided   paired by seed
control      (method, control)                they differ             two-sided   paired by seed
recipe       all pairs of recipes             they differ             two-sided   paired by seed
============ ================================ ======================= =========== =================

The column that a question varies is empty in its rows, because left and right name its levels.
Ratios and methods are compared by their slopes as they are where both sides are read against one
control. Where they are not (in rounds, rewound, pruned while trained, by two recipes), the
trainings alone move slopes apart, so that each side is what it is beyond its own control.
The first four are the paper's, and the control, being no pruning method, is in none of them. The
other two are what the paper did not ask: whether a pruned and fine-tuned network's slope differs
from that of the same dense network fine-tuned without pruning (method ``control``, ratio 1), and,
where a study has several recipes for a network, whether what a method does depends on the recipe,
and whether the control's slope does. All other questions compare within a recipe there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NO_OWN_CONTROL, TRAINED_APART, joined
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics.ttests import Row, independent_test, paired_test
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.tables.study import within_recipes
from recall_distortion.vocabulary import (
    CELL,
    CONTROL,
    CONTROLS,
    DENSE,
    NETWORK,
    PANEL,
    REFERENCE_ARMS,
    RETRAINED,
    format_ratio,
)

# (easier, harder), as the paper pairs them (section 7); it pairs no other of its data sets.
PAPER_DATASETS = (("mnist", "cifar10"), ("fashion_mnist", "cifar10"), ("cifar10", "cifar100"))

# A table column of the paper, over whose rows a question's p values are adjusted; for the control
# it is the ratios of a method, as for the intervals.
ADJUSTED_WITHIN = {
    "ratio": ["dataset", "architecture", "method"],
    "architecture": ["dataset", "method", "ratio"],
    "dataset": ["method", "ratio"],
    "method": ["dataset", "architecture", "ratio"],
    CONTROL: ["dataset", "architecture", "left"],
    "recipe": ["dataset", "architecture", "method"],
}

# Data set, architecture, method, ratio: what is compared at once has a recipe for each network.
Cell = tuple[str, str, str, float]

Architectures = Mapping[str, tuple[str, int]]  # family and depth by name


def tests(
    networks: pd.DataFrame,
    architectures: Architectures,
) -> pd.DataFrame:
    """Return the six questions wherever the study has two levels to compare.

    ``networks`` has the columns of ``NETWORK``, accuracy and alpha, of which the state
    ``retrained`` is used. The result has the columns of the table of tests; the module says what
    each question compares and how the sign of ``estimate`` reads. A comparison that cannot be
    tested (fewer than two replicates, or a slope that is not finite) keeps its row with NaN, and
    ``note`` says why; it also says where seeds of one side only made no pair.

    Where a network has several recipes, each question but the last is asked within each recipe.
    Architectures are compared within the family that ``architectures`` gives, in the order of their
    depths; those that it does not name are not compared. Data sets are compared in the paper's
    three pairs; every other data set is placed among the rest of the study by its mean dense error
    and compared with its neighbours. A pair of data sets is compared on every architecture that
    both have for a method; where there is none, as between LeNet on MNIST and ResNets on CIFAR-10,
    on each one's architecture with the most methods, the deepest of those, which under the paper's
    plan is ResNet-56; left and right then read ``dataset/architecture``.

    ``p_adjusted`` is p times the number of rows in its column of the paper's tables, at most 1: a
    column is one data set, architecture and method in the questions of ratio and control, and one
    ratio of what is held fixed in the others. ``family`` names it. Rows without a p count.
    """
    require_columns(networks, [*NETWORK, "accuracy", "alpha"], "the networks table")
    used = compared(networks)
    used = used[used["state"] == RETRAINED]
    require_unique(used, NETWORK, "the networks table")
    parts = [
        _adjusted(_within(own, used[used["recipe"].isin(own["recipe"])], architectures), recipe)
        for recipe, own in within_recipes(networks)
    ]
    parts.append(_adjusted(_recipe_rows(used, Controls.of(networks)), ""))
    table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    order = table["question"].map(list(ADJUSTED_WITHIN).index).sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _within(
    networks: pd.DataFrame, used: pd.DataFrame, architectures: Architectures
) -> Iterator[Row]:
    """Yield the rows of the questions that compare networks of one recipe, or of one each.

    ``used`` are those to compare. A row has the recipe that its two sides share.
    """
    slopes: dict[Cell, pd.Series] = {
        (dataset, architecture, method, float(ratio)): group.set_index("seed")["alpha"]
        for (dataset, architecture, _, method, ratio), group in used.groupby(CELL, sort=False)
    }
    cells = {cell: values for cell, values in slopes.items() if cell[2] not in REFERENCE_ARMS}
    controls = {cell: values for cell, values in slopes.items() if cell[2] in CONTROLS}
    recipes = used.drop_duplicates(PANEL).set_index(["dataset", "architecture"])["recipe"]
    arms = Controls.of(networks)
    for row in (
        *_ratio_rows(cells, controls, arms),
        *_architecture_rows(cells, architectures),
        *_dataset_rows(cells, _dense_errors(networks), architectures),
        *_method_rows(cells, controls, arms),
        *_control_rows(cells, controls, arms),
    ):
        shared = {recipes[network] for network in _networks(row)}
        yield row | {"recipe": shared.pop() if len(shared) == 1 else None}


def _networks(row: Row) -> Iterator[tuple[str, str]]:
    """Yield data set and architecture of both sides of a row."""
    for side in (row["left"], row["right"]):
        dataset, architecture = row["dataset"], row["architecture"]
        if row["question"] == "dataset":
            dataset, _, own = side.partition("/")
            architecture = own or architecture
        elif row["question"] == "architecture":
            architecture = side
        yield dataset, architecture


def _recipe_rows(used: pd.DataFrame, arms: Controls) -> Iterator[Row]:
    keys = [key for key in CELL if key != "recipe"]
    slopes: dict[Cell, pd.Series] = {
        (dataset, f"{architecture}/{recipe}", method, float(ratio)): own.set_index("seed")["alpha"]
        for (dataset, architecture, recipe, method, ratio), own in used.groupby(CELL, sort=False)
    }
    controls = {cell: values for cell, values in slopes.items() if cell[2] in CONTROLS}
    compared_arms = used[~used["method"].isin(set(REFERENCE_ARMS) - set(CONTROLS))]
    for cell, rows in compared_arms.groupby(keys, sort=False):
        for left, right in itertools.combinations(rows["recipe"].unique(), 2):
            one, other = ((cell[0], f"{cell[1]}/{own}", *cell[2:]) for own in (left, right))
            if cell[2] in CONTROLS:
                found = paired_test(slopes[one], slopes[other], "two-sided")
            else:
                found = _paired(one, other, "two-sided", slopes, controls, arms)
            yield _row("recipe", left, right, found, **dict(zip(keys, cell, strict=True)))


def _adjusted(rows: Iterable[Row], recipe: str) -> pd.DataFrame:
    """Return the rows with p values adjusted within the columns of the paper's tables.

    ``recipe`` is the one that all rows' networks share, if they do: families are named by it.
    """
    table = pd.DataFrame(list(rows), columns=COLUMNS["tests"]).astype(
        {"ratio": float, "p": float, "p_adjusted": float, "adjustment": object, "family": object}
    )
    for question, within in ADJUSTED_WITHIN.items():
        chosen = table["question"] == question
        for members in table[chosen].groupby(within, dropna=False, sort=False).indices.values():
            rows_of_family = table.index[chosen][members]
            first = table.loc[rows_of_family[0]]
            table.loc[rows_of_family, "p_adjusted"] = (
                table.loc[rows_of_family, "p"] * len(members)
            ).clip(upper=1)
            table.loc[rows_of_family, "adjustment"] = f"bonferroni over {len(members)}"
            table.loc[rows_of_family, "family"] = _family(question, first[within], recipe)
    return table


def _family(question: str, held: pd.Series, recipe: str) -> str:
    """Return the name of a table column, such as ``method: cifar10/resnet56/usual/ratio 10``."""
    networks = [held[name] for name in ("dataset", "architecture") if name in held]
    others = [
        f"ratio {format_ratio(value)}" if name == "ratio" else value
        for name, value in held.items()
        if name not in ("dataset", "architecture")
    ]
    return f"{question}: {'/'.join([*networks, *filter(None, [recipe]), *others])}"


def _distinct(cells: Sequence[Cell] | dict[Cell, Any], *positions: int) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(tuple(cell[position] for position in positions) for cell in cells))


def _row(question: str, left: str, right: str, found: Row, **held: Any) -> Row:
    fixed = {**dict.fromkeys([*PANEL, "method"]), "ratio": np.nan, **held}
    return {"question": question, **fixed, "left": left, "right": right, **found}


def _paired(
    left: Cell,
    right: Cell,
    alternative: str,
    cells: Mapping[Cell, pd.Series],
    controls: Mapping[Cell, pd.Series],
    arms: Controls,
) -> Row:
    """Return the paired test of two cells' slopes, less their controls' where these are two."""
    own, other = ((*cell[:2], *arms.at(*cell[2:])) for cell in (left, right))
    if own == other:
        return paired_test(cells[left], cells[right], alternative)
    if own not in controls or other not in controls:
        nothing = paired_test(cells[left].iloc[:0], cells[right].iloc[:0], alternative)
        return nothing | {"note": NO_OWN_CONTROL}
    beyond = _less(cells[left], controls[own]), _less(cells[right], controls[other])
    found = paired_test(*beyond, alternative)
    return found | {"note": joined(TRAINED_APART, found["note"])}


def _less(slopes: pd.Series, control: pd.Series) -> pd.Series:
    shared = slopes.index.intersection(control.index)
    return slopes.loc[shared] - control.loc[shared]


def _ratio_rows(
    cells: dict[Cell, pd.Series], controls: dict[Cell, pd.Series], arms: Controls
) -> Iterator[Row]:
    for dataset, architecture, method in _distinct(cells, 0, 1, 2):
        ratios = sorted(cell[3] for cell in cells if cell[:3] == (dataset, architecture, method))
        for low, high in itertools.pairwise(ratios):
            yield _row(
                "ratio",
                format_ratio(low),
                format_ratio(high),
                _paired(
                    (dataset, architecture, method, low),
                    (dataset, architecture, method, high),
                    "less",
                    cells,
                    controls,
                    arms,
                ),
                dataset=dataset,
                architecture=architecture,
                method=method,
            )


def _architecture_rows(cells: dict[Cell, pd.Series], architectures: Architectures) -> Iterator[Row]:
    for dataset, method, ratio in _distinct(cells, 0, 2, 3):
        families: dict[str, list[str]] = {}
        for cell in cells:
            if (cell[0], *cell[2:]) == (dataset, method, ratio) and cell[1] in architectures:
                families.setdefault(architectures[cell[1]][0], []).append(cell[1])
        for names in families.values():
            for small, deep in itertools.pairwise(
                sorted(names, key=lambda name: architectures[name][1])
            ):
                yield _row(
                    "architecture",
                    small,
                    deep,
                    independent_test(
                        cells[dataset, small, method, ratio],
                        cells[dataset, deep, method, ratio],
                        "greater",
                    ),
                    dataset=dataset,
                    method=method,
                    ratio=ratio,
                )


def _dataset_rows(
    cells: dict[Cell, pd.Series], errors: dict[str, float], architectures: Architectures
) -> Iterator[Row]:
    for easy, hard in _dataset_pairs([name for (name,) in _distinct(cells, 0)], errors):
        for method, ratio in _distinct(cells, 2, 3):
            of_easy, of_hard = (
                [cell[1] for cell in cells if (cell[0], *cell[2:]) == (name, method, ratio)]
                for name in (easy, hard)
            )
            if not of_easy or not of_hard:
                continue
            for shared in [name for name in of_easy if name in of_hard]:
                left, right = cells[easy, shared, method, ratio], cells[hard, shared, method, ratio]
                yield _row(
                    "dataset",
                    easy,
                    hard,
                    independent_test(left, right, "less"),
                    architecture=shared,
                    method=method,
                    ratio=ratio,
                )
            if set(of_easy).isdisjoint(of_hard):
                first = _representative(cells, easy, of_easy, architectures)
                second = _representative(cells, hard, of_hard, architectures)
                left, right = cells[easy, first, method, ratio], cells[hard, second, method, ratio]
                yield _row(
                    "dataset",
                    f"{easy}/{first}",
                    f"{hard}/{second}",
                    independent_test(left, right, "less"),
                    method=method,
                    ratio=ratio,
                )


def _method_rows(
    cells: dict[Cell, pd.Series], controls: dict[Cell, pd.Series], arms: Controls
) -> Iterator[Row]:
    for dataset, architecture, ratio in _distinct(cells, 0, 1, 3):
        methods = [
            cell[2] for cell in cells if (*cell[:2], cell[3]) == (dataset, architecture, ratio)
        ]
        for left, right in itertools.combinations(methods, 2):
            yield _row(
                "method",
                left,
                right,
                _paired(
                    (dataset, architecture, left, ratio),
                    (dataset, architecture, right, ratio),
                    "two-sided",
                    cells,
                    controls,
                    arms,
                ),
                dataset=dataset,
                architecture=architecture,
                ratio=ratio,
            )


def _control_rows(
    cells: dict[Cell, pd.Series],
    controls: dict[Cell, pd.Series],
    arms: Controls,
) -> Iterator[Row]:
    for (dataset, architecture, method, ratio), slopes in cells.items():
        arm, at = arms.at(method, ratio)
        if (dataset, architecture, arm, at) in controls:
            yield _row(
                CONTROL,
                method,
                arm,
                paired_test(slopes, controls[dataset, architecture, arm, at], "two-sided"),
                dataset=dataset,
                architecture=architecture,
                ratio=ratio,
            )


def _representative(
    cells: dict[Cell, pd.Series],
    dataset: str,
    candidates: list[str],
    architectures: Architectures,
) -> str:
    def breadth(architecture: str) -> tuple[int, int]:
        methods = {cell[2] for cell in cells if cell[:2] == (dataset, architecture)}
        # A network without a known depth stands before those that have one.
        return len(methods), architectures.get(architecture, ("", -1))[1]

    return max(candidates, key=breadth)


def _dataset_pairs(datasets: list[str], errors: dict[str, float]) -> list[tuple[str, str]]:
    """Return (easier, harder) pairs: the paper's, then each other data set and its neighbours."""
    pairs = [pair for pair in PAPER_DATASETS if set(pair) <= set(datasets)]
    in_paper = set(itertools.chain.from_iterable(PAPER_DATASETS))
    ordered = sorted((name for name in datasets if name in errors), key=errors.__getitem__)
    for easy, hard in itertools.pairwise(ordered):
        if not {easy, hard} <= in_paper:
            pairs.append((easy, hard))
    return pairs


def _dense_errors(networks: pd.DataFrame) -> dict[str, float]:
    """Return each data set's mean dense test error, every architecture weighing the same."""
    dense = networks[networks["method"] == DENSE]
    by_architecture = 1 - dense.groupby(PANEL)["accuracy"].mean()
    errors: dict[str, float] = by_architecture.groupby("dataset").mean().dropna().to_dict()
    return errors
