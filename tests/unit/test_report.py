"""The report: what it computes, that it escapes, that it repeats itself, what it survives."""

from __future__ import annotations

import base64
import importlib.util
import itertools
import json
import math
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recall_distortion.errors import TableError
from recall_distortion.report import (
    answer,
    build_report,
    figure_names,
    figures,
    metrics,
    page,
    pooled_slopes,
    style,
    summaries,
    write_figures,
    write_plot_data,
    write_pooled_slopes,
)
from recall_distortion.report.summaries import residual_scatter
from recall_distortion.report.tables import read_table, read_tables


def _load_generator() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "browser" / "synthetic_tables.py"
    spec = importlib.util.spec_from_file_location("synthetic_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SYNTHETIC = _load_generator()
SMALL: dict[str, Any] = {
    "architectures": ("mlp",),
    "methods": ("magnitude", "random"),
    "ratios": (2.0, 10.0),
    "seeds": 4,
    "class_names": ("cat", "dog", "owl"),
}


class _Page(HTMLParser):
    """What a page's text, elements and attributes are, as a browser's parser sees them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def small_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "tables"
    SYNTHETIC.make_tables(folder, **SMALL)
    return folder


@pytest.fixture(scope="module")
def small_page(small_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("page") / "report.html"
    build_report(small_tables, output, study=SYNTHETIC.study_facts())
    return output.read_text("utf-8")


def _recall(rows: list[tuple[str, int, int, float, float]]) -> pd.DataFrame:
    """Rows of (method, seed, class, accuracy, recall) as a recall table of one cell."""
    table = pd.DataFrame(rows, columns=["method", "seed", "class", "accuracy", "recall"])
    dense = table["method"] == "dense"
    table["dataset"], table["architecture"] = "d", "a"
    table["ratio"] = np.where(dense, 1.0, 2.0)
    table["state"] = np.where(dense, "dense", "finetuned")
    table["class_name"] = table["class"].astype(str)
    table["support"] = 10
    table["normalized_balance"] = (table["recall"] - table["accuracy"]) / table["accuracy"]
    return table


class TestPooledSlopes:
    def test_worked_example_of_the_paper(self) -> None:
        recall = _recall(
            [("dense", 0, 0, 0.8, 0.9), ("dense", 0, 1, 0.8, 0.7),
             ("magnitude", 0, 0, 0.6, 0.7), ("magnitude", 0, 1, 0.6, 0.5)]
        )  # fmt: skip
        row = pooled_slopes(recall).iloc[0]
        assert row["slope"] == pytest.approx(4 / 3)
        assert row["r2"] == pytest.approx(1)
        assert row["accuracy"] == pytest.approx(0.6)
        assert (row["models"], row["points"], row["dropped"]) == (1, 2, 0)

    def test_agrees_with_least_squares_on_all_points_together(self, small_tables: Path) -> None:
        recall = read_table(small_tables, "recall")
        cell = recall[(recall["method"] == "random") & (recall["ratio"] == 10)]
        cell = cell[cell["state"] == "finetuned"].set_index(["seed", "class"])
        dense = recall[recall["method"] == "dense"].set_index(["seed", "class"])
        x = dense["normalized_balance"].to_numpy()
        y = cell["normalized_balance"].reindex(dense.index).to_numpy()
        slope, error, *_ = np.linalg.lstsq(x[:, None], y, rcond=None)
        table = pooled_slopes(recall)
        row = table[
            (table["method"] == "random") & (table["ratio"] == 10) & (table["state"] == "finetuned")
        ].iloc[0]
        assert row["slope"] == pytest.approx(slope[0])
        assert row["r2"] == pytest.approx(1 - error[0] / (y**2).sum())
        assert (row["models"], row["points"]) == (4, 12)

    def test_points_that_are_not_finite_are_counted_not_hidden(self) -> None:
        recall = _recall(
            [("dense", 0, 0, 0.8, 0.9), ("dense", 0, 1, 0.8, 0.7),
             ("magnitude", 0, 0, 0.6, 0.7), ("magnitude", 0, 1, 0.6, math.nan)]
        )  # fmt: skip
        row = pooled_slopes(recall).iloc[0]
        assert (row["points"], row["dropped"]) == (1, 1)
        assert row["slope"] == pytest.approx(4 / 3)

    def test_a_flat_dense_model_has_no_slope(self) -> None:
        recall = _recall(
            [("dense", 0, 0, 0.8, 0.8), ("dense", 0, 1, 0.8, 0.8),
             ("magnitude", 0, 0, 0.6, 0.7), ("magnitude", 0, 1, 0.6, 0.5)]
        )  # fmt: skip
        assert math.isnan(pooled_slopes(recall).iloc[0]["slope"])

    def test_is_written_as_it_is(self, small_tables: Path, tmp_path: Path) -> None:
        write_pooled_slopes(small_tables, tmp_path / "pooled.csv")
        written = pd.read_csv(tmp_path / "pooled.csv")
        wanted = pooled_slopes(read_table(small_tables, "recall"))
        assert list(written.columns) == summaries.POOLED_COLUMNS
        np.testing.assert_array_equal(written["slope"].to_numpy(), wanted["slope"].to_numpy())


class TestSummaries:
    def test_mean_interval_is_students(self) -> None:
        mean, low, high = summaries.mean_interval([1.0, 2.0, 3.0, 4.0], 0.95)
        # t(3, 0.975) = 3.182446, standard error = sqrt(5/3)/2
        half = 3.182446305284263 * math.sqrt(5 / 3) / 2
        assert (mean, low, high) == pytest.approx((2.5, 2.5 - half, 2.5 + half))

    def test_one_value_has_no_interval(self) -> None:
        mean, low, high = summaries.mean_interval([0.5], 0.95)
        assert mean == 0.5
        assert math.isnan(low)
        assert math.isnan(high)

    def test_class_changes_are_paired_by_seed(self) -> None:
        recall = _recall(
            [("dense", 0, 0, 0.8, 0.9), ("dense", 1, 0, 0.8, 0.5), ("magnitude", 0, 0, 0.6, 0.7)]
        )
        row = summaries.class_changes(recall).iloc[0]
        assert row["n"] == 1
        assert row["change"] == pytest.approx(-0.2)

    def test_relation_to_the_control(self) -> None:
        intervals = pd.DataFrame(
            {
                "dataset": "d",
                "architecture": "a",
                "method": ["control", "m", "m", "m", "m"],
                "state": "finetuned",
                "low": [0.7, 0.91, 0.5, 0.1, math.nan],
                "high": [0.9, 1.2, 0.71, 0.69, math.nan],
            }
        )
        assert list(summaries.against_control(intervals)) == [
            "overlaps", "above", "overlaps", "below", "",
        ]  # fmt: skip

    def test_no_control_has_no_relation(self) -> None:
        intervals = pd.DataFrame(
            {"dataset": ["d"], "architecture": ["a"], "method": ["m"], "state": ["finetuned"],
             "low": [0.1], "high": [0.2]}
        )  # fmt: skip
        assert list(summaries.against_control(intervals)) == [""]

    def test_engines_stand_side_by_side(self, small_tables: Path) -> None:
        mixed = read_table(small_tables, "mixed_models")
        one_less = mixed.drop(mixed.index[(mixed["engine"] == "statsmodels")][0])
        table = summaries.engine_agreement(one_less)
        assert len(table) == (mixed["engine"] == "pymer4").sum()
        assert table["difference"].isna().sum() == 1
        assert table["difference"].abs().max() < 1e-4

    def test_metrics_are_finite_numbers_only(self, small_tables: Path) -> None:
        found = metrics(small_tables)
        json.dumps(found, allow_nan=False)
        panel = found["digits"]["mlp"]
        recall = read_table(small_tables, "recall")
        dense = recall[recall["method"] == "dense"].drop_duplicates("seed")
        assert panel["dense_accuracy"] == pytest.approx(dense["accuracy"].mean())
        assert set(panel) == {"dense_accuracy", "control_alpha", "cells", "failures"}
        assert sum(panel["cells"].values()) == 4
        assert panel["failures"] == 1

    def test_plot_data(self, small_tables: Path, tmp_path: Path) -> None:
        write_plot_data(small_tables, tmp_path / "plots.csv")
        table = pd.read_csv(tmp_path / "plots.csv")
        assert list(table.columns) == summaries.PLOT_COLUMNS
        assert len(table) == 5  # four cells and the control
        assert set(table["panel"]) == {"digits / mlp"}
        assert table["accuracy"].between(0, 1).all()


class TestReading:
    def test_class_names_that_look_like_missing_values_stay(self, tmp_path: Path) -> None:
        names = ("NA", "None", "nan")
        SYNTHETIC.make_tables(tmp_path, **{**SMALL, "class_names": names})
        assert set(read_table(tmp_path, "recall")["class_name"]) == set(names)

    def test_a_missing_required_table_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match=r"recall\.csv does not exist"):
            build_report(tmp_path, tmp_path / "report.html", study={})

    def test_a_missing_column_is_named(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path, **SMALL)
        path = tmp_path / "intervals.csv"
        pd.read_csv(path).drop(columns="verdict").to_csv(path, index=False)
        with pytest.raises(TableError, match=r"intervals\.csv lacks the column verdict"):
            build_report(tmp_path, tmp_path / "report.html", study={})

    def test_a_word_among_numbers_is_named(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path, **SMALL)
        path = tmp_path / "alpha.csv"
        path.write_text(path.read_text().replace(",4,", ",four,").replace(",1,", ",one,"))
        with pytest.raises(TableError, match=r"alpha\.csv, column"):
            read_tables(tmp_path)

    def test_infinite_slopes_are_read(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path, **SMALL)
        path = tmp_path / "alpha.csv"
        table = pd.read_csv(path)
        table.loc[0, "alpha"] = np.inf
        table.to_csv(path, index=False)
        assert np.isinf(read_table(tmp_path, "alpha")["alpha"].iloc[0])


class TestPage:
    def test_numbers_of_the_summary_come_from_the_tables(
        self, small_tables: Path, small_page: str
    ) -> None:
        words = _Page(small_page).words
        intervals = read_table(small_tables, "intervals")
        fine = intervals[(intervals["state"] == "finetuned")]
        control = fine[fine["method"] == "control"].iloc[0]
        pruning = fine[fine["method"] != "control"]
        count = (pruning["verdict"] == "inconclusive").sum()
        assert f"Of {len(pruning)} cells" in words
        assert f"and {count} {'is' if count == 1 else 'are'} inconclusive" in words
        assert f"Its mean α is {control['mean']:.2f} (" in words
        assert "1 replicate failed" in words
        assert "not balanced" in words
        assert "2 mixed models fitted with pymer4 and statsmodels: 1 singular" in words

    def test_the_page_is_closed_to_the_outside(self, small_page: str) -> None:
        parsed = _Page(small_page)
        policy = [
            item["content"]
            for item in parsed.tags("meta")
            if item.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policy
        assert "default-src 'none'" in str(policy[0])
        assert not parsed.tags("script")
        for tag, attributes in parsed.elements:
            assert not any(name.startswith("on") for name in attributes), (tag, attributes)
            for name in ("src", "href"):
                if value := attributes.get(name):
                    assert value.startswith(("data:", "#")), (tag, value)

    def test_headings_anchors_and_pictures(self, small_page: str) -> None:
        parsed = _Page(small_page)
        levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        identifiers = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
        assert len(identifiers) == len(set(identifiers))
        for link in parsed.tags("a"):
            assert str(link["href"])[1:] in identifiers
        assert len(parsed.tags("img")) == 5
        assert all(len(str(image["alt"])) > 20 for image in parsed.tags("img"))
        assert len(parsed.tags("figcaption")) == 5

    def test_a_rounded_number_keeps_its_digits(self, small_tables: Path, small_page: str) -> None:
        mean = float(read_table(small_tables, "intervals")["mean"].iloc[0])
        assert f'title="{mean!r}"' in small_page

    def test_selection_on_the_test_set_is_said(self, small_tables: Path, tmp_path: Path) -> None:
        sentence = "The weights kept were chosen on the test set"
        build_report(small_tables, tmp_path / "a.html", study={"selection": "test"})
        build_report(small_tables, tmp_path / "b.html", study={"selection": "holdout"})
        assert sentence in (tmp_path / "a.html").read_text("utf-8")
        assert sentence not in (tmp_path / "b.html").read_text("utf-8")

    def test_names_of_a_user_are_escaped_everywhere(self, tmp_path: Path) -> None:
        hostile = "<script>alert(1)</script>"
        sly = '"><img src=x onerror=alert(1)>'
        SYNTHETIC.make_tables(
            tmp_path / "tables",
            **{
                **SMALL,
                "datasets": (hostile,),
                "architectures": (sly,),
                "methods": ("magnitude", "<b>$\\frac{x}$</b>"),
                "class_names": (hostile, "$\\undefined{$", "line\nbreak \x07 bell"),
            },
        )
        study = {"name": hostile, "description": sly, "device": hostile, "versions": {sly: hostile}}
        build_report(tmp_path / "tables", tmp_path / "report.html", study=study)
        html = (tmp_path / "report.html").read_text("utf-8")
        parsed = _Page(html)
        assert not parsed.tags("script")
        assert hostile in parsed.words
        assert all(str(image["src"]).startswith("data:") for image in parsed.tags("img"))
        assert not any("onerror" in attributes for _, attributes in parsed.elements)
        for uri in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", html):
            picture = ElementTree.fromstring(base64.b64decode(uri))
            assert not [item for item in picture.iter() if str(item.tag).endswith("script")]

    def test_same_tables_give_the_same_bytes(self, small_tables: Path, tmp_path: Path) -> None:
        facts = SYNTHETIC.study_facts()
        build_report(small_tables, tmp_path / "a.html", study=facts)
        build_report(small_tables, tmp_path / "b.html", study=facts)
        assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()

    def test_facts_may_be_missing_or_unknown(self, small_tables: Path, tmp_path: Path) -> None:
        odd = {"seeds": None, "methods": {}, "colour": {"of": ["the", "sky"]}, "flag": True}
        build_report(small_tables, tmp_path / "report.html", study=odd)
        words = _Page((tmp_path / "report.html").read_text("utf-8")).words
        assert "colour of the, sky" in words
        assert "flag yes" in words


class TestDegenerateTables:
    @pytest.mark.parametrize(
        "change",
        [
            {"control": False},
            {"ratios": (4.0,)},
            {"ratios": (2.5, 4.0)},
            {"seeds": 1},
            {"failures": False},
            {"methods": ("magnitude",), "control": False, "ratios": (2.0,), "seeds": 2},
            {"class_names": tuple(f"class {index}" for index in range(40))},
            {"methods": ()},
        ],
        ids=lambda change: "-".join(change),
    )
    def test_report_is_written(self, change: dict[str, Any], tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **{**SMALL, **change})
        build_report(tmp_path / "tables", tmp_path / "report.html", study={"name": "odd"})
        assert (tmp_path / "report.html").stat().st_size > 10_000
        json.dumps(metrics(tmp_path / "tables"), allow_nan=False)
        write_plot_data(tmp_path / "tables", tmp_path / "plots.csv")

    def test_figures_of_dense_models_alone(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **{**SMALL, "methods": (), "control": False})
        paths = write_figures(tmp_path / "tables", tmp_path / "figures")
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)

    def test_optional_tables_may_be_absent(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **SMALL)
        for path in (tmp_path / "tables").glob("*.csv"):
            if path.stem not in ("recall", "alpha", "intervals"):
                path.unlink()
        build_report(tmp_path / "tables", tmp_path / "report.html", study={})
        words = _Page((tmp_path / "report.html").read_text("utf-8")).words
        assert "No mixed model was fitted" in words
        assert "The tables hold no sparsities" in words

    def test_slopes_that_are_not_finite_are_told(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **SMALL)
        for name, column in (("alpha", "alpha"), ("intervals", "mean")):
            path = tmp_path / "tables" / f"{name}.csv"
            table = pd.read_csv(path)
            cell = (table["method"] == "random") & (table["ratio"] == 10)
            table.loc[cell & (table["state"] == "finetuned"), column] = np.inf
            table.to_csv(path, index=False)
        build_report(tmp_path / "tables", tmp_path / "report.html", study={})
        words = _Page((tmp_path / "report.html").read_text("utf-8")).words
        assert re.search(r"4 of \d+ slopes are not finite", words)
        assert "4 slopes that are not finite cannot be drawn" in words
        json.dumps(metrics(tmp_path / "tables"), allow_nan=False)

    def test_only_one_engine(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **SMALL)
        for name in ("mixed_models", "mixed_model_fits"):
            path = tmp_path / "tables" / f"{name}.csv"
            table = pd.read_csv(path)
            table[table["engine"] == "statsmodels"].to_csv(path, index=False)
        build_report(tmp_path / "tables", tmp_path / "report.html", study={})
        words = _Page((tmp_path / "report.html").read_text("utf-8")).words
        assert "Only one engine was used" in words


class TestFigures:
    def test_files_are_named_by_panel(self, small_tables: Path, tmp_path: Path) -> None:
        paths = write_figures(small_tables, tmp_path)
        assert [path.name for path in paths] == [
            "alpha-digits-mlp.png", "balances-digits-mlp.png", "accuracy-digits-mlp.png",
            "recall-digits-mlp.png", "sparsity.png",
        ]  # fmt: skip
        first = [path.read_bytes() for path in paths]
        assert first == [path.read_bytes() for path in write_figures(small_tables, tmp_path)]

    def test_file_names_stay_in_their_folder(self) -> None:
        for name in figure_names([("../../etc", "a/b")]):
            assert Path(name).name == name
            assert not name.startswith(".")

    def test_far_outliers_do_not_flatten_the_boxes(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path, **{**SMALL, "seeds": 12})
        alpha = read_table(tmp_path, "alpha")
        calm = figures.alpha_figure(alpha, read_table(tmp_path, "intervals"))
        rows = alpha.index[(alpha["method"] == "magnitude") & (alpha["state"] == "finetuned")]
        alpha.loc[rows[0], "alpha"] = 1e4
        drawing = figures.alpha_figure(alpha, read_table(tmp_path, "intervals"))
        assert drawing.outside == calm.outside + 1
        assert drawing.figure.axes[0].get_ylim()[1] < 2 * calm.figure.axes[0].get_ylim()[1]

    def test_alpha_axis_always_shows_one(self, small_tables: Path) -> None:
        alpha = read_table(small_tables, "alpha")
        alpha["alpha"] = alpha["alpha"] / 100 + 0.3
        drawing = figures.alpha_figure(alpha, read_table(small_tables, "intervals").iloc[:0])
        low, high = drawing.figure.axes[0].get_ylim()
        assert low < 1 < high

    def test_methods_look_different(self) -> None:
        names = [f"method {place}" for place in range(28)]
        assert len({style.method_look(name, names) for name in names}) == 28

    def test_drawing_leaves_the_users_settings_alone(self, small_tables: Path) -> None:
        import matplotlib

        before = dict(matplotlib.rcParams)
        drawing = figures.accuracy_figure(read_table(small_tables, "recall"))
        style.svg_bytes(drawing.figure)
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(-0.001, 2, "0.00"), (-1.5, 1, "−1.5"), (math.nan, 2, "–"), (-math.inf, 2, "−∞"),
     (12345.6, 0, "12,346")],
)  # fmt: skip
def test_numbers_for_reading(value: float, digits: int, text: str) -> None:
    assert style.number(value, digits) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(list(range(30)), "0 to 29 (30)"), ({"epochs": 3, "rate": 0.1}, "epochs 3, rate 0.1"),
     ([3, 5], "3, 5"), (None, "–"), ({"a": {"b": 1}}, "a (b 1)"), (False, "no")],
)  # fmt: skip
def test_facts_as_text(value: object, text: str) -> None:
    assert page.describe(value) == text


def test_long_names_lose_their_middle() -> None:
    short = [style.label(f"a class with a long name {place}", 16) for place in range(12)]
    assert len(set(short)) == 12
    assert max(map(len, short)) == 16


def test_verdicts_in_words_name_what_the_control_does_too() -> None:
    cells = [("2", "de-intensification"), ("4", "inconclusive"), ("10", "intensification")]
    assert answer.in_words(cells, "de-intensification") == (
        "de-intensifies at 2, as the control does; is inconclusive at 4; intensifies at 10"
    )


def test_unequal_residuals_and_models_that_were_not_estimated_are_named(
    small_tables: Path, tmp_path: Path
) -> None:
    recall = read_table(small_tables, "recall")
    # One cell's scatter about its own slope, by hand.
    panel = recall[(recall["dataset"] == recall["dataset"].iloc[0])]
    panel = panel[panel["architecture"] == panel["architecture"].iloc[0]]
    cell = panel[(panel["method"] == "magnitude") & (panel["state"] == "finetuned")]
    cell = cell[cell["ratio"] == cell["ratio"].max()]
    dense = panel[panel["method"] == "dense"].set_index(["seed", "class"])["normalized_balance"]
    after = cell.set_index(["seed", "class"])["normalized_balance"]
    before = dense.loc[after.index]
    residual = after - before * (before @ after) / (before @ before)
    key = tuple(cell[["dataset", "architecture", "method", "ratio"]].iloc[0])
    assert residual_scatter(recall)[key] == pytest.approx(np.sqrt((residual**2).mean()))

    folder = tmp_path / "tables"
    shutil.copytree(small_tables, folder)
    path = folder / "recall.csv"
    table = pd.read_csv(path, keep_default_na=False)
    wide = (table["state"] == "finetuned") & (table["ratio"] == table["ratio"].max())
    signs = np.where(table["seed"] % 2 == 0, 1.0, -1.0)
    table["normalized_balance"] = pd.to_numeric(table["normalized_balance"])
    table.loc[wide, "normalized_balance"] = (signs * (table["class"] - 1))[wide]
    table.to_csv(path, index=False)
    fits = pd.read_csv(folder / "mixed_model_fits.csv", keep_default_na=False)
    fits["message"] = fits["message"].astype(str)
    fits.loc[0, ["converged", "message"]] = [False, "not estimated: one seed"]
    fits.to_csv(folder / "mixed_model_fits.csv", index=False)
    build_report(folder, tmp_path / "report.html", study={})
    page = " ".join((tmp_path / "report.html").read_text(encoding="utf-8").split())
    assert "They assume one residual variance" in page
    assert "could not be estimated: one seed." in page
    assert "0 not converged" in page
