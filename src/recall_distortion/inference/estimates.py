"""Every statement of a study about its cells, from its recalls and networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from recall_distortion.inference.questions import (
    accuracy,
    class_measures,
    class_tests,
    classes,
    effects,
    equal_accuracy,
    equal_sparsity,
    equivalence,
    frequency,
    influence,
    instability,
    intercepts,
    leading,
    learning,
    measures,
    other_images,
    overlaps,
    pooled,
    quantized,
    seeds_needed,
    slopes,
    sparsity,
    tradeoff,
)
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.predictions import Predictions
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.tables.views import melt
from recall_distortion.vocabulary import CELL_STATE


def answers(
    recall: pd.DataFrame,
    networks: pd.DataFrame,
    level: float = PAPER_LEVEL,
    predictions: Iterable[Predictions] = (),
    frequencies: pd.DataFrame | None = None,
    margins: Mapping[str, float] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return each question's table, a row a cell, by the names of ``tables.views.VIEWS``.

    Without the single ``predictions`` there is nothing to be said of other images, without the
    table ``frequencies`` nothing of rare classes, without ``margins`` nothing of equivalence.
    """
    over_both = other_images.other_images(predictions, networks, level)
    of_slopes = slopes.slopes(networks, level)
    of_pooled = pooled.pooled(recall, networks, level)
    asked, controls = [*CELL_STATE, "question"], Controls.of(networks)
    needed = seeds_needed.seeds_needed(networks, of_pooled, level)
    of_classes, class_counts = class_tests.class_tests(recall, controls)
    return {
        "slopes": of_slopes,
        "pooled": of_pooled,
        "effects": effects.effects(networks, of_pooled, of_slopes, level),
        "quantized": quantized.quantized(networks, of_pooled, level),
        "equal_accuracy": equal_accuracy.equal_accuracy(networks, of_pooled, level),
        "equal_sparsity": equal_sparsity.equal_sparsity(networks, of_pooled, level),
        "seeds_needed": needed.drop(columns="sd"),
        "deviations": needed.drop_duplicates(asked)[[*asked, "n", "sd"]],
        "accuracy": accuracy.accuracy(recall, level),
        "tradeoff": tradeoff.tradeoff(recall, networks, of_slopes, level),
        "classes": classes.class_changes(recall, level),
        "dense_classes": classes.dense_classes(recall, level),
        "influence": influence.influence(recall, of_slopes, level),
        "measures": measures.measured(networks, level),
        "intercepts": intercepts.intercepts(networks, level),
        "sparsity": sparsity.sparsity(networks),
        "class_tests": of_classes,
        "class_counts": class_counts,
        "frequency": frequency.frequency(recall, frequencies, level, controls),
        "class_measures": class_measures.class_measures(recall, level, controls),
        "slopes_over_both": over_both[0],
        "classes_over_both": over_both[1],
        "instability": instability.instability(networks, level),
        "learning": learning.learning(recall, networks, level),
        "equivalence": equivalence.accuracies_equivalent(networks, margins or {}, level),
        "pair_equivalence": equivalence.pairs_equivalent(networks, margins or {}, level),
        "overlaps": overlaps.overlaps(networks, level),
    }


def estimates(
    found: Mapping[str, pd.DataFrame], further: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the table of estimates that the questions' tables say, the leading rows marked.

    ``further`` are rows of what recalls and networks cannot say, as of populations.
    """
    parts = [rows for name, table in found.items() if len(rows := melt(name, table))]
    if further is not None and len(further):
        parts.append(further.reindex(columns=COLUMNS["estimates"]).astype({"leads": bool}))
    table = pd.concat(parts, ignore_index=True) if parts else melt("slopes", found["slopes"])
    asked = (found[name] for name in ("slopes", "pooled", "effects", "quantized"))
    return leading.marked(table, leading.basis(*asked))
