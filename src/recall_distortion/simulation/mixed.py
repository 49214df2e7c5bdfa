"""The class-level mixed models on simulated studies: wrong verdicts, and coverage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs.class_level import class_level
from recall_distortion.inference.mixed.fitters.bootstrap import bootstrapped
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL
from recall_distortion.simulation.design import Design, sweep
from recall_distortion.simulation.rows import Row, mean, settings, share
from recall_distortion.simulation.tables import study
from recall_distortion.vocabulary import BOOTSTRAP, CONCLUSIVE

FAMILY = "mixed models"
FAMILYWISE = 0.05
GROWTH = 2.0  # of deviations and effects from cell to cell, where they grow


def class_models(design: Design, studies: int, rng: np.random.Generator) -> list[Row]:
    """Return error rates and coverage of both class-level models and of their bootstrap.

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
            mean("coverage, all cells", by_cell.mean(1), **named, nominal=PAPER_LEVEL),
            share("coverage, first cell", by_cell[:, 0], **named, nominal=PAPER_LEVEL),
            share("coverage, last cell", by_cell[:, -1], **named, nominal=PAPER_LEVEL),
            share("fits that converged", np.array(converged[name]), **named, nominal=1.0),
        ]
    return rows


def _fits(recall: pd.DataFrame, design: Design) -> Iterator[tuple[str, pd.DataFrame, bool]]:
    """Yield name, the cells' rows and whether the fit converged.

    Two models by two fitters each, the bootstrap, and the first model by the first fitter or the
    bootstrap, whichever the table of fits says to believe.
    """
    models = class_level(recall, design.panel)
    found = {}
    for model in models:
        for fitter in comparison.REML_FITTERS:
            table, facts = comparison.fit(model, fitter, PAPER_LEVEL)
            name = f"{model.name.split('/')[0]} by {fitter}"
            found[name] = table[table["term"] == "slope"], bool(facts["converged"])
            yield name, *found[name]
    # Both class-level models have the same slopes in the bootstrap, so one is enough.
    table, facts = bootstrapped(models[0], PAPER_LEVEL)
    of_bootstrap = table, bool(facts["converged"])
    yield BOOTSTRAP, *of_bootstrap
    plain = models[0]
    first = next(iter(found.values()))
    believed = of_bootstrap if plain.believe == BOOTSTRAP else first
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
