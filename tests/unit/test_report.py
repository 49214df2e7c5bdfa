"""The report: what it computes, that it escapes, that it repeats itself, what it survives."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import itertools
import json
import math
import re
import shutil
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recall_distortion import columns
from recall_distortion.errors import TableError
from recall_distortion.report import (
    answer,
    build_report,
    caveats,
    evidence,
    exports,
    figure_names,
    figures,
    html_tables,
    metrics,
    page,
    pooled_slopes,
    style,
    summaries,
    words,
    write_figures,
    write_plot_data,
)
from recall_distortion.report.computed import computed
from recall_distortion.report.figures.alpha import alpha_limits
from recall_distortion.report.figures.drawing import far_out, usual_limits
from recall_distortion.report.figures.rendering import png_bytes
from recall_distortion.report.pictures import Picture
from recall_distortion.report.readings import (
    AS_CONTROL,
    BEYOND_UP,
    READINGS,
    pruning_cells,
    readings,
)
from recall_distortion.report.tables import CELL, LATER, of_panel, read_table, read_tables


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
    "seeds": 6,
    "class_names": ("cat", "dog", "owl"),
}
# A test set large enough for slopes of single models.
LARGE: dict[str, Any] = {
    **SMALL,
    "seeds": 12,
    "images": 20_000,
    "class_names": ("cat", "dog", "owl", "hen", "fox", "bee", "ant", "cow"),
}


class _Page(HTMLParser):
    """What a page's text, elements and attributes are, as a browser's parser sees them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.script: str | None = None
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and self.script is None:
            self.script = data
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
def large_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "tables"
    SYNTHETIC.make_tables(folder, **LARGE)
    return folder


def _words(tables: Path, output: Path, **study: Any) -> str:
    build_report(tables, output, study=study)
    return _Page(output.read_text("utf-8")).words


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch, small_page: str) -> None:
    """The words of a page alone: its figures are blank, since drawing them takes seconds."""
    blank = Picture(b"", 1, 1)
    monkeypatch.setattr(page, "_drawn", lambda tables: defaultdict(lambda: blank))


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
        assert (row["models"], row["points"]) == (6, 18)

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

    def test_engines_stand_side_by_side(self, small_tables: Path) -> None:
        mixed = read_table(small_tables, "mixed_models")
        one_less = mixed.drop(mixed.index[(mixed["engine"] == "statsmodels")][0])
        fits = read_table(small_tables, "mixed_model_fits")
        table = summaries.engine_agreement(one_less, fits)
        assert len(table) == (mixed["engine"] == "pymer4").sum()
        assert table["difference"].isna().sum() == 1
        assert table["difference"].abs().max() < 1e-4
        assert table["estimate_bootstrap"].notna().all()
        said = dict(zip(table["model"], table["believe"], strict=True))
        assert said == {
            "class_level/digits/mlp": "bootstrap", "class_level_scaled/digits/mlp": "model"
        }  # fmt: skip

    def test_metrics_are_finite_numbers_only(self, small_tables: Path) -> None:
        found = metrics(small_tables)
        json.dumps(found, allow_nan=False)
        panel = found["digits"]["mlp"]
        recall = read_table(small_tables, "recall")
        dense = recall[recall["method"] == "dense"].drop_duplicates("seed")
        assert panel["dense_accuracy"] == pytest.approx(dense["accuracy"].mean())
        assert set(panel) == {"dense_accuracy", "control_alpha", "cells", "effects", "failures"}
        assert sum(panel["cells"].values()) == 4
        effects = read_table(small_tables, "effects")
        assert panel["effects"] == {
            key: (effects["reading"] == reading).sum() for reading, key in READINGS.items()
        }
        assert panel["failures"] == 1

    def test_plot_data(self, small_tables: Path, tmp_path: Path) -> None:
        write_plot_data(small_tables, tmp_path / "plots.csv")
        table = pd.read_csv(tmp_path / "plots.csv")
        assert list(table.columns) == exports.PLOT_COLUMNS
        # The plot's template names these, and what DVC has compared before begins with them.
        assert list(table.columns)[:9] == [
            "dataset", "architecture", "panel", "method", "ratio", "mean_alpha", "low", "high",
            "accuracy",
        ]  # fmt: skip
        assert table.loc[table["method"] != "control", "difference"].notna().all()
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
        with pytest.raises(TableError, match=r"alpha\.csv, line 2, column ratio: .one. is not"):
            read_tables(tmp_path)

    def test_infinite_slopes_are_read(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path, **SMALL)
        path = tmp_path / "alpha.csv"
        table = pd.read_csv(path)
        table.loc[0, "alpha"] = np.inf
        table.to_csv(path, index=False)
        assert np.isinf(read_table(tmp_path, "alpha")["alpha"].iloc[0])


