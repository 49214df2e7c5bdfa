"""How the tables of a study are read, checked and written."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from recall_distortion.columns import TEXT_COLUMNS, TRUTH_COLUMNS
from recall_distortion.errors import TableError
from recall_distortion.files import replacing, unreadable

# What a number may be missing as, in tables that others wrote too; this package leaves it empty.
_MISSING = ["", "nan", "NaN", "NA", "None", "<NA>"]

_REMEDY = "delete it and run the study again"
_TRUTHS = {"true", "false", "1", "0", "1.0", "0.0", "", "nan"}

# What a number of these columns can be, and the words for it.
_SHARES = (
    "recall", "precision", "accuracy", "accuracy_before", "accuracy_after", "kept_fraction", "p",
    "p_adjusted", "p_intensification", "p_deintensification", "p_intensification_adjusted",
    "p_deintensification_adjusted", "level", "power",
)  # fmt: skip
_COUNTS = ("seed", "class", "support", "correct", "predicted", "kept_prunable", "prunable", "total")
_POSSIBLE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    # Means of shares may be rounded beyond the ends.
    **dict.fromkeys(_SHARES, (lambda x: (x >= -1e-9) & (x <= 1 + 1e-9), "a number from 0 to 1")),
    **dict.fromkeys(_COUNTS, (lambda x: (x >= 0) & (x % 1 == 0), "a whole number from 0 on")),
    "ratio": (lambda x: (x >= 1) & np.isfinite(x), "a ratio from 1 on"),
}
# Columns that follow from others of their row: a digit that changed in any of them shows.
_FOLLOWS: dict[str, tuple[tuple[str, ...], Callable[..., np.ndarray]]] = {
    "recall": (("correct", "support"), np.divide),
    "precision": (("correct", "predicted"), np.divide),
    "balance": (("recall", "accuracy"), np.subtract),
    "normalized_balance": (("balance", "accuracy"), np.divide),
    "kept_fraction": (("kept_prunable", "prunable"), np.divide),
}


def require_columns(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """Raise ``TableError`` naming the table and every one of ``columns`` that it lacks."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise TableError(
            f"{name} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"it has {', '.join(map(str, table.columns)) or 'none'}. "
            "Write the table again with this version of recall_distortion"
        )


def require_unique(table: pd.DataFrame, keys: Sequence[str], name: str) -> None:
    """Raise ``TableError`` naming the first combination of ``keys`` that occurs more than once."""
    repeated = table.duplicated(list(keys))
    if repeated.any():
        first = table.loc[repeated, list(keys)].iloc[0]
        described = ", ".join(f"{key}={first[key]}" for key in keys)
        raise TableError(
            f"{name} has more than one row for {described}; a replicate counts once. "
            "Remove the duplicate rows, or the block of seeds that was measured twice"
        )


def format_ratio(ratio: float) -> str:
    """Return a pruning ratio as the tables write it: ``2``, ``2.5``, empty where there is none."""
    if math.isnan(ratio):
        return ""
    return str(int(ratio)) if float(ratio).is_integer() else repr(float(ratio))


def read_table(path: str | Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return a CSV table after checking that it has the columns and that they hold what they can.

    ``TEXT_COLUMNS`` stay the text that was written; of the other columns asked for, an empty cell
    is missing, and the rest are numbers, or truths. Raises ``TableError`` naming the file, where
    there is one the line, and what is missing, cut off, impossible or contradicts its row.
    """
    try:
        _check_lines(path)
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(TEXT_COLUMNS, "str"),
            keep_default_na=False,
            na_values={name: _MISSING for name in columns if name not in TEXT_COLUMNS},
        )
    except FileNotFoundError:
        raise TableError(f"{path}: no such table; run the study again") from None
    except (OSError, ValueError, csv.Error) as error:  # pandas' errors are ValueErrors
        if why := unreadable(path, error):
            raise TableError(why) from None
        what = str(error).strip()
        raise TableError(f"{path}: damaged ({what}); {_REMEDY}") from None
    require_columns(table, columns, str(path))
    asked = [column for column in columns if column not in TEXT_COLUMNS]
    for column in asked:
        _check_cells(path, table, column)
    for column in asked:
        _check_follows(path, table, column)
    return table


def _check_lines(path: str | Path) -> None:
    """Raise ``ValueError`` for a table that is cut off or has a line with other cells than columns.

    pandas takes the cells that a line lacks for missing values.
    """
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.reader(file, strict=True)
        width = len(next(rows, []))
        for row in rows:
            if len(row) != width:
                raise ValueError(f"line {rows.line_num} has {len(row)} cells for {width} columns")
    with open(path, "rb") as file:
        if file.seek(0, 2) and file.seek(-1, 2) and file.read() not in (b"\n", b"\r"):
            raise ValueError("the last line has no end, so the file is cut off")


def _check_cells(path: str | Path, table: pd.DataFrame, column: str) -> None:
    values = table[column]
    if column in TRUTH_COLUMNS:
        words = values.astype(object).where(values.notna(), "").astype(str).str.strip().str.lower()
        wrong, wanted = ~words.isin(_TRUTHS), "True or False"
    else:
        numbers = pd.to_numeric(values, errors="coerce")
        wrong, wanted = numbers.isna() & values.notna(), "a number"
        if column in _POSSIBLE and not wrong.any():
            possible, wanted = _POSSIBLE[column]
            wrong = numbers.notna() & ~possible(numbers.to_numpy(float))
    _refuse(path, table, column, np.asarray(wrong, bool), f"is not {wanted}")


def _check_follows(path: str | Path, table: pd.DataFrame, column: str) -> None:
    names, function = _FOLLOWS.get(column, ((), np.add))
    if not names or not set(names) <= set(table.columns):
        return
    parts = (pd.to_numeric(table[name], errors="coerce").to_numpy(float) for name in names)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = function(*parts)
    found = table[column].to_numpy(float)
    # Whoever wrote the table may leave a quotient by 0 empty or not.
    known = np.isfinite(expected)
    wrong = known & ~np.isclose(found, expected, rtol=1e-9, atol=1e-12)
    _refuse(path, table, column, wrong, f"does not follow from {' and '.join(names)} beside it")


def _refuse(
    path: str | Path, table: pd.DataFrame, column: str, wrong: np.ndarray, what: str
) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            for _ in range(row + 2):
                next(rows)
            line = rows.line_num
        value = str(table[column].iloc[row])
        raise TableError(f"{path}, line {line}, column {column}: {value[:60]!r} {what}; {_REMEDY}")


def write_table(path: str | Path, frames: Sequence[pd.DataFrame], columns: Sequence[str]) -> None:
    """Write frames one below another as CSV with the given columns, all of it or nothing.

    Numbers are written with the digits that read back exactly, ratios as ``format_ratio`` says.
    """
    filled = [frame for frame in frames if len(frame)]
    table = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=columns)
    if "ratio" in columns:
        table = table.assign(ratio=[format_ratio(float(ratio)) for ratio in table["ratio"]])
    with replacing(path) as temporary:
        table.to_csv(temporary, columns=columns, index=False, lineterminator="\n")
