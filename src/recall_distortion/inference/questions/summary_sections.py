"""The numbers of ``summary`` that one section of the page states each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from recall_distortion.inference.notes import DISAGREE, NOT_ESTIMATED
from recall_distortion.inference.questions.equal_sparsity import STANDARD, sparsities
from recall_distortion.inference.questions.influence import CHANGES
from recall_distortion.inference.questions.seeds_needed import POWER
from recall_distortion.inference.questions.summary_items import (
    MADE_BY,
    NONE,
    OTHERS,
    kind_of_model,
    made,
)
from recall_distortion.inference.questions.tradeoff import ACCURACY, BALANCE, BOTH, NEITHER
from recall_distortion.tables.schema import PUBLISHED_CELL
from recall_distortion.tables.study import StudyTables, of_panel
from recall_distortion.vocabulary import (
    BOOTSTRAP,
    CELL,
    CELL_STATE,
    CONCLUSIVE,
    CONTROLS,
    DEINTENSIFICATION,
    DENSE,
    INTENSIFICATION,
    PANEL,
    PYMER4,
    RETRAINED,
    STATSMODELS,
    VERDICTS,
    Panel,
    format_ratio,
)

Place = Panel  # a panel, a data set alone, or STUDY
STUDY: Place = Panel("", "", "")
Rows = Iterator[tuple[Place, str, Mapping[str, float]]]

# A study of one cell that needs more seeds is one that nobody runs.
MANY_SEEDS = 1000
# Realised ratios that differ by no more are the same: weights are whole.
SAME_SPARSITY = 0.01
# Share of the way from naming the most frequent class to no error: up to here, networks hardly tell
# classes apart. Not a multiple of that accuracy, which is high where classes are few or unequal.
LITTLE_MORE = 0.05
# Notes are counted in these questions' tables; the page shows the most frequent.
NOTED = (
    "slopes", "pooled", "effects", "equal_sparsity", "tests", "seeds_needed", "tradeoff",
)  # fmt: skip
MOST_NOTES = 12


def least_and_most(item: str, values: Iterable[float]) -> dict[str, float]:
    """Return the least and the largest of finite values as two items; 0 where there are none."""
    finite = [float(value) for value in values if np.isfinite(value)] or [0.0]
    return {f"{item}/least": min(finite), f"{item}/most": max(finite)}


def of_study(tables: StudyTables) -> Rows:
    """Yield the sections that speak of the whole study."""
    yield STUDY, "tradeoff", _tradeoff(tables)
    yield STUDY, "classes", _classes(tables)
    yield STUDY, "over_both", _over_both(tables)
    yield STUDY, "seeds", _seeds(tables.view("seeds_needed"))
    yield STUDY, "sparsity", _sparsity(tables)
    if tables.quantizers:
        yield STUDY, "quantized", _quantized(tables)
    yield STUDY, "published", {
        "cells": (tables.published["verdict"] != "").sum(),
        "agree": (
            (tables.published["verdict"] != "")
            & (tables.published["verdict"] == tables.published["published_verdict"])
        ).sum(),
        "all": len(tables.published.drop_duplicates(PUBLISHED_CELL)),
    }  # fmt: skip
    yield STUDY, "mixed", _mixed(tables.mixed_models, tables.mixed_model_fits)
    ways = made(tables.networks).groupby(MADE_BY, sort=False).size()
    yield STUDY, "computed", {"/".join(way): count for way, count in ways.items()}
    yield STUDY, "notes", _notes(tables)


def _tradeoff(tables: StudyTables) -> dict[str, float]:
    """Return how many cells improve accuracy and balance, alone and together."""
    fine = tables.view("tradeoff")
    fine = fine[fine["state"] == RETRAINED]
    cells, control = fine[fine["method"].isin(tables.methods)], fine[fine["method"].isin(CONTROLS)]
    known = cells[cells["improves"] != ""]
    both = known[known["improves"] == BOTH]
    return {
        "cells": len(known),
        "unknown": len(cells) - len(known),
        "both": len(both),
        "both/compared": both["over_control_low"].notna().sum(),
        "both/beyond_control": (both["over_control_low"] > 0).sum(),
        **{word: (known["improves"] == word).sum() for word in (ACCURACY, BALANCE, NEITHER)},
        "worse": (known["accuracy_high"] < 0).sum(),
        "controls": len(control),
        "controls/both": (control["improves"] == BOTH).sum(),
        "variance": known["variance_change"].notna().sum(),
        "variance/grown": (known["variance_change"] > 0).sum(),
        **_equal_accuracy(tables.view("equal_accuracy")),
    }


def _equal_accuracy(cells: pd.DataFrame) -> dict[str, float]:
    """Return how many cells distort more, or less, than one method at equal accuracy."""
    known = cells[cells["verdict"] != ""]
    return {
        "equal": len(known),
        "equal/more": (known["verdict"] == INTENSIFICATION).sum(),
        "equal/less": (known["verdict"] == DEINTENSIFICATION).sum(),
        "equal/beyond": cells["difference"].isna().sum(),
    }


def _classes(tables: StudyTables) -> dict[str, float]:
    """Return how many verdicts against 1 hang on a single class."""
    rows = tables.view("influence")
    slopes = tables.view("slopes")[[*CELL_STATE, "verdict"]]
    rows = rows[(rows["state"] == RETRAINED) & ~rows["method"].isin(tables.never_dense)]
    rows = rows.merge(slopes, on=CELL_STATE, suffixes=("", "_all"))
    # A mean without an interval has no verdict that could change.
    rows = rows[rows["low"].notna() & rows["high"].notna()]
    changed = rows[rows["changes"] == CHANGES]
    turned = changed["verdict"].isin(CONCLUSIVE) & changed["verdict_all"].isin(CONCLUSIVE)
    return {
        "cells": len(rows[CELL].drop_duplicates()),
        "hanging": len(changed[CELL].drop_duplicates()),
        "changes": len(changed),
        "changes/reversed": turned.sum(),
    }


def _over_both(tables: StudyTables) -> dict[str, float]:
    """Return what is still told when the images, too, could be others; nothing if nobody asked."""
    slopes, classes = tables.view("slopes_over_both"), tables.view("classes_over_both")
    if classes.empty:
        return {}
    keys = [*CELL_STATE, "class"]
    ends = classes.merge(tables.view("classes"), on=keys, suffixes=("", "_seeds"))
    pooled = slopes.merge(tables.view("pooled"), on=CELL_STATE, suffixes=("", "_seeds"))
    return {
        "slopes": len(slopes),
        "slopes/unknown": slopes["low"].isna().sum(),
        "slopes/seeds": pooled["crossfit_verdict"].isin(CONCLUSIVE).sum(),
        "slopes/both": slopes["verdict"].isin(CONCLUSIVE).sum(),
        "classes": len(ends),
        "classes/seeds": ((ends["low_seeds"] > 0) | (ends["high_seeds"] < 0)).sum(),
        "classes/both": ((ends["low"] > 0) | (ends["high"] < 0)).sum(),
    }


def _seeds(table: pd.DataFrame) -> dict[str, float]:
    """Return how many seeds cells need, by question and effect, and how many have enough."""
    found = {
        "rows": len(table),
        "unknown": table["seeds"].isna().sum(),
        "power": POWER,
        "many": MANY_SEEDS,
        **least_and_most("networks", table["n"]),
    }
    known = table[table["seeds"].notna()]
    for (question, effect), cells in known.groupby(["question", "effect"], sort=False):
        start = f"{question}/{effect:g}"
        found |= {
            f"{start}/cells": len(cells),
            f"{start}/least": cells["seeds"].min(),
            f"{start}/median": np.ceil(cells["seeds"].median()),
            f"{start}/beyond": (cells["seeds"] > MANY_SEEDS).sum(),
            f"{start}/enough": (cells["seeds"] <= cells["n"]).sum(),
        }
    return found


def _sparsity(tables: StudyTables) -> dict[str, float]:
    """Return whether methods are equally sparse, and what comparisons at equal sparsity say."""
    known = sparsities(tables.networks)
    cells = known.groupby(CELL, sort=False)["realised_ratio"].agg(["mean", "size"]).reset_index()
    ends = cells.groupby([*PANEL, "ratio"])["mean"].agg(["min", "max"])
    table = tables.view("equal_sparsity")
    same = table.empty and known["method"].nunique() > 1
    found = {
        "same": same and (ends["max"] <= (1 + SAME_SPARSITY) * ends["min"]).all(),
        **least_and_most("networks", cells["size"]),
    }
    for method, rows in table.groupby("method", sort=False):
        off = (rows["realised_ratio"] - rows["reference_ratio"]).dropna()
        found |= {
            f"{method}/ratios": len(off),
            f"{method}/fewer_weights": (off > 0).sum(),
            f"{method}/more_weights": (off < 0).sum(),
        }
        references = list(rows["reference"].unique())
        first = STANDARD if STANDARD in references else references[0]
        for reference in references:
            own = rows["reference"] == reference
            found |= _comparisons(f"{method}/{reference}", rows[own])
            found[f"{method}/{reference}/first"] = reference == first
        others = rows["reference"] != first
        if others.any():
            found |= _comparisons(f"{method}/{OTHERS}", rows[others])
    return found


def _quantized(tables: StudyTables) -> dict[str, float]:
    """Return how many quantized cells have each verdict against 1, and beside what they were."""
    cells = tables.leading[tables.leading["method"].isin(tables.quantizers)]
    beside = tables.view("quantized")
    of_dense = cells[~cells["method"].isin(beside["method"])]
    found: dict[str, float] = {
        "cells": len(cells),
        "dense/cells": len(of_dense),
        **{f"dense/{word}": (of_dense["alpha_verdict"] == word).sum() for word in VERDICTS},
        f"dense/{NONE}": (of_dense["alpha_verdict"] == "").sum(),
        "origin/cells": len(beside),
        **{f"origin/{word}": (beside["verdict"] == word).sum() for word in VERDICTS},
        f"origin/{NONE}": (beside["verdict"] == "").sum(),
    }
    return found


def _comparisons(start: str, rows: pd.DataFrame) -> dict[str, float]:
    """Return how many comparisons say what, at the nominal ratio, at equal sparsity, at both."""
    less, more = (
        {kind: rows[f"{kind}_reading"] == word for kind in ("nominal", "equal", "denser")}
        for word in (DEINTENSIFICATION, INTENSIFICATION)
    )
    survives = less["nominal"] & less["equal"]
    found = {"comparisons": len(rows)}
    for kind in ("nominal", "equal"):
        found |= {
            f"{kind}/less": less[kind].sum(),
            f"{kind}/more": more[kind].sum(),
            f"{kind}/unknown": (rows[f"{kind}_reading"] == "").sum(),
        }
    found |= {
        "survive": survives.sum(),
        "survive/certain": (survives & less["denser"]).sum(),
        "reversed": (less["nominal"] & more["equal"]).sum(),
    }
    return {f"{start}/{item}": value for item, value in found.items()}


def _mixed(models: pd.DataFrame, fits: pd.DataFrame) -> dict[str, float]:
    """Return how the mixed models went, how far the fitters differ, and how cells scatter."""
    of_reml = fits[fits["fitter"] != BOOTSTRAP]
    messages = of_reml["message"].fillna("").astype(str)
    absent = messages.str.startswith(NOT_ESTIMATED)
    sides = [models[models["fitter"] == fitter] for fitter in (PYMER4, STATSMODELS)]
    keys = ["model", *CELL, "term"]
    pairs = pd.merge(*(side.drop_duplicates(keys) for side in sides), on=keys, how="outer")
    # Random effects have a standard deviation and no error of it; slopes have one.
    errors = pairs[["std_error_x", "std_error_y"]].astype(float)
    pairs, errors = pairs[errors.notna().any(axis=1)], errors[errors.notna().any(axis=1)]
    apart = (pairs["estimate_y"].astype(float) - pairs["estimate_x"].astype(float)).abs()
    shares = (errors["std_error_y"] / errors["std_error_x"] - 1).abs()
    verdicts = pairs[["verdict_x", "verdict_y"]].fillna("")
    differ = (verdicts != "").all(axis=1) & (verdicts["verdict_x"] != verdicts["verdict_y"])
    return {
        "models": of_reml.loc[~absent, "model"].nunique(),
        "models/absent": of_reml.loc[absent, "model"].nunique(),
        "models/disagree": of_reml.loc[messages.str.startswith(DISAGREE), "model"].nunique(),
        "fits": (~absent).sum(),
        "fits/singular": _true(of_reml["singular"]).sum(),
        "fits/unconverged": (~_true(of_reml["converged"]) & ~absent).sum(),
        "terms": len(pairs),
        "terms/both": apart.notna().sum(),
        "terms/difference": apart.max(),
        "terms/error_difference": shares[np.isfinite(shares)].max(),
        "terms/verdicts_differ": differ.sum(),
        **_believed(fits),
    }


def _true(values: pd.Series) -> pd.Series:
    return values.astype(str).str.strip().str.lower().isin(("true", "1", "1.0"))


def _believed(fits: pd.DataFrame) -> dict[str, float]:
    """Return of each kind of mixed model how many are to be believed, and the cells' scatter."""
    said = fits[fits["believe"].fillna("") != ""].drop_duplicates("model")
    kinds = said["model"].map(kind_of_model)
    found: dict[str, float] = {}
    for (kind, believe), rows in said.groupby([kinds, "believe"], sort=False):
        found[f"{kind}/{believe}/models"] = len(rows)
        if (spreads := rows["spread"].astype(float).dropna()).size:
            # Infinite where the networks of a cell do not scatter.
            found[f"{kind}/{believe}/spread/least"] = spreads.min()
            found[f"{kind}/{believe}/spread/most"] = spreads.max()
    return found


