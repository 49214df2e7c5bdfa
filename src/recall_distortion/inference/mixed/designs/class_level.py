"""The class-level mixed models of one panel.

Each class's normalized recall balance after retraining is explained by the same replicate's balance
before, with a slope per cell (method and ratio; the control is a cell like the others) and no
intercept. In lme4's words::

    after ~ 0 + before:cell + (0 + before | seed) + (0 + before | seed_cell) + (0 + before | class)

A slope above 1 is intensification, below 1 de-intensification, as for alpha. The random slopes
say which rows belong together: replicates differ (seed), one compressed network's classes change
together (seed within cell), and a class may react alike everywhere (class). Without the second,
the contrasts between methods would rest on the thousands of rows instead of on the replicates.
With the third, the standard errors hold for other classes too; the bootstrap, like the paper's
E[alpha], takes the classes as given, so its standard errors can be the smaller.

That model, ``class_level``, has one residual variance. Heavy compression scatters the classes
hundreds of times more widely than light compression, and then the noise of the heaviest cell
becomes that of all. ``class_level_scaled`` divides ``after`` by its cell's scale: the residual
standard deviation of the cell's rows about each replicate's own slope. Its slopes and standard
errors are multiplied back. It is the model in which every variance component of a cell is
proportional to the cell's scale, which ``spread`` checks; the scales are taken as known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.inference.mixed.designs.class_rows import (
    NOT_FINITE,
    ROW_COLUMNS,
    described,
    design,
)
from recall_distortion.inference.mixed.designs.identifiability import not_identifiable
from recall_distortion.inference.mixed.model import EXACT, MixedModel, RandomTerm, terms_table
from recall_distortion.tables.files import require_columns
from recall_distortion.vocabulary import CELL, Panel

_RANDOM = "(0 + before | seed) + (0 + before | seed_cell) + (0 + before | class)"
FORMULA = f"after ~ 0 + before:cell + {_RANDOM}"
SCALED_FORMULA = f"after / scale ~ 0 + before:cell + {_RANDOM}"

# Terms of the random effects, and the column of the rows whose levels each one belongs to.
RANDOM_TERMS = {"sd(seed)": "seed", "sd(seed:cell)": "seed_cell", "sd(class)": "class"}
VARIANCES = (
    "differences between replicates",
    "differences between the networks of a replicate",
    "differences between classes",
)

# Replicates from which the cells' standard deviations between replicates are compared. Among dozens
# of cells with fewer, the extreme ones differ threefold by chance: the 1 and 99 % points of the chi
# distribution differ 2.5-fold with 14 degrees of freedom and 3.2-fold with 9.
LEAST_REPLICATES = 15


def class_level(recall: pd.DataFrame, panel: Panel) -> list[MixedModel]:
    """Return the models ``class_level`` and ``class_level_scaled`` of a panel.

    What cannot be estimated is not an error: the model says why. Raises as ``design`` does.
    """
    rows, notes = design(recall, panel)
    where = "/".join(panel)
    plain = of_rows(f"class_level/{where}", rows, notes)
    scaled = f"class_level_scaled/{where}"
    if plain.reason:
        return [plain, of_rows(scaled, rows, notes, scale=pd.Series(dtype=float))]
    scale = scales(rows)
    flat = scale.index[scale == 0]
    without = [
        f"left out {described(rows, cell)}: its replicates' own slopes leave no residual"
        for cell in flat
    ]
    kept = rows[~rows["cell"].isin(flat)].reset_index(drop=True)
    return [plain, of_rows(scaled, kept, [*notes, *without], scale=scale)]


def of_rows(
    name: str, rows: pd.DataFrame, notes: list[str] | None = None, scale: pd.Series | None = None
) -> MixedModel:
    """Return the model of a panel's ``rows`` (see ``design``), divided by their cells' ``scale``.

    ``scale`` is indexed by cell; without it the rows are taken as they are.
    """
    require_columns(rows, ROW_COLUMNS, "the model's rows")
    cells = rows.drop_duplicates("cell")
    if scale is None:
        scale, formula = pd.Series(1.0, index=cells["cell"]), FORMULA
        table = pd.DataFrame()
    else:
        scale, formula = scale.reindex(cells["cell"]), SCALED_FORMULA
        table = cells[CELL].assign(estimate=scale.to_numpy())
    reason = not_estimable(rows)
    work = rows.assign(after=rows["after"] / rows["cell"].map(scale).astype(float))
    before = rows["before"].to_numpy(dtype=float)
    position = {cell: index for index, cell in enumerate(cells["cell"])}
    fixed = np.zeros((len(rows), len(cells)))
    fixed[np.arange(len(rows)), rows["cell"].map(position).to_numpy(dtype=int)] = before
    random = tuple(
        RandomTerm(term, rows[column].to_numpy(), before) for term, column in RANDOM_TERMS.items()
    )
    reason = reason or not_identifiable(fixed, random, VARIANCES)
    return MixedModel(
        name=name,
        formula=formula,
        terms=terms_table(
            [
                {**cell, "term": "slope", "null": 1.0, "factor": factor}
                for cell, factor in zip(
                    cells[CELL].to_dict("records"),
                    scale,
                    strict=True,
                )
            ]
        ),
        response=work["after"].to_numpy(dtype=float),
        fixed=fixed,
        random=random,
        clusters=rows["seed"].to_numpy(),
        strata=np.zeros(len(rows), dtype=int),
        scales=table,
        spread=np.nan if reason else spread(work),
        notes=tuple(notes or ()),
        reason=reason,
        crossed=work,
    )


def _replicates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return cell, xx, xy, n and slope of each replicate, by ``seed_cell``."""
    x, y = rows["before"], rows["after"]
    sums = pd.DataFrame({"cell": rows["cell"], "xx": x * x, "xy": x * y, "n": 1})
    of = sums.groupby([rows["seed_cell"], "cell"], sort=False).sum().reset_index("cell")
    return of.assign(slope=(of["xy"] / of["xx"].where(of["xx"] > 0)).fillna(0.0))


