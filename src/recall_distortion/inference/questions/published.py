"""The published verdicts and slopes beside those of a study (paper, Figures 1 to 5)."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pandas as pd

from recall_distortion.inference.questions.slopes import compared
from recall_distortion.tables.files import read_table, require_columns, require_unique
from recall_distortion.tables.schema import COLUMNS, PUBLISHED_CELL
from recall_distortion.vocabulary import CELL, CELL_STATE, NETWORK, PANEL, RETRAINED


def verdicts() -> pd.DataFrame:
    """Return the 75 published verdicts: cell, verdict, source (the paper's figure)."""
    return _facts("verdicts")


def published_slopes() -> pd.DataFrame:
    """Return the 20 published pooled slopes: cell, pooled_alpha, r2, mean_accuracy, source."""
    return _facts("slopes")


def published(networks: pd.DataFrame, slopes: pd.DataFrame, pooled: pd.DataFrame) -> pd.DataFrame:
    """Return every published verdict, in published order, beside this study's retrained cell.

    ``networks`` has the columns of ``NETWORK`` and accuracy; ``slopes`` and ``pooled`` are those
    questions' tables. Cells are matched by the names of data set, architecture and method and by
    the nominal ratio; each of this study's recipes for that network has a row. The result has the
    columns of that table: ``verdict`` and ``agrees`` are empty where this study has no such cell or
    could not give it an interval (one replicate, a slope that is not finite), because a cell
    without an interval agrees with nothing. ``pooled_alpha`` compares with the published slope of
    Figure 5, and ``accuracy`` is the mean over replicates.
    """
    require_columns(slopes, [*CELL_STATE, "low", "high", "verdict"], "the table of slopes")
    require_columns(pooled, [*CELL_STATE, "alpha"], "the table of pooled slopes")
    require_columns(networks, [*NETWORK, "accuracy"], "the networks table")
    accuracies = _retrained(compared(networks)).groupby(CELL, sort=False)["accuracy"].mean()
    own = {
        "slopes": _retrained(slopes)[[*CELL, "low", "high", "verdict"]],
        "pooled slopes": _retrained(pooled)[[*CELL, "alpha"]].rename(
            columns={"alpha": "pooled_alpha"}
        ),
        "accuracies": accuracies.reset_index(),
    }
    table = verdicts().rename(columns={"verdict": "published_verdict"})
    names = {"pooled_alpha": "published_alpha", "mean_accuracy": "published_accuracy"}
    of_figure = published_slopes().rename(columns=names)[[*PUBLISHED_CELL, *names.values()]]
    table = table.merge(of_figure, on=PUBLISHED_CELL, how="left")
    table = table.merge(_recipes(networks), on=["dataset", "architecture"], how="left")
    table["recipe"] = table["recipe"].fillna("")
    for name, part in own.items():
        require_unique(part, CELL, f"the table of {name}")
        table = table.merge(part, on=CELL, how="left")
    known = np.isfinite(table["low"].astype(float)) & np.isfinite(table["high"].astype(float))
    agrees = (table["verdict"] == table["published_verdict"]).astype(object)
    table["verdict"] = table["verdict"].where(known, "")
    table["agrees"] = agrees.where(known, "")
    return table[COLUMNS["published"]]


def _recipes(networks: pd.DataFrame) -> pd.DataFrame:
    return networks[PANEL].drop_duplicates()


def _facts(name: str) -> pd.DataFrame:
    file = resources.files(__package__) / "published_facts" / f"{name}.csv"
    with resources.as_file(file) as path:
        table = read_table(path, f"published_{name}")
    return table.astype({"ratio": float})


def _retrained(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["state"] == RETRAINED].astype({"ratio": float})
