"""The tables of docs/simulation.md, made from the simulation's table.

``python -m recall_distortion.simulation.summary docs/simulation.csv`` prints them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recall_distortion.simulation import coverage, levels, mixed, slopes
from recall_distortion.simulation.rows import COLUMNS
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import require_columns

Where = Mapping[str, Any]
Labelled = Sequence[tuple[str, Where]]

NORMAL = {"distribution": "normal"}
PLAIN = {"support": "balanced", "agreement": 0.0, "balance_sd": 0.05, **NORMAL}
SETTINGS: Labelled = (
    ("recalls exact", {"images": "exact", **NORMAL}),
    ("exact, lognormal 0.5", {"images": "exact", "distribution": "lognormal 0.5"}),
    ("exact, lognormal 1", {"images": "exact", "distribution": "lognormal 1"}),
    *(
        (f"{images} images a class", {"images": images, **NORMAL})
        for images in ("1000", "200", "50")
    ),
)


def read(path: str | Path) -> pd.DataFrame:
    """Return the simulation's table; raises ``TableError`` where it is missing or another."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values={"value": [""]})
    except FileNotFoundError:
        raise TableError(f"{path}: no such table; run the simulation first") from None
    require_columns(table, COLUMNS, str(path))
    numbers = ["alpha", "effect", "agreement", "balance_sd", "nominal", "theory", "std_error"]
    return table.assign(**{name: pd.to_numeric(table[name]) for name in numbers})


def one(table: pd.DataFrame, **where: Any) -> pd.Series:
    """Return the only row with these values; raises ``TableError`` where there is not just one."""
    chosen = pd.Series(True, index=table.index)
    for name, value in where.items():
        near = (table[name] - value).abs() < 1e-9 if isinstance(value, float) else None
        chosen &= table[name].eq(value) if near is None else near
    if chosen.sum() != 1:
        raise TableError(f"{chosen.sum()} rows of the simulation's table have {where}, not one")
    return table[chosen].iloc[0]


def tables(table: pd.DataFrame) -> dict[str, str]:
    """Return the Markdown tables by name; a number is the row's ``value`` rounded."""
    return {
        "slopes": _slopes(table),
        "t intervals": _grid(
            table,
            "slopes",
            SETTINGS,
            [(f"{k} seeds", {"seeds": k}) for k in (5, 10, 30)],
            family=coverage.T_FAMILY,
            quantity="coverage of the t interval",
        ),
        "bootstrap intervals": _bootstrap(
            table,
            [
                ("slope", {"quantity": "coverage: cross-fitted slope"}),
                ("difference", {"quantity": "coverage: cross-fitted difference from the control"}),
                ("given", {"quantity": "cross-fitted intervals given"}),
            ],
        ),
        "other intervals": _bootstrap(
            table,
            [
                ("percentile", {"quantity": "coverage: cross-fitted slope, percentile bootstrap"}),
                ("BCa", {"quantity": "coverage: cross-fitted slope, BCa bootstrap"}),
                (
                    "naive difference",
                    {"quantity": "coverage: naive difference from the control, t interval"},
                ),
            ],
        ),
        "error rates": _errors(table),
        "effects": _effects(table),
        "power": _power(table),
        "mixed models": _mixed(table),
    }


def _slopes(table: pd.DataFrame) -> str:
    quantities = (
        "reliability",
        "naive slope, mean",
        "naive slope, pooled",
        "cross-fitted slope, pooled",
        "cross-fitted slope, median",
        "cross-fitted slope, mean",
    )
    rows: list[tuple[str, Where]] = []
    for images in ("50", "200", "1000"):
        for alpha in (1.0, 1.5):
            where = {**PLAIN, "images": images, "alpha": alpha}
            name = f"{images}, slope {alpha:g}"
            rows += [
                (name, where),
                (f"{name}, agreement 0.5", {**where, "agreement": 0.5}),
                (f"{name}, unbalanced", {**where, "support": "unbalanced"}),
                (f"{name}, large balances", {**where, "balance_sd": 0.2}),
            ]
    columns = [(name.replace(" slope", ""), {"quantity": name}) for name in quantities]
    return _grid(table, "images a class", rows, columns, family=slopes.FAMILY)


