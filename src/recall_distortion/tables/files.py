"""How the tables of a study are read, checked and written."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from recall_distortion.system.errors import TableError
from recall_distortion.system.files import replacing, unreadable
from recall_distortion.tables.schema import ALL, COUNT, RATIO, SHARE, TEXT, TRUTH, Column
from recall_distortion.vocabulary import COMPRESSED, RETRAINED, format_ratio

# What a number may be missing as, in tables that others wrote too; this package leaves it empty.
_MISSING = ["", "nan", "NaN", "NA", "None", "<NA>"]

_REMEDY = "delete it and run the study again"
_TRUTHS = {"true", "false", "1", "0", "1.0", "0.0", "", "nan"}
# Tables that an earlier version wrote and that others have taken the place of.
_EARLIER = {
    "networks": ("alpha", "crossfit", "sparsity", "engines", "failures", "intercepts"),
    "estimates": (
        "intervals", "effects", "pooled", "equal_sparsity", "seeds_needed", "tradeoff", "influence",
    ),
}  # fmt: skip
_RENAMED = {"finetuned": RETRAINED, "pruned": COMPRESSED}

#: What a number of a kind can be, and the words for it. Means of shares may be rounded beyond the
# ends.
POSSIBLE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    SHARE: (lambda x: (x >= -1e-9) & (x <= 1 + 1e-9), "a number from 0 to 1"),
    COUNT: (lambda x: (x >= 0) & (x % 1 == 0), "a whole number from 0 on"),
    RATIO: (lambda x: (x >= 1) & np.isfinite(x), "a ratio from 1 on"),
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


def read_table(
    path: str | Path,
    name: str,
    columns: Sequence[str] | None = None,
    further: Sequence[Column] = (),
) -> pd.DataFrame:
    """Return a CSV table of a name in the schema, checked; its columns typed by their kinds.

    ``columns`` are those needed, by default all, ``further`` ones those that the schema does not
    have. Text stays what was written, of the other columns an empty cell is missing; what an
    earlier version's table lacks is empty. Raises ``TableError`` naming the file, where there is
    one the line, and what is missing, cut off, impossible or contradicts its row.
    """
    known = {column.name: column for column in ALL[name].columns}
    wanted = [*(known[column] for column in (known if columns is None else columns)), *further]
    known |= {column.name: column for column in further}
    try:
        _check_lines(path)
        table = pd.read_csv(
            path,
            dtype={column.name: "str" for column in known.values() if column.kind == TEXT},
            keep_default_na=False,
            na_values={column.name: _MISSING for column in known.values() if column.kind != TEXT},
        )
    except FileNotFoundError:
        raise TableError(_absent(Path(path))) from None
    except (OSError, ValueError, csv.Error) as error:  # pandas' errors are ValueErrors
        if why := unreadable(path, error):
            raise TableError(why) from None
        what = str(error).strip()
        raise TableError(f"{path}: damaged ({what}); {_REMEDY}") from None
    lacking = [column.name for column in wanted if column.name not in table and not column.later]
    if lacking and (old := _earlier_words(table, name)):
        raise TableError(f"{path}: {old}")
    require_columns(table, [c.name for c in wanted if not c.later], str(path))
    for column in wanted:
        if column.name not in table:
            table[column.name] = "" if column.kind == TEXT else np.nan
        elif column.kind != TEXT:
            _check_cells(path, table, column)
        elif column.words:
            _check_words(path, table, column)
    for column in wanted:
        if table.empty and column.kind not in (TEXT, TRUTH):
            table[column.name] = table[column.name].astype(float)
        if column.kind != TEXT:
            _check_follows(path, table, column.name)
    return table


def earlier_tables(folder: str | Path) -> list[str]:
    """Return the names of tables in a folder that only an earlier version wrote."""
    names = [f"{name}.csv" for names in _EARLIER.values() for name in names]
    return [name for name in names if Path(folder, name).exists()]


def _absent(path: Path) -> str:
    if earlier_tables(path.parent):
        return (
            f"{path}: no such table, but tables of an earlier version lie beside it; run the study "
            "again. docs/tables.md says what became of each"
        )
    return f"{path}: no such table; run the study again"


def _earlier_words(table: pd.DataFrame, name: str) -> str:
    """Return what to do about a table with the words of an earlier version; "" for any other."""
    if name.startswith("mixed_model") and "engine" in table:
        return (
            "its column engine is called fitter now, so an earlier version wrote it; run the study "
            "again. docs/tables.md says what became of each table"
        )
    return ""


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


def _check_cells(path: str | Path, table: pd.DataFrame, column: Column) -> None:
    values = table[column.name]
    if column.kind == TRUTH:
        words = values.astype(object).where(values.notna(), "").astype(str).str.strip().str.lower()
        wrong, wanted = ~words.isin(_TRUTHS), "True or False"
    else:
        numbers = pd.to_numeric(values, errors="coerce")
        wrong, wanted = numbers.isna() & values.notna(), "a number"
        if column.kind in POSSIBLE and not wrong.any():
            possible, wanted = POSSIBLE[column.kind]
            wrong = numbers.notna() & ~possible(numbers.to_numpy(float))
    _refuse(path, table, column.name, np.asarray(wrong, bool), f"is not {wanted}")


def _check_words(path: str | Path, table: pd.DataFrame, column: Column) -> None:
    values = table[column.name].fillna("")
    for old, new in _RENAMED.items():
        if (values == old).any():
            raise TableError(
                f"{path}: an earlier version wrote it: what it calls {old} is called {new} now; "
                "run the study again. docs/tables.md says what became of each table"
            )
    wrong = ~values.isin([*column.words, ""]).to_numpy()
    _refuse(path, table, column.name, wrong, f"is none of {', '.join(column.words)}")


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


def write_table(
    path: str | Path, name: str, table: pd.DataFrame, further: Sequence[Column] = ()
) -> None:
    """Write a table of a name in the schema as CSV with its columns, all of it or nothing.

    ``further`` columns stand behind those of the schema. Numbers are written with the digits that
    read back exactly, whole ones without a decimal point, ratios as ``format_ratio`` says.
    """
    columns = [*ALL[name].columns, *further]
    written = table.reindex(columns=[column.name for column in columns])
    for column in columns:
        if column.kind == RATIO:
            ratios = [format_ratio(float(ratio)) for ratio in written[column.name]]
            written[column.name] = pd.Series(ratios, index=written.index, dtype=object)
        elif column.kind == COUNT and pd.api.types.is_float_dtype(written[column.name]):
            written[column.name] = written[column.name].astype("Int64")
    with replacing(path) as temporary:
        written.to_csv(temporary, index=False, lineterminator="\n")
