"""Further measures of networks, worked out by hand, and what holds of every one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.notes import NO_CONTROL, ONE_REPLICATE
from recall_distortion.inference.questions.measures import measured
from recall_distortion.measures.measure import Measure, require_different_names
from recall_distortion.measures.networks import measure
from recall_distortion.measures.of_networks import FURTHER, MEASURES
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.predictions import Predictions, Trained
from recall_distortion.tables.schema import COLUMNS, NUMBER
from recall_distortion.tables.views import NAMED, spread
from recall_distortion.vocabulary import (
    COMPRESSED,
    CONTROL,
    DENSE,
    NETWORK,
    RESEED,
    RETRAINED,
    Panel,
)

# Two classes of four images, and what networks of seeds 0 and 1 say of them.
LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
SAID = {
    (DENSE, "1", DENSE): ["00001111", "00011111"],  # recalls 1, 1 and 3/4, 1
    (CONTROL, "1", RETRAINED): ["00011111", "00011110"],  # flips 1 and 1
    ("magnitude", "2", COMPRESSED): ["11111111", "00000000"],  # flips 4 and 5
    ("magnitude", "2", RETRAINED): ["00111111", "00011100"],  # flips 2 and 2
}
WORST = {
    (DENSE, DENSE): [1, 0.75],
    (RESEED, DENSE): [0.75],
    (CONTROL, RETRAINED): [0.75, 0.75],
    ("magnitude", COMPRESSED): [0, 0],
    ("magnitude", RETRAINED): [0.5, 0.5],
}
FLIPS = {
    (RESEED, DENSE): [1 / 8],
    (CONTROL, RETRAINED): [1 / 8, 1 / 8],
    ("magnitude", COMPRESSED): [4 / 8, 5 / 8],
    ("magnitude", RETRAINED): [2 / 8, 2 / 8],
}


def predictions(said: dict[tuple[str, str, str], list[str]]) -> list[Predictions]:
    return [
        Predictions(
            Panel("digits", "mlp", "usual"), *cell, list(range(len(texts))), ["a", "b"],
            np.array(LABELS), np.array([list(map(int, text)) for text in texts]),
            {Trained(): len(texts)},
        )
        for cell, texts in said.items()
    ]  # fmt: skip


def networks(said: dict[tuple[str, str, str], list[str]]) -> pd.DataFrame:
    sparsity = pd.DataFrame(columns=COLUMNS["sparsity"])
    return measure(predictions(said), sparsity, [], splits=2)[1]


def of_cells(table: pd.DataFrame, column: str) -> dict[tuple[str, str], list[float]]:
    known = table[table[column].notna()]
    return {key: own[column].tolist() for key, own in known.groupby(["method", "state"])}


def test_worked_by_hand() -> None:
    table = networks(SAID)
    assert of_cells(table, "worst_recall") == WORST
    assert of_cells(table, "flip_rate") == FLIPS


def test_a_network_is_held_against_its_own_dense_one_whatever_the_order() -> None:
    whole = {cell: texts * 3 for cell, texts in SAID.items()}
    table = networks(whole)
    for cell, texts in whole.items():
        if cell[0] == DENSE:
            continue
        own = table[(table["method"] == cell[0]) & (table["state"] == cell[2])]
        for seed, rate in zip(own["seed"], own["flip_rate"], strict=True):
            pairs = zip(texts[seed], whole[DENSE, "1", DENSE][seed], strict=True)
            assert rate == np.mean([a != b for a, b in pairs])


def test_every_measure_has_a_name_of_its_own() -> None:
    require_different_names(MEASURES, NAMED)
    assert all(column.later for column in FURTHER)
    flips = next(measure for measure in MEASURES if measure.title == "flip rate")
    other = replace(flips, title="other", column=replace(flips.column, name="other"))
    require_different_names([*MEASURES, other], NAMED)
    for taken, word in (
        (replace(other, column=flips.column), "flip_rate"),
        (replace(other, column=replace(flips.column, name="accuracy")), "accuracy"),
        (replace(other, title="flip rate"), "flip rate"),
        (replace(other, title="denominator"), "denominator"),  # a quantity of estimates.csv
    ):
        with pytest.raises(TableError, match=f"the name '{word}' is taken"):
            require_different_names([*MEASURES, taken], NAMED)


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (lambda own, dense: 0.5, r"returned shape \[\] for .*magnitude at 2"),
        (lambda own, dense: own.predicted[:, :2] / 10, r"returned shape \[2, 2\]"),
        (lambda own, dense: own.predicted.mean(axis=1) * 100, r"returned 75 for .*from 0 to 1"),
        (lambda own, dense: np.full(2, np.inf), "returned inf"),
    ],
)
def test_what_is_no_measure_is_named(of, said: str) -> None:
    own, dense = (
        next(part for part in predictions(SAID) if (part.method, part.state) == key)
        for key in (("magnitude", RETRAINED), (DENSE, DENSE))
    )
    wrong = replace(MEASURES[0], title="mine", of=of)
    with pytest.raises(TableError, match=f"measure 'mine': {said}"):
        wrong.values(own, dense)


def test_a_measure_of_half_precision_is_kept_in_double() -> None:
    part = replace(predictions(SAID)[0], loss=np.full((2, 8), 0.1, np.float16))
    column = replace(MEASURES[0].column, kind=NUMBER)
    mean = Measure(column, "mean loss", "here", lambda own, dense: own.loss.mean(axis=1))
    assert mean.values(part, None).dtype == np.float64


def test_means_changes_and_differences_from_the_control() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {**dict(zip(NETWORK, ("digits", "mlp", "usual", *cell, seed), strict=True)),
         "worst_recall": rng.uniform(), "flip_rate": np.nan if cell[0] == DENSE else rng.uniform()}
        for cell in ((DENSE, 1.0, DENSE), (CONTROL, 1.0, RETRAINED),
                     ("magnitude", 2.0, RETRAINED), ("magnitude", 4.0, RETRAINED))
        for seed in range(7)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    found = measured(table, 0.95).set_index(["measure", "method", "ratio"])
    assert set(found.index.get_level_values(0)) == {"worst recall", "flip rate"}
    cells = {
        key: own.set_index("seed") for key, own in table.groupby(["method", "ratio"], sort=False)
    }
    for name, column in (("worst recall", "worst_recall"), ("flip rate", "flip_rate")):
        row = found.loc[(name, "magnitude", 4.0)]
        own, control = (cells[cell][column] for cell in (("magnitude", 4.0), (CONTROL, 1.0)))
        assert row["mean"] == pytest.approx(own.mean())
        ends = stats.ttest_1samp(own.to_numpy(), 0).confidence_interval(0.95)
        assert [row["low"], row["high"]] == pytest.approx([ends.low, ends.high])
        paired = stats.ttest_rel(own.to_numpy(), control.to_numpy())
        ends = paired.confidence_interval(0.95)
        assert [row["over_control_low"], row["over_control_high"]] == pytest.approx(
            [ends.low, ends.high]
        )
        assert row["p"] == pytest.approx(paired.pvalue)
        assert row["p_adjusted"] == pytest.approx(min(1, 2 * paired.pvalue))
        assert row["family_size"] == 2
        assert row["over_control"] == pytest.approx(row["mean"] - row["control"])
    change = found.loc[("worst recall", "magnitude", 2.0)]
    dense = cells[DENSE, 1.0]["worst_recall"]
    assert change["change"] == pytest.approx(change["mean"] - dense.mean())
    assert np.isnan(found.loc[("flip rate", "magnitude", 2.0), "change"])
    assert ("flip rate", DENSE, 1.0) not in found.index


def test_what_is_missing_is_said() -> None:
    one = measured(networks({cell: texts[:1] for cell, texts in SAID.items()}))
    assert set(one["note"]) == {ONE_REPLICATE}
    assert one["low"].isna().all()
    without = {cell: texts for cell, texts in SAID.items() if cell[0] != CONTROL}
    notes = measured(networks(without)).set_index(["method", "state"])["note"]
    assert set(notes[("magnitude", RETRAINED)]) == {NO_CONTROL}
    table = networks(SAID)
    lost = (table["method"] == "magnitude") & (table["seed"] == 1) & (table["state"] == RETRAINED)
    table.loc[lost, "flip_rate"] = np.nan
    found = measured(table).set_index(["measure", "method", "state"])
    row = found.loc[("flip rate", "magnitude", RETRAINED)]
    assert row["note"] == "1 of 2 networks have no value"
    assert np.isnan(row["mean"])
    table.loc[lost, "flip_rate"] = np.inf
    found = measured(table).set_index(["measure", "method", "state"])
    assert found.loc[("flip rate", "magnitude", RETRAINED), "note"] == row["note"]
    # Nor is there a difference from what is not known.
    table = networks(SAID)
    table.loc[(table["method"] == CONTROL) & (table["seed"] == 1), "worst_recall"] = np.nan
    table.loc[(table["method"] == DENSE) & (table["seed"] == 0), "worst_recall"] = np.nan
    row = measured(table).set_index(["measure", "method", "state"]).loc[
        ("worst recall", "magnitude", RETRAINED)
    ]  # fmt: skip
    assert row["mean"] == 0.5
    assert row[["change", "over_control", "p"]].isna().all()
    assert row["note"] == (
        "against the dense networks, 1 of 2 networks have no value; "
        "against the control, 1 of 2 networks have no value"
    )
    table = networks(SAID)
    assert measured(table)["family_size"].max() == 1
    other = table[table["method"] == "magnitude"].assign(ratio=4.0, flip_rate=np.nan)
    assert measured(pd.concat([table, other]))["family_size"].max() == 2
    assert measured(table.drop(columns=[column.name for column in FURTHER])).empty
    with pytest.raises(TableError, match="more than one row"):
        measured(pd.concat([table, table]))


def test_estimates_hold_them_and_give_them_back() -> None:
    recall, table = measure(
        predictions(SAID), pd.DataFrame(columns=COLUMNS["sparsity"]), [], splits=2
    )
    found = answers(recall, table, 0.9)
    back = spread("measures", estimates(found))
    own = found["measures"]
    order = ["measure", "method", "ratio", "state"]
    for column in (
        "mean",
        "low",
        "before",
        "change",
        "over_control",
        "over_control_high",
        "p_adjusted",
        "note",
    ):
        left, right = (part.sort_values(order)[column].reset_index(drop=True)
                       for part in (back, own))  # fmt: skip
        pd.testing.assert_series_equal(
            left, right.fillna("") if column == "note" else right.astype(float), check_dtype=False
        )


def test_tables_keep_them(tmp_path) -> None:
    path, table = tmp_path / "networks.csv", networks(SAID)
    write_table(path, "networks", table, FURTHER)
    back = read_table(path, "networks", NETWORK, FURTHER)
    pd.testing.assert_series_equal(back["flip_rate"], table["flip_rate"])
    path.write_text(path.read_text().replace(",0.625,", ",many,"))
    with pytest.raises(TableError, match=r"line 8, column flip_rate: 'many' is not a number"):
        read_table(path, "networks", NETWORK, FURTHER)
    old = table.drop(columns="flip_rate")
    write_table(path, "networks", old)
    assert read_table(path, "networks", NETWORK, FURTHER)["flip_rate"].isna().all()
