"""The report's tables: what is read, how it is listed, and that a cell keeps what its file says."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tables import LARGE, Page, change, change_view, make

from recall_distortion.report import build_report, html_tables, section_tables, style
from recall_distortion.report.listings import LISTINGS
from recall_distortion.report.tables import read, read_tables
from recall_distortion.system.errors import TableError
from recall_distortion.tables.arranged import fitters_side_by_side, seeds_side_by_side
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.views import VIEWS
from recall_distortion.vocabulary import (
    AS_CONTROL,
    BEYOND_CONTROL,
    DEINTENSIFICATION,
    INCONCLUSIVE,
    INTENSIFICATION,
    NOT_DISTINGUISHABLE,
)
from tests.synthetic.report import study_facts


class TestReading:
    @pytest.mark.slow
    def test_class_names_that_look_like_missing_values_stay(self, tmp_path: Path) -> None:
        names = ("NA", "None", "nan")
        make(tmp_path, class_names=names)
        assert set(read(tmp_path, "recall")["class_name"]) == set(names)

    def test_columns_that_only_some_studies_have_are_read_where_they_are(
        self, small_tables: Path, tmp_path: Path
    ) -> None:
        """Each group by itself: a study may have controls of its own and quantize nothing."""
        shutil.copytree(small_tables, tmp_path / "tables")
        path = tmp_path / "tables/networks.csv"
        assert not {"control", "bits", "empty_layers"} & set(read(path.parent, "networks"))
        table = pd.read_csv(path)
        arms = np.where(table["method"] == "magnitude", "control_rewind", "")
        table.assign(control=arms).to_csv(path, index=False)
        found = read(path.parent, "networks")
        assert not {"bits", "empty_layers"} & set(found)
        assert Controls.of(found).arms == {"magnitude": "control_rewind"}

    def test_a_missing_required_table_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match=r"recall\.csv: no such table"):
            build_report(tmp_path, tmp_path / "report.html", study={})

    def test_a_missing_column_is_named(self, small_tables: Path, tmp_path: Path) -> None:
        table = pd.read_csv(small_tables / "networks.csv").drop(columns="alpha")
        table.to_csv(tmp_path / "networks.csv", index=False)
        with pytest.raises(TableError, match=r"networks\.csv lacks the column alpha"):
            read(tmp_path, "networks")

    def test_a_word_among_numbers_is_named(self, small_tables: Path, tmp_path: Path) -> None:
        path = tmp_path / "networks.csv"
        text = (small_tables / "networks.csv").read_text().replace(",dense,1,", ",dense,one,")
        path.write_text(text)
        with pytest.raises(TableError, match=r"networks\.csv, line 2, column ratio: .one. is not"):
            read(tmp_path, "networks")

    def test_infinite_slopes_are_read(self, small_tables: Path, tmp_path: Path) -> None:
        table = pd.read_csv(small_tables / "networks.csv")
        table.loc[9, "alpha"] = np.inf
        table.to_csv(tmp_path / "networks.csv", index=False)
        assert np.isinf(read(tmp_path, "networks")["alpha"].iloc[9])

    def test_an_optional_table_that_is_absent_is_empty_with_its_kinds(self, tmp_path: Path) -> None:
        table = read(tmp_path, "mixed_models")
        assert table.empty
        assert table["estimate"].dtype.kind == "f"
        assert fitters_side_by_side(table, read(tmp_path, "mixed_model_fits")).empty


class TestArranged:
    def test_fitters_stand_side_by_side(self, small_tables: Path) -> None:
        mixed = read(small_tables, "mixed_models")
        one_less = mixed.drop(mixed.index[(mixed["fitter"] == "statsmodels")][0])
        fits = read(small_tables, "mixed_model_fits")
        table = fitters_side_by_side(one_less, fits)
        assert len(table) == (mixed["fitter"] == "pymer4").sum()
        assert table["difference"].isna().sum() == 1
        known = table[table["difference"].notna()]
        expected = known["estimate_statsmodels"] - known["estimate_pymer4"]
        np.testing.assert_array_equal(known["difference"], expected)
        assert known["difference"].abs().max() < 1e-4
        assert table["estimate_bootstrap"].notna().all()
        said = dict(zip(table["model"], table["believe"], strict=True))
        assert said == {
            "class_level/digits/mlp/usual": "bootstrap",
            "class_level_scaled/digits/mlp/usual": "model",
        }  # fmt: skip

    def test_seeds_stand_side_by_side(self, large_tables: Path) -> None:
        data = read_tables(large_tables)
        table = data.view("seeds_needed")
        wide = seeds_side_by_side(table, data.view("deviations"))
        assert wide["sd"].notna().any()
        assert len(wide) * table["effect"].nunique() == len(table)
        for effect in (0.02, 0.05, 0.1):
            for name in ("seeds", "seeds_cautious"):
                long = table.loc[table["effect"] == effect, name].to_numpy()
                np.testing.assert_array_equal(wide[f"{name}_{effect:g}"], long)


class TestCells:
    @pytest.mark.parametrize(
        ("value", "form", "text", "file"),
        [(0.123456, "three", "0.123", "0.123456"), (1258.0, "whole", "1,258", "1258"),
         (2.5, "ratio", "2.5", "2.5"), (math.nan, "ratio", "–", ""), (10.0, "ratio", "10", "10"),
         (1e6, "ratio", "1000000", "1000000"), (math.nan, "two", "–", ""),
         (math.inf, "whole", "∞", "inf"), (-math.inf, "two", "−∞", "-inf"),
         (1e-7, "p", "<\N{THIN SPACE}0.001", "1e-07"), (True, "truth", "yes", "True"),
         (INTENSIFICATION, "verdict", "▲ intensification", INTENSIFICATION),
         ("", "verdict", "", ""), ("one", "question", "1", "one"),
         (DEINTENSIFICATION, "against", "intensifies less", DEINTENSIFICATION),
         ("regularized_gradient", "method", "regularized gradient", "regularized_gradient"),
         ("retrained", "method", "retrained", "retrained"),
         ("a,b\"c", "text", "a,b\"c", "a,b\"c")],
    )  # fmt: skip
    def test_a_cell_keeps_what_the_file_says(
        self, value: object, form: str, text: str, file: str
    ) -> None:
        cell = html_tables.html_cell(value, form)
        assert cell.text == text
        assert html_tables._full(cell) == file

    @pytest.mark.parametrize(
        ("verdict", "reading", "sign", "kind"),
        [(INTENSIFICATION, BEYOND_CONTROL, "▲", "up"),
         (DEINTENSIFICATION, BEYOND_CONTROL, "▼", "down"),
         (INCONCLUSIVE, AS_CONTROL, "■", "same"),
         (INCONCLUSIVE, NOT_DISTINGUISHABLE, "○", "open")],
    )  # fmt: skip
    def test_a_reading_has_the_sign_of_its_verdict(
        self, verdict: str, reading: str, sign: str, kind: str
    ) -> None:
        cell = html_tables.html_cell(reading, "reading", verdict)
        assert cell.text == f"{sign} {reading}"
        assert cell.kind == f"verdict {kind}"
        assert html_tables._full(cell) == reading


class TestListings:
    def test_what_all_rows_share_is_said_once_and_kept(self, small_tables: Path) -> None:
        effects = read_tables(small_tables).view("effects")
        table = html_tables.listing("effects", effects)
        assert json.loads(table.columns) == list(effects.columns)
        same = json.loads(table.same)
        shown = [heading.name for heading in table.headings]
        assert sorted([*same, *shown]) == sorted(effects.columns)
        assert same["state"] == "retrained"
        assert "state retrained" in table.note

    @pytest.mark.parametrize(
        "name",
        [
            *("effects", "pooled", "tradeoff", "influence", "equal_sparsity", "intercepts"),
            *("slopes_over_both", "classes_over_both"),
        ],
    )
    def test_a_listing_leaves_out_no_column_of_its_view(self, name: str) -> None:
        listed = {column.name for column in LISTINGS[name].columns}
        own = {own for part in VIEWS[name].parts for own in part.fields.values()}
        assert own <= listed
        assert set(VIEWS[name].places.values()) <= listed

    def test_a_heading_says_what_the_schema_says(self, small_tables: Path) -> None:
        tables = section_tables.section_tables(read_tables(small_tables))
        (effects,) = tables["effects"]
        titles = {heading.name: heading.title for heading in effects.headings}
        assert titles["p_adjusted"] == "p adjusted over the family."
        assert titles["crossfit_difference"] == ""
        mixed = next(table for table in tables["tables"] if table.key.startswith("mixed"))
        titles = {heading.name: heading.title for heading in mixed.headings}
        assert titles["std_error_statsmodels"] == "Its standard error."

    def test_every_table_has_a_caption_and_scoped_headings(self, small_page: str) -> None:
        parsed = Page(small_page)
        tables = [table for table in parsed.tags("table") if table.get("class") == "data"]
        assert len(tables) > 10
        assert len(parsed.tags("caption")) == len(parsed.tags("table"))
        assert all(heading.get("scope") in ("col", "row") for heading in parsed.tags("th"))
        assert len({table["data-file"] for table in tables}) == len(tables)

    def test_classes_that_change_a_verdict_stand_first(self, tmp_path: Path) -> None:
        make(tmp_path, LARGE)

        def last(table: pd.DataFrame) -> None:
            table["changes"] = [*["the verdict stays"] * (len(table) - 1), "the verdict changes"]

        change_view(tmp_path, "influence", last)
        data = read_tables(tmp_path)
        table = section_tables.influence_table(data)
        place = [heading.name for heading in table.headings].index("class_name")
        view = data.view("influence")["class_name"]
        shown = [row[place].text for row in table.rows]
        assert shown == [view.iloc[-1], *view.iloc[:-1]]

    def test_accuracy_stands_beside_the_slope(self, large_tables: Path) -> None:
        data = read_tables(large_tables)
        table = section_tables.tradeoff_table(data)
        columns = [heading.name for heading in table.headings]
        cells = dict(zip(columns, table.rows[1], strict=True))
        view = data.view("tradeoff").iloc[1]
        after = float(cells["accuracy_after"].title)
        assert after == pytest.approx(view["accuracy_before"] + view["accuracy_change"])
        key = ["method", "ratio", "state"]
        slope = data.view("slopes").merge(view[key].to_frame().T.astype({"ratio": float}), on=key)
        assert float(cells["alpha"].title) == slope["mean"].iloc[0]

    def test_failures_and_engines_come_from_the_networks(self, small_tables: Path) -> None:
        networks = read(small_tables, "networks")
        engines, failures = section_tables.network_tables(networks)
        assert len(failures.rows) == 1
        assert [cell.text for cell in failures.rows[0]][
            -1
        ] == "the loss was not finite after epoch 3"
        place = [heading.name for heading in engines.headings].index("seeds")
        # Dense, control and four cells of six seeds each; what failed was not computed.
        assert [row[place].text for row in engines.rows] == ["6"] * 6

    def test_published_cells_of_other_studies_are_not_listed(self, tmp_path: Path) -> None:
        make(tmp_path)

        def two(table: pd.DataFrame) -> None:
            table.loc[:1, "verdict"] = table.loc[:1, "published_verdict"]

        change(tmp_path, "published", two)
        tables = section_tables.section_tables(read_tables(tmp_path))["tables"]
        (published,) = (table for table in tables if table.key == "published")
        assert len(published.rows) == 2

    def test_a_network_is_listed_as_sparse_once(self, small_tables: Path) -> None:
        tables = section_tables.section_tables(read_tables(small_tables))["sparsity"]
        assert [len(table.rows) for table in tables if table.key == "sparsity"] == [4]


class TestStyle:
    @pytest.mark.parametrize(
        ("value", "digits", "text"),
        [(-0.001, 2, "0.00"), (-1.5, 1, "−1.5"), (math.nan, 2, "–"), (-math.inf, 2, "−∞"),
         (12345.6, 0, "12,346")],
    )  # fmt: skip
    def test_numbers_for_reading(self, value: float, digits: int, text: str) -> None:
        assert style.number(value, digits) == text

    def test_long_names_lose_their_middle(self) -> None:
        short = [style.label(f"a class with a long name {place}", 16) for place in range(12)]
        assert len(set(short)) == 12
        assert max(map(len, short)) == 16

    def test_methods_look_different(self) -> None:
        names = [f"method {place}" for place in range(28)]
        assert len({style.method_look(name, names) for name in names}) == 28

    def test_whatever_a_cell_shows_looks_different(self) -> None:
        for pairs in (style.BESIDE_CONTROL, style.AGAINST_ONE):
            looks = [style.LOOKS[pair] for pair in pairs]
            for name in ("words", "sign", "marker", "colour", "kind"):
                assert len({getattr(look, name) for look in looks}) == len(looks), name
        assert style.look("").words == style.look(INTENSIFICATION, AS_CONTROL).words == ""


def test_the_generator_fills_every_column(small_tables: Path) -> None:
    facts: dict[str, Any] = study_facts()
    assert facts["name"] == "digits"
    for name in ("recall", "networks"):
        table = read(small_tables, name)
        empty = [column for column in table if table[column].isna().all()]
        lacking = {"mean_loss", "confidence", "calibration_error", "excess_loss_range"}
        assert set(empty) <= lacking | {"uncertainty"}
