"""Is pruning that costs more accuracy at once better in the end, and does it intensify less?

Accuracy and alpha beyond the control are regressed on instability over the pruned networks of a
panel at one ratio, and at all ratios together: on the mean of each arm (a method at a ratio) and on
the deviations from it, which need not have the same slope (Mundlak, 1978, Econometrica 46). To have
no error in common, instability is of one half of the test images and the outcome of the other, then
the halves are exchanged and both slopes averaged. Kendall's tau is as Bartoldson et al. (2020,
arXiv 1906.03728) take it: over single networks as if each were independent, on the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from recall_distortion.inference.notes import joined
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, require_level
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.tables.stability import FALLS, OUTCOMES, RISES
from recall_distortion.vocabulary import (
    ALL_CLASSES,
    CELL_STATE,
    COMPRESSED,
    CONTROL,
    CONTROL_REWIND_RATE,
    INCONCLUSIVE,
    NETWORK,
    PANEL,
    REFERENCE_ARMS,
    RETRAINED,
    CellState,
)

#: What stands for the method of a row over all of them.
EVERY = ALL_CLASSES
LEAST_SEEDS = 3  # leaving one out must leave deviations
_HALVES = ("even", "odd")
_ENDS = ("", "_low", "_high", "_error", "_p", "_verdict")
COLUMNS = [
    *CELL_STATE, "arms", "n", "df", "level", "note",
    *(f"{y}_{name}{end}" for y in OUTCOMES for name in ("between", "within") for end in _ENDS),
    *(f"{y}_{name}" for y in OUTCOMES for name in
      ("tau", "tau_low", "tau_high", "tau_p", "tau_note", "tau_arms", "tau_arms_p")),
]  # fmt: skip
NO_HALVES = "halves of the test images need predictions of this version: no slopes"
DEPENDENT = "p takes networks of one arm as independent, as published; the interval is over seeds"


class _Jackknifed(NamedTuple):
    estimate: float
    low: float
    high: float
    std_error: float
    p: float


def jackknife(statistic: Callable[[np.ndarray], float], n: int, level: float) -> _Jackknifed:
    """Return a statistic of n seeds with the t interval of its delete-one jackknife.

    ``statistic`` maps the places of seeds to a number. With n clusters this is the cautious
    covariance CV3 of MacKinnon, Nielsen and Webb (2023, Journal of Econometrics 232), with n - 1
    degrees of freedom; below ``LEAST_SEEDS`` there is no interval.
    """
    every = np.arange(n)
    whole = statistic(every)
    if n < LEAST_SEEDS or not np.isfinite(whole):
        return _Jackknifed(whole, *[np.nan] * 4)
    left = np.array([statistic(np.delete(every, i)) for i in every])
    error = float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p = float(2 * stats.t.sf(np.abs(np.divide(whole, error)), n - 1))
    return _Jackknifed(whole, whole - half, whole + half, error, p)


def between(x: np.ndarray, y: np.ndarray) -> float:
    """Return the slope of the arms' mean outcomes on their mean exposures, of values [A, n]."""
    means = x.mean(1) - x.mean()
    return _quotient((means * y.mean(1)).sum(), (means**2).sum())


def within(x: np.ndarray, y: np.ndarray) -> float:
    """Return the slope of outcomes on deviations from the arms' mean exposures, of [A, n]."""
    deviations = x - x.mean(1, keepdims=True)
    return _quotient((deviations * y).sum(), (deviations**2).sum())


def _quotient(numerator: float, denominator: float) -> float:
    # What rounding leaves of equal exposures is no spread.
    return float(numerator / denominator) if denominator > 1e-20 else float("nan")


def exchanged(
    slope: Callable[[np.ndarray, np.ndarray], float], x: np.ndarray, y: np.ndarray
) -> float:
    """Return the mean of the slopes of either half's outcome on the other's exposure, [2, A, n]."""
    return (slope(x[0], y[1]) + slope(x[1], y[0])) / 2


def instability(networks: pd.DataFrame, level: float = PAPER_LEVEL) -> pd.DataFrame:
    """Return what instability says of accuracy and alpha, by panel and ratio.

    ``networks`` is the table of that name. A row is of all pruned and retrained networks of a panel
    at a ratio, or, without one, at all ratios, the method ``all``. ``n`` networks make up ``arms``;
    of an arm those seeds count that all arms of the row and their controls have, ``df`` + 1 of
    them. Where an earlier version wrote the table, instability is that of one shot, and there are
    no halves to take slopes of. Raises ``TableError`` on a missing column or a repeated network.
    """
    require_level(level)
    require_columns(networks, [*NETWORK, "accuracy", "accuracy_before", "alpha"], "networks")
    used = compared(networks).astype({"ratio": float})
    require_unique(used, NETWORK, "the networks table")
    arms = list(_arms(used, Controls.of(networks)))
    rows = []
    for panel, _ in used.groupby(PANEL, sort=False):
        own = [arm for arm in arms if tuple(arm[0].panel) == panel]
        ratios = sorted({cell.ratio for cell, _ in own})
        for ratio in [*ratios, np.nan] if len(ratios) > 1 else ratios:
            chosen = [table for cell, table in own if ratio in (cell.ratio,) or np.isnan(ratio)]
            place = dict(zip(CELL_STATE, (*panel, EVERY, ratio, RETRAINED), strict=True))
            rows.append(place | _row(chosen, level))
    words = [name for name in COLUMNS if name.endswith(("_verdict", "note"))]
    found = pd.DataFrame(rows, columns=COLUMNS)
    return found.astype(dict.fromkeys(words, object)).fillna(dict.fromkeys(words, ""))


