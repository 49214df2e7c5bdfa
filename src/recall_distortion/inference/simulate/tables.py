"""One simulated study as the tables that a real one leaves behind."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recall_distortion.columns import ALPHA_COLUMNS, CROSSFIT_COLUMNS, RECALL_COLUMNS
from recall_distortion.distortion import (
    RESEED,
    Counts,
    HalfBalances,
    class_rows,
    crossfit_sums,
    effective_classes,
    quotients,
    reseed_pairs,
    slopes,
    split_halves,
)
from recall_distortion.inference.simulate.design import Design
from recall_distortion.inference.simulate.engine import Hits, draw, observe


def study(design: Design, seed: int) -> dict[str, pd.DataFrame]:
    """Return the tables ``recall``, ``alpha`` and ``crossfit`` of one simulated study.

    They have the columns and the row order of a real study's, the slopes between dense models of
    different seeds (method ``reseed``) included, so that whatever reads those reads these. The
    same seed gives the same tables, and the same counts as ``engine.observe``. Here every image's
    hit or miss is drawn and the package's own measurement runs on them, which makes this the check
    of ``engine.crossfit`` too. A wrong image gets any other class with equal chance.

    With ``images=None`` there are no images: counts are exact shares of ``EXACT_IMAGES``, precision
    and predicted counts are missing, and the cross-fitted slope is the slope.
    """
    rng = np.random.default_rng(seed)
    truth = draw(design, 1, rng)
    hits = observe(design, truth, rng)
    seeds = list(range(design.seeds))
    names = [str(c) for c in range(design.classes)]
    if design.images is None:
        dense, *after = _shares(design, hits)
        halves = [None] * (1 + len(after))
    else:
        labels = np.repeat(np.arange(design.classes), design.support)
        correct = _images(design, hits, rng)
        counts = []
        for i in range(len(correct)):
            predicted = _predicted(labels, correct[i], design.classes, rng)
            counts.append(Counts.of(labels, predicted, names, "simulated"))
        dense, *after = counts
        split = split_halves(labels, design.splits)
        halves = [HalfBalances.of(labels, of, split, design.classes) for of in correct]
    keys = {"dataset": design.dataset, "architecture": design.architecture}
    at = [
        {**keys, "method": cell.method, "ratio": cell.ratio, "state": "finetuned"}
        for cell in design.cells
    ]
    recall = [
        class_rows(dense, names, seeds).assign(**keys, method="dense", ratio=1.0, state="dense")
    ]
    recall += [
        class_rows(of, names, seeds).assign(**cell) for of, cell in zip(after, at, strict=True)
    ]
    before = dense, halves[0]
    pairs = np.array(reseed_pairs(seeds), int).reshape(-1, 2)
    reseed = {**keys, "method": RESEED, "ratio": 1.0, "state": "dense"}
    rows = [_slope_rows(before, before, *pairs.T).assign(**reseed)]
    for of, half, cell in zip(after, halves[1:], at, strict=True):
        every = np.arange(design.seeds)
        rows.append(_slope_rows(before, (of, half), every, every).assign(**cell))
    slope_table = pd.concat([table for table in rows if len(table)], ignore_index=True)
    return {
        "recall": pd.concat(recall, ignore_index=True)[RECALL_COLUMNS],
        "alpha": slope_table.rename(columns={"slope_denominator": "denominator"})[ALPHA_COLUMNS],
        "crossfit": slope_table.rename(columns={"half_denominator": "denominator"})[
            CROSSFIT_COLUMNS
        ],
    }


def _slope_rows(
    before: tuple[Counts, HalfBalances | None],
    after: tuple[Counts, HalfBalances | None],
    rows_before: np.ndarray,
    rows_after: np.ndarray,
) -> pd.DataFrame:
    (dense, half), (pruned, half_after) = before, after
    x = dense.normalized_balance[rows_before]
    y = pruned.normalized_balance[rows_after]
    alpha = slopes(x, y)
    if half is None:
        numerator, denominator = (x * y).sum(1), (x**2).sum(1)
    else:
        numerator, denominator = crossfit_sums(
            HalfBalances(half.first[:, rows_before], half.second[:, rows_before]),
            HalfBalances(half_after.first[:, rows_after], half_after.second[:, rows_after]),
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = 1 - ((y - alpha[:, None] * x) ** 2).sum(1) / (y**2).sum(1)
    return pd.DataFrame(
        {
            "seed": rows_before,
            "alpha": alpha,
            "alpha_crossfit": quotients(numerator, denominator),
            "r2": r2,
            "slope_denominator": (x**2).sum(1),
            "effective_classes": effective_classes(x**2),
            "accuracy_before": dense.accuracy[rows_before],
            "accuracy_after": pruned.accuracy[rows_after],
            "numerator": numerator,
            "half_denominator": denominator,
        }
    )


def _shares(design: Design, hits: Hits) -> list[Counts]:
    missing = np.full((design.seeds, design.classes), np.nan)
    after = np.moveaxis(hits.after[0], 1, 0)
    return [Counts(design.support, correct, missing) for correct in (hits.dense[0], *after)]


def _images(design: Design, hits: Hits, rng: np.random.Generator) -> np.ndarray:
    """Return which images are hit, [1 + T, K, M], the dense models first, at random given counts.

    Images of a class are exchangeable, so one random order per class, seed and cell places the
    hits: the dense model's anywhere, a pruned model's among those and among the others.
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