def _bootstrap(table: pd.DataFrame, quantities: Labelled) -> str:
    rows: list[tuple[str, Where]] = [SETTINGS[0]]
    rows += [
        (f"1000 images, {name}", {"images": "1000", "distribution": name})
        for name in ("normal", "lognormal 0.5", "lognormal 1")
    ]
    rows += [SETTINGS[4], SETTINGS[5]]
    columns = [
        (_of_seeds(label, k, first=5), {**quantity, "seeds": k})
        for label, quantity in quantities
        for k in (5, 10, 30)
    ]
    return _grid(table, "recalls", rows, columns, family=coverage.BOOTSTRAP_FAMILY)


def _errors(table: pd.DataFrame) -> str:
    exact, skewed = {"images": "exact", **NORMAL}, SETTINGS[1][1]
    columns = [
        (_of_seeds(label.removesuffix(" a class"), k, first=10), {**where, "seeds": k})
        for label, where in (("exact", exact), ("lognormal 0.5", skewed), *SETTINGS[3:])
        for k in (10, 30)
    ]
    rows: list[tuple[str, Where]] = [
        (name, {"quantity": name})
        for name in (
            "any interval verdict over the ratios",
            "any finding of the control question",
            "any finding of the ratio question",
            "any finding of the method question",
            "any finding of the architecture question",
        )
    ]
    rows += [
        (name, {"quantity": name})
        for question in ("t interval against 1", "control question", "ratio question")
        for level in levels.SINGLE
        for name in [f"one test at {level:.0%}: {question}"]
    ]
    rows += [
        (name, {"quantity": name})
        for question in ("method question", "architecture question")
        for level in levels.SINGLE
        for name in [f"one test at {level:.0%}: {question}"]
    ]
    return _grid(table, "finding", rows, columns, family=levels.LEVEL_FAMILY, note="")


def _effects(table: pd.DataFrame) -> str:
    rows = [
        (f"{images} images, {k} seeds{', ' + note if note else ''}", where)
        for note in ("", "sd growing from 0.05 to 0.8", "control agreement 0.8")
        for images in ("200", "1000")
        for k in (10, 30)
        for where in [{"images": images, "seeds": k, "note": note}]
    ]
    columns = [
        (label, {"quantity": quantity})
        for label, quantity in (
            ("against 1, cross-fitted", "any cross-fitted verdict over the ratios"),
            ("against the control", "any cross-fitted difference from the control"),
            ("own slopes, paired t", "any paired difference of the replicates' own slopes"),
            (levels.DISTINGUISHABLE, levels.DISTINGUISHABLE),
        )
    ]
    return _grid(table, "study", rows, columns, family=levels.LEVEL_FAMILY)


def _power(table: pd.DataFrame) -> str:
    lines = []
    for k in (10, 30):
        for effect in (0.02, 0.05, 0.1):
            cells = [f"{k} seeds, effect {effect:g}"]
            for quantity in ("found by the interval against 1", "found by the control question"):
                row = one(
                    table, family=levels.POWER_FAMILY, quantity=quantity, seeds=k, effect=effect
                )
                cells += [f"{row['value']:.3f}", f"{row['theory']:.3f}"]
            lines.append(cells)
    return _markdown(["study", "against 1", "theory", "against the control", "theory"], lines)


def _mixed(table: pd.DataFrame) -> str:
    of_family = table[table["family"] == mixed.FAMILY]
    rows = [(note, {"note": note}) for note in dict.fromkeys(of_family["note"])]
    columns = [
        (name, {"quantity": name})
        for name in (
            "any verdict in the model",
            "coverage, all cells",
            "coverage, first cell",
            "coverage, last cell",
            "fits that converged",
        )
    ]
    return _grid(table, "model", rows, columns, family=mixed.FAMILY)


def _of_seeds(label: str, seeds: int, *, first: int) -> str:
    """Return a column's heading, the number of seeds, with its label over the first one."""
    return f"{label}, {seeds}" if seeds == first else str(seeds)


def _grid(
    table: pd.DataFrame, corner: str, rows: Labelled, columns: Labelled, **shared: Any
) -> str:
    lines = [
        [name, *(f"{one(table, **shared, **row, **column)['value']:.3f}" for _, column in columns)]
        for name, row in rows
    ]
    return _markdown([corner, *(name for name, _ in columns)], lines)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def main(arguments: Sequence[str]) -> int:
    """Print the tables of the simulation's table that the only argument names."""
    if len(arguments) != 1:
        print("usage: python -m recall_distortion.simulation.summary SIMULATION.csv")
        return 2
    try:
        found = tables(read(arguments[0]))
    except TableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, text in found.items():
        print(f"{name}\n\n{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
