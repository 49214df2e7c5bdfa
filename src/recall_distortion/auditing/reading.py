"""Labels and predictions from files: .npy, .npz, .csv and .parquet."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from zipfile import BadZipFile

import numpy as np

from recall_distortion.system.errors import AuditError
from recall_distortion.system.files import unreadable

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".npy", ".npz", ".csv", ".parquet")
#: So many values that rise by 1 are no scores.
_COUNTS = 5

#: Columns of a .csv file that come as they are written (``read``).
Texts: TypeAlias = Literal["spelled", "decimals", "all"]
#: A cell that is more than its number: 007, True.
_SPELLED = r"[-+]?0\d+|True|False|true|false|TRUE|FALSE"
#: A cell of a column of whole numbers, where some may be missing.
_WHOLE = r"[-+]?\d+(\.0*)?|"


def read(
    given: str, *, scores: bool = False, texts: Texts = "spelled"
) -> np.ndarray | pd.DataFrame | dict[str, Any]:
    """Return what a file holds, or one of its columns or arrays, named behind a colon.

    ``texts`` says which columns of a .csv file come as they are written: those that are ``spelled``
    otherwise than whole numbers are, 007; of ``decimals`` as well, 0.10; or ``all``.
    Several columns, all numbers, come as a table where ``scores`` may be meant; and there a name
    with a star, ``dense_*``, takes all columns or arrays that are called so, those of several
    networks, each named by what the star stands for, in the order of the numbers in their names;
    so does a star in the file's name, ``run*_dense.npy``.
    An .npy file is mapped, not read: its numbers come from the disk as they are needed. Files of
    Python objects, which could run code, are refused. Raises ``AuditError`` naming the file.
    """
    path, column = parted(given)
    if scores and "*" in path.name and not os.path.exists(path):
        return _files(given, path, column, texts)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise AuditError(
            f"{given}: give a file that ends in {', '.join(SUFFIXES)}; :NAME behind it takes one "
            "of several columns or arrays"
        )
    if not os.path.isfile(path):
        raise AuditError(f"{path}: there is no such file")
    try:
        if suffix == ".npy":
            if column is not None:
                raise AuditError(f"{given}: a .npy file holds one array, without a name")
            found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            return found
        if suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if scores and _is_pattern(column, arrays.files):
                    names = _networks(path, arrays.files, str(column), "array")
                    return {name: arrays[array] for name, array in names.items()}
                found = arrays[_chosen(path, arrays.files, column, "array")]
                return found
        table = _table(path)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile, csv.Error) as error:
        if suffix in (".npy", ".npz") and re.search("allow_pickle|Python", str(error)):
            raise AuditError(
                f"{path}: holds Python objects or is no {suffix} file; save texts as "
                "numpy.array(values, str), and numbers as numbers"
            ) from None
        reason = unreadable(path, error) or f"{path}: cannot be read: {_line(error)}"
        raise AuditError(reason) from None
    columns = [str(name) for name in table.columns]
    if scores and _is_pattern(column, columns):
        names = _networks(path, columns, str(column), "column")
        return {
            name: np.asarray(_column(path, table, one, False, texts)) for name, one in names.items()
        }
    return _column(path, table, column, scores, texts)


def _files(given: str, path: Path, column: str | None, texts: Texts) -> dict[str, Any]:
    """Return what each file of a name with a star holds, by what the star stands for."""
    if not os.path.isdir(path.parent):
        raise AuditError(f"{path.parent}: there is no such folder")
    if column is not None and "*" in column:
        raise AuditError(f"{given}: has a star in the file's name and in the column's; use one")
    behind = "" if column is None else f":{column}"
    there = sorted(file.name for file in path.parent.iterdir() if file.is_file())
    names = _matching(there, path.name)
    if not names:
        raise AuditError(f"{path}: there is no file of such a name")
    return {
        star: read(f"{path.with_name(name)}{behind}", scores=True, texts=texts)
        for star, name in names.items()
    }


def _is_pattern(asked: str | None, names: Sequence[str]) -> bool:
    return asked is not None and "*" in asked and asked not in names


def _networks(path: Path, names: Sequence[str], pattern: str, kind: str) -> dict[str, str]:
    """Return the columns or arrays that a pattern with a star matches (``_matching``)."""
    found = _matching(names, pattern)
    if not found:
        listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise AuditError(f"{path}: has no {kind} like {pattern}. Here are: {listed}")
    return found


def _matching(names: Sequence[str], pattern: str) -> dict[str, str]:
    """Return the names that a pattern with a star matches, by what the star stands for."""
    start, _, end = pattern.partition("*")
    inner = {
        name[len(start) : len(name) - len(end)]: name
        for name in names
        if len(name) > len(start) + len(end) and name.startswith(start) and name.endswith(end)
    }

    def order(name: str) -> list[tuple[int, str]]:
        # Network 10 comes after network 2.
        parts = re.split(r"(\d+)", name)
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]

    return {name: inner[name] for name in sorted(inner, key=order)}


def parted(given: str) -> tuple[Path, str | None]:
    """Return a file and the name behind its colon; paths and names may have colons of their own."""
    for place, letter in enumerate(given):
        if letter == ":" and Path(given[:place]).suffix.lower() in SUFFIXES and given[place + 1 :]:
            return Path(given[:place]), given[place + 1 :]
    return Path(given), None


def _table(path: Path) -> pd.DataFrame:
    """Return a table; several columns of one file are asked for in turn."""
    seen = path.stat()
    return _parsed(path, path.resolve(), seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=2)
def _parsed(path: Path, *_state: object) -> pd.DataFrame:
    """Return a table of a file in a state, so that one that was written again is read again."""
    import pandas as pd

    if path.suffix.lower() == ".csv":
        try:
            # Only an empty cell is missing: a class may be called NA.
            found = pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)
        except pd.errors.ParserError as error:
            raise AuditError(f"{path}: is no table: {_line(error)}") from None
        names = [str(name) for name in found.columns]
        _check_separator(path, names)
        _check_no_empty_line(path, names)
        found.attrs["header"] = _header(path)
        counted = len(names) > 1 and names == [str(n) for n in range(len(names))]
        if all(map(_is_text_of_number, names)) and not counted:
            raise AuditError(
                f"{path}: its first line, {', '.join(names[:3])}, is numbers: put a line with the "
                "names of the columns above it"
            )
        return found
    try:
        return pd.read_parquet(path)
    except ImportError:
        raise AuditError(
            f"{path}: Parquet files need the package pyarrow: install recall-distortion with its "
            "extra 'parquet'"
        ) from None


def _header(path: Path) -> list[str]:
    """Return the columns' names as they are written; pandas calls a second x x.1."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next((row for row in csv.reader(file) if row), [])


