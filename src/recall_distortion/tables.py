"""How the tables of a study are read, checked and written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from recall_distortion.columns import TEXT_COLUMNS
from recall_distortion.errors import TableError
from recall_distortion.files import replacing

# What a number may be missing as, in tables that others wrote too; this package leaves it empty.
_MISSING = ["", "nan", "NaN", "NA", "None", "<NA>"]


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
    """Return a CSV table after checking that it has the columns.

    ``TEXT_COLUMNS`` stay the text that was written; of the other columns asked for, an empty cell
    is missing. Raises ``TableError`` naming the file and what is missing.
    """
    try:
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(TEXT_COLUMNS, "str"),
            keep_default_na=False,
            na_values={name: _MISSING for name in columns if name not in TEXT_COLUMNS},
        )
    except FileNotFoundError:
        raise TableError(f"{path}: no such table; run the study again") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        what = str(error).strip()
        raise TableError(f"{path}: damaged ({what}); delete it and run the study again") from None
    require_columns(table, columns, str(path))
    return table


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