def _notes(tables: StudyTables) -> dict[str, float]:
    """Return how many rows of which question have which note, the most frequent notes first."""
    counts: dict[str, dict[str, int]] = {}
    for name in NOTED:
        notes = (tables.tests if name == "tests" else tables.view(name))["note"].fillna("")
        for note, count in notes[notes != ""].value_counts().items():
            counts.setdefault(str(note), {})[name] = int(count)
    ordered = sorted(counts.items(), key=lambda item: -sum(item[1].values()))
    found = {
        f"{name}/{note}": count
        for note, where in ordered[:MOST_NOTES]
        for name, count in where.items()
    }
    return {"further": max(0, len(ordered) - MOST_NOTES), **found}


def of_data_sets(tables: StudyTables) -> Rows:
    """Yield how large each test set is, and what an intercept would change in its slopes."""
    checks = tables.view("intercepts")
    checks = checks[checks["state"] == RETRAINED]
    slopes = tables.view("slopes")[[*CELL_STATE, "mean"]]
    checks = checks.merge(slopes, on=CELL_STATE, how="left")
    for dataset in dict.fromkeys(panel.dataset for panel in tables.panels):
        rows = tables.recall[tables.recall["dataset"] == dataset]
        dense = rows[rows["method"] == DENSE]
        sizes = (rows if dense.empty else dense).drop_duplicates("class")["support"].dropna()
        own = checks[checks["dataset"] == dataset]
        shift = (own["slope_with_intercept"] - own["mean"]).abs()
        yield (
            Panel(dataset, "", ""),
            "test_set",
            {
                "images": sizes.sum(),
                "classes": len(sizes),
                **least_and_most("class", sizes),
                "intercepts": len(own),
                "intercepts/away": ((own["intercept_low"] > 0) | (own["intercept_high"] < 0)).sum(),
                "intercepts/shift": shift.max(),
            },
        )


