"""The mixed models from files to files, as the workflow runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recall_distortion.inference.jobs import fit as jobs
from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.comparison import DISAGREE
from recall_distortion.inference.mixed.designs import class_level
from recall_distortion.inference.mixed.fitters import pymer4
from recall_distortion.inference.mixed.fitters.r_stack import check_r_stack
from recall_distortion.simulation import Cell, Design
from recall_distortion.simulation import study as simulated_study
from recall_distortion.system.errors import InferenceError, SetupError, TableError
from recall_distortion.tables.files import write_table
from recall_distortion.tables.schema import COLUMNS
from tests import synthetic

CELLS = (
    Cell("control", 1.0, 0.75),
    Cell("magnitude", 2.0, 0.9),
    Cell("magnitude", 10.0, 1.3),
    Cell("undecayed", 2.5, 1.0),
)
MLP = [synthetic.MLP]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A folder with the tables of a study of one panel."""
    folder = tmp_path_factory.mktemp("study")
    design = Design(CELLS, seeds=6, images=500, **synthetic.MLP._asdict())
    for name, table in simulated_study(design, 3).items():
        write_table(folder / f"{name}.csv", name, table)
    return folder


@pytest.fixture(scope="module")
def written(study: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    fits = [(study / f"{kind}.c", study / f"{kind}.f") for kind in ("panel", "across")]
    csv = study / "recall.csv", study / "networks.csv"
    jobs.write_fits(*csv, MLP, "statsmodels", *fits[0], level=0.9)
    jobs.write_fits(*csv, [], "statsmodels", *fits[1], over_panels=True)
    out = study / "mixed_models.csv", study / "mixed_model_fits.csv"
    jobs.write_mixed_models([pair[0] for pair in fits], [pair[1] for pair in fits], *out)
    return tuple(pd.read_csv(path) for path in out)


def test_every_model_has_its_rows(written) -> None:
    table, facts = written
    assert list(table.columns) == COLUMNS["mixed_models"]
    assert list(facts.columns) == COLUMNS["mixed_model_fits"]
    panel = ["class_level", "class_level_scaled", "model_level", "model_level_scaled"]
    across = ["across_architectures/digits/usual", "across_architectures_scaled/digits/usual"]
    assert list(zip(facts["model"], facts["fitter"], strict=True)) == [
        *(
            (f"{name}/digits/mlp/usual", fitter)
            for name in panel
            for fitter in ("statsmodels", "bootstrap")
        ),
        *((name, "statsmodels") for name in across),
        ("across_datasets/usual", "statsmodels"),
        ("across_datasets_scaled/usual", "statsmodels"),
    ]
    refused = facts[facts["model"].str.startswith("across")]
    assert refused["message"].str.startswith("not estimated: one ").all()
    assert refused["believe"].isna().all()
    assert facts.loc[~facts["model"].str.startswith("across"), "believe"].notna().all()
    assert (table.groupby(["model", "fitter"])["term"].first() != "").all()


def test_fits_survive_being_written_and_read(study: Path, written) -> None:
    recall = pd.read_csv(study / "recall.csv")
    model = class_level.class_level(recall, synthetic.MLP)[0]
    fitted, _ = comparison.fit(model, "statsmodels", 0.9)
    table = written[0]
    read = table[(table["model"] == model.name) & (table["fitter"] == "statsmodels")]
    for column in (
        "estimate",
        "std_error",
        "df",
        "low",
        "level",
        "p_intensification_adjusted",
        "ratio",
    ):
        np.testing.assert_array_equal(read[column], fitted[column].astype(float))
    assert (
        (study / "mixed_models.csv")
        .read_text()
        .splitlines()[2]
        .startswith("class_level/digits/mlp/usual,statsmodels,digits,mlp,usual,magnitude,2,slope,")
    )


def test_fitters_that_disagree_mark_their_model_alone(study: Path, tmp_path: Path, written) -> None:
    """The comparison also works on tables that were written and read, for every kind of term."""
    fits = study / "panel.c", study / "panel.f"
    for row, message in (
        (0, "the slope of control at ratio 1: pymer4 found"),
        (None, "the trend of"),
    ):
        of_fitter = (pd.read_csv(path).query("fitter == 'statsmodels'") for path in fits)
        table, facts = (found.reset_index(drop=True) for found in of_fitter)
        place = row if row is not None else table.index[table["term"] == "trend"][0]
        table.loc[place, "estimate"] += 1e-3
        paths = tmp_path / "c", tmp_path / "f"
        table.assign(fitter="pymer4").to_csv(paths[0], index=False)
        facts.assign(fitter="pymer4").to_csv(paths[1], index=False)
        jobs.write_mixed_models(
            [fits[0], paths[0]], [fits[1], paths[1]], tmp_path / "m.csv", tmp_path / "mf.csv"
        )
        found = pd.read_csv(tmp_path / "mf.csv", keep_default_na=False)
        apart = found["message"].str.startswith(f"{DISAGREE} about {message}")
        assert set(found.loc[apart, "model"]) == {table.loc[place, "model"]}
        assert set(found.loc[apart, "fitter"]) == {"pymer4", "statsmodels"}
        assert not found.loc[~apart, "message"].str.contains(DISAGREE).any()
        of_model = found["model"] == table.loc[place, "model"]
        assert set(found.loc[of_model, "believe"]) <= {"", "bootstrap"}


def test_what_is_missing_is_named(study: Path, tmp_path: Path, monkeypatch) -> None:
    broken = tmp_path / "recall.csv"
    pd.read_csv(study / "recall.csv").drop(columns="class").to_csv(broken, index=False)
    out = tmp_path / "c.csv", tmp_path / "f.csv"
    csv = study / "recall.csv", study / "networks.csv"
    with pytest.raises(TableError, match=r"recall\.csv lacks the column class"):
        jobs.write_fits(broken, csv[1], MLP, "statsmodels", *out)
    with pytest.raises(TableError, match=r"nothing\.csv: no such table"):
        jobs.write_mixed_models([tmp_path / "nothing.csv"], [], *out)
    with pytest.raises(InferenceError, match="unknown fitter 'lme5'"):
        jobs.write_fits(broken, csv[1], MLP, "lme5", *out)
    monkeypatch.setattr(pymer4, "check_r_stack", check_r_stack)  # asks again (see conftest.py)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="R is not installed"):
        jobs.write_fits(*csv, MLP, "pymer4", *out)
    # R is not needed where nothing can be estimated.
    jobs.write_fits(*csv, [], "pymer4", *out, over_panels=True)
    assert len(pd.read_csv(out[1])) == 4
