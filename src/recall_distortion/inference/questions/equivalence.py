"""Is a cell as accurate as its control, or another method, to within a study's margin?

That a difference is not found is no evidence that there is none: "lossless" takes an interval that
lies within a margin. Two one-sided t-tests of the accuracies' differences, paired by seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import NO_CONTROL, ONE_PAIR, joined, lost_pairs
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.statistics.equivalence import equivalence
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, require_level
from recall_distortion.measures.rounding import differences
from recall_distortion.system.errors import TableError
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.files import require_columns, require_unique
from recall_distortion.vocabulary import CELL_STATE, NETWORK, REFERENCE_ARMS, RETRAINED, CellState

COLUMNS = [
    *CELL_STATE, "n", "margin", "difference", "low", "high", "std_error", "df", "p", "p_adjusted",
    "level", "family_size", "verdict", "note",
]  # fmt: skip
_TEXTS = [*CELL_STATE, "verdict", "note"]
NO_OTHER = "the other method has no network here: no comparison"


def accuracies_equivalent(
    networks: pd.DataFrame, margins: Mapping[str, float], level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return whether each retrained cell's accuracy is its control's to within a margin.

    ``networks`` is the table of that name, ``margins`` are by data set; of one without there is no
    row. The result has ``COLUMNS``, a row for each retrained cell that is no reference arm:
    ``margin`` is that of its data set, ``difference`` is the mean
    over the ``n`` seeds that both have of the accuracy less the control's, with its t interval at
    ``level``; ``p`` and ``verdict`` are those of ``equivalence``, ``p_adjusted`` is p times
    ``family_size``, the method's ratios, at most 1 (Bonferroni). ``note`` says what is missing.

    Raises ``TableError`` on a missing column, a replicate that occurs twice, a senseless level or
    margin.
    """
    cells = _cells(networks, margins, level)
    controls = Controls.of(networks)
    asked = [k for k in cells if k.method not in REFERENCE_ARMS and k.dataset in margins]
    return _table(cells, {key: controls.cell(key) for key in asked}, margins, level, NO_CONTROL)


def pairs_equivalent(
    networks: pd.DataFrame, margins: Mapping[str, float], level: float = PAPER_LEVEL
) -> pd.DataFrame:
    """Return whether cells whose masks were compared are as accurate as the other method's.

    As ``accuracies_equivalent``, with the cell of ``mask_other`` at the same ratio in the
    control's place; the result has the other method besides, as ``reference``.
    """
    cells = _cells(networks, margins, level)
    if "mask_other" not in networks:
        return _table(cells, {}, margins, level, "").assign(reference="")
    known = networks[networks["mask_other"].fillna("") != ""].astype({"ratio": float})
    others = known.groupby(CELL_STATE, sort=False)["mask_other"].first()
    asked = {
        key: key._replace(method=other)
        for key, other in zip(map(CellState._make, others.index), others, strict=True)
        if key in cells and key.dataset in margins
    }
    found = _table(cells, asked, margins, level, NO_OTHER)
    return found.assign(reference=[other.method for other in asked.values()])


def _cells(
    networks: pd.DataFrame, margins: Mapping[str, float], level: float
) -> dict[CellState, pd.Series]:
    """Return the accuracies by seed of every retrained cell, having checked all that is given."""
    require_level(level)
    for margin in margins.values():
        if not 0 < margin < 1:
            raise TableError(
                f"a margin of accuracy lies between 0 and 1, such as 0.005, not {margin}"
            )
    require_columns(networks, [*NETWORK, "accuracy"], "the networks table")
    used = compared(networks).astype({"ratio": float})
    used = used[used["state"] == RETRAINED]
    require_unique(used, NETWORK, "the networks table")
    return {
        CellState(*key): group.set_index("seed")["accuracy"]
        for key, group in used.groupby(CELL_STATE, sort=False)
    }


def _table(
    cells: Mapping[CellState, pd.Series],
    asked: Mapping[CellState, CellState],
    margins: Mapping[str, float],
    level: float,
    lacking: str,
) -> pd.DataFrame:
    """Return a row for each cell that is asked for, held against another; it may be ``lacking``."""
    families = Counter(key._replace(ratio=0) for key in asked)
    rows = []
    for key, against in asked.items():
        family = families[key._replace(ratio=0)]
        other = cells.get(against)
        own, margin = cells[key], margins[key.dataset]
        pairs = pd.concat([own, own.iloc[:0] if other is None else other], axis=1, join="inner")
        moved = differences(*pairs.to_numpy(float).T)
        found = equivalence(moved, margin, level)
        note = lacking
        if other is not None:
            lost = lost_pairs(len(pairs), len(own.index.union(other.index)))
            note = joined(ONE_PAIR if len(pairs) < 2 else "", lost)
        row = key._asdict() | {"n": len(pairs), "margin": margin, "level": level}
        row |= {"difference": found.mean, "low": found.low, "high": found.high}
        row |= {"std_error": found.std_error, "df": found.df, "p": found.p}
        row |= {"p_adjusted": min(1.0, found.p * family) if np.isfinite(found.p) else np.nan}
        rows.append(row | {"family_size": family, "verdict": found.verdict, "note": note})
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({name: float for name in COLUMNS if name not in _TEXTS and name != "n"})