@pytest.mark.slow
class TestPage:
    def test_the_page_is_closed_to_the_outside(self, small_page: str) -> None:
        parsed = _Page(small_page)
        policy = [
            item["content"]
            for item in parsed.tags("meta")
            if item.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policy
        assert "default-src 'none'" in str(policy[0])
        assert parsed.tags("script") == [{}]
        digest = base64.b64encode(hashlib.sha256(str(parsed.script).encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in str(policy[0])
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
        assert len(parsed.tags("img")) == 7
        assert all(len(str(image["alt"])) > 20 for image in parsed.tags("img"))
        captions = re.findall(r"<figcaption>(.*?)</figcaption>", small_page, re.DOTALL)
        assert len(captions) == 7
        for caption in captions:
            assert re.search(r"n = \d+ models", caption)
            assert re.search("[Ww]hiskers|intervals", caption), caption

    def test_a_rounded_number_keeps_its_digits(self, small_tables: Path, small_page: str) -> None:
        mean = float(read_table(small_tables, "intervals")["mean"].iloc[0])
        assert f"title={mean!r}>{mean:.3f}".replace(">-", ">−") in small_page

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
        assert parsed.tags("script") == [{}]
        assert hostile in parsed.words
        assert all(str(image["src"]).startswith("data:") for image in parsed.tags("img"))
        assert not any("onerror" in attributes for _, attributes in parsed.elements)
        assert all(
            str(table["data-file"]).startswith("script-alert-1-script-")
            for table in parsed.tags("table")
            if table.get("class") == "data"
        )

    def test_whatever_a_table_or_a_study_says_is_text_on_the_page(
        self, small_tables: Path, small_page: str, tmp_path: Path
    ) -> None:
        """Every cell of words and every fact is hostile; the page has no element it had not."""
        hostile = (
            "</script></title></style><script>alert(1)</script><img src=x onerror=alert(2)>",
            "\"' onmouseover='alert(3)' x=\"",
            "{{ 7 * 7 }}{% raw %}<!-- ]]> &lt;b&gt; &quot;",
            "javascript:alert(4)",
        )
        tables = tmp_path / "tables"
        SYNTHETIC.make_tables(
            tables,
            **{
                **SMALL,
                "datasets": (hostile[0],),
                "architectures": (hostile[1],),
                "methods": ("magnitude", hostile[2]),
                "class_names": hostile,
            },
        )
        # What the report's own logic reads stays; all other words come from users and programs.
        own = {
            *CELL, "state", "class_name", "model", "engine", "verdict", "question", "left",
            "right", "published_verdict", "alpha_verdict", "crossfit_verdict", "verdict_all",
            "basis", "reading", "term", "believe", "improves",
        }  # fmt: skip
        changed = set()
        for path in tables.glob("*.csv"):
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            for column in set(table.columns) & columns.TEXT_COLUMNS - own:
                table[column] = [hostile[i % len(hostile)] for i in range(len(table))]
                changed.add(column)
            table.to_csv(path, index=False)
        assert {"note", "message", "formula", "reason", "device", "torch"} <= changed
        facts = {
            **{name: hostile[i % 4] for i, name in enumerate(SYNTHETIC.study_facts())},
            "versions": {name: name for name in hostile},
            "recipes": {hostile[0]: {hostile[1]: [hostile[2]]}},
        }
        build_report(tables, tmp_path / "report.html", study=facts)
        html = (tmp_path / "report.html").read_text("utf-8")
        found, usual = _Page(html), _Page(small_page)
        assert found.tags("script") == [{}]
        assert found.script == usual.script
        assert {tag for tag, _ in found.elements} <= {tag for tag, _ in usual.elements}
        assert {name for _, attributes in found.elements for name in attributes} <= {
            name for _, attributes in usual.elements for name in attributes
        }
        links = [str(link.get("href")) for link in found.tags("a")]
        assert all(link.startswith("#") for link in links)
        assert html.count("<!--") == small_page.count("<!--")
        for text in hostile:
            assert " ".join(text.split()) in found.words
        # The downloads are made from these: JSON that holds the words as they are.
        islands = [t for t in found.tags("table") if t.get("class") == "data"]
        assert islands
        for table in islands:
            assert set(json.loads(str(table["data-same"]))) <= set(
                json.loads(str(table["data-columns"]))
            )
            assert re.fullmatch(r"[A-Za-z0-9_.-]+\.csv", str(table["data-file"]))
        said = [value for t in islands for value in json.loads(str(t["data-same"])).values()]
        assert hostile[0] in said
        alternatives = [str(image["alt"]) for image in found.tags("img")]
        assert any(hostile[0] in text and hostile[1] in text for text in alternatives)

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


@pytest.mark.slow
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
            {"class_names": ("only",)},
            {"collapsed": "random"},
            {"methods": (), "control": False},
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
        assert "networks trained" not in words
        assert "the tables hold no difference from the control" in words

    def test_tables_of_the_first_release_are_read(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **SMALL)
        for name in (
            "pooled", "effects", "equal_sparsity", "seeds_needed", "tradeoff", "influence",
            "published",
        ):  # fmt: skip
            (tmp_path / "tables" / f"{name}.csv").unlink()
        for name, later in LATER.items():
            path = tmp_path / "tables" / f"{name}.csv"
            if not path.exists():
                continue
            pd.read_csv(path).drop(columns=list(later)).to_csv(path, index=False)
        words = _words(tmp_path / "tables", tmp_path / "report.html")
        assert "the tables hold no difference from the control" in words
        assert "effects" not in metrics(tmp_path / "tables")["digits"]["mlp"]
        write_figures(tmp_path / "tables", tmp_path / "figures")

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
        assert re.search(r"6 of \d+ slopes are not finite", words)
        assert "6 slopes that are not finite cannot be drawn" in words
        json.dumps(metrics(tmp_path / "tables"), allow_nan=False)

    def test_networks_that_know_one_class_are_named(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **SMALL)
        data = read_tables(tmp_path / "tables")
        assert caveats.broken(data) == []
        path = tmp_path / "tables/tradeoff.csv"
        table = pd.read_csv(path)
        support = data.recall.drop_duplicates("class")["support"]
        share = support.max() / support.sum()
        cell = (table["method"] == "random") & (table["ratio"] == 10)
        for state, accuracy, told in (
            ("pruned", share, False),
            ("finetuned", share + 0.06 * (1 - share), False),
            ("finetuned", share + 0.04 * (1 - share), True),
        ):
            table.loc[cell & (table["state"] == state), "accuracy_after"] = accuracy
            table.to_csv(path, index=False)
            found = caveats.broken(read_tables(tmp_path / "tables"))
            assert [item["cells"] for item in found] == (["random at 10"] if told else [])
        text = _words(tmp_path / "tables", tmp_path / "report.html")
        most, least = (" ".join(style.percent(x).split()) for x in (accuracy, share))
        assert f"random at 10, of mlp on digits, reach {most} at most after fine-tuning" in text
        assert f"naming the most frequent class gives {least}." in text

    def test_good_networks_of_a_few_unequal_classes_are_not_taken_for_ruined(
        self, tmp_path: Path
    ) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **SMALL)
        data = read_tables(tmp_path / "tables")
        data.recall.loc[data.recall["class"] == 0, "support"] *= 20
        data.tradeoff.loc[:, "accuracy_after"] = 0.97
        support = data.recall.drop_duplicates("class")["support"]
        assert support.max() / support.sum() > 0.85
        assert caveats.broken(data) == []

    def test_only_one_engine(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **SMALL)
        for name in ("mixed_models", "mixed_model_fits"):
            path = tmp_path / "tables" / f"{name}.csv"
            table = pd.read_csv(path)
            table[table["engine"] == "statsmodels"].to_csv(path, index=False)
        build_report(tmp_path / "tables", tmp_path / "report.html", study={})
        words = _Page((tmp_path / "report.html").read_text("utf-8")).words
        assert "Only one engine was used" in words


@pytest.mark.slow
class TestFigures:
    def test_files_are_named_by_panel(self, small_tables: Path, tmp_path: Path) -> None:
        paths = write_figures(small_tables, tmp_path)
        assert [path.name for path in paths] == [
            "effects-digits-mlp.png", "alpha-digits-mlp.png", "tradeoff-digits-mlp.png",
            "balances-digits-mlp.png", "accuracy-digits-mlp.png", "recall-digits-mlp.png",
            "sparsity.png",
        ]  # fmt: skip
        first = [path.read_bytes() for path in paths]
        assert first == [path.read_bytes() for path in write_figures(small_tables, tmp_path)]

    @pytest.mark.parametrize("ruined", [False, True])
    def test_a_method_that_ruins_its_networks_leaves_the_others_their_axes(
        self, ruined: bool
    ) -> None:
        accuracy, recalls = (0.1, (1.0, 0.0)) if ruined else (0.6, (0.7, 0.5))
        rows = [("dense", 0, 0, 0.8, 0.9), ("dense", 0, 1, 0.8, 0.7)]
        rows += [("magnitude", 0, 0, 0.6, 0.7), ("magnitude", 0, 1, 0.6, 0.5)]
        rows += [("random", 0, c, accuracy, recall) for c, recall in enumerate(recalls)]
        drawing = figures.balances_figure(_recall(rows))
        limits = [axes.get_ylim()[1] for axes in drawing.figure.axes]
        assert limits[0] == pytest.approx(1.15 / 6)  # |balance| 1/6, and room
        assert limits[1] == pytest.approx(1.15 * (0.985 * 9 + 0.015 * 1) if ruined else 1.15 / 6)
        assert (drawing.own_axes, drawing.outside) == ((1, 0) if ruined else (0, 0))
        colours = [axes.yaxis.get_ticklabels()[0].get_color() for axes in drawing.figure.axes]
        assert (colours[1] == style.VERMILLION) is ruined
        assert colours[0] != style.VERMILLION

    def test_a_cell_far_from_the_others_does_not_set_the_axes(self) -> None:
        values = pd.Series([0.0, 0.02, 0.1, 0.2, 0.1, 0.05, 0.3, 0.4, 1.1, 1.2, 4.1])
        lows, highs = values - 0.1, values + 0.1
        lows.iloc[-1], highs.iloc[-1] = -17.0, 11.0
        low, high = usual_limits(values, lows, highs)
        assert -1.0 < low < -0.5
        assert 1.3 < high < 2.1
        stats = [{"whislo": v - 0.1, "q1": v, "q3": v + 0.1, "whishi": v + 0.2} for v in values + 1]
        near = alpha_limits(stats[:-1], [])
        stats[-1] |= {"whislo": -2.0, "q1": -1.0, "q3": 10.0, "whishi": 12.0}
        low, high = alpha_limits(stats, [-17.0, 11.0])
        assert near[0] - 1.5 < low < near[0]
        assert near[1] < high < near[1] + 1.5

    @pytest.mark.parametrize("far", [[2.0], [2.0, 2.1, 2.2], []])
    def test_a_tenth_of_the_cells_at_most_is_far_out(self, far: list[float]) -> None:
        usual = [0.1, -0.1] * 5
        assert far_out(np.array(usual + far), 0.0).sum() == (1 if len(far) == 1 else 0)

    def test_a_page_of_drawn_figures_is_the_page_that_draws_them(
        self, small_tables: Path, tmp_path: Path
    ) -> None:
        write_figures(small_tables, tmp_path / "figures")
        build_report(small_tables, tmp_path / "a.html", study={})
        build_report(small_tables, tmp_path / "b.html", study={}, figures=tmp_path / "figures")
        assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()

    def test_a_figure_that_is_missing_or_foreign_is_named(
        self, small_tables: Path, tmp_path: Path
    ) -> None:
        write_figures(small_tables, tmp_path)
        captions = tmp_path / "captions.json"
        (tmp_path / "sparsity.png").unlink()
        for damage, message in (
            (None, r"sparsity\.png: no such file; draw"),
            ("[]", r"captions\.json: damaged"),
            ('{"a.png": {}}', r"captions\.json: damaged \('effects-digits-mlp\.png'\)"),
        ):
            if damage:
                captions.write_text(damage)
            with pytest.raises(TableError, match=message):
                build_report(small_tables, tmp_path / "a.html", study={}, figures=tmp_path)

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
        png_bytes(drawing.figure)
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


def test_verdicts_in_words() -> None:
    cells = [("2", "de-intensification"), ("4", "inconclusive"), ("10", "inconclusive")]
    assert answer.in_words(cells, answer.VERDICT_VERBS) == (
        "de-intensifies at 2; is inconclusive at 4 and 10"
    )
    assert answer.in_words([("2", AS_CONTROL), ("4", AS_CONTROL)], answer.READING_VERBS) == (
        "does as the control at every ratio"
    )


@pytest.mark.parametrize(
    ("counts", "text"),
    [([1], "1 seed"), ([1, 1], "1 seed each"), ([30], "30 seeds"), ([30, 30], "30 seeds each"),
     ([28, 30], "28 to 30 seeds each"), ([], "0 seeds")],
)  # fmt: skip
def test_seeds_in_words(counts: list[int], text: str) -> None:
    assert answer.seeds_in_words(counts) == text


def test_an_accuracy_lies_between_0_and_100_percent() -> None:
    assert words.share_interval(-0.02, 1.04) == "0.0 to 100.0\N{NO-BREAK SPACE}%"
    assert words.share_interval(math.nan, 0.9) == ""


def test_an_end_beside_zero_shows_its_side() -> None:
    assert words.interval(0.0004, 0.25, signed=True) == "+0.0004 to +0.25"
    assert words.interval(-0.0000001, 0.0, signed=True).endswith(" to 0.00")
    assert words.interval(0.5, math.nan) == "no interval"


class TestReadings:
    def test_few_seeds_of_a_large_test_set_are_read_per_model(self, tmp_path: Path) -> None:
        # The bootstrap needs five; the slopes of single models are stable.
        SYNTHETIC.make_tables(tmp_path, **{**LARGE, "seeds": 4})
        data = read_tables(tmp_path)
        assert data.pooled["per_model"].all()
        assert set(readings(data)["basis"]) == {"per model"}
        cells = pruning_cells(readings(data), data).reset_index(drop=True)
        assert list(cells["basis"]) == ["per model"] * 4
        effects, intervals = data.effects, data.intervals
        fine = intervals[(intervals["state"] == "finetuned") & (intervals["method"] != "control")]
        np.testing.assert_array_equal(cells["difference"], effects["difference"])
        np.testing.assert_array_equal(cells["difference_low"], effects["low"])
        np.testing.assert_array_equal(cells["p_adjusted"], effects["p_adjusted"])
        np.testing.assert_array_equal(cells["alpha"], fine["mean"])
        assert list(cells["alpha_verdict"]) == list(fine["verdict"])
        assert list(cells["reading"]) == list(effects["reading"])

    def test_a_small_test_set_is_read_pooled(self, small_tables: Path) -> None:
        data = read_tables(small_tables)
        assert not data.pooled["per_model"].any()
        cells = pruning_cells(readings(data), data).reset_index(drop=True)
        pooled = data.pooled
        fine = pooled[(pooled["state"] == "finetuned") & (pooled["method"] != "control")]
        assert set(readings(data)["basis"]) == {"pooled"}
        np.testing.assert_array_equal(cells["difference"], data.effects["crossfit_difference"])
        np.testing.assert_array_equal(cells["difference_high"], data.effects["crossfit_high"])
        np.testing.assert_array_equal(cells["alpha"], fine["alpha_crossfit"])
        np.testing.assert_array_equal(cells["alpha_low"], fine["crossfit_low"])
        # The adjusted p belongs to the t-test, which is not what is interpreted here.
        assert cells["p_adjusted"].isna().all()

    def test_without_an_interval_there_is_no_reading(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path, **{**SMALL, "seeds": 1})
        data = read_tables(tmp_path)
        table = readings(data)
        assert set(table["reading"]) == {""}
        assert set(table["alpha_verdict"]) == {""}
        assert table["note"].str.contains("one replicate").any()


@pytest.mark.usefixtures("undrawn")
class TestAnswer:
    def test_it_counts_what_effects_csv_reads(self, large_tables: Path, tmp_path: Path) -> None:
        text = _words(large_tables, tmp_path / "report.html")
        effects = read_table(large_tables, "effects")
        counts = effects["reading"].value_counts()
        # The generator's slopes at ratio 2 are the control's, those at ratio 10 far above it.
        assert counts[BEYOND_UP] == 2
        assert f"in {counts[BEYOND_UP]} of 4 cells" in text
        assert f"{counts[AS_CONTROL]} has the verdict against 1 that the control has too" in text
        assert "1 of the 1 “de-intensified” cell is de-intensified as the control is too" in text
        assert "The test set is too small" not in text
        pooled = read_table(large_tables, "pooled")
        control = pooled[pooled["method"] == "control"].iloc[0]
        assert f"control α {control['alpha_crossfit']:.2f} (" in text
        reseed = pooled[pooled["method"] == "reseed"].iloc[0]
        assert f"between dense models of different seeds {reseed['alpha_crossfit']:.2f} (" in text
        assert f"n = {reseed['n']:g} pairs) for mlp on digits" in text

    def test_it_says_where_single_models_cannot_be_read(self, small_page: str) -> None:
        text = _Page(small_page).words
        assert "The test set is too small for the slopes of single models on digits / mlp" in text
        assert "cross-fitted slope of all models together, bootstrap interval" in text
        assert "interpret pooled slopes instead" in text

    def test_without_a_control_nothing_is_credited_to_pruning(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **{**LARGE, "control": False})
        text = _words(tmp_path / "tables", tmp_path / "report.html")
        assert "There is no control in this study. Nothing separates pruning from training" in text
        assert "beyond the control at" not in text
        assert "de-intensifies at 2" in text

    def test_of_a_control_alone_it_claims_no_pruning(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **{**LARGE, "methods": ()})
        text = _words(tmp_path / "tables", tmp_path / "report.html")
        assert "No pruned model was evaluated" in text
        assert "the tables hold dense and control models only" in text
        assert "pruned every model" not in text

    def test_the_grid_holds_difference_and_slope(self, large_tables: Path) -> None:
        data = read_tables(large_tables)
        table = readings(data)
        facts = answer.panel_facts(data, table, data.panels[0])
        row = of_panel(table, data.panels[0])
        row = row[(row["method"] == "random") & (row["ratio"] == 10)].iloc[0]
        cell = facts["grid"][1].cells[1]
        assert cell.main == style.signed(row["difference"])
        assert cell.sign == "▲"
        assert cell.second == f"α {style.number(row['alpha'])} ▲"
        assert repr(float(row["difference"])) in cell.title
        assert facts["grid"][1].words.endswith("intensifies beyond the control at 10")


@pytest.mark.usefixtures("undrawn")
class TestEvidence:
    def test_what_improves_both_is_named(self, large_tables: Path, tmp_path: Path) -> None:
        folder = tmp_path / "tables"
        shutil.copytree(large_tables, folder)
        table = pd.read_csv(folder / "tradeoff.csv", keep_default_na=False)
        table["improves"] = "neither"
        table.to_csv(folder / "tradeoff.csv", index=False)
        assert "No ratio improves both" in _words(folder, tmp_path / "report.html")
        one = (table["method"] == "random") & (table["ratio"] == 2)
        one &= table["state"] == "finetuned"
        table.loc[one, ["improves", "over_control_low"]] = ["both", "0.01"]
        table.to_csv(folder / "tradeoff.csv", index=False)
        text = _words(folder, tmp_path / "report.html")
        assert "1 cell of 4 improves both" in text
        assert "random at 2" in text
        assert "It is also more accurate than the control" in text

    def test_classes_that_change_a_verdict_stand_first(self, large_tables: Path) -> None:
        data = read_tables(large_tables)
        data.influence["changes"] = [False] * (len(data.influence) - 1) + [True]
        ordered = evidence.influence_order(data.influence)
        assert ordered.index[0] == len(data.influence) - 1
        assert list(ordered.index[1:]) == list(range(len(data.influence) - 1))
        facts = evidence.class_facts(data)
        assert facts is not None
        assert (facts["cells"], facts["hanging"], facts["changes"]) == (5, 1, 1)
        assert facts["most"] == ["class cow (1 cell)"]

    def test_seeds_stand_side_by_side(self, large_tables: Path) -> None:
        table = read_table(large_tables, "seeds_needed")
        wide = evidence.seeds_side_by_side(table)
        assert len(wide) * 3 == len(table)
        for effect in (0.02, 0.05, 0.1):
            for name in ("seeds", "seeds_cautious"):
                long = table.loc[table["effect"] == effect, name].to_numpy()
                np.testing.assert_array_equal(wide[f"{name}_{effect:g}"], long)

    def test_methods_that_reach_the_same_sparsity_are_not_compared_at_it(
        self, small_tables: Path, small_page: str, tmp_path: Path
    ) -> None:
        assert read_table(small_tables, "equal_sparsity").empty
        text = _Page(small_page).words
        assert "Here all methods reach the same sparsity, to within 1 %." in text
        assert "table-equal_sparsity" not in small_page
        assert "Without rows" in text
        assert "At equal sparsity" in text[text.index("Without rows") :]
        assert "survive" not in text
        # Of one method, or of none whose sparsity is known, nothing is said.
        folder = tmp_path / "tables"
        shutil.copytree(small_tables, folder)
        table = pd.read_csv(folder / "sparsity.csv")
        for kept in (table[table["method"] == "random"], table.iloc[:0]):
            kept.to_csv(folder / "sparsity.csv", index=False)
            assert "same sparsity" not in _words(folder, tmp_path / "report.html")

    def test_tables_without_the_comparison_claim_no_equal_sparsity(self, tmp_path: Path) -> None:
        methods = ("magnitude", "undecayed_signed")
        SYNTHETIC.make_tables(tmp_path / "tables", **{**SMALL, "methods": methods})
        (tmp_path / "tables/equal_sparsity.csv").unlink()
        text = _words(tmp_path / "tables", tmp_path / "report.html")
        assert "same sparsity" not in text
        assert "at equal sparsity" not in text

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("nominal", "equal", "sentence"),
        [
            ("less less more", "less less none", "less in 2 and more in 0. Its advantage at the "
             "nominal ratio survives at equal sparsity in all 2. That takes slopes to run "
             "straight between two ratios; without this it is sure in 1 of 2, where it intensifies "
             "less even than the other method’s next denser networks."),
            ("less less none", "less more none", "less in 1 and more in 1. Its advantage at the "
             "nominal ratio survives at equal sparsity in 1 of 2. That takes slopes to run "
             "straight between two ratios; without this it is sure in 1 of 1, where it intensifies "
             "less even than the other method’s next denser networks. In 1 it turns into the "
             "opposite."),
            ("less less less", "none more none", "less in 0 and more in 1. Its advantage at the "
             "nominal ratio is not found at equal sparsity in any of the 3. In 1 it turns into"),
            ("less none none", "none none none", "Its advantage at the nominal ratio is not found "
             "at equal sparsity."),
            ("none more none", "less none none", "There is no advantage at the nominal ratio that"),
            ("less none unknown", "less unknown unknown", "and more in 0 (1 cannot be told); "
             "at equal sparsity less in 1 and more in 0 (2 cannot be told). Its advantage at the "
             "nominal ratio survives at equal sparsity."),
        ],
    )  # fmt: skip
    def test_whether_an_advantage_survives_at_equal_sparsity(
        self, nominal: str, equal: str, sentence: str, tmp_path: Path
    ) -> None:
        methods = ("undecayed_signed", "random", "magnitude")
        options = {**SMALL, "methods": methods, "ratios": (2.0, 4.0, 10.0)}
        SYNTHETIC.make_tables(tmp_path / "tables", **options)
        path = tmp_path / "tables/equal_sparsity.csv"
        table = pd.read_csv(path, keep_default_na=False)
        against = table["reference"] == "magnitude"
        assert against.sum() == (table["reference"] == "random").sum() == 3
        words = {"less": "intensifies less", "more": "intensifies more", "none": "not told apart",
                 "unknown": ""}  # fmt: skip
        for kind, found in (("nominal", nominal), ("equal", equal)):
            table[f"{kind}_reading"] = "not told apart"
            table.loc[against, f"{kind}_reading"] = [words[word] for word in found.split()]
        table["denser_reading"] = "not told apart"
        table.loc[against & (table["ratio"] == 2), "denser_reading"] = "intensifies less"
        table.to_csv(path, index=False)
        text = _words(tmp_path / "tables", tmp_path / "report.html")
        text = re.sub(r" (?=[.;])", "", text)  # the ends of tags
        less, more = (nominal.split().count(word) for word in ("less", "more"))
        assert (
            "Against magnitude, undecayed signed, which keeps more weights than asked, intensifies "
            f"less in {less} of 3 comparisons at the same nominal ratio and more in {more}"
        ) in text
        assert sentence in text
        assert "Against random, it intensifies less in 0 of 3 comparisons" in text

    def test_what_survives_is_said_of_each_of_several_methods(self, tmp_path: Path) -> None:
        methods = ("magnitude", "gradient", "undecayed", "undecayed_signed", "random")
        SYNTHETIC.make_tables(tmp_path / "tables", **{**SMALL, "methods": methods})
        path = tmp_path / "tables/equal_sparsity.csv"
        table = pd.read_csv(path, keep_default_na=False)
        ratios = list(SMALL["ratios"])
        assert (table.groupby("reference").size() == len(ratios)).all()
        # Less than random at all ratios and than gradient at one, than random at one of both.
        less = (table["reference"] == "random") | (
            (table["reference"] == "gradient") & (table["ratio"] == ratios[0])
        )
        stays = (table["reference"] == "random") & (table["ratio"] == ratios[1])
        for kind, rows in (("nominal", less), ("equal", stays)):
            table[f"{kind}_reading"] = np.where(rows, "intensifies less", "not told apart")
        table.to_csv(path, index=False)
        text = re.sub(r" (?=[.;])", "", _words(tmp_path / "tables", tmp_path / "report.html"))
        assert "Against the 3 other methods, it intensifies less in 3 of 6 comparisons" in text
        assert (
            "Of its advantage at the nominal ratio survive at equal sparsity 0 of 1 against "
            "gradient, 1 of 2 against random."
        ) in text

    def test_published_cells_are_shown_where_there_are_some(
        self, large_tables: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "tables"
        shutil.copytree(large_tables, folder)
        assert evidence.published_facts(read_tables(folder)) is None
        table = pd.read_csv(folder / "published.csv", keep_default_na=False, dtype=str)
        table.loc[:1, "verdict"] = table.loc[:1, "published_verdict"]
        table.loc[:1, "agrees"] = ["True", "False"]
        table.to_csv(folder / "published.csv", index=False)
        assert evidence.published_facts(read_tables(folder)) == {
            "cells": 2, "agree": 1, "all": 75
        }  # fmt: skip
        assert "1 of 2 verdicts agree with the published study , which has 75" in _words(
            folder, tmp_path / "report.html"
        )


@pytest.mark.usefixtures("undrawn")
class TestCaveats:
    def test_notes_are_counted_by_table(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **{**SMALL, "seeds": 1})
        data = read_tables(tmp_path / "tables")
        found = caveats.notes(data)
        counted = sum(
            int(n) for _, where in found["shown"] for n in re.findall(r"(\d+) row", where)
        )
        rows = sum(int((getattr(data, name)["note"] != "").sum()) for name in caveats.NOTED)
        assert found["more"] == 0
        assert counted == rows > 0
        text = _words(tmp_path / "tables", tmp_path / "report.html")
        assert "One seed: there is no spread between replicates" in text
        assert "one replicate: an interval needs two" in text
        assert "1 seeds" not in text

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"ratios": (4.0,)}, "One pruning ratio: whether a larger ratio intensifies more"),
            ({"class_names": ("only",)}, "One class: its recall is the accuracy"),
            ({"seeds": 3}, "3 seeds: t intervals on so few are wide"),
            ({"collapsed": "random"}, "1 of 6 slopes is not finite (an accuracy of 0"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    def test_what_cannot_be_estimated_is_said(
        self, change: dict[str, Any], sentence: str, tmp_path: Path
    ) -> None:
        SYNTHETIC.make_tables(tmp_path / "tables", **{**SMALL, **change})
        assert sentence in _words(tmp_path / "tables", tmp_path / "report.html")

    def test_fits_say_what_to_believe(self, small_tables: Path, small_page: str) -> None:
        found = caveats.believed(read_table(small_tables, "mixed_model_fits"))
        assert [(item["kind"], item["believe"], item["most"]) for item in found] == [
            ("class level", "bootstrap", "24.5"), ("class level scaled", "model", "1.0"),
        ]  # fmt: skip
        text = _Page(small_page).words
        assert "class level: believe the bootstrap over seeds (1 model; largest over" in text
        assert "class level scaled: believe the model (1 model" in text
        assert "of 4 fits, 1 singular, 0 not converged" in text
        assert "1 replicate failed" in text
        assert "not balanced" in text

    def test_models_that_were_not_estimated_are_named(
        self, small_tables: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "tables"
        shutil.copytree(small_tables, folder)
        fits = pd.read_csv(folder / "mixed_model_fits.csv", keep_default_na=False)
        one = fits["model"] == fits["model"].iloc[0]
        fits["message"] = fits["message"].astype(str)
        fits.loc[one, "message"] = "not estimated: one seed"
        fits.loc[one, "converged"] = False
        fits.to_csv(folder / "mixed_model_fits.csv", index=False)
        text = _words(folder, tmp_path / "report.html")
        assert "1 mixed model could not be estimated: one seed." in text
        assert "0 not converged" in text


@pytest.mark.usefixtures("undrawn")
class TestComputed:
    """What the page says of what computed the networks, from engines.csv."""

    VECTORIZED = "vectorized, up to 30 at once, in float32 on cpu; torch 2.15.0"

    def changed(self, folder: Path, change: Any, **tables: Any) -> Any:
        """Return an invented study's tables after a change of engines.csv."""
        SYNTHETIC.make_tables(folder, **{**SMALL, **tables})
        path = folder / "engines.csv"
        table = pd.read_csv(path)
        changed = change(table)
        (table if changed is None else changed).to_csv(path, index=False)
        return read_tables(folder)

    def test_one_way_is_said_once(self, small_tables: Path, small_page: str) -> None:
        data = read_tables(small_tables)
        networks = int(data.engines["seeds"].sum())
        assert networks == 6 * (1 + 1 + 2 * 2)
        assert computed(data) == [f"{networks} networks: {self.VECTORIZED}"]
        assert f"networks trained {networks} networks: {self.VECTORIZED}" in _Page(small_page).words
        assert caveats.crossed_engines(data) == []
        assert "computed alike" not in small_page

    def test_networks_that_differ_have_a_line_each(self, tmp_path: Path) -> None:
        data = self.changed(tmp_path, lambda _: None, architectures=("cnn", "mlp", "deep"))
        assert computed(data) == [
            f"cnn on digits, 36 networks: {self.VECTORIZED}",
            f"mlp on digits and deep on digits, 72 networks: {self.VECTORIZED}".replace("30", "60"),
        ]
        assert caveats.crossed_engines(data) == []

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
        def change(table: pd.DataFrame) -> None:
            rows = (table["method"] == "random") & (table["ratio"] == 10)
            table.loc[rows, column] = value

        data = self.changed(tmp_path, change)
        (found,) = caveats.crossed_engines(data)
        assert found["network"] == "mlp on digits"
        (usual, vectorized), (other, said) = found["ways"]
        assert (usual, vectorized) == ("control; magnitude; random at 2", self.VECTORIZED)
        assert other == "random at 10"
        assert said.startswith(text)
        usual, other = computed(data)
        start = "mlp on digits (dense; control; magnitude; random at 2), 30 networks: "
        assert usual == start + self.VECTORIZED
        assert other == f"mlp on digits (random at 10), 6 networks: {said}"
        shown = _words(tmp_path, tmp_path / "report.html")
        assert "Not all cells of mlp on digits were computed alike" in shown
        assert f"random at 10: {said}" in shown

    def test_dense_networks_may_differ_from_what_is_compared(self, tmp_path: Path) -> None:
        def change(table: pd.DataFrame) -> None:
            table.loc[table["method"] == "dense", "device"] = "NVIDIA X"

        data = self.changed(tmp_path, change)
        assert caveats.crossed_engines(data) == []
        assert [line.partition(" networks")[0] for line in computed(data)] == [
            "mlp on digits (dense), 6",
            "mlp on digits (control; magnitude; random), 30",
        ]

    def test_blocks_may_differ_where_all_cells_do_alike(self, tmp_path: Path) -> None:
        def change(table: pd.DataFrame) -> pd.DataFrame:
            second = table.assign(device="NVIDIA X", seeds=2)
            second.loc[second["method"] == "random", "seeds"] = 0  # all of that block failed
            return pd.concat([table.assign(seeds=4), second])

        data = self.changed(tmp_path, change)
        assert caveats.crossed_engines(data) == []
        assert [line.partition(" networks")[0] for line in computed(data)] == [
            "mlp on digits (in part), 24",
            "mlp on digits (dense in part; control in part; magnitude in part), 8",
        ]

    def test_a_cell_without_a_network_is_compared_with_nothing(self, tmp_path: Path) -> None:
        def change(table: pd.DataFrame) -> None:
            rows = table["method"] == "random"
            table.loc[rows, ["seeds", "engine"]] = 0, "one after another, bfloat16"

        data = self.changed(tmp_path, change)
        assert caveats.crossed_engines(data) == []
        assert computed(data) == [f"24 networks: {self.VECTORIZED}"]

    def test_what_is_not_recorded_is_said(self, tmp_path: Path) -> None:
        def change(table: pd.DataFrame) -> pd.DataFrame:
            return table.assign(device="", engine="", torch="")

        assert computed(self.changed(tmp_path, change)) == ["36 networks: not recorded"]


class TestTables:
    @pytest.mark.parametrize(
        ("value", "form", "text", "file"),
        [(0.123456, "three", "0.123", "0.123456"), (1258.0, "whole", "1,258", "1258"),
         (-2.5, "ratio", "-2.5", "-2.5"), (math.nan, "two", "–", ""),
         (math.inf, "whole", "∞", "inf"), (-math.inf, "two", "−∞", "-inf"),
         (1e-7, "p", "<\N{THIN SPACE}0.001", "1e-07"), (True, "truth", "yes", "True"),
         ("intensification", "verdict", "▲ intensification", "intensification"),
         ("not told from the control", "reading", "○ not told from the control",
          "not told from the control"),
         ("regularized_gradient", "method", "regularized gradient", "regularized_gradient"),
         ("a,b\"c", "text", "a,b\"c", "a,b\"c")],
    )  # fmt: skip
    def test_a_cell_keeps_what_the_file_says(
        self, value: object, form: str, text: str, file: str
    ) -> None:
        cell = html_tables.html_cell(value, form)
        assert cell.text == text
        assert html_tables._full(cell) == file

    def test_what_all_rows_share_is_said_once_and_kept(self, small_tables: Path) -> None:
        effects = read_table(small_tables, "effects")
        table = html_tables.listing("effects", effects)
        assert json.loads(table.columns) == list(effects.columns)
        same = json.loads(table.same)
        shown = [heading.name for heading in table.headings]
        assert sorted([*same, *shown]) == sorted(effects.columns)
        assert same["state"] == "finetuned"
        assert "state fine-tuned" in table.note

    def test_every_table_has_a_caption_and_scoped_headings(self, small_page: str) -> None:
        parsed = _Page(small_page)
        tables = [table for table in parsed.tags("table") if table.get("class") == "data"]
        assert len(tables) > 10
        assert len(parsed.tags("caption")) == len(parsed.tags("table"))
        assert all(heading.get("scope") in ("col", "row") for heading in parsed.tags("th"))
        assert len({table["data-file"] for table in tables}) == len(tables)


class TestNewFigures:
    def test_effects_without_a_control_say_so(self, tmp_path: Path) -> None:
        SYNTHETIC.make_tables(tmp_path, **{**SMALL, "control": False})
        data = read_tables(tmp_path)
        drawing = figures.effects_figure(readings(data))
        assert "No difference from a control" in drawing.figure.texts[0].get_text()

    def test_effects_have_one_axes_per_method_and_a_mark_per_cell(self, large_tables: Path) -> None:
        data = read_tables(large_tables)
        cells = readings(data)
        drawing = figures.effects_figure(cells)
        axes = [axes for axes in drawing.figure.axes if axes.get_visible()]
        assert [item.get_title(loc="left") for item in axes] == ["magnitude", "random"]
        for method, item in zip(("magnitude", "random"), axes, strict=True):
            drawn = [
                line.get_ydata()[0] for line in item.lines if line.get_marker() not in ("", "None")
            ]
            wanted = cells.loc[cells["method"] == method, "difference"]
            np.testing.assert_array_equal(drawn, wanted)
        assert drawing.outside == drawing.nonfinite == 0

    def test_one_wide_interval_does_not_flatten_the_effects(self, large_tables: Path) -> None:
        cells = readings(read_tables(large_tables))
        last = cells.index[cells["method"] == "random"][-1]
        cells.loc[last, ["difference_low", "difference_high"]] = [-1e4, 1e4]
        drawing = figures.effects_figure(cells)
        low, high = drawing.figure.axes[0].get_ylim()
        assert -50 < low < 0 < high < 50
        assert drawing.outside == 1

    def test_tradeoff_shades_where_both_improve(self, large_tables: Path) -> None:
        data = read_tables(large_tables)
        drawing = figures.tradeoff_figure(data.tradeoff, data.intervals)
        patch = drawing.figure.axes[0].patches[0]
        assert patch.get_x() == 0
        assert patch.get_width() > 0
        assert patch.get_y() + patch.get_height() == pytest.approx(1)
        ratios = {text.get_text() for text in drawing.figure.axes[0].texts}
        assert ratios == {"2", "10"}

    def test_labels_of_few_classes_are_not_cut(self, small_tables: Path) -> None:
        recall = read_table(small_tables, "recall")
        figure = figures.recall_figure(recall[recall["class"] == 0]).figure
        png_bytes(figure)
        width, height = figure.canvas.get_width_height()
        boxes = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
        assert len(boxes) > 1
        for box in boxes:
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= width
            assert box.y1 <= height

    def test_few_pixels_keep_their_colour(self, tmp_path: Path) -> None:
        from matplotlib.figure import Figure
        from PIL import Image

        figure = Figure(figsize=(4, 3))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(np.linspace(0, 1, 10_000).reshape(100, 100), cmap="Oranges")
        axes.plot(50, 50, "s", color=style.BLUE, markersize=6)
        (tmp_path / "a.png").write_bytes(png_bytes(figure))
        pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3)
        blue = np.array([0x00, 0x72, 0xB2])
        assert (np.abs(pixels.astype(int) - blue).max(axis=1) <= 20).sum() > 100
        assert (pixels == 255).all(axis=1).any()

    def test_accuracy_intervals_stay_between_0_and_100_percent(self) -> None:
        rows = [("dense", 0, 0, 0.99, 0.9), ("dense", 1, 0, 0.90, 0.9)]
        rows += [("magnitude", 0, 0, 0.99, 0.9), ("magnitude", 1, 0, 0.90, 0.9)]
        axes = figures.accuracy_figure(_recall(rows)).figure.axes[0]
        ends = [segment[:, 1] for item in axes.collections for segment in item.get_segments()]
        assert ends
        assert max(map(max, ends)) <= 100
        assert (
            max(patch.get_extents().y1 for patch in axes.patches)
            <= axes.transData.transform((1, 100))[1]
        )