def _arms(networks: pd.DataFrame, controls: Controls) -> Iterator[tuple[CellState, pd.DataFrame]]:
    """Yield each pruned cell with its networks by seed; halves' outcomes are over the control's."""
    table = _with_instability(networks, controls)
    cells = {
        CellState(*key): own.set_index("seed")
        for key, own in table[table["state"] == RETRAINED].groupby(CELL_STATE, sort=False)
    }
    for cell, own in cells.items():
        control = cells.get(controls.cell(cell))
        if cell.method in REFERENCE_ARMS or control is None or own["instability"].isna().all():
            continue
        found = own[[name for name in own if name.startswith(("instability", *OUTCOMES))]].copy()
        for outcome in OUTCOMES:
            for half in _HALVES:
                name = f"{outcome}_{half}"
                if name in own:
                    found[name] = own[name] - control[name]
        yield cell, found.loc[found.index.intersection(control.index)]


def _with_instability(networks: pd.DataFrame, controls: Controls) -> pd.DataFrame:
    """Return networks with instability; that of one shot where no column has it."""
    if "instability" in networks and networks["instability"].notna().any():
        return networks
    shot = networks[networks["state"] == COMPRESSED]
    shot = shot[shot["method"].map(controls.arm).isin((CONTROL, CONTROL_REWIND_RATE))]
    cost = (shot["accuracy_before"] - shot["accuracy"]) / shot["accuracy_before"]
    key = [name for name in NETWORK if name != "state"]
    found = shot[key].assign(instability=cost).drop_duplicates(key)
    return networks.drop(columns="instability", errors="ignore").merge(found, on=key, how="left")


def _row(arms: Sequence[pd.DataFrame], level: float) -> dict[str, Any]:
    columns = ["instability", *OUTCOMES]
    halves = [f"{name}_{half}" for name in columns for half in _HALVES]
    has_halves = all(set(halves) <= set(arm) and arm[halves[0]].notna().any() for arm in arms)
    known = [arm[[*columns, *(halves if has_halves else [])]].dropna() for arm in arms]
    known = [arm for arm in known if len(arm) > 1]
    if not known:
        return {"n": 0, "level": level, "note": "no arm has two seeds with an outcome"}
    seeds = known[0].index
    for arm in known[1:]:
        seeds = seeds.intersection(arm.index)
    gone, lost = len(arms) - len(known), max(len(arm) for arm in arms) - len(seeds)
    notes = [
        f"{gone} arms without an outcome are left out" if gone else "",
        f"{lost} seeds that not all arms have are left out" if lost else "",
        "" if has_halves else NO_HALVES,
        "" if len(seeds) > 1 else "fewer than two seeds",
    ]
    row: dict[str, Any] = {
        "arms": len(known), "n": len(known) * len(seeds), "df": max(len(seeds) - 1, 0),
        "level": level, "note": joined(*notes),
    }  # fmt: skip
    if len(seeds) < 2:
        return row | {"arms": np.nan}
    values = {name: np.array([arm.loc[seeds, name] for arm in known]) for name in known[0].columns}
    for outcome in OUTCOMES:
        if has_halves:
            row |= _slopes(values, outcome, level)
        row |= _taus(values["instability"], values[outcome], outcome, level)
    # Said of what is over arms alone; elsewhere n is of networks.
    if not any(np.isfinite(row.get(f"{outcome}_tau_arms", np.nan)) for outcome in OUTCOMES):
        row["arms"] = np.nan
    return row


def _slopes(values: Mapping[str, np.ndarray], outcome: str, level: float) -> dict[str, Any]:
    x, y = (
        np.stack([values[f"{name}_{half}"] for half in _HALVES])
        for name in ("instability", outcome)
    )
    row: dict[str, Any] = {}
    for name, slope in (("between", between), ("within", within)):
        if name == "between" and x.shape[1] < 2:
            continue  # one arm has nothing to lie between

        def of_seeds(
            chosen: np.ndarray, slope: Callable[[np.ndarray, np.ndarray], float] = slope
        ) -> float:
            return exchanged(slope, x[..., chosen], y[..., chosen])

        found = jackknife(of_seeds, x.shape[2], level)
        numbers = dict(zip(_ENDS, (*found, _verdict(found)), strict=True))
        row |= {f"{outcome}_{name}{end}": value for end, value in numbers.items()}
    return row


def _verdict(found: _Jackknifed) -> str:
    if not np.isfinite([found.low, found.high]).all():
        return ""
    if found.low > 0:
        return RISES
    return FALLS if found.high < 0 else INCONCLUSIVE


def _taus(x: np.ndarray, y: np.ndarray, outcome: str, level: float) -> dict[str, Any]:
    """Return Kendall's tau over networks [A, n] and over the means of the arms."""
    over_networks = stats.kendalltau(x.ravel(), y.ravel())
    found = jackknife(
        lambda seeds: float(stats.kendalltau(x[:, seeds].ravel(), y[:, seeds].ravel()).statistic),
        x.shape[1],
        level,
    )
    # Of few seeds the interval by t would go on beyond what tau can be.
    low, high = np.clip([found.low, found.high], -1, 1)
    row = {
        "tau": found.estimate, "tau_low": float(low), "tau_high": float(high),
        "tau_p": float(over_networks.pvalue), "tau_note": DEPENDENT,
    }  # fmt: skip
    if len(x) > 2:
        over_arms = stats.kendalltau(x.mean(1), y.mean(1))
        row |= {
            "tau_arms": float(over_arms.statistic), "tau_arms_p": float(over_arms.pvalue),
        }  # fmt: skip
    return {f"{outcome}_{name}": value for name, value in row.items()}
