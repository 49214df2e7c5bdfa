"""What the page says of its own limits, and of what computed the networks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_tables import Page, change, make, words

from recall_distortion.report import caveats
from recall_distortion.report.computed import computed, crossed_engines
from recall_distortion.report.tables import ReportTables, read, read_tables
from recall_distortion.vocabulary import COMPRESSED, DENSE, RESEED, RETRAINED


@pytest.mark.usefixtures("undrawn")
class TestCaveats:
    @pytest.mark.slow
    def test_notes_are_counted_by_table(self, tmp_path: Path) -> None:
        tables = make(tmp_path / "tables", seeds=1)
        data = read_tables(tables)
        found = caveats.notes(data)
        counted = sum(
            int(n) for _, where in found["shown"] for n in re.findall(r"(\d+) row", where)
        )
        noted = (data.estimates["note"] != "").sum() + (data.tests["note"] != "").sum()
        assert found["more"] == 0
        assert 0 < counted <= noted
        text = words(tables, tmp_path / "report.html")
        assert "One seed: without a spread between seeds there is no interval" in text
        assert "one replicate: an interval needs two" in text
        assert "1 seeds" not in text

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"ratios": (4.0,)}, "One compression ratio: whether a larger ratio intensifies more"),
            ({"class_names": ("only",)}, "One class: its recall is the accuracy"),
            ({"seeds": 3}, "3 seeds: the bootstrap needs 5, so where the test set is too small"),
            ({"collapsed": "random"}, "1 of 6 slopes is not finite (an accuracy of 0"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    def test_what_cannot_be_estimated_is_said(
        self, options: dict[str, Any], sentence: str, tmp_path: Path
    ) -> None:
        tables = make(tmp_path / "tables", **options)
        assert sentence in words(tables, tmp_path / "report.html")

    @pytest.mark.slow
    @pytest.mark.parametrize(("seeds", "shown"), [(1, True), (4, True), (5, False)])
    def test_few_seeds_are_said_before_the_answer(
        self, seeds: int, shown: bool, tmp_path: Path
    ) -> None:
        text = words(make(tmp_path / "tables", seeds=seeds), tmp_path / "report.html")
        start = text.partition("α is the slope of a network’s class balances")[0]
        assert ("Few seeds." in start) == shown

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("shift", "said"),
        [(0.0, "less than 0.001"), (0.0004, "less than 0.001"), (0.434, "at most 0.434")],
    )
    def test_a_change_that_rounds_to_zero_is_said_to_be_less_than_the_last_digit(
        self, shift: float, said: str, small_tables: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(small_tables, tmp_path / "tables")
        summary = read(folder, "summary")
        summary.loc[summary["item"] == "intercepts/shift", "value"] = shift
        summary.to_csv(folder / "summary.csv", index=False)
        text = words(folder, tmp_path / "report.html")
        assert f"With an intercept, a cell’s mean α moves by {said}, and the interval" in text

    def test_fits_say_what_to_believe(self, small_tables: Path, small_page: str) -> None:
        found = caveats.believed(read_tables(small_tables))
        assert [(item["kind"], item["believe"], item["spread"]) for item in found] == [
            ("class level", "bootstrap", "24.5"), ("class level scaled", "model", "1.0"),
        ]  # fmt: skip
        text = Page(small_page).words
        assert "class level: believe the bootstrap over seeds (1 model; largest over" in text
        assert "class level scaled: believe the model (1 model" in text
        assert "of 4 fits, 1 is singular and 0 did not converge" in text
        assert "1 network failed" in text
        assert "not balanced" in text

    @pytest.mark.slow
    def test_models_that_were_not_estimated_are_named(
        self, small_tables: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(small_tables, tmp_path / "tables")

        def without(table: pd.DataFrame) -> None:
            one = table["model"] == table["model"].iloc[0]
            table.loc[one, ["message", "converged"]] = ["not estimated: one seed", False]

        change(folder, "mixed_model_fits", without)
        text = words(folder, tmp_path / "report.html")
        assert "1 mixed model could not be estimated: one seed." in text
        assert "0 did not converge" in text


@pytest.mark.usefixtures("undrawn")
class TestComputed:
    """What the page says of what computed the networks."""

    VECTORIZED = "vectorized, up to 30 at once, in float32 on cpu; torch 2.15.0"

    def changed(
        self, folder: Path, changed: Callable[[pd.DataFrame], Any], **options: Any
    ) -> ReportTables:
        """Return an invented study's tables after a change of its networks."""
        change(make(folder, **options), "networks", changed)
        return read_tables(folder)

    def test_one_way_is_said_once(self, small_tables: Path, small_page: str) -> None:
        data = read_tables(small_tables)
        networks = 6 * (1 + 1 + 2 * 2)
        assert computed(data) == [f"{networks} networks: {self.VECTORIZED}"]
        assert f"networks trained {networks} networks: {self.VECTORIZED}" in Page(small_page).words
        assert crossed_engines(data) == []
        assert "computed in the same way" not in small_page

    @pytest.mark.slow
    def test_networks_that_differ_have_a_line_each(self, tmp_path: Path) -> None:
        data = self.changed(
            tmp_path, lambda _: None, failures=False, architectures=("cnn", "mlp", "deep")
        )
        assert computed(data) == [
            f"cnn on digits, 36 networks: {self.VECTORIZED}",
            f"mlp on digits and deep on digits, 72 networks: {self.VECTORIZED}".replace("30", "60"),
        ]
        assert crossed_engines(data) == []

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("column", "value", "text"),
        [
            ("engine", "one after another, bfloat16", "one after another, in bfloat16 on cpu"),
            ("engine", "by hand", "by hand on cpu"),
            ("device", "NVIDIA <X>", "vectorized, up to 30 at once, in float32 on NVIDIA <X>"),
            ("torch", "2.9", "vectorized, up to 30 at once, in float32 on cpu; torch 2.9"),
        ],
    )
    def test_a_comparison_across_engines_is_a_caveat(
        self, tmp_path: Path, column: str, value: str, text: str
    ) -> None:
        def other(table: pd.DataFrame) -> None:
            rows = (table["method"] == "random") & (table["ratio"] == 10)
            table.loc[rows, column] = value

        data = self.changed(tmp_path, other)
        (found,) = crossed_engines(data)
        assert found["network"] == "mlp on digits"
        (usual, vectorized), (other, said) = found["ways"]
        assert (usual, vectorized) == ("control; magnitude; random at ratio 2", self.VECTORIZED)
        assert other == "random at ratio 10"
        assert said.startswith(text)
        usual, other = computed(data)
        start = "mlp on digits (dense; control; magnitude; random at ratio 2), 30 networks: "
        assert usual == start + self.VECTORIZED
        assert other == f"mlp on digits (random at ratio 10), 6 networks: {said}"
        shown = words(tmp_path, tmp_path / "report.html")
        assert "Not all cells of mlp on digits were computed in the same way" in shown
        assert f"random at ratio 10: {said}" in shown

    def test_dense_networks_may_differ_from_what_is_compared(self, tmp_path: Path) -> None:
        def other(table: pd.DataFrame) -> None:
            table.loc[table["method"] == DENSE, "device"] = "NVIDIA X"

        data = self.changed(tmp_path, other)
        assert crossed_engines(data) == []
        assert [line.partition(" networks")[0] for line in computed(data)] == [
            "mlp on digits (dense), 6",
            "mlp on digits (control; magnitude; random), 30",
        ]

    def test_blocks_may_differ_where_all_cells_do_alike(self, tmp_path: Path) -> None:
        def other(table: pd.DataFrame) -> None:
            made = (table["state"] != COMPRESSED) & (table["method"] != RESEED)
            table.loc[made & (table["seed"] >= 4), "device"] = "NVIDIA X"

        data = self.changed(tmp_path, other, failures=False)
        assert crossed_engines(data) == []
        assert [line.partition(" networks")[0] for line in computed(data)] == [
            "mlp on digits (in part), 24",
            "mlp on digits (in part), 12",
        ]

    def test_a_cell_without_a_network_is_compared_with_nothing(self, tmp_path: Path) -> None:
        def other(table: pd.DataFrame) -> None:
            rows = (table["method"] == "random") & (table["state"] == RETRAINED)
            table.loc[rows, ["failure", "engine"]] = "lost", "one after another, bfloat16"

        data = self.changed(tmp_path, other)
        assert crossed_engines(data) == []
        assert computed(data) == [f"24 networks: {self.VECTORIZED}"]

    def test_what_is_not_recorded_is_said(self, tmp_path: Path) -> None:
        data = self.changed(tmp_path, lambda table: table.assign(device="", engine="", torch=""))
        assert computed(data) == ["36 networks: not recorded"]
