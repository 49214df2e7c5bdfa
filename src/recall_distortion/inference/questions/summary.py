"""The counts and statistics that a page states: so that it computes nothing and only prints.

A row is a number: ``section`` is the part of the page, ``item`` what the number says. Rows of the
whole study name no panel, rows of a data set nothing else of one.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from recall_distortion.inference.questions import summary_forgotten as forgotten
from recall_distortion.inference.questions import summary_sections as sections
from recall_distortion.inference.questions.pooled import POOLED_ALONE
from recall_distortion.inference.questions.slopes import compared
from recall_distortion.inference.questions.summary_items import APART, EFFECTS, NONE, effect, made
from recall_distortion.inference.questions.summary_sections import (
    STUDY,
    Place,
    Rows,
    least_and_most,
)
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.tables.study import StudyTables, of_panel
from recall_distortion.vocabulary import (
    CELL,
    CONTROL,
    CONTROLS,
    DENSE,
    RESEED,
    RETRAINED,
    VERDICTS,
)


def summary(
    recall: pd.DataFrame,
    networks: pd.DataFrame,
    estimates: pd.DataFrame,
    tests: pd.DataFrame,
    mixed_models: pd.DataFrame,
    mixed_model_fits: pd.DataFrame,
    published: pd.DataFrame,
) -> pd.DataFrame:
    """Return every count and statistic that the page states in words, a row each.

    The arguments are a study's tables of these names. The section ``metrics`` of a panel is what
    metrics.json shows of it.
    """
    tables = StudyTables(
        recall, networks, estimates, tests, mixed_models, mixed_model_fits, published
    )
    rows = [
        (*place, section, item, float(value))
        for part in (
            _study,
            _panels,
            sections.of_study,
            sections.of_data_sets,
            sections.of_panels,
            forgotten.of_panels,
        )
        for place, section, numbers in part(tables)
        for item, value in numbers.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS["summary"])


def _study(tables: StudyTables) -> Rows:
    cells = _with_effects(tables.cells)
    slopes = compared(tables.networks)["alpha"].astype(float)
    dense = [_dense(tables, panel)[0] for panel in tables.panels]
    seeds = least_and_most("seeds", dense)
    yield STUDY, "answer", {
        "panels": len(tables.panels),
        "methods": len(tables.methods),
        "ratios": len(tables.ratios),
        "failures": len(tables.failed),
        "control_failures": tables.failed["method"].isin(CONTROLS).sum(),
        "slopes": len(slopes),
        "slopes/not_finite": (~np.isfinite(slopes)).sum(),
        **seeds,
        **_counts(cells, tables.never_dense),
        **_crossed(cells),
        **_levels(cells),
    }  # fmt: skip
    fewest = seeds["seeds/least"]
    yield (
        STUDY,
        "limits",
        {
            "one_seed": fewest < 2,
            "few_seeds": 2 <= fewest < bootstrap.LEAST_REPLICATES,
            "bootstrap_needs": bootstrap.LEAST_REPLICATES,
            "classes": tables.recall["class"].nunique(),
        },
    )


def _panels(tables: StudyTables) -> Rows:
    effects = tables.view("effects")
    for panel in tables.panels:
        cells = _with_effects(of_panel(tables.cells, panel))
        arms = of_panel(tables.leading, panel).set_index("method")
        number, accuracy = _dense(tables, panel)
        failures = len(of_panel(tables.failed, panel))
        counts = _counts(cells, tables.never_dense)
        against_control = (of_panel(effects, panel)["basis"] != "").any()
        yield panel, "metrics", {
            "dense_accuracy": accuracy,
            "control_alpha": arms["alpha"].get(CONTROL, np.nan),
            **{f"cells/{verdict}": counts[f"cells/{verdict}"] for verdict in VERDICTS},
            **({f"effects/{item}": counts[f"effects/{item}"] for item in EFFECTS}
               if against_control else {}),
            "failures": failures,
        }  # fmt: skip
        networks = made(of_panel(tables.networks, panel))
        networks = networks[networks["method"].isin(tables.methods)]
        low, high = (arms[f"alpha_{end}"].get(RESEED, np.nan) for end in ("low", "high"))
        yield (
            panel,
            "answer",
            {
                "dense_networks": number,
                "classes": of_panel(tables.recall, panel)["class"].nunique(),
                # Whether weak classes of one dense network are weak (1) or strong (-1) in another.
                "reseed_recurs": float(low > 0) - float(high < 0),
                **counts,
                **least_and_most("networks", networks.groupby(CELL, sort=False).size()),
                **_small(of_panel(tables.view("pooled"), panel)),
            },
        )


def _dense(tables: StudyTables, panel: Place) -> tuple[int, float]:
    """Return how many dense networks a panel has, and their mean accuracy."""
    rows = of_panel(tables.view("accuracy"), panel)
    rows = rows[rows["method"] == DENSE]
    return (int(rows["n"].iloc[0]), float(rows["mean"].iloc[0])) if len(rows) else (0, np.nan)


def _with_effects(cells: pd.DataFrame) -> pd.DataFrame:
    pairs = zip(cells["verdict"], cells["reading"], strict=True)
    return cells.assign(effect=[effect(*pair) for pair in pairs])


def _counts(cells: pd.DataFrame, never_dense: Collection[str]) -> dict[str, float]:
    """Return how many cells have each verdict against 1, and each effect against the control.

    Those of networks that were never dense are not held against 1, and counted apart.
    """
    verdicts = {f"cells/{word}": (cells["alpha_verdict"] == word).sum() for word in VERDICTS}
    effects = {f"effects/{item}": (cells["effect"] == item).sum() for item in (*EFFECTS, NONE)}
    apart = cells["method"].isin(never_dense)
    none = {f"cells/{NONE}": ((cells["alpha_verdict"] == "") & ~apart).sum()}
    none[f"cells/{APART}"] = apart.sum()
    return {"cells": len(cells), **verdicts, **none, **effects}


def _crossed(cells: pd.DataFrame) -> dict[str, float]:
    """Return how many cells have a verdict against 1 and an effect against the control."""
    return {
        f"{verdict}/{item}": ((cells["alpha_verdict"] == verdict) & (cells["effect"] == item)).sum()
        for verdict in VERDICTS
        for item in EFFECTS
    }


def _levels(cells: pd.DataFrame) -> dict[str, float]:
    """Return the levels of the cells' intervals, alone and of a family together."""
    found: dict[str, float] = {}
    pairs = cells[["level", "family_size"]].dropna().drop_duplicates()
    for i, (level, size) in enumerate(pairs.itertuples(index=False), start=1):
        found |= {
            f"level/{i}": level,
            f"level/{i}/family_size": size,
            f"level/{i}/together": max(0.0, 1 - (1 - level) * size),
        }
    return found


def _small(pooled: pd.DataFrame) -> dict[str, float]:
    """Return of how many cells single slopes cannot be read, and how noisy their balances are."""
    pooled = pooled[pooled["state"] == RETRAINED]
    rows = pooled[pooled["interpret"] == POOLED_ALONE]
    found: dict[str, float] = {"small/cells": len(rows), "small/of": len(pooled)}
    if rows.empty:
        return found
    return {
        **found,
        **least_and_most("small/unstable", rows["unstable"]),
        **least_and_most("small/networks", rows["n"]),
        "small/reliability": rows["reliability"].astype(float).median(),
    }
