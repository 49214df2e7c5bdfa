"""The figures: what they show of the tables, their axes, their files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_tables import LARGE, make

from recall_distortion.inference.questions.accuracy import accuracy
from recall_distortion.inference.questions.classes import class_changes, dense_classes
from recall_distortion.report import build_report, figure_names, figures, style
from recall_distortion.report.figures import write_figures
from recall_distortion.report.figures.alpha import alpha_limits
from recall_distortion.report.figures.drawing import far_out, usual_limits
from recall_distortion.report.figures.recall import MOST_CLASSES
from recall_distortion.report.figures.rendering import png_bytes
from recall_distortion.report.pictures import KINDS
from recall_distortion.report.tables import ReportTables, read_tables
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import (
    AS_CONTROL,
    BEYOND_CONTROL,
    CELL_STATE,
    INCONCLUSIVE,
    INTENSIFICATION,
)

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def large(large_tables: Path) -> ReportTables:
    return read_tables(large_tables)


def _recall(rows: list[tuple[str, int, int, float, float]]) -> pd.DataFrame:
    """Rows of (method, seed, class, accuracy, recall) as a recall table of one cell."""
    table = pd.DataFrame(rows, columns=["method", "seed", "class", "accuracy", "recall"])
    dense = table["method"] == "dense"
    table["dataset"], table["architecture"], table["recipe"] = "d", "a", "r"
    table["ratio"] = np.where(dense, 1.0, 2.0)
    table["state"] = np.where(dense, "dense", "retrained")
    table["class_name"] = table["class"].astype(str)
    table["balance"] = table["recall"] - table["accuracy"]
    table["normalized_balance"] = table["balance"] / table["accuracy"]
    return table


def _visible(drawing: figures.Drawing) -> list[Any]:
    return [axes for axes in drawing.figure.axes if axes.get_visible()]


@pytest.mark.slow
class TestFiles:
    def test_files_are_named_by_panel(self, small_tables: Path, tmp_path: Path) -> None:
        paths = write_figures(small_tables, tmp_path)
        assert [path.name for path in paths] == [
            *(f"{kind}-digits-mlp-usual.png" for kind in KINDS),
            "sparsity.png",
        ]  # fmt: skip
        first = [path.read_bytes() for path in paths]
        assert first == [path.read_bytes() for path in write_figures(small_tables, tmp_path)]

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
            ('{"a.png": {}}', r"captions\.json: damaged \('effects-digits-mlp-usual\.png'\)"),
        ):
            if damage:
                captions.write_text(damage)
            with pytest.raises(TableError, match=message):
                build_report(small_tables, tmp_path / "a.html", study={}, figures=tmp_path)

    def test_figures_of_dense_networks_alone(self, tmp_path: Path) -> None:
        make(tmp_path / "tables", methods=(), control=False)
        paths = write_figures(tmp_path / "tables", tmp_path / "figures")
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)

    def test_file_names_stay_in_their_folder(self) -> None:
        for name in figure_names([("../../etc", "a/b")]):
            assert Path(name).name == name
            assert not name.startswith(".")

    def test_the_workflow_expects_every_kind(self) -> None:
        """It names figures without the report package, which takes a second to import."""
        rules = (REPOSITORY / "workflow/rules/common.smk").read_text()
        body = rules[rules.index("def get_figure_names") :]
        (listed,) = re.findall(r"kinds = \((.*?)\)", body.split("\n\n\n")[0], re.DOTALL)
        assert tuple(re.findall(r"\w+", listed)) == KINDS

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

    def test_drawing_leaves_the_users_settings_alone(self, large: ReportTables) -> None:
        import matplotlib

        before = dict(matplotlib.rcParams)
        png_bytes(figures.accuracy_figure(large.view("accuracy")).figure)
        assert dict(matplotlib.rcParams) == before


class TestAxes:
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


class TestAlpha:
    def test_far_outliers_do_not_flatten_the_boxes(self, large: ReportTables) -> None:
        networks, slopes = large.networks.copy(), large.view("slopes")
        calm = figures.alpha_figure(networks, slopes)
        cell = (networks["method"] == "magnitude") & (networks["state"] == "retrained")
        networks.loc[networks.index[cell][0], "alpha"] = 1e4
        drawing = figures.alpha_figure(networks, slopes)
        assert drawing.outside == calm.outside + 1
        assert drawing.figure.axes[0].get_ylim()[1] < 2 * calm.figure.axes[0].get_ylim()[1]

    def test_the_axis_always_shows_one(self, large: ReportTables) -> None:
        networks = large.networks.assign(alpha=large.networks["alpha"] / 100 + 0.3)
        drawing = figures.alpha_figure(networks, large.view("slopes").iloc[:0])
        low, high = drawing.figure.axes[0].get_ylim()
        assert low < 1 < high

    def test_slopes_that_are_not_finite_are_counted_and_failures_are_not(
        self, large: ReportTables
    ) -> None:
        networks, slopes = large.networks.copy(), large.view("slopes")
        assert (networks["failure"] != "").sum() == 1
        assert figures.alpha_figure(networks, slopes).nonfinite == 0
        cell = (networks["method"] == "random") & (networks["state"] == "retrained")
        networks.loc[cell & (networks["ratio"] == 10), "alpha"] = np.inf
        assert figures.alpha_figure(networks, slopes).nonfinite == LARGE["seeds"]

    def test_the_mean_is_the_tables(self, large: ReportTables) -> None:
        slopes = large.view("slopes").copy()
        cell = (slopes["method"] == "random") & (slopes["ratio"] == 10)
        cell &= slopes["state"] == "retrained"
        slopes.loc[cell, "mean"] = 1.2345
        drawing = figures.alpha_figure(large.networks, slopes)
        (axes,) = (a for a in _visible(drawing) if a.get_title(loc="left") == "random")
        diamonds = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"]
        assert 1.2345 in diamonds


class TestBalances:
    @pytest.mark.parametrize("ruined", [False, True])
    def test_a_method_that_ruins_its_networks_leaves_the_others_their_axes(
        self, ruined: bool
    ) -> None:
        last, recalls = (0.1, (1.0, 0.0)) if ruined else (0.6, (0.7, 0.5))
        rows = [("dense", 0, 0, 0.8, 0.9), ("dense", 0, 1, 0.8, 0.7)]
        rows += [("magnitude", 0, 0, 0.6, 0.7), ("magnitude", 0, 1, 0.6, 0.5)]
        rows += [("random", 0, c, last, recall) for c, recall in enumerate(recalls)]
        recall = _recall(rows)
        pooled = recall[CELL_STATE].drop_duplicates().assign(alpha=4 / 3, r2=1.0)
        drawing = figures.balances_figure(recall, pooled, accuracy(recall))
        limits = [axes.get_ylim()[1] for axes in drawing.figure.axes]
        assert limits[0] == pytest.approx(1.15 / 6)  # |balance| 1/6, and room
        assert limits[1] == pytest.approx(1.15 * (0.985 * 9 + 0.015 * 1) if ruined else 1.15 / 6)
        assert (drawing.own_axes, drawing.outside) == ((1, 0) if ruined else (0, 0))
        colours = [axes.yaxis.get_ticklabels()[0].get_color() for axes in drawing.figure.axes]
        assert (colours[1] == style.VERMILLION) is ruined
        assert colours[0] != style.VERMILLION
        title = drawing.figure.axes[0].get_title()
        assert title == "slope 1.33   r² 1.00\naccuracy 60.0\N{NO-BREAK SPACE}%"

    def test_points_that_are_not_finite_are_counted_not_hidden(self) -> None:
        rows = [("dense", 0, 0, 0.8, 0.9), ("dense", 0, 1, 0.8, 0.7)]
        rows += [("magnitude", 0, 0, 0.6, 0.7), ("magnitude", 0, 1, 0.6, np.nan)]
        recall = _recall(rows)
        pooled = recall[CELL_STATE].drop_duplicates().assign(alpha=np.nan, r2=np.nan)
        drawing = figures.balances_figure(recall, pooled, accuracy(recall))
        assert drawing.nonfinite == 1
        assert drawing.figure.axes[0].get_title().startswith("slope –")


class TestEffects:
    @pytest.mark.slow
    def test_without_a_control_it_says_so(self, tmp_path: Path) -> None:
        drawing = figures.effects_figure(read_tables(make(tmp_path, control=False)).leading)
        assert "No difference from a control" in drawing.figure.texts[0].get_text()

    def test_one_axes_per_method_and_a_mark_per_cell(self, large: ReportTables) -> None:
        drawing = figures.effects_figure(large.leading)
        axes = _visible(drawing)
        assert [item.get_title(loc="left") for item in axes] == ["magnitude", "random"]
        for method, item in zip(("magnitude", "random"), axes, strict=True):
            drawn = [
                line.get_ydata()[0] for line in item.lines if line.get_marker() not in ("", "None")
            ]
            wanted = large.leading.loc[large.leading["method"] == method, "difference"]
            np.testing.assert_array_equal(drawn, wanted)
        assert drawing.outside == drawing.nonfinite == 0

    def test_one_wide_interval_does_not_flatten_the_effects(self, large: ReportTables) -> None:
        cells = large.leading.copy()
        last = cells.index[cells["method"] == "random"][-1]
        cells.loc[last, ["difference_low", "difference_high"]] = [-1e4, 1e4]
        drawing = figures.effects_figure(cells)
        low, high = drawing.figure.axes[0].get_ylim()
        assert -50 < low < 0 < high < 50
        assert drawing.outside == 1

    def test_the_legend_has_what_is_shown(self, large: ReportTables) -> None:
        cells = large.leading[large.leading["method"] == "random"].copy()
        cells["verdict"] = [INCONCLUSIVE, INTENSIFICATION]
        cells["reading"] = [AS_CONTROL, BEYOND_CONTROL]
        (legend,) = figures.effects_figure(cells).figure.legends
        shown = [text.get_text() for text in legend.get_texts()]
        assert shown == ["intensifies beyond the control", "as the control"]


class TestTradeoff:
    def test_it_shades_where_both_improve(self, large: ReportTables) -> None:
        drawing = figures.tradeoff_figure(large.view("tradeoff"), large.view("slopes"))
        patch = drawing.figure.axes[0].patches[0]
        assert patch.get_x() == 0
        assert patch.get_width() > 0
        assert patch.get_y() + patch.get_height() == pytest.approx(1)
        ratios = {text.get_text() for text in drawing.figure.axes[0].texts}
        assert ratios == {"2", "10"}

    def test_a_mark_stands_at_the_tables_numbers(self, large: ReportTables) -> None:
        drawing = figures.tradeoff_figure(large.view("tradeoff"), large.view("slopes"))
        marks = [
            (line.get_xdata()[0], line.get_ydata()[0])
            for line in _visible(drawing)[1].lines
            if line.get_marker() in ("^", "v", "o")
        ]
        keys = [name for name in CELL_STATE if name != "dataset"]
        cells = large.view("tradeoff").merge(large.view("slopes"), on=keys)
        cells = cells[(cells["method"] == "random") & (cells["state"] == "retrained")]
        wanted = list(zip(100 * cells["accuracy_change"], cells["mean"], strict=True))
        assert marks == wanted


class TestRecall:
    def test_labels_of_few_classes_are_not_cut(self, small_tables: Path) -> None:
        data = read_tables(small_tables)
        one = [data.view(name) for name in ("classes", "dense_classes")]
        figure = figures.recall_figure(*(view[view["class"] == "0"] for view in one)).figure
        png_bytes(figure)
        width, height = figure.canvas.get_width_height()
        boxes = [text.get_window_extent() for axes in figure.axes for text in axes.texts]
        assert len(boxes) > 1
        for box in boxes:
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= width
            assert box.y1 <= height

    def test_of_many_classes_the_weakest_and_the_strongest_are_shown(self) -> None:
        classes = 2 * MOST_CLASSES
        recalls = np.linspace(0.99, 0.5, classes)
        rows = [("dense", 0, c, 0.8, recall) for c, recall in enumerate(recalls)]
        rows += [("magnitude", 0, c, 0.7, recall - 0.1) for c, recall in enumerate(recalls)]
        recall = _recall(rows)
        drawing = figures.recall_figure(class_changes(recall), dense_classes(recall))
        assert drawing.classes_of_many == MOST_CLASSES
        labels = [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()]
        names = [int(label.split()[0]) for label in labels]
        half = MOST_CLASSES // 2
        assert names[:half] == list(range(classes - 1, classes - 1 - half, -1))
        assert names[half:] == list(range(half - 1, -1, -1))
        assert {text.get_text() for text in drawing.figure.axes[0].texts} >= {"−10"}


def test_accuracy_intervals_stay_between_0_and_100_percent() -> None:
    rows = [("dense", 0, 0, 0.99, 0.9), ("dense", 1, 0, 0.90, 0.9)]
    rows += [("magnitude", 0, 0, 0.99, 0.9), ("magnitude", 1, 0, 0.90, 0.9)]
    axes = figures.accuracy_figure(accuracy(_recall(rows))).figure.axes[0]
    ends = [segment[:, 1] for item in axes.collections for segment in item.get_segments()]
    assert ends
    assert max(map(max, ends)) <= 100
    top = axes.transData.transform((1, 100))[1]
    assert max(patch.get_extents().y1 for patch in axes.patches) <= top


def test_sparsity_spans_least_and_largest(large: ReportTables) -> None:
    sparsity = large.view("sparsity").copy()
    rows = (sparsity["method"] == "random") & (sparsity["ratio"] == 10)
    sparsity.loc[rows, ["min_ratio", "mean_ratio", "max_ratio"]] = [5.0, 8.0, 20.0]
    axes = figures.sparsity_figure(sparsity).figure.axes[0]
    segments = [item.get_segments() for item in axes.collections]
    ends = [tuple(segment[:, 1]) for found in segments for segment in found]
    assert (0.5, 2.0) in [tuple(np.round(pair, 12)) for pair in ends]
    assert axes.get_ylim()[1] == pytest.approx(1.12 * 2)