def _check_no_empty_line(path: Path, names: list[str]) -> None:
    """Raise ``AuditError`` for an empty line among those of one column, which pandas leaves out.

    What comes behind it would count for the image before. Behind the last value it is no matter.
    """
    if len(names) > 1:
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        empty, has_begun = 0, False
        for row in lines:
            if not row or (row[0] and not row[0].strip()):
                empty = empty or (lines.line_num if has_begun else 0)
                continue
            has_begun = True
            if empty:
                raise AuditError(
                    f"{path}: line {empty} is empty, and lines of one column are images: remove it "
                    'if it is none, or write "" where an image has no answer'
                )


def _check_separator(path: Path, names: list[str]) -> None:
    """Raise ``AuditError`` for a table in which what separates columns stands in the one name."""
    for letter, called in {";": "';'", "\t": "a tab", "|": "'|'"}.items():
        if len(names) == 1 and letter in names[0]:
            raise AuditError(
                f"{path}: its columns are separated by {called}: write the table with commas, and "
                "numbers with points"
            )


def _column(
    path: Path, table: pd.DataFrame, column: str | None, scores: bool, texts: Texts
) -> np.ndarray | pd.DataFrame:
    # Rows' numbers or names, which pandas and R write into a column without a name.
    if column is None and len(table.columns) > 1 and table.columns[0] == "Unnamed: 0":
        table = table.iloc[:, 1:]
    names = [str(name) for name in table.columns]
    _check_named_once(path, table, column)
    if scores and column is None and len(names) > 1 and all(map(_is_number, table.dtypes)):
        _check_no_column_counts(path, table)
        return table  # a column a class
    if scores and column is None:
        _check_no_column_beside(path, table)
    chosen = _chosen(path, names, column, "column")
    values = table.iloc[:, names.index(chosen)]
    if path.suffix.lower() == ".csv" and values.dtype.kind in "ibf":
        values = _as_written(path, chosen, values, texts)
    found: np.ndarray = values.to_numpy()
    return found


