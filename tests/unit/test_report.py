"""The page: that it escapes, that it repeats itself, what it survives."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tables import Page, change, make, words

from recall_distortion.report import build_report, caveats, metrics, page, style, write_plot_data
from recall_distortion.report.figures import write_figures
from recall_distortion.report.tables import read_tables
from recall_distortion.tables.schema import SUMMARIZED, TABLES, TEXT
from recall_distortion.tables.views import ACCURACY, ALPHA, MEAN
from recall_distortion.vocabulary import ONE, RETRAINED, STATSMODELS
from tests.synthetic.report import study_facts


@pytest.mark.slow
class TestPage:
    def test_the_page_is_closed_to_the_outside(self, small_page: str) -> None:
        parsed = Page(small_page)
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
        parsed = Page(small_page)
        levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        identifiers = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
        assert len(identifiers) == len(set(identifiers))
        (nav,) = re.findall("<nav.*?</nav>", small_page, re.DOTALL)
        names = re.findall(r'<a href="#(\w+)">(.+?)</a>', nav)
        sections = re.findall(r'<section id="(\w+)">\s*<h2>(.+?)</h2>', small_page)
        assert names == sections
        assert len(names) == 13
        for link in parsed.tags("a"):
            assert str(link["href"])[1:] in identifiers
        assert len(parsed.tags("img")) == 8
        assert all(len(str(image["alt"])) > 20 for image in parsed.tags("img"))
        captions = re.findall(r"<figcaption>(.*?)</figcaption>", small_page, re.DOTALL)
        assert len(captions) == 8
        for caption in captions:
            assert re.search(r"n = \d+ networks", caption)
            assert re.search("[Ww]hiskers|intervals", caption), caption

    def test_a_rounded_number_keeps_its_digits(self, small_tables: Path, small_page: str) -> None:
        mean = float(read_tables(small_tables).view("slopes")["mean"].iloc[0])
        assert f"title={mean!r}>{mean:.3f}".replace(">-", ">−") in small_page

    @pytest.mark.usefixtures("undrawn")
    def test_selection_on_the_test_set_is_said(self, small_tables: Path, tmp_path: Path) -> None:
        sentence = "The weights of each network were chosen by its accuracy on the test set"
        build_report(small_tables, tmp_path / "a.html", study={"selection": "test"})
        build_report(small_tables, tmp_path / "b.html", study={"selection": "holdout"})
        assert sentence in (tmp_path / "a.html").read_text("utf-8")
        assert sentence not in (tmp_path / "b.html").read_text("utf-8")

    def test_names_of_a_user_are_escaped_everywhere(self, tmp_path: Path) -> None:
        hostile = "<script>alert(1)</script>"
        sly = '"><img src=x onerror=alert(1)>'
        make(
            tmp_path / "tables",
            datasets=(hostile,),
            architectures=(sly,),
            methods=("magnitude", "<b>$\\frac{x}$</b>"),
            class_names=(hostile, "$\\undefined{$", "line\nbreak \x07 bell"),
        )
        study = {"name": hostile, "description": sly, "device": hostile, "versions": {sly: hostile}}
        build_report(tmp_path / "tables", tmp_path / "report.html", study=study)
        html = (tmp_path / "report.html").read_text("utf-8")
        parsed = Page(html)
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
        tables = make(
            tmp_path / "tables",
            datasets=(hostile[0],),
            architectures=(hostile[1],),
            methods=("magnitude", hostile[2]),
            class_names=hostile,
        )
        # What the report's own logic reads stays; all other words come from users and programs.
        own = {
            "dataset", "architecture", "method", "state", "class", "class_name", "quantity",
            "estimator", "against", "verdict", "reading", "question", "left", "right", "model",
            "fitter", "term", "believe", "published_verdict", "section", "item",
        }  # fmt: skip
        changed = set()
        for name in (*SUMMARIZED, "summary"):
            described = TABLES[name]
            path = tables / f"{name}.csv"
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            for column in described.columns:
                if column.kind == TEXT and column.name not in own:
                    texts = [hostile[i % len(hostile)] for i in range(len(table))]
                    if column.name == "failure":  # of those that failed
                        texts = [
                            text if failure else ""
                            for text, failure in zip(texts, table["failure"], strict=True)
                        ]
                    table[column.name] = texts
                    changed.add(column.name)
            table.to_csv(path, index=False)
        assert {"note", "message", "formula", "failure", "device", "torch"} <= changed
        facts = {
            **{name: hostile[i % 4] for i, name in enumerate(study_facts())},
            "versions": {name: name for name in hostile},
            "recipes": {hostile[0]: {hostile[1]: [hostile[2]]}},
        }
        build_report(tables, tmp_path / "report.html", study=facts)
        html = (tmp_path / "report.html").read_text("utf-8")
        found, usual = Page(html), Page(small_page)
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
        facts = study_facts()
        build_report(small_tables, tmp_path / "a.html", study=facts)
        build_report(small_tables, tmp_path / "b.html", study=facts)
        assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()

    @pytest.mark.usefixtures("undrawn")
    def test_facts_may_be_missing_or_unknown(self, small_tables: Path, tmp_path: Path) -> None:
        odd = {"seeds": None, "methods": {}, "colour": {"of": ["the", "sky"]}, "flag": True}
        text = words(small_tables, tmp_path / "report.html", **odd)
        assert "colour of the, sky" in text
        assert "flag yes" in text


@pytest.mark.slow
class TestDegenerateTables:
    @pytest.mark.parametrize(
        "options",
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
        ids=lambda options: "-".join(options),
    )
    def test_report_is_written(self, options: dict[str, Any], tmp_path: Path) -> None:
        tables = make(tmp_path / "tables", **options)
        build_report(tables, tmp_path / "report.html", study={"name": "odd"})
        assert (tmp_path / "report.html").stat().st_size > 10_000
        json.dumps(metrics(tables), allow_nan=False)
        write_plot_data(tables, tmp_path / "plots.csv")

    def test_figures_of_dense_networks_alone(self, tmp_path: Path) -> None:
        tables = make(tmp_path / "tables", methods=(), control=False)
        paths = write_figures(tables, tmp_path / "figures")
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)

    def test_optional_tables_may_be_absent(self, tmp_path: Path) -> None:
        tables = make(tmp_path / "tables")
        for path in tables.glob("*.csv"):
            if path.stem not in ("recall", "networks", "estimates", "summary"):
                path.unlink()
        build_report(tables, tmp_path / "report.html", study={})

    def test_tables_that_say_nothing_of_a_question_are_read(self, tmp_path: Path) -> None:
        """Others may have fewer estimates: here the slopes' and the accuracies' means alone."""
        tables = make(tmp_path / "tables", failures=False)

        def kept(table: pd.DataFrame) -> pd.DataFrame:
            slopes = (table["quantity"] == ALPHA) & (table["against"] == ONE)
            means = slopes | ((table["quantity"] == ACCURACY) & (table["against"] == ""))
            found = table[means & (table["estimator"] == MEAN)]
            return found.assign(leads=found["quantity"] == ALPHA)

        change(tables, "estimates", kept)
        text = words(tables, tmp_path / "report.html")
        assert "the tables hold no difference from the control" in text
        assert "The tables hold no sparsities" in text
        assert "The tables hold no changes in accuracy" in text
        assert "The tables do not say how many seeds are needed" in text
        assert "effects" not in metrics(tables)["digits"]["mlp"]

    def test_slopes_that_are_not_finite_are_counted(self, tmp_path: Path) -> None:
        tables = make(tmp_path / "tables")

        def broken(table: pd.DataFrame) -> None:
            cell = (table["method"] == "random") & (table["ratio"] == 10)
            table.loc[cell & (table["state"] == RETRAINED), "alpha"] = np.inf

        change(tables, "networks", broken)
        text = words(tables, tmp_path / "report.html")
        assert re.search(r"6 of \d+ slopes are not finite", text)
        assert "6 slopes that are not finite cannot be drawn" in text
        json.dumps(metrics(tables), allow_nan=False)

    @pytest.mark.usefixtures("undrawn")
    def test_networks_that_know_one_class_are_named(self, tmp_path: Path) -> None:
        tables = make(tmp_path / "tables")
        data = read_tables(tables)
        assert caveats.broken(data) == []
        support = data.recall.drop_duplicates("class")["support"]
        share = support.max() / support.sum()

        def reaching(table: pd.DataFrame) -> None:
            cell = (table["method"] == "random") & (table["ratio"] == 10)
            cell &= (table["state"] == RETRAINED) & (table["quantity"] == ACCURACY)
            cell &= table["against"] == ""
            table.loc[cell, ["estimate", "low", "high"]] = share + 0.04 * (1 - share)

        change(tables, "estimates", reaching)
        assert [item["cells"] for item in caveats.broken(read_tables(tables))] == [
            "random at ratio 10"
        ]
        text = words(tables, tmp_path / "report.html")
        most, least = (
            " ".join(style.percent(x).split()) for x in (share + 0.04 * (1 - share), share)
        )
        assert "random at ratio 10, of mlp on digits, have a mean test accuracy of" in text
        assert f"accuracy of at most {most} after fine-tuning" in text
        assert f"always predicting the most frequent class gives {least}." in text

    @pytest.mark.usefixtures("undrawn")
    def test_only_one_fitter(self, tmp_path: Path) -> None:
        tables = make(tmp_path / "tables")
        for name in ("mixed_models", "mixed_model_fits"):
            change(tables, name, lambda table: table[table["fitter"] == STATSMODELS])
        assert "Only one fitter was used" in words(tables, tmp_path / "report.html")


@pytest.mark.parametrize(
    ("value", "text"),
    [(list(range(30)), "0 to 29 (30)"), ({"epochs": 3, "rate": 0.1}, "epochs 3, rate 0.1"),
     ([3, 5], "3, 5"), (None, "–"), ({"a": {"b": 1}}, "a (b 1)"), (False, "no")],
)  # fmt: skip
def test_facts_as_text(value: object, text: str) -> None:
    assert page.describe(value) == text
