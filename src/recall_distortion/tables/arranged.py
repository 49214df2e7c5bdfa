"""Tables rearranged for reading: nothing is estimated, rows come to stand beside each other."""

from __future__ import annotations

import pandas as pd

from recall_distortion.tables.forgetting import WORSE
from recall_distortion.vocabulary import CELL, FITTERS, STATSMODELS, format_ratio

_QUANTITIES = [
    "estimate", "std_error", "df", "low", "high", "p_intensification_adjusted",
    "p_deintensification_adjusted", "verdict",
]  # fmt: skip


def fitters_side_by_side(mixed: pd.DataFrame, fits: pd.DataFrame) -> pd.DataFrame:
    """Return the terms of mixed models with what each fitter says of them side by side.

    One row per model, cell and term; columns ``<quantity>_<fitter>`` for estimate, std_error, df,
    low, high, the adjusted p values and the verdict, ``difference``, which stands in statsmodels'
    rows, and ``believe``, which the model's fits say. A term that one fitter alone has is kept.
    """
    keys = ["model", *CELL, "term"]
    table = mixed[keys].drop_duplicates()
    for fitter in FITTERS:
        own = [*_QUANTITIES, "difference"] if fitter == STATSMODELS else _QUANTITIES
        side = mixed.loc[mixed["fitter"] == fitter, [*keys, *own]].drop_duplicates(keys)
        names = {name: f"{name}_{fitter}" for name in _QUANTITIES}
        table = table.merge(side.rename(columns=names), on=keys, how="left")
    said = fits.loc[fits["believe"] != ""].drop_duplicates("model")
    believe = dict(zip(said["model"], said["believe"], strict=True))
    table["believe"] = [believe.get(model, "") for model in table["model"]]
    return table


def fairness_side_by_side(measures: pd.DataFrame) -> pd.DataFrame:
    """Return whether each cell is worse than the control by each measure, side by side.

    ``measures`` is the view of that name. Columns: cell, ``worse_by``, how many measures say worse,
    and a column by each measure's title.
    """
    said = measures[measures["verdict"] != ""]
    table = said[CELL].drop_duplicates().assign(worse_by=0)
    for title in said["measure"].unique():
        side = said.loc[said["measure"] == title, [*CELL, "verdict"]]
        table = table.merge(side.rename(columns={"verdict": title}), on=CELL, how="left")
        table[title] = table[title].fillna("")
        table["worse_by"] += table[title] == WORSE
    return table


def seeds_side_by_side(table: pd.DataFrame, deviations: pd.DataFrame) -> pd.DataFrame:
    """Return the seeds needed with one row per cell and question, the effects beside each other.

    The arguments are the views of these names. Columns: cell, question, n, sd, level,
    ``seeds_<effect>`` and ``seeds_cautious_<effect>``, note.
    """
    keys = [*CELL, "question"]
    wide = table.drop_duplicates(keys)[[*keys, "n", "level", "note"]]
    wide = wide.merge(deviations[[*keys, "sd"]], on=keys, how="left")
    wide = wide[[*keys, "n", "sd", "level", "note"]]
    for effect in sorted(table["effect"].dropna().unique()):
        side = table.loc[table["effect"] == effect, [*keys, "seeds", "seeds_cautious"]]
        names = {name: f"{name}_{format_ratio(effect)}" for name in ("seeds", "seeds_cautious")}
        wide = wide.merge(side.drop_duplicates(keys).rename(columns=names), on=keys, how="left")
    return wide