def scales(rows: pd.DataFrame) -> pd.Series:
    """Return each cell's residual standard deviation about its replicates' own slopes, by cell.

    sqrt(SSE / (rows - replicates)); 0 where what is left is rounding.
    """
    of, y = _replicates(rows), rows["after"]
    left = y - rows["before"] * rows["seed_cell"].map(of["slope"])
    by_cell = rows["cell"]
    squares = (left**2).groupby(by_cell, sort=False).sum()
    total = (y**2).groupby(by_cell, sort=False).sum()
    free = (of["n"] - (of["xx"] > 0)).groupby(of["cell"], sort=False).sum()
    return np.sqrt((squares / free).where(squares > EXACT**2 * total, 0.0))


def between(rows: pd.DataFrame) -> pd.Series:
    """Return each cell's root mean square between replicates, by cell.

    sqrt(sum over replicates of xx (slope - pooled slope)^2 / (replicates - 1)): in the unit of
    ``scales``, and equal to them where replicates differ by residual noise alone.
    """
    of = _replicates(rows)
    by_cell = of.groupby("cell", sort=False)
    pooled = by_cell["xy"].transform("sum") / by_cell["xx"].transform("sum")
    squares = (of["xx"] * (of["slope"] - pooled) ** 2).groupby(of["cell"], sort=False).sum()
    return np.sqrt(squares / (by_cell.size() - 1))


def spread(rows: pd.DataFrame) -> float:
    """Return how unequal the cells are in what the model takes to be equal among them.

    The largest over the smallest of the cells' residual standard deviations about their
    replicates' own slopes, or of their root mean squares between replicates, whichever differ
    more: the scaled model's rows are alike in the first by construction, and its standard errors
    rest on the second. That one counts only where all cells have ``LEAST_REPLICATES`` replicates.
    """
    sides = [scales(rows)]
    if rows.groupby("cell")["seed"].nunique().min() >= LEAST_REPLICATES:
        sides.append(between(rows))
    with np.errstate(divide="ignore"):
        return float(max(np.divide(side.max(), side.min()) for side in sides))


def not_estimable(rows: pd.DataFrame) -> str:
    """Return why the model cannot be estimated from these rows, or an empty string."""
    if rows.empty:
        return "no retrained cell is left whose balances are all finite"
    if not np.isfinite(rows["before"]).all():
        seeds = rows.loc[~np.isfinite(rows["before"]), "seed"].nunique()
        return (
            f"{seeds} of {rows['seed'].nunique()} dense networks "
            f"{'has' if seeds == 1 else 'have'} {NOT_FINITE}"
        )
    reasons = []
    # A row whose balance before is zero has no slope: it is noise alone.
    unequal = rows[rows["before"] != 0]
    seeds, cells = unequal["seed"].nunique(), unequal["cell"].nunique()
    if seeds == 1:
        of = rows["seed"].nunique()
        one = f"only 1 of {of} dense networks recalls its classes unequally"
        one = "there is one seed" if of == 1 else one
        reasons.append(f"{one}: differences between replicates cannot be estimated")
    if cells == 1:
        reasons.append("there is one cell: slopes by seed and by seed within cell are the same")
    elif cells and unequal.groupby("seed")["cell"].nunique().max() < 2:
        reasons.append("no seed has two cells: slopes by seed and by seed within cell are the same")
    if rows["class"].nunique() < 2:
        reasons.append("there is one class, and so no recall balance")
    flat = rows.groupby("cell", sort=False)["before"].apply(
        lambda before: bool((before == 0).all())
    )
    if flat.any():
        reasons.append(
            f"the dense networks of {', '.join(flat.index[flat])} recall all classes equally: "
            "there is no balance to intensify"
        )
    if not reasons and _exact(rows):
        reasons.append(
            "the slopes of replicates and classes fit every row exactly: there is no residual"
        )
    return "; ".join(reasons)


def _exact(rows: pd.DataFrame) -> bool:
    """Return whether nothing is left after slopes by class and by replicate, but for rounding."""
    after, before = rows["after"], rows["before"]
    # A class's slope and a seed's are the same in all cells of the seed, and cancel here.
    centred = after - after.groupby([rows["seed"], rows["class"]]).transform("mean")
    sums = (centred * before).groupby(rows["seed_cell"]).transform("sum")
    squares = (before**2).groupby(rows["seed_cell"]).transform("sum")
    left = centred - before * (sums / squares.where(squares > 0)).fillna(0.0)
    return bool((left**2).sum() <= EXACT**2 * (after**2).sum())
