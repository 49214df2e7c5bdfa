"""What the page says: its answer, the evidence, and that it counts what the tables say."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_tables import LARGE, SMALL, Page, change, change_view, make, words

from recall_distortion.inference.questions.influence import CHANGES, KEEPS
from recall_distortion.report import answer, evidence, phrases, style
from recall_distortion.report.tables import read_tables
from recall_distortion.tables.study import of_panel
from recall_distortion.tables.views import CROSSFIT, MEAN
from recall_distortion.vocabulary import (
    AS_CONTROL,
    BEYOND_CONTROL,
    CONTROL,
    DEINTENSIFICATION,
    DENSE,
    INCONCLUSIVE,
    INTENSIFICATION,
    NOT_DISTINGUISHABLE,
    RESEED,
    RETRAINED,
)


def test_verdicts_in_words() -> None:
    cells = [("2", (DEINTENSIFICATION, "")), ("4", (INCONCLUSIVE, "")), ("10", (INCONCLUSIVE, ""))]
    assert answer.in_words(cells, answer.VERDICT_VERBS) == (
        "de-intensifies at ratio 2; is inconclusive at ratios 4 and 10"
    )
    same = (INCONCLUSIVE, AS_CONTROL)
    assert answer.in_words([("2", same), ("4", same)], answer.READING_VERBS) == (
        "does as the control at every ratio"
    )
    readings = [
        ("2", (INCONCLUSIVE, NOT_DISTINGUISHABLE)),
        ("4", (INTENSIFICATION, BEYOND_CONTROL)),
    ]
    assert answer.in_words(readings, answer.READING_VERBS) == (
        "cannot be distinguished from the control at ratio 2; "
        "intensifies beyond the control at ratio 4"
    )


@pytest.mark.parametrize(
    ("least", "most", "panels", "text"),
    [(1, 1, 1, "1 seed"), (1, 1, 2, "1 seed each"), (30, 30, 1, "30 seeds"),
     (30, 30, 2, "30 seeds each"), (28, 30, 2, "28 to 30 seeds each"), (0, 0, 1, "0 seeds")],
)  # fmt: skip
def test_seeds_in_words(least: int, most: int, panels: int, text: str) -> None:
    assert " ".join(answer.seeds_in_words(least, most, panels=panels)) == text


def test_an_accuracy_lies_between_0_and_100_percent() -> None:
    assert phrases.share_interval(-0.02, 1.04) == "0.0 to 100.0\N{NO-BREAK SPACE}%"
    assert phrases.share_interval(math.nan, 0.9) == ""


def test_an_end_beside_zero_shows_its_side() -> None:
    assert phrases.interval(0.0004, 0.25, signed=True) == "+0.0004 to +0.25"
    assert phrases.interval(-0.0000001, 0.0, signed=True).endswith(" to 0.00")
    assert phrases.interval(0.5, math.nan) == "no interval"


@pytest.mark.usefixtures("undrawn")
class TestAnswer:
    @pytest.mark.slow
    def test_it_counts_what_leads(self, large_tables: Path, tmp_path: Path) -> None:
        text = words(large_tables, tmp_path / "report.html")
        data = read_tables(large_tables)
        cells = data.cells
        pairs = pd.Series(list(zip(cells["verdict"], cells["reading"], strict=True)))
        beyond = (pairs == (INTENSIFICATION, BEYOND_CONTROL)).sum()
        same = (cells["reading"] == AS_CONTROL).sum()
        # The generator's slopes at ratio 2 are the control's, those at ratio 10 far above it.
        assert beyond == 2
        assert f"in {beyond} of 4 cells" in text
        assert f"{same} {'does' if same == 1 else 'do'} as the control does" in text
        lower = (cells["alpha_verdict"] == DEINTENSIFICATION).sum()
        assert same == lower == 2
        assert "All “de-intensified” cells only do as the control does" in text
        assert "The test set is too small" not in text
        leading = data.leading.set_index("method")
        assert f"control α {leading['alpha'][CONTROL]:.2f} (" in text
        assert f"between dense networks of different seeds {leading['alpha'][RESEED]:.2f}" in text
        assert f"n = {leading['n'][RESEED]:g} pairs) for mlp on digits" in text

    @pytest.mark.slow
    def test_few_seeds_of_a_large_test_set_are_read_by_network(self, tmp_path: Path) -> None:
        """The bootstrap needs five; the slopes of single networks are stable."""
        tables = make(tmp_path / "tables", LARGE, seeds=4)
        data = read_tables(tables)
        assert set(data.cells["basis"]) == {MEAN}
        (facts,) = (answer.panel_facts(data, panel) for panel in data.panels)
        assert facts["bases"] == ["mean of single networks’ slopes, t interval"]
        row = data.view("effects").iloc[0]
        assert facts["grid"][0].cells[0].main == style.signed(row["difference"])
        assert f"adjusted p {float(row['p_adjusted'])!r}" in facts["grid"][0].cells[0].title

    def test_a_small_test_set_is_read_pooled(self, small_tables: Path, small_page: str) -> None:
        data = read_tables(small_tables)
        assert set(data.cells["basis"]) == {CROSSFIT}
        (facts,) = (answer.panel_facts(data, panel) for panel in data.panels)
        # The adjusted p belongs to the t-test, which is not what is interpreted here.
        assert not any("adjusted p" in cell.title for row in facts["grid"] for cell in row.cells)
        text = Page(small_page).words
        assert "The test set is too small for the slopes of single networks on digits / mlp" in text
        assert "cross-fitted slope of all networks together, bootstrap interval" in text

    @pytest.mark.slow
    def test_without_a_control_nothing_is_credited_to_pruning(self, tmp_path: Path) -> None:
        tables = make(tmp_path / "tables", LARGE, control=False)
        text = words(tables, tmp_path / "report.html")
        assert "There is no control in this study. Nothing separates pruning from further" in text
        assert "beyond the control at" not in text
        assert "de-intensifies at ratio 2" in text

    @pytest.mark.slow
    def test_of_a_control_alone_it_claims_no_pruning(self, tmp_path: Path) -> None:
        tables = make(tmp_path / "tables", LARGE, methods=())
        text = words(tables, tmp_path / "report.html")
        assert "No pruned network was evaluated" in text
        assert "the tables hold dense and control networks only" in text
        assert "every network was then pruned" not in text

    @pytest.mark.slow
    def test_a_panel_of_controls_alone_has_no_empty_pictures(self, tmp_path: Path) -> None:
        tables = make(tmp_path / "tables", architectures=("mlp", "cnn"), seeds=3)
        references = [DENSE, CONTROL, RESEED]
        for name in ("networks", "recall", "estimates"):
            change(
                tables,
                name,
                lambda table: table[
                    (table["architecture"] == "mlp") | table["method"].isin(references)
                ],
            )
        page = tmp_path / "report.html"
        text = words(tables, page)
        assert "n = 0 networks" not in text
        assert "Slope α after fine-tuning, mlp on digits" in text
        assert "Slope α after fine-tuning, cnn on digits" not in text
        assert "digits / cnn" in text

    def test_the_grid_holds_difference_and_slope(self, large_tables: Path) -> None:
        data = read_tables(large_tables)
        facts = answer.panel_facts(data, data.panels[0])
        row = of_panel(data.leading, data.panels[0])
        row = row[(row["method"] == "random") & (row["ratio"] == 10)].iloc[0]
        cell = facts["grid"][1].cells[1]
        assert cell.main == style.signed(row["difference"])
        assert cell.sign == "▲"
        assert cell.second == f"α {style.number(row['alpha'])} ▲"
        assert repr(float(row["difference"])) in cell.title
        assert facts["grid"][1].words.endswith("intensifies beyond the control at ratio 10")

    def test_no_title_shows_how_numbers_are_held(self, small_page: str) -> None:
        assert "np.float" not in small_page

    def test_methods_are_defined(self, small_page: str) -> None:
        text = Page(small_page).words
        assert "The smallest weights go: magnitude pruning" in text
        assert "θ is a weight" in text


@pytest.mark.usefixtures("undrawn")
class TestEvidence:
    @pytest.mark.slow
    def test_what_improves_both_is_named(self, large_tables: Path, tmp_path: Path) -> None:
        folder = shutil.copytree(large_tables, tmp_path / "tables")

        def nothing(table: pd.DataFrame) -> None:
            table["improves"] = "neither"

        change_view(folder, "tradeoff", nothing)
        assert "No ratio improves both" in words(folder, tmp_path / "report.html")

        def one(table: pd.DataFrame) -> None:
            cell = (table["method"] == "random") & (table["ratio"] == 2)
            cell &= table["state"] == RETRAINED
            table.loc[cell, ["improves", "over_control_low"]] = ["both", 0.01]

        change_view(folder, "tradeoff", one)
        text = words(folder, tmp_path / "report.html")
        assert "1 cell of 4 improves both" in text
        assert "random at ratio 2" in text
        assert "It is also more accurate than the control" in text

    def test_classes_that_change_a_verdict_are_named(
        self, large_tables: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(large_tables, tmp_path / "tables")

        def last(table: pd.DataFrame) -> None:
            table["changes"] = [KEEPS] * (len(table) - 1) + [CHANGES]

        change_view(folder, "influence", last)
        facts = evidence.class_facts(read_tables(folder))
        assert facts is not None
        assert (facts["cells"], facts["hanging"], facts["changes"]) == (5, 1, 1)
        assert facts["most"] == ["class cow (1 cell)"]

    @pytest.mark.slow
    def test_methods_that_reach_the_same_sparsity_are_not_compared_at_it(
        self, small_tables: Path, small_page: str, tmp_path: Path
    ) -> None:
        assert read_tables(small_tables).view("equal_sparsity").empty
        text = Page(small_page).words
        assert "Here all methods reach the same sparsity, to within 1 %." in text
        assert "table-equal_sparsity" not in small_page
        assert "Without rows" in text
        assert "At equal sparsity" in text[text.index("Without rows") :]
        assert "survive" not in text
        # Of one method, or of none whose sparsity is known, nothing is said.
        folder = shutil.copytree(small_tables, tmp_path / "tables")
        for unknown in (["magnitude"], ["random"]):

            def lost(table: pd.DataFrame, unknown: list[str] = unknown) -> None:
                table.loc[table["method"].isin(unknown), "realised_ratio"] = np.nan

            change(folder, "networks", lost)
            assert "same sparsity" not in words(folder, tmp_path / "report.html")

    @pytest.mark.slow
    def test_tables_without_the_comparison_claim_no_equal_sparsity(self, tmp_path: Path) -> None:
        methods = ("magnitude", "undecayed_signed")
        tables = make(tmp_path / "tables", methods=methods)
        change_view(tables, "equal_sparsity", lambda table: table.iloc[:0])
        text = words(tables, tmp_path / "report.html")
        assert "same sparsity" not in text
        assert "at equal sparsity" not in text

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("nominal", "equal", "sentence"),
        [
            ("less less more", "less less none", "less in 2 and more in 0. Its advantage at the "
             "nominal ratio survives at equal sparsity in all 2. This assumes that slopes run "
             "straight between two ratios. Without that assumption it is certain in 1 of 2, where "
             "the method intensifies less even than the other method’s next denser networks."),
            ("less less none", "less more none", "less in 1 and more in 1. Its advantage at the "
             "nominal ratio survives at equal sparsity in 1 of 2. This assumes that slopes run "
             "straight between two ratios. Without that assumption it is certain in 1 of 1, where "
             "the method intensifies less even than the other method’s next denser networks. In 1 "
             "it turns into the opposite."),
            ("less less less", "none more none", "less in 0 and more in 1. Its advantage at the "
             "nominal ratio is not found at equal sparsity in any of the 3. In 1 it turns into"),
            ("less none none", "none none none", "Its advantage at the nominal ratio is not found "
             "at equal sparsity."),
            ("none more none", "less none none",
             "There is no advantage at the nominal ratio to lose."),
            ("less none unknown", "less unknown unknown", "and more in 0 (1 cannot be estimated); "
             "at equal sparsity less in 1 and more in 0 (2 cannot be estimated). Its advantage at "
             "the nominal ratio survives at equal sparsity."),
        ],
    )  # fmt: skip
    def test_whether_an_advantage_survives_at_equal_sparsity(
        self, nominal: str, equal: str, sentence: str, tmp_path: Path
    ) -> None:
        methods = ("undecayed_signed", "random", "magnitude")
        tables = make(tmp_path / "tables", methods=methods, ratios=(2.0, 4.0, 10.0))
        said = {"less": DEINTENSIFICATION, "more": INTENSIFICATION, "none": INCONCLUSIVE,
                "unknown": ""}  # fmt: skip

        def compared(table: pd.DataFrame) -> None:
            against = table["reference"] == "magnitude"
            assert against.sum() == (table["reference"] == "random").sum() == 3
            for kind, found in (("nominal", nominal), ("equal", equal)):
                table[f"{kind}_reading"] = INCONCLUSIVE
                table.loc[against, f"{kind}_reading"] = [said[word] for word in found.split()]
            table["denser_reading"] = INCONCLUSIVE
            table.loc[against & (table["ratio"] == 2), "denser_reading"] = DEINTENSIFICATION

        change_view(tables, "equal_sparsity", compared)
        text = words(tables, tmp_path / "report.html")
        text = re.sub(r" (?=[.;])", "", text)  # the ends of tags
        less, more = (nominal.split().count(word) for word in ("less", "more"))
        assert (
            "Against magnitude, undecayed signed, which keeps more weights than asked, intensifies "
            f"less in {less} of 3 comparisons at the same nominal ratio and more in {more}"
        ) in text
        assert sentence in text
        assert "Against random, it intensifies less in 0 of 3 comparisons" in text

    @pytest.mark.slow
    def test_what_survives_is_said_of_each_of_several_methods(self, tmp_path: Path) -> None:
        methods = ("magnitude", "gradient", "undecayed", "undecayed_signed", "random")
        tables = make(tmp_path / "tables", methods=methods)
        ratios = list(SMALL["ratios"])

        def compared(table: pd.DataFrame) -> None:
            assert (table.groupby("reference").size() == len(ratios)).all()
            # Less than random at all ratios and than gradient at one, than random at one of both.
            less = (table["reference"] == "random") | (
                (table["reference"] == "gradient") & (table["ratio"] == ratios[0])
            )
            stays = (table["reference"] == "random") & (table["ratio"] == ratios[1])
            for kind, rows in (("nominal", less), ("equal", stays)):
                table[f"{kind}_reading"] = np.where(rows, DEINTENSIFICATION, INCONCLUSIVE)

        change_view(tables, "equal_sparsity", compared)
        text = re.sub(r" (?=[.;])", "", words(tables, tmp_path / "report.html"))
        assert "Against the 3 other methods, it intensifies less in 3 of 6 comparisons" in text
        assert (
            "Its advantage at the nominal ratio survives at equal sparsity in 0 of 1 against "
            "gradient, 1 of 2 against random."
        ) in text

    @pytest.mark.slow
    def test_published_cells_are_shown_where_there_are_some(
        self, large_tables: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(large_tables, tmp_path / "tables")
        assert evidence.published_facts(read_tables(folder)) is None

        def two(table: pd.DataFrame) -> None:
            first = table.loc[0, "published_verdict"]
            other = next(word for word in (INTENSIFICATION, INCONCLUSIVE) if word != first)
            table.loc[:1, "verdict"] = [first, other]
            table.loc[1, "published_verdict"] = first
            table.loc[:1, "agrees"] = [True, False]

        change(folder, "published", two)
        assert evidence.published_facts(read_tables(folder)) == {
            "cells": 2, "agree": 1, "all": 75
        }  # fmt: skip
        assert "1 of 2 verdicts agrees with the published study , which has 75" in words(
            folder, tmp_path / "report.html"
        )
