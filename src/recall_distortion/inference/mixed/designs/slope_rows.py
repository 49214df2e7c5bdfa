"""The slopes of compressed networks as rows of a mixed model, for ``model_level`` and ``panels``.

Every method has fixed effects of its own: a ``level`` and one per predictor. Alpha's
variance grows by orders of magnitude with the ratio, so each model has a second version whose rows
are weighted by their cell's scale, the standard deviation of the cell's slopes over replicates:
response, fixed effects and random intercepts are all divided by it, which is what ``weights = 1 /
scale^2`` does in lme4. The scales are taken as known.

The random intercepts keep alpha's unit, so that each is one of the straight lines that the fixed
effects can form. Intercepts proportional to the scale would not be: where alpha bends away from
the line, their mean takes up part of the bend, and levels shift by many standard errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from recall_distortion.inference.mixed.designs.identifiability import not_estimable
from recall_distortion.inference.mixed.model import EXACT, MixedModel, RandomTerm, terms_table
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import (
    CELL,
    NETWORK,
    PANEL,
    REFERENCE_ARMS,
    RETRAINED,
    format_ratio,
)

# What the models need of the networks table.
NETWORKS_COLUMNS = [*NETWORK, "alpha"]

LEVEL_TERM = "level"
TREND_TERM = "trend"

NO_SLOPES = "no retrained cell is left whose slopes are all finite"


@dataclass(frozen=True)
class Design:
    """A model of slopes: its rows, its predictors and its random intercepts.

    ``rows`` has ``CELL``, alpha, panel, dense_network and the columns named by ``predictors`` and
    ``random``. ``predictors`` maps terms to columns, which ``level`` and ``trend`` need not be
    among; ``random`` maps terms to the column of their levels and to what they stand for.
    ``place`` says which keys of a panel all rows share.
    """

    name: str
    formula: str
    rows: pd.DataFrame
    predictors: Mapping[str, str]
    random: Mapping[str, tuple[str, str]]
    place: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    reason: str = ""


def retrained_slopes(networks: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the slopes of networks compressed and retrained, and notes of the cells left out.

    ``networks`` has ``NETWORKS_COLUMNS`` and, if any failed, failure; these have no row here. Rows
    have ``NETWORK``, alpha, ``panel``, ``dense_network`` and ``doublings``, log2 of the ratio; the
    order is the table's. A cell with a slope that is not finite is left out whole, because leaving
    out its broken replicates would select by outcome. The notes name the panel where there are
    several.
    """
    require_columns(networks, NETWORKS_COLUMNS, "the networks table")
    require_unique(networks, NETWORK, "the networks table")
    wanted = (networks["state"] == RETRAINED) & ~networks["method"].isin(REFERENCE_ARMS)
    if "failure" in networks:
        wanted &= networks["failure"].fillna("") == ""
    rows = networks.loc[wanted, NETWORKS_COLUMNS].reset_index(drop=True)
    panel = rows[PANEL].agg("/".join, axis=1) if len(rows) else pd.Series(dtype=str)
    rows = rows.assign(panel=panel, dense_network=panel + ":" + rows["seed"].astype(str))
    finite = np.isfinite(rows["alpha"].to_numpy(dtype=float))
    several = panel.nunique() > 1
    notes, kept = [], np.ones(len(rows), dtype=bool)
    for index in rows.groupby(CELL, sort=False).indices.values():
        broken = int((~finite[index]).sum())
        if broken:
            kept[index] = False
            cell = described(rows.iloc[index[0]], several)
            notes.append(
                f"left out {cell}: {broken} of {len(index)} slopes "
                f"{'is' if broken == 1 else 'are'} not finite (an accuracy of 0, or equal recalls "
                "of all classes in the dense network)"
            )
    rows = rows[kept].reset_index(drop=True)
    return rows.assign(doublings=np.log2(rows["ratio"].to_numpy(dtype=float))), notes


def described(row: pd.Series, with_panel: bool) -> str:
    """Return a row's cell in words."""
    where = f" of {row['panel']}" if with_panel else ""
    return f"{row['method']} at ratio {format_ratio(float(row['ratio']))}{where}"


