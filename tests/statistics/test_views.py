"""Estimates below one another and a question's table beside: the same numbers, there and back."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.notes import NARROW, NO_CONTROL
from recall_distortion.inference.questions import leading as questions_leading
from recall_distortion.inference.questions.pooled import FEW_CLASSES, PER_NETWORK, POOLED_ALONE
from recall_distortion.measures.of_networks import FURTHER
from recall_distortion.simulation import Design, sweep
from recall_distortion.simulation import study as simulated_study
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.leading import LEADING, leading
from recall_distortion.tables.schema import COLUMNS, TABLES, TEXT
from recall_distortion.tables.views import (
    ALPHA,
    CROSSFIT,
    MEAN,
    VIEWS,
    melt,
    spread,
)
from recall_distortion.vocabulary import (
    BEYOND_CONTROL,
    CELL_STATE,
    CONTROL,
    DENSE,
    INTENSIFICATION,
    NETWORK,
    ONE,
    RESEED,
    RETRAINED,
)
from tests import synthetic

Answers = dict[str, pd.DataFrame]
# Columns of a question's table that another view has.
ELSEWHERE = {"tradeoff": {"accuracy_after", "variance_after"}}
MAGNITUDE = ("magnitude", 2.0, RETRAINED)
KEYS = TABLES["estimates"].key
# Questions that recalls do not answer; test_population_tables.py asks them.
FROM_PREDICTIONS = ("populations", "population_classes")


def usual() -> synthetic.Tables:
    made = synthetic.random_study({"magnitude": [2, 4], "random": [2]})
    return made | {"networks": synthetic.with_sparsity(made["networks"], {"random": 0.6})}


def with_notes() -> synthetic.Tables:
    """Four seeds, of which one pair is lost and one slope is not finite."""
    made = synthetic.random_study({"magnitude": [2, 4]}, seeds=4)
    networks = made["networks"]
    of_method = networks["method"] == "magnitude"
    networks.loc[of_method & (networks["seed"] == 1), "alpha"] = np.nan
    lost = (networks["method"] == CONTROL) & (networks["seed"] == 3)
    return made | {"networks": networks[~lost]}


def with_failures() -> synthetic.Tables:
    made = usual()
    networks = made["networks"]
    lost = (networks["method"] == "magnitude") & (networks["state"] == RETRAINED)
    lost &= networks["seed"] < 2
    keys = networks[NETWORK]
    failed = keys[lost].assign(failure="the loss is nan", device="", engine="", torch="")
    recall = made["recall"].merge(keys[lost], how="left", indicator=True)
    return {
        "recall": made["recall"][(recall["_merge"] == "left_only").to_numpy()],
        "networks": pd.concat([networks[~lost], failed], ignore_index=True),
    }


def narrow(seeds: int = 6) -> synthetic.Tables:
    """A class of a hundred images that no network knows carries every slope."""
    rng = np.random.default_rng(2)
    cells = (synthetic.DENSE, synthetic.CONTROL, MAGNITUDE)
    right = {
        cell: {seed: [*rng.binomial(100, [0.9, 0.91, 0.92]).tolist(), 1] for seed in range(seeds)}
        for cell in cells
    }
    return synthetic.counted(right, [100] * 4)


def reseeded(images: int = 400, seeds: int = 12) -> synthetic.Tables:
    """Networks drawn by image: the control's slope is 0.8, magnitude's 1.4."""
    design = Design(
        sweep([1.4], control=0.8, sds=0.0, deviation=0.0, accuracy=0.7),
        seeds=seeds, classes=4, images=images, accuracy=0.7, accuracy_sd=0.0, balance_sd=0.15,
        class_share=1.0, seed_sd=0.0, splits=4, dataset="digits", architecture="mlp",
    )  # fmt: skip
    return simulated_study(design, 3)


def predicted() -> dict[str, object]:
    """A study whose single predictions are known."""
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(4), 100)
    balances = np.array([0.2, 0.1, -0.1, -0.2]) + rng.normal(0, 0.02, (8, 4))
    cells = (synthetic.DENSE, synthetic.CONTROL, MAGNITUDE)
    right = {cell: synthetic.drawn(rng, labels, 0.7, balances) for cell in cells}
    found = synthetic.pictured(labels, right, splits=4, with_predictions=True)
    return found | {"networks": found["networks"].drop(columns=[one.name for one in FURTHER])}


STUDIES = {
    "predictions": predicted,
    "usual": usual,
    "notes": with_notes,
    "no control": lambda: synthetic.random_study({"magnitude": [2]}, control=False),
    "failures": with_failures,
    "one seed": lambda: synthetic.random_study({"magnitude": [2]}, seeds=1),
    "only the control": lambda: synthetic.random_study({}),
    "accuracy 0": lambda: synthetic.random_study(
        {"magnitude": [2]}, classes=3, images=100, collapsed={MAGNITUDE: [0, 0, 0]}
    ),
    "one class": lambda: synthetic.random_study({"magnitude": [2]}, classes=1),
    "names": lambda: synthetic.random_study({"magnitude": [2]}, names=["NA", "1", "all", "a,b"]),
    "narrow": narrow,
    "reseed": reseeded,
}


@pytest.fixture(scope="module", params=STUDIES)
def found(request: pytest.FixtureRequest) -> Answers:
    return answers(**STUDIES[request.param]())


def said(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return the table as it can be compared: texts as such and numbers as floats."""
    parts = {}
    for column in columns:
        numbers = pd.to_numeric(table[column], errors="coerce")
        text = (numbers.isna() & table[column].notna() & (table[column].astype(str) != "")).any()
        parts[column] = table[column].fillna("").astype(str) if text else numbers.astype(float)
    return pd.DataFrame(parts).reset_index(drop=True)


