"""What tables, figures and page say of networks whose control is not fine-tuned once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recall_distortion.inference.jobs.summarize import write_summary
from recall_distortion.report import figures
from recall_distortion.report.figures.recall import _Content
from recall_distortion.report.tables import ReportTables, read_tables
from recall_distortion.tables.controls import Controls
from recall_distortion.tables.study import of_panel
from recall_distortion.vocabulary import NEVER_DENSE, RETRAINED, VERDICTS

SHIPPED = Path(__file__).parents[2] / "results" / "digits_tickets" / "tables"
OF_DENSE = {"magnitude", "rounds"}  # of the methods there; all others begin with other weights


@pytest.fixture(scope="module")
def tables() -> ReportTables:
    return read_tables(SHIPPED)


def test_only_what_was_dense_is_held_against_1(tables: ReportTables, tmp_path: Path) -> None:
    assert {arm for arm in tables.never_dense if arm.startswith("control")} <= {*NEVER_DENSE}
    assert {*tables.methods} - {*tables.never_dense} == OF_DENSE
    lead = tables.leading.set_index("method")
    assert (lead.loc[tables.never_dense, "alpha_verdict"] == "").all()
    assert (lead.loc[[*OF_DENSE], "alpha_verdict"] != "").all()
    names = ("recall", "networks", "estimates", "tests", "mixed_models", "mixed_model_fits")
    write_summary(*(SHIPPED / f"{n}.csv" for n in (*names, "published")), tmp_path / "s.csv")
    rows = pd.read_csv(tmp_path / "s.csv", keep_default_na=False)
    rows = rows[(rows["section"] == "answer") & (rows["dataset"] == "")]
    answer = rows.set_index("item")["value"].astype(float)
    held = sum(answer[f"cells/{word}"] for word in (*VERDICTS, "none"))
    assert held == 2 * 5
    assert answer["cells/never_dense"] == answer["cells"] - held == 4 * 5


def test_a_control_of_rounds_has_a_band_and_a_column(tables: ReportTables) -> None:
    (panel,) = tables.panels
    accuracy = of_panel(tables.view("accuracy"), panel)
    rounds = accuracy[accuracy["method"] == "control_iterative"].sort_values("ratio")
    axes = figures.accuracy_figure(accuracy).figure.axes[0]
    edges = [item.get_paths()[0].vertices for item in axes.collections if item.get_paths()]
    corners = np.round(100 * rounds[["low", "high"]].to_numpy().ravel(), 6)
    assert any({*corners} <= {*np.round(edge[:, 1], 6)} for edge in edges)

    changes = of_panel(tables.view("classes"), panel)
    dense = of_panel(tables.view("dense_classes"), panel)
    content = _Content.of(changes, dense, Controls.of(tables.networks))
    own = changes[(changes["method"] == "control_iterative") & (changes["state"] == RETRAINED)]
    last = own[own["ratio"] == own["ratio"].max()].set_index("class")["change"]
    weakest = dense.sort_values("mean", kind="stable")["class"]
    np.testing.assert_allclose(content.blocks["rounds"][:, 0], 100 * last.loc[weakest])
    assert all(np.isfinite(block[:, 0]).all() for block in content.blocks.values())