def _check_named_once(path: Path, table: pd.DataFrame, asked: str | None) -> None:
    """Raise ``AuditError`` where several columns have the name asked for, or that of a class."""
    names: list[str] = table.attrs.get("header", [])
    twice = [name for name in names if name and names.count(name) > 1]
    if twice and (asked is None or names.count(asked) != 1):
        name = asked if asked in twice else twice[0]
        raise AuditError(f"{path}: several columns are called {name}: give each a name of its own")


def _check_no_column_beside(path: Path, table: pd.DataFrame) -> None:
    """Raise ``AuditError`` for a column without numbers beside several of scores."""
    numbers = [str(name) for name, dtype in table.dtypes.items() if dtype.kind == "f"]
    others = [str(name) for name, dtype in table.dtypes.items() if dtype.kind not in "fiu"]
    if len(numbers) > 1 and others:
        raise AuditError(
            f"{path}: its column {others[0]} holds no numbers beside {len(numbers)} that do: if "
            f"these are scores, remove it; or name one column as {path}:NAME"
        )


def _check_no_column_counts(path: Path, table: pd.DataFrame) -> None:
    """Raise ``AuditError`` for a column of scores that numbers the rows: one would be a class."""
    for place, name in enumerate(table.columns):
        values = table.iloc[:, place].to_numpy()
        # Few of the scores of many classes get beyond the first comparison.
        if len(values) >= _COUNTS and values[1] - values[0] == 1 and (np.diff(values) == 1).all():
            raise AuditError(
                f"{path}: its column {name} counts the rows, {values[0]:g}, {values[1]:g}, ..., "
                "and would be read as the scores of a class: remove it"
            )


def _as_written(path: Path, column: str, values: pd.Series, which: Texts) -> pd.Series:
    """Return a column's cells as texts where these are more than numbers (``read``)."""
    import pandas as pd

    texts = pd.read_csv(path, usecols=[column], dtype=str, keep_default_na=False)[column]
    if which == "all":
        return texts
    is_more = bool(texts.str.fullmatch(_SPELLED).any())
    if which == "decimals" and values.dtype.kind == "f":
        # Of measured numbers hardly two are alike, and they are no classes.
        is_named = texts.nunique() <= len(texts) / 2
        is_more |= is_named and not texts.str.fullmatch(_WHOLE).all()
    return texts if is_more else values


def _is_text_of_number(text: str) -> bool:
    # Pandas calls a second column 3 of a file 3.1.
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_number(dtype: np.dtype) -> bool:
    return dtype.kind in "fiu"


def _chosen(path: Path, names: Sequence[str], asked: str | None, kind: str) -> str:
    """Return the name that was asked for, or the only one there is."""
    if asked is None and len(names) == 1:
        return names[0]
    if asked is not None and asked in names:
        return asked
    what = "holds several" if asked is None else f"has no {kind} {asked!r}"
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise AuditError(f"{path}: {what}; name one as {path}:NAME. Here are: {listed}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
