"""What the page states of a study: counts by hand, and that each follows from the tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recall_distortion.inference.questions.effects import BEYOND_CONTROL
from recall_distortion.inference.questions.summary import summary
from recall_distortion.inference.questions.summary_items import EFFECTS, NONE, OTHERS, effect, made
from recall_distortion.tables.files import read_table
from recall_distortion.tables.leading import leading
from recall_distortion.tables.schema import COLUMNS, TABLES
from recall_distortion.vocabulary import (
    AS_CONTROL,
    CONTROL,
    DEINTENSIFICATION,
    DENSE,
    INCONCLUSIVE,
    INTENSIFICATION,
    NOT_DISTINGUISHABLE,
    RETRAINED,
    Panel,
)
from tests import synthetic
from tests.synthetic import Tables
from tests.synthetic.report import inferred, write_tables

LEVEL = 0.99
PANEL = Panel("digits", "mlp", "usual")
STUDY = Panel("", "", "")
METHODS = {"magnitude": [2.0, 4.0], "random": [2.0, 4.0], "wide": [2.0, 4.0]}


def tables_of(study: Tables, **others: pd.DataFrame) -> Tables:
    """Return all tables that a summary is made from; of mixed models there are none."""
    return inferred(study["recall"], study["networks"], LEVEL) | others


def numbers(tables: Tables, place: Panel, section: str) -> dict[str, float]:
    """Return one section of the summary by item."""
    table = summary(**tables)
    own = (table[list(Panel._fields)] == list(place)).all(axis=1)
    rows = table[own & (table["section"] == section)]
    return dict(zip(rows["item"], rows["value"], strict=True))


@pytest.fixture(scope="module")
def study() -> Tables:
    made_up = synthetic.random_study(METHODS, seeds=7, classes=3)
    networks = synthetic.with_sparsity(made_up["networks"], {"wide": 0.7})
    engine = {"device": "cpu", "engine": "one after another, float32", "torch": "2.9"}
    return {**made_up, "networks": networks.assign(**engine)}


@pytest.fixture(scope="module")
def tables(study: Tables) -> Tables:
    return tables_of(study)


@pytest.mark.slow
def test_each_number_has_one_row_and_is_one(tables: Tables) -> None:
    table = summary(**tables)
    assert list(table.columns) == COLUMNS["summary"]
    assert not table.duplicated(TABLES["summary"].key).any()
    assert table["value"].dtype == float
    assert set(zip(*(table[key] for key in Panel._fields), strict=True)) == {
        STUDY, PANEL, (PANEL.dataset, "", "")
    }  # fmt: skip


def test_files_give_the_same_as_tables(tables: Tables, tmp_path: Path) -> None:
    write_tables(tmp_path, tables)
    found = read_table(tmp_path / "summary.csv", "summary")
    pd.testing.assert_frame_equal(found, summary(**tables), check_dtype=False)


def test_every_cell_counts_once(tables: Tables) -> None:
    found = numbers(tables, PANEL, "answer")
    cells = leading(tables["estimates"])
    cells = cells[cells["method"].isin(METHODS)]
    assert found["cells"] == len(cells) == 6
    words = (INTENSIFICATION, DEINTENSIFICATION, INCONCLUSIVE)
    assert [found[f"cells/{word}"] for word in words] == [
        (cells["alpha_verdict"] == word).sum() for word in words
    ]
    assert sum(found[f"cells/{word}"] for word in (*words, NONE)) == 6
    assert sum(found[f"effects/{item}"] for item in (*EFFECTS, NONE)) == 6
    beyond = (cells["reading"] == BEYOND_CONTROL).sum()
    assert found["effects/intensifies"] + found["effects/de_intensifies"] == beyond
    of_study = numbers(tables, STUDY, "answer")
    assert {item: of_study[item] for item in found if item in of_study and "/" in item} == {
        item: value for item, value in found.items() if item in of_study and "/" in item
    }
    assert (found["networks/least"], found["networks/most"], found["classes"]) == (7, 7, 3)


@pytest.mark.parametrize(
    ("verdict", "reading", "item"),
    [
        (INTENSIFICATION, BEYOND_CONTROL, "intensifies"),
        (DEINTENSIFICATION, BEYOND_CONTROL, "de_intensifies"),
        (INCONCLUSIVE, AS_CONTROL, "as_control"),
        (INCONCLUSIVE, NOT_DISTINGUISHABLE, "not_distinguishable"),
        ("", "", NONE),
    ],
)
def test_effects_by_verdict_and_reading(verdict: str, reading: str, item: str) -> None:
    assert effect(verdict, reading) == item


def test_metrics_of_a_panel(tables: Tables) -> None:
    found = numbers(tables, PANEL, "metrics")
    dense = tables["networks"][tables["networks"]["method"] == DENSE]
    assert found["dense_accuracy"] == pytest.approx(dense["accuracy"].mean())
    control = leading(tables["estimates"]).set_index("method")["alpha"][CONTROL]
    assert found["control_alpha"] == control
    assert set(found) == {
        "dense_accuracy", "control_alpha", "failures",
        *(f"cells/{word}" for word in (INTENSIFICATION, DEINTENSIFICATION, INCONCLUSIVE)),
        *(f"effects/{item}" for item in EFFECTS),
    }  # fmt: skip


@pytest.mark.slow
def test_without_a_control_there_are_no_effects(study: Tables) -> None:
    kept = {name: table[table["method"] != CONTROL] for name, table in study.items()}
    found = numbers(tables_of(kept), PANEL, "metrics")
    assert not any(item.startswith("effects/") for item in found)
    assert math.isnan(found["control_alpha"])
    assert numbers(tables_of(kept), PANEL, "answer")[f"effects/{NONE}"] == 6


@pytest.mark.slow
def test_failures_are_counted_and_are_no_networks(study: Tables) -> None:
    networks = study["networks"].copy()
    lost = networks.iloc[[-1]].assign(seed=99, failure="the loss was not finite", alpha=np.nan)
    networks = pd.concat([networks, lost], ignore_index=True)
    before, after = tables_of(study), tables_of({**study, "networks": networks})
    assert numbers(after, PANEL, "metrics")["failures"] == 1
    of_study = numbers(after, STUDY, "answer")
    assert (of_study["failures"], of_study["control_failures"]) == (1, 0)
    assert of_study["slopes/not_finite"] == 0
    assert numbers(after, STUDY, "computed") == numbers(before, STUDY, "computed")


def test_levels_alone_and_together(tables: Tables) -> None:
    found = numbers(tables, STUDY, "answer")
    assert (found["level/1"], found["level/1/family_size"]) == (LEVEL, 2)
    assert found["level/1/together"] == pytest.approx(0.98)
    assert "level/2" not in found


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "one", "few"), [(1, 1, 0), (3, 0, 1), (7, 0, 0)])
def test_few_seeds_are_a_limit(seeds: int, one: int, few: int) -> None:
    made_up = synthetic.random_study({"magnitude": [2.0]}, seeds=seeds)
    found = tables_of(made_up)
    limits = numbers(found, STUDY, "limits")
    assert (limits["one_seed"], limits["few_seeds"], limits["classes"]) == (one, few, 4)
    answer = numbers(found, STUDY, "answer")
    assert answer["seeds/least"] == answer["seeds/most"] == seeds


def test_test_sets_by_class(tables: Tables) -> None:
    found = numbers(tables, (PANEL.dataset, "", ""), "test_set")
    assert (found["images"], found["classes"]) == (600, 3)
    assert (found["class/least"], found["class/most"]) == (200, 200)
    assert found["intercepts"] == 7  # six cells and the control


@pytest.mark.slow
def test_what_computed_the_networks(study: Tables, tables: Tables) -> None:
    way = "cpu/one after another, float32/2.9"
    networks = 7 * (1 + 1 + 6)  # dense, control, retrained
    assert numbers(tables, STUDY, "computed") == {way: networks}
    assert numbers(tables, PANEL, "computed") == {"ways": 1}
    other = study["networks"].copy()
    cell = (other["method"] == "random") & (other["ratio"] == 4) & (other["state"] == RETRAINED)
    other.loc[cell & (other["seed"] < 3), "device"] = "GPU"
    mixed = tables_of({**study, "networks": other})
    assert numbers(mixed, STUDY, "computed")["GPU/one after another, float32/2.9"] == 3
    # That cell was computed in two ways, the others in one.
    assert numbers(mixed, PANEL, "computed") == {"ways": 2}
    assert len(made(other)) == networks


@pytest.mark.parametrize(("share", "told"), [(0.04, True), (0.06, False)])
def test_networks_that_know_one_class(share: float, told: bool) -> None:
    """Of classes of 60 and 40 images, naming the first gives 0.6; up to 0.62 is hardly more."""
    right = round(100 * (0.6 + share * 0.4), 1)
    counts = {seed: [60, right - 60] for seed in range(3)}
    made_up = synthetic.counted(
        {
            synthetic.DENSE: {seed: [55, 38 - seed] for seed in range(3)},
            ("random", 10.0, RETRAINED): counts,
            ("random", 2.0, RETRAINED): {seed: [55, 36 - seed] for seed in range(3)},
        },
        [60, 40],
    )
    found = numbers(tables_of(made_up), PANEL, "broken")
    if not told:
        assert found == {"cells": 0}
        return
    assert found["cells"] == 1
    assert found["cell/random/10"] == pytest.approx(right / 100)
    assert found["one_class"] == 0.6
    assert found["dense_as_well"] == 0


def test_comparisons_at_equal_sparsity(tables: Tables) -> None:
    found = numbers(tables, STUDY, "sparsity")
    assert (found["same"], found["wide/ratios"], found["wide/more_weights"]) == (0, 4, 4)
    assert (found["wide/magnitude/first"], found["wide/random/first"]) == (1, 0)
    counts = [f"{kind}/{word}" for kind in ("nominal", "equal") for word in ("less", "more")]
    for item in ("comparisons", *counts, "survive", "reversed"):
        assert found[f"wide/{OTHERS}/{item}"] == found[f"wide/random/{item}"]
    assert found["wide/magnitude/comparisons"] == 2


@pytest.mark.slow
def test_methods_of_the_same_sparsity(study: Tables) -> None:
    networks = synthetic.with_sparsity(study["networks"])
    found = numbers(tables_of({**study, "networks": networks}), STUDY, "sparsity")
    assert found["same"] == 1
    one = networks[networks["method"].isin((DENSE, CONTROL, "random"))]
    recall = study["recall"][study["recall"]["method"].isin((DENSE, CONTROL, "random"))]
    alone = tables_of({"networks": one, "recall": recall})
    assert numbers(alone, STUDY, "sparsity")["same"] == 0


def _fits(*rows: tuple[Any, ...]) -> pd.DataFrame:
    columns = ["model", "fitter", "singular", "converged", "message", "spread", "believe"]
    return pd.DataFrame(rows, columns=columns).reindex(columns=COLUMNS["mixed_model_fits"])


def _terms(*rows: tuple[Any, ...]) -> pd.DataFrame:
    columns = ["model", "fitter", "term", "estimate", "std_error", "verdict"]
    return pd.DataFrame(rows, columns=columns).reindex(columns=COLUMNS["mixed_models"])


def test_mixed_models(study: Tables) -> None:
    absent = "not estimated: there is one seed"
    fits = _fits(
        ("class_level/a", "pymer4", True, True, "", 4.0, "bootstrap"),
        ("class_level/a", "statsmodels", False, False, "", 4.0, "bootstrap"),
        ("class_level/a", "bootstrap", False, True, "", 4.0, "bootstrap"),
        ("class_level/b", "pymer4", False, True, "the fitters disagree about", np.inf, "bootstrap"),
        ("across/c", "pymer4", False, False, absent, np.nan, ""),
    )
    terms = _terms(
        ("class_level/a", "pymer4", "slope", 1.0, 0.10, INTENSIFICATION),
        ("class_level/a", "statsmodels", "slope", 1.5, 0.11, INCONCLUSIVE),
        ("class_level/a", "bootstrap", "slope", 9.0, 9.0, INCONCLUSIVE),
        ("class_level/a", "pymer4", "sd(seed)", 1.0, np.nan, ""),
        ("class_level/a", "statsmodels", "sd(seed)", 7.0, np.nan, ""),
        ("class_level/b", "pymer4", "slope", 1.0, 0.1, INTENSIFICATION),
    )
    found = numbers(tables_of(study, mixed_models=terms, mixed_model_fits=fits), STUDY, "mixed")
    assert (found["models"], found["models/absent"], found["models/disagree"]) == (2, 1, 1)
    assert (found["fits"], found["fits/singular"], found["fits/unconverged"]) == (3, 1, 1)
    # A standard deviation has no error and is not compared, nor is what one fitter alone has.
    assert (found["terms"], found["terms/both"], found["terms/verdicts_differ"]) == (2, 1, 1)
    assert found["terms/difference"] == pytest.approx(0.5)
    assert found["terms/error_difference"] == pytest.approx(0.1)
    assert found["class_level/bootstrap/models"] == 2
    ends = [found[f"class_level/bootstrap/spread/{end}"] for end in ("least", "most")]
    assert ends == [4, np.inf]  # a cell that does not scatter


def test_without_mixed_models(tables: Tables) -> None:
    found = numbers(tables, STUDY, "mixed")
    assert found["models"] == found["fits"] == found["terms"] == 0
    assert math.isnan(found["terms/difference"])


def test_notes_are_counted_by_question(tables: Tables) -> None:
    found = numbers(tables, STUDY, "notes")
    estimates_notes = tables["estimates"]["note"].fillna("")
    for item, count in found.items():
        question, slash, note = item.partition("/")
        if slash:
            assert count > 0
            assert question in ("slopes", "pooled", "effects", "equal_sparsity", "tests",
                                "seeds_needed", "tradeoff")  # fmt: skip
            if question != "tests":
                assert (estimates_notes == note).any()
    assert found["further"] == 0
