"""The class-level mixed models on simulated studies: any wrong verdict, and coverage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from recall_distortion.inference import beside, mixed_models
from recall_distortion.inference.class_level import class_level
from recall_distortion.inference.coefficients import LEVEL
from recall_distortion.inference.intervals import CONCLUSIVE
from recall_distortion.inference.simulate.design import Design, sweep
from recall_distortion.inference.simulate.rows import Row, mean, settings, share
from recall_distortion.inference.simulate.tables import study

FAMILY = "mixed models"
FAMILYWISE = 0.05
GROWTH = 2.0  # of deviations and effects from cell to cell, where they grow


def class_models(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """Return error rates and coverage of both class-level models and of the bootstrap beside them.

    All true slopes are 1. Coverage is that of the cells' 99 % intervals: of all cells, of the
    first (the control) and of the last, whose classes scatter most where scatter grows. A fit that
    did not converge gives no verdict and no interval.
    """
    wrong: dict[str, list[bool]] = {}
    cells: dict[str, list[np.ndarray]] = {}
    converged: dict[str, list[bool]] = {}
    for _ in range(studies):
        tables = study(design, int(rng.integers(2**63)))
        for name, table, fitted in _fits(tables["recall"], design):
            converged.setdefault(name, []).append(fitted)
            wrong.setdefault(name, []).append(bool(table["verdict"].isin(CONCLUSIVE).any()))
            if fitted:
                cells.setdefault(name, []).append(table["low"].le(1) & table["high"].ge(1))
    first, last = design.cells[0], design.cells[-1]
    grows = last.deviation > first.deviation
    columns = settings(design, family=FAMILY, effect=0.0)
    rows: list[Row] = []
    for name in wrong:
        by_cell = np.array(cells[name])
        note = f"{name}; " + (
            f"class scatter growing from {first.deviation:g} to {last.deviation:g}"
            if grows
            else "equal class scatter"
        )
        named = {**columns, "note": note}
        rows += [
            share("any verdict in the model", np.array(wrong[name]), **named, nominal=FAMILYWISE),
            mean("coverage, all cells", by_cell.mean(1), **named, nominal=LEVEL),
            share("coverage, first cell", by_cell[:, 0], **named, nominal=LEVEL),
            share("coverage, last cell", by_cell[:, -1], **named, nominal=LEVEL),
            share("fits that converged", np.array(converged[name]), **named, nominal=1.0),
        ]
    return rows


def _fits(recall: pd.DataFrame, design: Design) -> Iterator[tuple[str, pd.DataFrame, bool]]:
    """Yield name, the cells' rows and whether it converged: two models by two engines, and more.

    More are the bootstrap, and the first model by the first engine or the bootstrap, as the table
    of fits says which to believe.
    """
    models = class_level(recall, design.dataset, design.architecture)
    found = {}
    for model in models:
        for engine in mixed_models.ENGINES:
            table, facts = mixed_models.fit(model, engine)
            name = f"{model.name.split('/')[0]} by {engine}"
            found[name] = table[table["term"] == "slope"], bool(facts["converged"])
            yield name, *found[name]
    # Both class-level models have the same slopes in the bootstrap, so that of one says it all.
    table, facts = beside.bootstrapped(models[0])
    bootstrap = table, bool(facts["converged"])
    yield "bootstrap", *bootstrap
    plain = models[0]
    first = next(iter(found.values()))
    believed = bootstrap if plain.believe == beside.BOOTSTRAP else first
    yield "class_level as believed", *believed


def design(seeds: int = 10, *, growing: bool) -> Design:
    """Return a control and four ratios, all of slope 1, recalls known exactly.

    ``growing``: from cell to cell, the classes scatter twice as much and so do the slopes.
    """
    cells = sweep([1.0] * 4, sds=0.02, deviation=0.005)
    if growing:
        cells = tuple(
            replace(cell, sd=cell.sd * GROWTH**i, deviation=cell.deviation * GROWTH**i)
            for i, cell in enumerate(cells)
        )
    return Design(cells, seeds=seeds, images=None)