def centred(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column [n] less the mean of its distinct values, however many rows each has."""
    values: np.ndarray = rows[column].to_numpy(dtype=float)
    if len(values):
        values = values - np.unique(values).mean()
    return values


def both_versions(design: Design) -> list[MixedModel]:
    """Return a design's model of the rows as they are and the one of scaled rows.

    The second one's name has ``_scaled`` after the first part. A cell of one replicate, or whose
    slopes are all equal, has no scale and is left out of it, with a note.
    """
    first, *rest = design.name.split("/")
    name = "/".join([f"{first}_scaled", *rest])
    plain = _model(design, design.name, design.formula, None)
    formula = f"{design.formula}, weights = 1 / scale^2"
    if plain.reason:
        return [plain, _model(design, name, formula, pd.Series(1.0, design.rows.index))]
    rows, notes = design.rows, list(design.notes)
    slopes = rows.groupby(CELL, sort=False)["alpha"]
    scale = slopes.transform("std")
    largest = slopes.transform(lambda values: values.abs().max())
    kept = (scale > EXACT * largest).to_numpy()
    several = rows["panel"].nunique() > 1
    for index in rows[~kept].groupby(CELL, sort=False).indices.values():
        row = rows[~kept].iloc[index[0]]
        why = "one replicate has no scale" if len(index) == 1 else "all its slopes are equal"
        notes.append(f"left out {described(row, several)}: {why}")
    fewer = replace(design, rows=rows[kept].reset_index(drop=True), notes=notes)
    return [plain, _model(fewer, name, formula, scale[kept].reset_index(drop=True))]


def _model(design: Design, name: str, formula: str, scale: pd.Series | None) -> MixedModel:
    rows = design.rows
    terms, columns, notes = _fixed(design)
    fixed = np.column_stack(columns) if columns else np.zeros((len(rows), 0))
    divisor = np.ones(len(rows)) if scale is None else scale.to_numpy(dtype=float)
    response, fixed = rows["alpha"].to_numpy(dtype=float) / divisor, fixed / divisor[:, None]
    # Fitters search for a variance relative to the residual's, and stop short where it is orders
    # of magnitude from 1; so the intercepts' column, 1 / scale, is scaled to size 1.
    unit = float(1 / np.sqrt(np.mean(divisor**-2.0))) if len(rows) else 1.0
    intercept = unit / divisor  # one array, which fitters take for one column
    random = tuple(
        RandomTerm(term, rows[column].to_numpy(), intercept, unit)
        for term, (column, _) in design.random.items()
    )
    reason = design.reason or _not_estimable(design, response, fixed, random)
    table = pd.DataFrame()
    if scale is not None and not reason:
        table = rows.assign(estimate=divisor).drop_duplicates(CELL)[[*CELL, "estimate"]]
    return MixedModel(
        name=name,
        formula=formula,
        terms=terms_table(terms),
        response=response,
        fixed=fixed,
        random=random,
        clusters=rows["dense_network"].to_numpy(),
        strata=rows["panel"].to_numpy(),
        scales=table,
        spread=np.nan if reason else _spread(rows, response, fixed),
        notes=(*design.notes, *notes),
        reason=reason,
    )


def _fixed(design: Design) -> tuple[list[dict[str, str | float]], list[np.ndarray], list[str]]:
    """Return the terms of each method, their columns [n], and what has no trend."""
    rows = design.rows
    terms: list[dict[str, str | float]] = []
    columns, notes = [], []
    for method in dict.fromkeys(rows["method"]):
        of_method = (rows["method"] == method).to_numpy(dtype=float)
        ratios = rows.loc[rows["method"] == method, "ratio"].unique()
        place = {**design.place, "method": method}
        terms.append({**place, "term": LEVEL_TERM, "null": 1.0})
        columns.append(of_method)
        for term, column in design.predictors.items():
            if TREND_TERM in term and len(ratios) == 1:
                continue
            terms.append({**place, "term": term, "null": 0.0})
            columns.append(of_method * rows[column].to_numpy(dtype=float))
        if len(ratios) == 1:
            ratio = format_ratio(float(ratios[0]))
            notes.append(
                f"{method} has one ratio, so its level is that at {ratio} and it has no trend"
            )
    return terms, columns, notes


def _not_estimable(
    design: Design, response: np.ndarray, fixed: np.ndarray, random: Sequence[RandomTerm]
) -> str:
    rows = design.rows
    if rows.empty:
        return NO_SLOPES
    if rows["seed"].nunique() < 2:
        return "there is one seed: differences between replicates cannot be estimated"
    if rows.groupby("dense_network").size().max() < 2:
        return "no dense network was compressed twice: what its slopes share cannot be estimated"
    names = [meaning for _, meaning in design.random.values()]
    return not_estimable(response, fixed, random, names)


def _spread(rows: pd.DataFrame, response: np.ndarray, fixed: np.ndarray) -> float:
    """Return the largest over the smallest root mean square residual among cells.

    Residuals are those of least squares, so that a cell's distance from the fitted line counts as
    much as its scatter. Cells of one replicate are left out.
    """
    coefficients = np.linalg.lstsq(fixed, response, rcond=None)[0]
    squares = pd.Series((response - fixed @ coefficients) ** 2)
    by_cell = squares.groupby([rows[key] for key in CELL], sort=False).agg(["mean", "size"])
    means = by_cell.loc[by_cell["size"] > 1, "mean"]
    if means.empty:
        return np.nan
    with np.errstate(divide="ignore"):
        return float(np.sqrt(np.divide(means.max(), means.min())))
