"""Tables as the schema declares them, written and read back, and those that cannot be read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from core_helpers import REPOSITORY

from recall_distortion.system.errors import TableError
from recall_distortion.tables.files import read_table, require_columns, require_unique, write_table
from recall_distortion.tables.items import ITEMS, declared
from recall_distortion.tables.schema import (
    ALL,
    COLUMNS,
    COUNT,
    NUMBER,
    RATIO,
    SHARE,
    TABLES,
    TEXT,
    TRUTH,
)
from recall_distortion.vocabulary import CELL, NETWORK, PANEL, STATES, format_ratio

KINDS = {TEXT, TRUTH, NUMBER, SHARE, COUNT, RATIO}
CONTRACT = {
    "recall": "dataset architecture recipe method ratio state seed class class_name support "
    "correct predicted recall precision accuracy balance normalized_balance mean_loss confidence "
    "calibration_error",
    "networks": "dataset architecture recipe method ratio state seed accuracy accuracy_before "
    "alpha alpha_crossfit crossfit_numerator crossfit_denominator r2 denominator effective_classes "
    "intercept slope_with_intercept realised_ratio kept_fraction kept_prunable prunable total "
    "device engine torch failure",
    "estimates": "dataset architecture recipe method ratio state class class_name quantity "
    "estimator against reference n estimate std_error df low high p p_adjusted level family "
    "family_size verdict reading leads note",
    "sparsity": "dataset architecture recipe method ratio seed realised_ratio kept_fraction "
    "kept_prunable prunable total",
}


# The schema


def test_what_summaries_say_is_declared_and_what_is_declared_is_said() -> None:
    """In the studies that ship, of which each item occurs in one at least.

    No study that ships has results of quantizing or of an unbalanced set yet: their items are held
    in ``test_quantized_studies`` and ``test_long_tail``.
    """
    said = {(name, item) for name in ("quantized", "frequency") for item in ITEMS[name]}
    for path in REPOSITORY.glob("results/*/tables/summary.csv"):
        table = read_table(path, "summary")
        for section, item in zip(table["section"], table["item"], strict=True):
            found = declared(section, item)
            assert found, f"{path}: {section}, {item}"
            said.add((section, found))
    assert said == {(section, item) for section, items in ITEMS.items() for item in items}


@pytest.mark.parametrize(
    ("section", "item", "expected"),
    [
        ("answer", "level/2/together", "level/<i>/together"),
        ("answer", "level/2", "level/<i>"),
        ("sparsity", "random/(others)/nominal/less", "<method>/<other>/nominal/less"),
        ("sparsity", "same", "same"),
        ("answer", "levels", ""),
        ("nowhere", "same", ""),
    ],
)
def test_an_item_is_the_one_that_says_most_of_it(section: str, item: str, expected: str) -> None:
    assert declared(section, item) == expected


@pytest.mark.parametrize("name", CONTRACT)
def test_the_columns_are_those_of_the_contract(name: str) -> None:
    assert COLUMNS[name] == CONTRACT[name].split()


@pytest.mark.parametrize("name", ALL)
def test_a_table_is_declared_whole(name: str) -> None:
    table = ALL[name]
    assert table.names == COLUMNS[name] == list(dict.fromkeys(table.names))
    assert set(table.key) <= set(table.names)
    assert table.row
    for column in table.columns:
        assert column.kind in KINDS
        assert column.meaning.endswith(".")
        assert not (column.words and column.kind != TEXT)
        # What identifies a row, no version lacks.
        assert not (column.later and column.name in table.key)


def test_a_column_of_several_tables_has_one_kind() -> None:
    kinds: dict[str, set[str]] = {}
    for table in TABLES.values():
        for column in table.columns:
            if column.name != "class":  # by number in recall, by number or "all" in estimates
                kinds.setdefault(column.name, set()).add(column.kind)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


# Ratios


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.0, "1"),
        (2, "2"),
        (2.5, "2.5"),
        (100 / 3, "33.333333333333336"),
        (33.333333, "33.333333"),
        (1_000_000.0, "1000000"),
        (1e15, "1000000000000000"),
        (1.1, "1.1"),
        (math.nan, ""),
    ],
)
def test_a_ratio_is_written_so_that_it_reads_back(ratio: float, text: str) -> None:
    assert format_ratio(ratio) == text
    assert text == "" or float(text) == ratio


def test_ratios_are_written_as_the_study_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "sparsity.csv"
    ratios = [2, 2.5, 10.0, 33.333333, 1e6, math.nan]
    write_table(path, "sparsity", pd.DataFrame({"ratio": ratios, "seed": 0}))
    found = [line.split(",")[CELL.index("ratio")] for line in path.read_text().splitlines()]
    assert found == ["ratio", "2", "2.5", "10", "33.333333", "1000000", ""]
    assert read_table(path, "sparsity")["ratio"].tolist()[:-1] == ratios[:-1]


# Written and read


def recall_row(**values: object) -> dict[str, object]:
    """Return a row of recall in which every number follows from the others."""
    row = dict.fromkeys(COLUMNS["recall"], 1.0) | {"class_name": "cat", "state": "dense"}
    row |= {"dataset": "NA", "architecture": "1", "recipe": "nan", "method": "null"}
    return row | {"balance": 0.0, "normalized_balance": 0.0} | values


@pytest.mark.parametrize(
    "name",
    ["NA", "nan", "None", "null", "1", "1.0", "007", "a,b", '"', "ü", "日本", " x ", "a\nb", ""],
)
def test_any_class_name_survives(tmp_path: Path, name: str) -> None:
    path = tmp_path / "recall.csv"
    write_table(path, "recall", pd.DataFrame([recall_row(class_name=name)]))
    found = read_table(path, "recall").iloc[0]
    assert found["class_name"] == name
    assert found[[*PANEL, "method"]].tolist() == ["NA", "1", "nan", "null"]


def test_every_kind_is_read_as_what_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "estimates.csv"
    table = pd.DataFrame(
        {
            "class": ["0", "all", "NA"],
            "quantity": ["alpha", "a, b", ""],
            "ratio": [2.0, 2.5, math.nan],
            "n": [6.0, math.nan, 0.0],
            "estimate": [1509.0, -0.1 - 0.2, math.nan],
            "p": [1.0, math.nan, 0.25],
            "leads": [True, False, True],
            "reading": ["beyond the control", "", "as the control"],
        }
    )
    write_table(path, "estimates", table)
    found = read_table(path, "estimates")
    assert list(found.columns) == COLUMNS["estimates"]
    for column in table:
        expected, read = table[column], found[column]
        assert read.isna().tolist() == expected.isna().tolist(), column
        assert read.dropna().tolist() == expected.dropna().tolist(), column
    assert found["leads"].dtype == bool
    for column in ("ratio", "n", "estimate", "p", "low"):
        assert found[column].dtype == float
    assert (found["note"] == "").all()
    cells = path.read_text().splitlines()[1].split(",")
    assert cells[COLUMNS["estimates"].index("n")] == "6"
    # What was read is written as it was.
    write_table(tmp_path / "again.csv", "estimates", found)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_numbers_are_read_back_exactly(tmp_path: Path) -> None:
    numbers = [0.1 + 0.2, 1 / 3, 1e-300, -5e-324, 123456789.123456789, math.inf, -math.inf]
    numbers += [*np.random.default_rng(0).normal(size=1000).tolist(), math.nan]
    path = tmp_path / "summary.csv"
    write_table(path, "summary", pd.DataFrame({"value": numbers}))
    found = read_table(path, "summary")["value"].tolist()
    assert found[:-1] == numbers[:-1]
    assert math.isnan(found[-1])


def test_columns_of_no_table_are_left_out_and_lacking_ones_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    write_table(path, "summary", pd.DataFrame({"value": [2.0], "own": ["x"]}))
    assert path.read_text() == "dataset,architecture,recipe,section,item,value\n,,,,,2.0\n"
    write_table(path, "summary", pd.DataFrame({"value": []}))
    assert read_table(path, "summary").empty
    empty = read_table(path, "summary")
    assert list(empty) == COLUMNS["summary"]
    assert empty["value"].dtype == float


def test_what_an_earlier_table_lacks_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "recall.csv"
    rows = pd.DataFrame([recall_row()])
    rows.drop(columns=["mean_loss", "confidence"]).to_csv(path, index=False)
    found = read_table(path, "recall")
    assert found[["mean_loss", "confidence"]].isna().all(axis=None)


# Tables that cannot be read


def test_a_table_that_is_missing_or_not_what_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "networks.csv"
    with pytest.raises(TableError, match=r"networks\.csv: no such table; run the study again"):
        read_table(path, "networks")
    path.write_text("method,alpha\na,1\n")
    with pytest.raises(
        TableError, match=r"networks\.csv lacks the columns ratio, seed; it has method, alpha"
    ):
        read_table(path, "networks", ["alpha", "ratio", "seed"])
    assert read_table(path, "networks", ["alpha"])["alpha"].tolist() == [1]
    for content in (b"", b"alpha\n\xff\xfe\n", b"alpha,b\n1,2\n1,2,3,4\n", b'alpha\n"open\n'):
        path.write_bytes(content)
        with pytest.raises(TableError, match=r"networks\.csv: damaged .*run the study again"):
            read_table(path, "networks", ["alpha"])


@pytest.mark.parametrize(
    ("old", "new"), [("finetuned", "retrained"), ("pruned", "compressed")], ids=["tuned", "pruned"]
)
def test_words_of_an_earlier_version_are_told_with_today_s(
    tmp_path: Path, old: str, new: str
) -> None:
    path = tmp_path / "recall.csv"
    pd.DataFrame([recall_row(state=old)]).to_csv(path, index=False)
    with pytest.raises(TableError) as caught:
        read_table(path, "recall")
    words = f"an earlier version wrote it: what it calls {old} is called {new} now"
    assert str(caught.value).startswith(f"{path}: {words}; run the study again")
    assert "docs/tables.md" in str(caught.value)


@pytest.mark.parametrize("name", ["mixed_models", "mixed_model_fits"])
def test_mixed_models_by_an_engine_are_an_earlier_version_s(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.csv"
    columns = ["engine" if column == "fitter" else column for column in COLUMNS[name]]
    pd.DataFrame(columns=columns).to_csv(path, index=False)
    with pytest.raises(TableError, match=r"its column engine is called fitter now.*again"):
        read_table(path, name)


@pytest.mark.parametrize(
    ("name", "earlier"),
    [
        *(("networks", name) for name in ("alpha", "crossfit", "sparsity", "engines", "failures")),
        *(("estimates", name) for name in ("intervals", "effects", "pooled", "influence")),
    ],
)
def test_tables_that_others_have_taken_the_place_of_are_named(
    tmp_path: Path, name: str, earlier: str
) -> None:
    path = tmp_path / f"{name}.csv"
    (tmp_path / f"{earlier}.csv").write_text("x\n")
    with pytest.raises(TableError) as caught:
        read_table(path, name)
    assert str(caught.value).startswith(f"{path}: no such table, but tables of an earlier version")
    assert "run the study again" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    # Whichever table is asked for.
    with pytest.raises(TableError, match="but tables of an earlier version lie beside it"):
        read_table(tmp_path / "summary.csv", "summary")
    (tmp_path / f"{earlier}.csv").unlink()
    with pytest.raises(TableError, match=r"summary\.csv: no such table; run the study again"):
        read_table(tmp_path / "summary.csv", "summary")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("state", "thinned", f"'thinned' is none of {', '.join(STATES)}"),
        ("recall", 0.5, "'0.5' does not follow from correct and support beside it"),
        ("ratio", 0.5, "'0.5' is not a ratio from 1 on"),
        ("confidence", 1.5, "'1.5' is not a number from 0 to 1"),
        ("support", 1.5, "'1.5' is not a whole number from 0 on"),
        ("mean_loss", "much", "'much' is not a number"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_line(
    tmp_path: Path, column: str, value: object, words: str
) -> None:
    path = tmp_path / "recall.csv"
    pd.DataFrame([recall_row(), recall_row(**{column: value})]).to_csv(path, index=False)
    with pytest.raises(TableError) as caught:
        read_table(path, "recall")
    assert f"{path}, line 3, column {column}: {words}" in str(caught.value)


def test_lacking_columns_and_repeated_rows_are_named() -> None:
    table = pd.DataFrame([dict.fromkeys(NETWORK, 1)] * 2)
    require_columns(table, NETWORK, "it")
    with pytest.raises(TableError, match="it lacks the columns x, y; it has dataset, "):
        require_columns(table, [*NETWORK, "x", "y"], "it")
    with pytest.raises(TableError, match=r"it has more than one row for dataset=1, .*seed=1"):
        require_unique(table, NETWORK, "it")
    require_unique(table.assign(seed=[0, 1]), NETWORK, "it")
