"""What each cell says after fine-tuning: its effect against the control and its slope against 1.

Both stand on one basis, which effects.csv names: the cross-fitted slope of all models together with
bootstrap intervals, or the slopes of single models with t intervals.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.report.tables import CELL, CONTROL, DENSE, StudyTables, of_panel

PER_MODEL, POOLED = "per model", "pooled"
BEYOND_UP = "intensifies beyond the control"
BEYOND_DOWN = "de-intensifies beyond the control"
AS_CONTROL = "as the control shows too"
NOT_TOLD = "not told from the control"
# The words of effects.csv, with the short names of metrics.json.
READINGS = {
    BEYOND_UP: "intensifies",
    BEYOND_DOWN: "de_intensifies",
    AS_CONTROL: "as_control",
    NOT_TOLD: "not_told",
}
COLUMNS = [
    *CELL, "n", "basis", "difference", "difference_low", "difference_high", "p_adjusted", "reading",
    "alpha", "alpha_low", "alpha_high", "alpha_verdict", "level", "family_size", "note",
]  # fmt: skip


def readings(data: StudyTables) -> pd.DataFrame:
    """Return one row per cell after fine-tuning and for the reseed baseline, with ``COLUMNS``.

    ``alpha`` with its interval and ``alpha_verdict`` (against 1) are intervals.csv's mean or, on
    the basis "pooled", pooled.csv's cross-fitted slope; ``difference`` with its interval is the
    effect of effects.csv on the same basis. Control and baseline take the basis of their panel's
    effects; without effects, single models are read only where they can be and nothing else can.
    What a study's tables do not hold is NaN or "", and
    without an interval there is neither a reading nor a verdict.
    """
    keep = data.intervals["state"].isin(["finetuned", DENSE])
    slopes = data.intervals.loc[keep].drop(columns="state")
    pooled = data.pooled.loc[data.pooled["state"].isin(["finetuned", DENSE])]
    pooled = pooled[[*CELL, "n", "alpha_crossfit", "crossfit_low", "crossfit_high",
                     "crossfit_verdict", "per_model", "note"]]  # fmt: skip
    effects = data.effects[[*CELL, "difference", "low", "high", "crossfit_difference",
                            "crossfit_low", "crossfit_high", "p_adjusted", "basis", "reading",
                            "note"]]  # fmt: skip
    table = slopes.merge(pooled, on=CELL, how="left", suffixes=("", "_pooled"))
    table = table.merge(effects, on=CELL, how="left", suffixes=("", "_effect"))
    basis = _basis(table)
    on_pooled = (basis == POOLED).to_numpy()

    def either(per_model: str, pooled: str) -> np.ndarray:
        return np.where(on_pooled, table[pooled], table[per_model])

    notes = table[["note", "note_pooled", "note_effect"]].fillna("").apply(_joined, axis=1)
    found = pd.DataFrame(
        {
            **{key: table[key] for key in CELL},
            "n": either("n", "n_pooled"),
            "basis": basis,
            "difference": either("difference", "crossfit_difference"),
            "difference_low": either("low_effect", "crossfit_low_effect"),
            "difference_high": either("high_effect", "crossfit_high_effect"),
            # The p of effects.csv belongs to the paired t-test.
            "p_adjusted": table["p_adjusted"].where(~on_pooled),
            "reading": table["reading"].fillna(""),
            "alpha": either("mean", "alpha_crossfit"),
            "alpha_low": either("low", "crossfit_low"),
            "alpha_high": either("high", "crossfit_high"),
            "alpha_verdict": pd.Series(either("verdict", "crossfit_verdict")).fillna(""),
            "level": table["level"],
            "family_size": table["family_size"],
            "note": notes if len(table) else "",
        },
        columns=COLUMNS,
    )
    for word, ends in (("reading", "difference"), ("alpha_verdict", "alpha")):
        known = np.isfinite(found[[f"{ends}_low", f"{ends}_high"]].astype(float)).all(axis=1)
        found[word] = found[word].where(known, "")
    return found


def _basis(table: pd.DataFrame) -> pd.Series:
    """Return each row's basis; ``table`` has intervals.csv beside pooled.csv and effects.csv."""
    named = table["basis"].fillna("").astype(object)
    of_panel = named.where(named != "").groupby([table["dataset"], table["architecture"]])
    named = named.mask(named == "", of_panel.transform("first")).fillna("")
    none = table["n_pooled"].isna()
    few = table["per_model"].eq(True) & table["crossfit_low"].isna()
    return named.mask(named == "", np.where(none | few, PER_MODEL, POOLED))


def _joined(notes: pd.Series) -> str:
    return "; ".join(dict.fromkeys(note for note in notes if note))


def pruning_cells(table: pd.DataFrame, data: StudyTables) -> pd.DataFrame:
    """Return the rows of ``readings`` that are cells of a pruning method."""
    return table[table["method"].isin(data.methods)]


def reference(table: pd.DataFrame, panel: tuple[str, str], method: str) -> pd.Series | None:
    """Return the row of ``readings`` of a panel's control or reseed baseline; None without one."""
    rows = of_panel(table, panel)
    rows = rows[rows["method"] == method]
    return None if rows.empty else rows.iloc[0]


def has_control(data: StudyTables) -> bool:
    """Return whether any network of the study was fine-tuned without pruning."""
    return bool((data.recall["method"] == CONTROL).any())


def reading_counts(cells: pd.DataFrame) -> dict[str, int]:
    """Return how many cells have each reading, and how many have none under ""."""
    counts = {reading: int((cells["reading"] == reading).sum()) for reading in READINGS}
    return {**counts, "": len(cells) - sum(counts.values())}