def told(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return what the rows of a question's table say that have a number or a note.

    What goes along with a number, such as of how many networks it is, is silent where it is.
    """
    keys = [*CELL_STATE, *VIEWS[name].places.values()]
    carried = pd.DataFrame(False, index=table.index, columns=table.columns)
    for part in VIEWS[name].parts:
        words = table[[own for to, own in part.fields.items() if to in ("estimate", "note")]]
        speaks = (words.notna() & (words.astype(str) != "")).any(axis=1)
        for own in {*part.fields.values(), *keys, *(["basis"] if part.leads else [])}:
            carried[own] |= speaks
    return table.astype(object).where(carried)[carried.any(axis=1)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in VIEWS if name not in FROM_PREDICTIONS])
def test_a_view_of_a_question_s_own_rows_is_its_table(found: Answers, name: str) -> None:
    table = found[name]
    back = spread(name, melt(name, table))
    kept = told(table, name) if len(table) else table
    assert len(back) == len(kept)
    if kept.empty:
        return
    assert set(table.columns) - set(back.columns) == ELSEWHERE.get(name, set())
    columns = [column for column in table if column in back]
    pd.testing.assert_frame_equal(
        said(back, columns), said(kept, columns), check_dtype=False, check_exact=True
    )


@pytest.mark.slow
def test_the_whole_table_is_its_views_through_a_file(found: Answers, tmp_path: Path) -> None:
    whole = estimates(found)
    assert not whole.duplicated(KEYS).any()
    assert list(whole.columns) == COLUMNS["estimates"]
    path = tmp_path / "estimates.csv"
    write_table(path, "estimates", whole)
    read = read_table(path, "estimates")
    melted = {name: melt(name, table) for name, table in found.items()}
    assert len(read) == sum(map(len, melted.values()))
    for name, rows in melted.items():
        keys = [*CELL_STATE, *VIEWS[name].places.values()]
        back, own = spread(name, read), spread(name, rows)
        assert list(back.columns) == list(own.columns)
        assert len(back) == len(own)
        columns = list(own.columns)
        pd.testing.assert_frame_equal(
            said(back, columns).sort_values(keys, ignore_index=True),
            said(own, columns).sort_values(keys, ignore_index=True),
            check_dtype=False,
            check_exact=True,
        )


def test_a_view_of_nothing_has_its_columns() -> None:
    nothing = melt("slopes", pd.DataFrame())
    assert list(nothing.columns) == COLUMNS["estimates"]
    for name, view in VIEWS.items():
        back = spread(name, nothing)
        assert back.empty
        assert set(CELL_STATE) | set(view.places.values()) <= set(back.columns)


def test_texts_are_never_numbers_and_numbers_never_texts() -> None:
    whole = estimates(answers(**usual()))
    for column in TABLES["estimates"].columns:
        if column.kind != TEXT:
            assert whole[column.name].dtype in (float, bool), column.name


# What leads


FEW = {"images": 4000, "seeds": 4}  # and stable


@cache
def made_of(**options: int) -> synthetic.Tables:
    return reseeded(**options)


@cache
def answered(**options: int) -> Answers:
    return answers(**made_of(**options))


def led(tables: Answers) -> tuple[pd.DataFrame, Answers]:
    table = leading(estimates(tables))
    assert list(table.columns) == LEADING
    assert not table.duplicated(CELL_STATE).any()
    assert set(table["state"]) <= {RETRAINED, DENSE}
    return table, tables


def row_of(table: pd.DataFrame, **values: object) -> pd.Series:
    (row,) = [row for _, row in table.iterrows() if all(row[k] == v for k, v in values.items())]
    return row


def numbers(row: pd.Series, *columns: str) -> list[float]:
    return [float(row[column]) for column in columns]


def test_slope_and_effect_of_a_cell_have_one_basis_the_pooled_one() -> None:
    table, tables = led(answered())
    assert table["method"].tolist() == [RESEED, CONTROL, "magnitude"]
    row = row_of(table, method="magnitude")
    pooled, effects = (row_of(tables[name], method="magnitude") for name in ("pooled", "effects"))
    assert row["basis"] == effects["basis"] == CROSSFIT
    assert numbers(row, "alpha", "alpha_low", "alpha_high") == numbers(
        pooled, "alpha_crossfit", "crossfit_low", "crossfit_high"
    )
    assert numbers(row, "difference", "difference_low", "difference_high") == numbers(
        effects, "crossfit_difference", "crossfit_low", "crossfit_high"
    )
    assert (row["alpha_verdict"], row["verdict"]) == (INTENSIFICATION, INTENSIFICATION)
    assert (row["reading"], row["n"], row["level"]) == (BEYOND_CONTROL, 12, 0.99)
    assert np.isnan(row["p_adjusted"])  # those are of the paired t-test
    control = row_of(table, method=CONTROL)
    assert (control["basis"], control["reading"], control["verdict"]) == (CROSSFIT, "", "")
    assert np.isnan(numbers(control, "difference", "difference_low")).all()


def test_few_stable_networks_are_led_by_their_mean_in_the_whole_panel() -> None:
    table, tables = led(answered(**FEW))
    assert set(tables["pooled"]["interpret"]) == {PER_NETWORK}
    assert set(table["basis"]) == {MEAN}
    assert table["method"].tolist() == [RESEED, CONTROL, "magnitude"]
    row, effects = (row_of(t, method="magnitude") for t in (table, tables["effects"]))
    own = row_of(tables["slopes"], method="magnitude")
    assert numbers(row, "alpha", "alpha_low", "alpha_high") == numbers(own, "mean", "low", "high")
    wanted = ("difference", "low", "high", "p_adjusted")
    assert numbers(row, "difference", "difference_low", "difference_high", "p_adjusted") == (
        numbers(effects, *wanted)
    )
    assert row["reading"] == effects["reading"] == BEYOND_CONTROL


def test_panels_choose_their_basis_apart() -> None:
    many, few = made_of(), made_of(**FEW)
    both = {
        name: pd.concat([many[name], few[name].assign(architecture="cnn")], ignore_index=True)
        for name in many
    }
    table, _ = led(answers(**both))
    assert table.groupby("architecture")["basis"].agg(set).to_dict() == {
        "mlp": {CROSSFIT},
        "cnn": {MEAN},
    }
    alone = pd.concat([led(answered())[0], led(answered(**FEW))[0].assign(architecture="cnn")])
    pd.testing.assert_frame_equal(table, alone.reset_index(drop=True), check_dtype=False)


def test_without_a_control_the_slope_leads_and_the_note_says_why_nothing_else_does() -> None:
    made = made_of()
    made = {name: rows[rows["method"] != CONTROL] for name, rows in made.items()}
    table, tables = led(answers(**made))
    row = row_of(table, method="magnitude")
    assert (row["basis"], row["alpha_verdict"]) == (CROSSFIT, INTENSIFICATION)
    assert row["alpha"] == row_of(tables["pooled"], method="magnitude")["alpha_crossfit"]
    assert (row["verdict"], row["reading"]) == ("", "")
    assert np.isnan(numbers(row, "difference", "difference_low", "difference_high")).all()
    assert NO_CONTROL in row["note"]
    few = made_of(**FEW)
    few = {name: rows[rows["method"] != CONTROL] for name, rows in few.items()}
    assert set(led(answers(**few))[0]["basis"]) == {MEAN}


def test_a_slope_on_few_classes_leads_and_says_so() -> None:
    table, tables = led(answers(**narrow()))
    row = row_of(table, method="magnitude")
    assert row["basis"] == CROSSFIT
    assert row["note"].count(NARROW.split("{}")[0] + "class 3") == 1
    assert (tables["pooled"]["narrow"] == FEW_CLASSES).all()


def test_slopes_that_nothing_can_be_told_of_lead_on_the_pooled_basis() -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(4), 50)
    equal = np.zeros((8, 4))  # the recalls differ by the drawing of images alone
    cells = (synthetic.DENSE, synthetic.CONTROL, MAGNITUDE)
    right = {cell: synthetic.drawn(rng, labels, 0.9, equal) for cell in cells}
    table, tables = led(answers(**synthetic.pictured(labels, right, splits=4, reseed=True)))
    assert POOLED_ALONE in set(tables["pooled"]["interpret"])
    assert set(table["basis"]) == {CROSSFIT}
    assert set(table["reading"]) == {""}


@pytest.mark.slow
def test_each_cell_leads_once_against_one_and_against_the_control() -> None:
    for tables in (answers(**usual()), answers(**with_failures()), answered()):
        table = estimates(tables)
        rows = table[table["leads"]]
        assert set(rows["quantity"]) == {ALPHA}
        assert not rows.duplicated([*CELL_STATE, "against"]).any()
        assert rows.groupby(CELL_STATE)["estimator"].nunique().max() == 1
        of_one = rows[rows["against"] == ONE]
        assert not ((of_one["state"] != RETRAINED) & (of_one["method"] != RESEED)).any()


def test_the_basis_of_cells_without_effects_is_the_panel_s() -> None:
    tables = answers(**usual())
    effects = tables["effects"].assign(basis=MEAN)
    found = questions_leading.basis(
        tables["slopes"], tables["pooled"], effects, tables["quantized"]
    )
    assert set(found["basis"]) == {MEAN}
    assert CONTROL in set(found["method"])