def of_panels(tables: StudyTables) -> Rows:
    """Yield what each panel's caveats state."""
    for panel in tables.panels:
        yield panel, "broken", _broken(tables, panel)
        yield panel, "computed", {"ways": _ways(of_panel(tables.networks, panel))}
        rows = of_panel(tables.view("influence"), panel)
        rows = rows[(rows["state"] == RETRAINED) & rows["low"].notna() & rows["high"].notna()]
        changed = rows[rows["changes"] == CHANGES].groupby("class", sort=False).size()
        changed = changed.sort_values(ascending=False, kind="stable")
        yield panel, "classes", {f"hanging/{c}": count for c, count in changed.items()}


def _broken(tables: StudyTables, panel: Place) -> dict[str, float]:
    """Return the retrained cells whose networks know little more than one class.

    Their mean accuracy is at most ``LITTLE_MORE`` of the way from what naming the most frequent
    class gives to 1. Such networks have huge balances, the same in every seed where all name one
    class: alpha then says which class that is, not what became of weak ones.
    """
    recall = of_panel(tables.recall, panel)
    support = recall.drop_duplicates("class")["support"]
    one_class = support.max() / support.sum()
    most = one_class + LITTLE_MORE * (1 - one_class)
    cells = of_panel(tables.view("accuracy"), panel)
    cells = cells[(cells["state"] == RETRAINED) & (cells["mean"] <= most)]
    dense = recall.loc[recall["method"] == DENSE, "accuracy"]
    if cells.empty:
        return {"cells": 0}
    places = zip(cells["method"], cells["ratio"], cells["mean"], strict=True)
    return {
        "cells": len(cells),
        **{f"cell/{method}/{format_ratio(ratio)}": mean for method, ratio, mean in places},
        "accuracy": cells["mean"].max(),
        "one_class": one_class,
        "dense_as_well": (dense <= most).all(),
    }


def _ways(networks: pd.DataFrame) -> int:
    """Return in how many ways a panel's cells were computed, the dense networks apart.

    Cells are alike where the same engines made their networks, whatever number failed: effects are
    paired by seed, so that an engine may differ between seeds. Dense networks are what all cells
    start from, and may differ from them.
    """
    found = made(networks)
    found = found[found["method"] != DENSE]
    return len(
        {
            frozenset(part[MADE_BY].itertuples(index=False, name=None))
            for _, part in found.groupby(["method", "ratio"])
        }
    )
