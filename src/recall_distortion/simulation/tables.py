"""One simulated study as the tables that a real one leaves behind."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.measures.distortion import Counts, HalfBalances, class_rows, split_halves
from recall_distortion.measures.networks import Observed, reseed_table, slopes_table
from recall_distortion.simulation.arrays import Hits, draw, observe
from recall_distortion.simulation.design import Design
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import DENSE, RETRAINED, UNCOMPRESSED


def study(design: Design, seed: int) -> dict[str, pd.DataFrame]:
    """Return the tables ``recall`` and ``networks`` of one simulated study.

    They have the columns and the row order of a real study's, the slopes between dense networks of
    different seeds (method ``reseed``) included, so that whatever reads those reads these; what
    only a real network has (parameters, engine, loss) is missing. The same seed gives the same
    tables, and the same counts as ``arrays.observe``. Here every image's hit or miss is drawn and
    the package's own measures are computed from them, which makes this the check of
    ``arrays.crossfit`` too. A wrong image gets any other class with equal chance.

    With ``images=None`` there are no images: counts are exact shares of ``EXACT_IMAGES``, precision
    and predicted counts are missing, and the cross-fitted slope is the slope.
    """
    rng = np.random.default_rng(seed)
    hits = observe(design, draw(design, 1, rng), rng)
    counts, halves = (
        _shares(design, hits) if design.images is None else _measured(design, hits, rng)
    )
    seeds = list(range(design.seeds))
    names = [str(c) for c in range(design.classes)]
    panel = design.panel._asdict()
    keys = [{**panel, "method": DENSE, "ratio": UNCOMPRESSED, "state": DENSE}]
    keys += [
        {**panel, "method": cell.method, "ratio": cell.ratio, "state": RETRAINED}
        for cell in design.cells
    ]
    recall = [
        class_rows(of_cell, names, seeds).assign(**key)
        for of_cell, key in zip(counts, keys, strict=True)
    ]
    dense, *after = (
        Observed(seeds, of_cell.accuracy, of_cell.normalized_balance, half)
        for of_cell, half in zip(counts, halves, strict=True)
    )
    networks = [
        pd.DataFrame({"seed": seeds, "accuracy": dense.accuracy}).assign(**keys[0]),
        reseed_table(dense).assign(**panel),
        *(
            slopes_table(dense, observed).assign(**key)
            for observed, key in zip(after, keys[1:], strict=True)
        ),
    ]
    made = dict.fromkeys(("device", "engine", "torch", "failure"), "")
    table = pd.concat([rows for rows in networks if len(rows)], ignore_index=True).assign(**made)
    return {
        "recall": pd.concat(recall, ignore_index=True).reindex(columns=COLUMNS["recall"]),
        "networks": table.reindex(columns=COLUMNS["networks"]),
    }


def _shares(design: Design, hits: Hits) -> tuple[list[Counts], list[None]]:
    missing = np.full((design.seeds, design.classes), np.nan)
    after = np.moveaxis(hits.after[0], 1, 0)
    counts = [Counts(design.support, correct, missing) for correct in (hits.dense[0], *after)]
    return counts, [None] * len(counts)


def _measured(
    design: Design, hits: Hits, rng: np.random.Generator
) -> tuple[list[Counts], list[HalfBalances]]:
    """Return counts and halves, the dense networks' first, of images drawn to show ``hits``."""
    labels = np.repeat(np.arange(design.classes), design.support)
    names = [str(c) for c in range(design.classes)]
    correct = _images(design, hits, rng)
    counts = [
        Counts.of(labels, _predicted(labels, of_cell, design.classes, rng), names, "simulated")
        for of_cell in correct
    ]
    splits = split_halves(labels, design.splits)
    return counts, [HalfBalances.of(labels, of_cell, splits, design.classes) for of_cell in correct]


def _images(design: Design, hits: Hits, rng: np.random.Generator) -> np.ndarray:
    """Return which images are hit, [1 + T, K, M], the dense networks first, given their counts.

    Images of a class are exchangeable, so one random order per class, seed and cell places the
    hits: the dense network's anywhere, a compressed network's among those and among the others.
    """
    cells = len(design.cells)
    columns = []
    for c, size in enumerate(design.support):
        places = rng.random((design.seeds, size)).argsort(1).argsort(1)
        dense = places < hits.dense[0, :, c, None]
        of_class = [dense]
        for t in range(cells):
            order = rng.random((design.seeds, size))
            among_hits = (order + ~dense).argsort(1).argsort(1) < hits.both[0, :, t, c, None]
            gained = hits.after[0, :, t, c, None] - hits.both[0, :, t, c, None]
            among_misses = (order + dense).argsort(1).argsort(1) < gained
            of_class.append(among_hits | among_misses)
        columns.append(np.stack(of_class))
    return np.concatenate(columns, axis=2)


def _predicted(
    labels: np.ndarray, correct: np.ndarray, classes: int, rng: np.random.Generator
) -> np.ndarray:
    wrong = (labels + rng.integers(1, classes, size=correct.shape)) % classes
    return np.where(correct, labels, wrong)
