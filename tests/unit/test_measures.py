"""Further measures of networks, worked out by hand, and what holds of every one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.estimates import answers, estimates
from recall_distortion.inference.notes import NO_CONTROL, ONE_REPLICATE
from recall_distortion.inference.questions.measures import measured
from recall_distortion.measures.networks import measure
from recall_distortion.measures.of_networks import FURTHER, MEASURES
from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import read_table, write_table
from recall_distortion.tables.predictions import Predictions, Trained
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.tables.views import spread
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
    names = [column.name for column in FURTHER]
    assert len(set(names)) == len({measure.title for measure in MEASURES}) == len(names)
    assert not set(names) & set(COLUMNS["networks"])
    assert all(column.later for column in FURTHER)


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
        assert [row["over_low"], row["over_high"]] == pytest.approx([ends.low, ends.high])
        assert row["p"] == pytest.approx(paired.pvalue)
        assert row["p_adjusted"] == pytest.approx(min(1, 2 * paired.pvalue))
        assert row["family_size"] == 2
        assert row["over"] == pytest.approx(row["mean"] - row["control"])
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
    for column in ("mean", "low", "before", "change", "over", "over_high", "p_adjusted", "note"):
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
