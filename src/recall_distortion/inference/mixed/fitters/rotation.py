"""The rows of a class-level model, rotated so that most of them fall into small groups.

statsmodels' ``MixedLM`` takes crossed random effects as variance components of one group, and
solves systems as wide as all their levels together: 1,120 for 30 seeds, 36 cells and 10 classes.
Multiplying the rows by an orthogonal matrix leaves the likelihood as it is, so the fit is the same
to rounding; at that size it took 2.5 s in place of 15 s with sparse matrices (one core).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import helmert

# Rows of noise per group. MixedLM's Hessian makes a square matrix as wide as a group without random
# effects has rows, and each group costs an evaluation of the likelihood some microseconds.
NOISE_ROWS = 500


@dataclass(frozen=True)
class Rotated:
    """Rows that fall into independent groups; ``group`` [n] says which.

    ``after`` [n]; ``fixed`` [n, cells]; ``random[term][g]`` [rows of group g, levels in group g].
    """

    group: np.ndarray
    after: np.ndarray
    fixed: np.ndarray
    random: dict[str, list[np.ndarray]]


@dataclass(frozen=True)
class _Seed:
    """One seed's rows, rotated: sums over its cells, contrasts between them, and noise.

    ``sums`` [classes of the seed] have the fixed effects ``sums_fixed``, the random slopes ``x`` of
    the seed and, per class, of ``classes``; ``cells`` is how many cells the sums are over.
    ``contrasts`` [cells - 1] have ``contrasts_fixed`` and random slopes of size ``length`` each.
    Of the other ``noise_rows`` rows only the sum of squares ``noise`` matters.
    """

    x: np.ndarray
    classes: np.ndarray
    cells: int
    sums: np.ndarray
    sums_fixed: np.ndarray
    contrasts: np.ndarray
    contrasts_fixed: np.ndarray
    length: float
    noise: float
    noise_rows: int


def rotated(rows: pd.DataFrame) -> Rotated:
    """Return the rows times an orthogonal matrix under which most of them decouple.

    A seed's ``before`` x [classes] is the same in all its m cells. Rotating its cells by Helmert's
    matrix gives, per class, one sum over cells (divided by sqrt(m)), which carries the random
    slopes of seed and class, and m - 1 contrasts between cells, in which both cancel. Rotating the
    classes of each contrast so that x becomes its first axis leaves one row with a design, and
    classes - 1 rows that are noise alone; of these only the sum of squares matters, and one of
    them carries it. The independent random slopes by seed and cell become as many independent
    ones of the same variance. So the sums form one group, each seed's contrasts a small group of
    their own, and the noise groups without random effects.

    This holds for any set of cells per seed, as long as each replicate has all of its seed's
    classes, which ``design`` ensures.
    """
    cells = {cell: position for position, cell in enumerate(dict.fromkeys(rows["cell"]))}
    classes = {label: position for position, label in enumerate(dict.fromkeys(rows["class"]))}
    seeds = [_of_seed(of_seed, cells, classes) for _, of_seed in rows.groupby("seed", sort=False)]

    noise_rows = sum(seed.noise_rows for seed in seeds)
    rest = np.zeros(noise_rows)
    rest[:1] = np.sqrt(sum(seed.noise for seed in seeds))
    noise_sizes = [len(part) for part in np.split(rest, range(NOISE_ROWS, noise_rows, NOISE_ROWS))]
    sizes = [
        sum(len(seed.sums) for seed in seeds),
        *(len(seed.contrasts) for seed in seeds),
        *noise_sizes,
    ]
    without = [np.zeros((size, 0)) for size in sizes]
    by_class, by_seed = _sums_random(seeds, len(classes))
    scale = np.sqrt(np.repeat([seed.cells for seed in seeds], [len(seed.x) for seed in seeds]))
    contrasts = [seed.length * np.eye(seed.cells - 1) for seed in seeds]
    random = {
        "sd(class)": [scale[:, None] * by_class, *without[1:]],
        "sd(seed)": [scale[:, None] * by_seed, *without[1:]],
        "sd(seed:cell)": [by_seed, *contrasts, *without[len(seeds) + 1 :]],
    }
    kept = [index for index, size in enumerate(sizes) if size]
    fixed = [*(seed.sums_fixed for seed in seeds), *(seed.contrasts_fixed for seed in seeds)]
    after = [*(seed.sums for seed in seeds), *(seed.contrasts for seed in seeds), rest]
    return Rotated(
        group=np.repeat(np.arange(len(sizes)), sizes),
        after=np.concatenate(after),
        fixed=np.vstack([*fixed, np.zeros((noise_rows, len(cells)))]),
        random={term: [of_term[index] for index in kept] for term, of_term in random.items()},
    )


def _of_seed(rows: pd.DataFrame, cells: Mapping[str, int], classes: Mapping[int, int]) -> _Seed:
    """Return a seed's rows rotated; ``cells`` and ``classes`` map each to its column."""
    after = rows.pivot(index="cell", columns="class", values="after")
    first = rows[rows["cell"] == rows["cell"].iloc[0]].set_index("class")["before"]
    x = first[after.columns].to_numpy()
    count, width = after.shape
    helmert_matrix = helmert(count, full=True)  # [count, count]; the first row is 1 / sqrt(count)
    spread = np.zeros((count, len(cells)))
    spread[:, [cells[cell] for cell in after.index]] = helmert_matrix
    mixed = helmert_matrix @ after.to_numpy()
    length = float(np.linalg.norm(x))
    along = mixed[1:] @ (x / length) if length > 0 else mixed[1:, 0]
    return _Seed(
        x=x,
        classes=np.array([classes[label] for label in after.columns]),
        cells=count,
        sums=mixed[0],
        sums_fixed=np.outer(x, spread[0]),
        contrasts=along,
        contrasts_fixed=length * spread[1:],
        length=length,
        noise=max(float((mixed[1:] ** 2).sum() - (along**2).sum()), 0.0),
        noise_rows=(count - 1) * (width - 1),
    )


def _sums_random(seeds: list[_Seed], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x of the sums' rows in the column of its class, and in that of its seed."""
    by_class, by_seed = [], []
    for index, seed in enumerate(seeds):
        rows = np.arange(len(seed.x))
        of_class, of_seed = np.zeros((len(rows), classes)), np.zeros((len(rows), len(seeds)))
        of_class[rows, seed.classes] = seed.x
        of_seed[:, index] = seed.x
        by_class.append(of_class)
        by_seed.append(of_seed)
    return np.vstack(by_class), np.vstack(by_seed)
