"""The rows of a class-level model, turned so that most of them fall into small groups.

statsmodels' ``MixedLM`` takes crossed random effects as variance components of one group, and
solves systems as wide as all their levels together: 1,120 for 30 seeds, 36 cells and 10 classes.
Turning the rows by an orthogonal matrix leaves the likelihood as it is, so the fit is the same to
rounding; at that size it took 2.5 s in place of 15 s with sparse matrices (one core).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import helmert

# Rows of noise per group. MixedLM's Hessian makes a square matrix as wide as a group without random
# effects has rows, and each group costs an evaluation of the likelihood some microseconds.
NOISE_ROWS = 500


@dataclass(frozen=True)
class Rotated:
    """Rows turned so that they fall into independent groups; ``group`` [n] says which.

    ``after`` [n]; ``fixed`` [n, cells]; ``random[term][g]`` [rows of group g, levels in group g].
    """

    group: np.ndarray
    after: np.ndarray
    fixed: np.ndarray
    random: dict[str, list[np.ndarray]]


def rotated(rows: pd.DataFrame) -> Rotated:
    """Return the rows times an orthogonal matrix under which most of them decouple.

    A seed's ``before`` x [classes] is the same in all its m cells. Turning its cells by Helmert's
    matrix gives, per class, one sum over cells (divided by sqrt(m)), which carries the random
    slopes of seed and class, and m - 1 contrasts between cells, in which both cancel. Turning the
    classes of each contrast so that x becomes its first axis leaves one row with a design, and
    classes - 1 rows that are noise alone; of these only the sum of squares matters, and one of
    them carries it. The independent random slopes by seed and cell turn into as many independent
    ones of the same variance. So the sums form one group, each seed's contrasts a small group of
    their own, and the noise groups without random effects.

    This holds for any set of cells per seed, as long as each replicate has all of its seed's
    classes, which ``design`` ensures.
    """
    cells = {cell: position for position, cell in enumerate(dict.fromkeys(rows["cell"]))}
    classes = {label: position for position, label in enumerate(dict.fromkeys(rows["class"]))}
    by_seed = list(rows.groupby("seed", sort=False))
    noise = 0.0
    noise_rows = 0
    sums: list[np.ndarray] = []
    sums_fixed, sums_seed, sums_cell, sums_class = [], [], [], []
    contrasts, contrasts_fixed, contrasts_cell = [], [], []
    for index, (_, of_seed) in enumerate(by_seed):
        after = of_seed.pivot(index="cell", columns="class", values="after")
        first = of_seed[of_seed["cell"] == of_seed["cell"].iloc[0]].set_index("class")["before"]
        x = first[after.columns].to_numpy()
        y = after.to_numpy()
        count, width = y.shape
        place = [cells[cell] for cell in after.index]
        turn = helmert(count, full=True)  # [count, count], its first row the sum over sqrt(count)
        spread = np.zeros((count, len(cells)))
        spread[:, place] = turn
        turned = turn @ y

        sums.append(turned[0])
        sums_fixed.append(np.outer(x, spread[0]))
        one_seed = np.zeros((width, len(by_seed)))
        one_seed[:, index] = x
        sums_cell.append(one_seed)
        sums_seed.append(np.sqrt(count) * one_seed)
        one_class = np.zeros((width, len(classes)))
        one_class[np.arange(width), [classes[label] for label in after.columns]] = x
        sums_class.append(np.sqrt(count) * one_class)

        length = float(np.linalg.norm(x))
        along = turned[1:] @ (x / length) if length > 0 else turned[1:, 0]
        contrasts.append(along)
        contrasts_fixed.append(length * spread[1:])
        contrasts_cell.append(length * np.eye(count - 1))
        noise += max(float((turned[1:] ** 2).sum() - (along**2).sum()), 0.0)
        noise_rows += (count - 1) * (width - 1)

    rest = np.zeros(noise_rows)
    rest[:1] = np.sqrt(noise)
    noise_sizes = [len(part) for part in np.split(rest, range(NOISE_ROWS, noise_rows, NOISE_ROWS))]
    sizes = [sum(map(len, sums)), *map(len, contrasts), *noise_sizes]
    without = [np.zeros((size, 0)) for size in sizes]
    after_first = len(contrasts) + 1
    random = {
        "sd(class)": [np.vstack(sums_class), *without[1:]],
        "sd(seed)": [np.vstack(sums_seed), *without[1:]],
        "sd(seed:cell)": [np.vstack(sums_cell), *contrasts_cell, *without[after_first:]],
    }
    kept = [index for index, size in enumerate(sizes) if size]
    return Rotated(
        group=np.repeat(np.arange(len(sizes)), sizes),
        after=np.concatenate([*sums, *contrasts, rest]),
        fixed=np.vstack([*sums_fixed, *contrasts_fixed, np.zeros((noise_rows, len(cells)))]),
        random={term: [of_term[index] for index in kept] for term, of_term in random.items()},
    )
