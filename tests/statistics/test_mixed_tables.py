"""The mixed models from files to files, as the workflow runs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from recall_distortion.columns import COEFFICIENT_COLUMNS, FIT_COLUMNS
from recall_distortion.distortion import slopes
from recall_distortion.errors import InferenceError, SetupError, TableError
from recall_distortion.inference import class_level, mixed_models, tables
from recall_distortion.inference.mixed_models import DISAGREE

CELLS = {
    ("control", 1.0): 0.75,
    ("magnitude", 2.0): 0.9,
    ("magnitude", 10.0): 1.3,
    ("undecayed", 2.5): 1.0,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A folder with the tables of a study of one panel."""
    folder = tmp_path_factory.mktemp("study")
    recall = synthetic.recall(CELLS, seeds=6)
    recall.to_csv(folder / "recall.csv", index=False)
    cells = ["dataset", "architecture", "method", "ratio", "state", "seed"]
    wide = recall.pivot(index=cells, columns="class", values="normalized_balance").reset_index()
    dense = wide[wide["state"] == "dense"].set_index("seed")[list(range(6))]
    after = wide[wide["state"] == "finetuned"]
    alpha = slopes(dense.loc[after["seed"]].to_numpy(), after[list(range(6))].to_numpy())
    after[cells].assign(alpha=alpha).to_csv(folder / "alpha.csv", index=False)
    sizes = {"dataset": ["digits"], "architecture": ["mlp"], "total": [100]}
    pd.DataFrame(sizes).to_csv(folder / "sparsity.csv", index=False)
    return folder


def inputs(folder: Path, *names: str) -> list[Path]:
    return [folder / f"{name}.csv" for name in names]


@pytest.fixture(scope="module")
def written(study: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    fits = [(study / f"{kind}.c", study / f"{kind}.f") for kind in ("panel", "across")]
    csv = inputs(study, "recall", "alpha", "sparsity")
    tables.write_fits(*csv, [("digits", "mlp")], "statsmodels", *fits[0])
    tables.write_fits(*csv, [], "statsmodels", *fits[1], across=True)
    out = study / "mixed_models.csv", study / "mixed_model_fits.csv"
    tables.write_mixed_models(
        [pair[0] for pair in fits],
        [pair[1] for pair in fits],
        *out,
    )
    return tuple(pd.read_csv(path) for path in out)


def test_every_model_has_its_rows(written) -> None:
    table, facts = written
    assert list(table.columns) == COEFFICIENT_COLUMNS
    assert list(facts.columns) == FIT_COLUMNS
    panel = ["class_level", "class_level_scaled", "model_level", "model_level_scaled"]
    across = ["across_architectures/digits", "across_architectures_scaled/digits"]
    assert list(zip(facts["model"], facts["engine"], strict=True)) == [
        *(
            (f"{name}/digits/mlp", engine)
            for name in panel
            for engine in ("statsmodels", "bootstrap")
        ),
        *((name, "statsmodels") for name in across),
        ("across_datasets", "statsmodels"),
        ("across_datasets_scaled", "statsmodels"),
    ]
    refused = facts[facts["model"].str.startswith("across")]
    assert refused["message"].str.startswith("not estimated: one ").all()
    assert refused["believe"].isna().all()
    assert facts.loc[~facts["model"].str.startswith("across"), "believe"].notna().all()
    assert (table.groupby(["model", "engine"])["term"].first() != "").all()


def test_fits_survive_being_written_and_read(study: Path, written) -> None:
    recall = pd.read_csv(study / "recall.csv")
    model = class_level.class_level(recall, "digits", "mlp")[0]
    fitted, _ = mixed_models.fit(model, "statsmodels")
    table = written[0]
    read = table[(table["model"] == model.name) & (table["engine"] == "statsmodels")]
    for column in ("estimate", "std_error", "df", "low", "p_intensification_adjusted", "ratio"):
        np.testing.assert_array_equal(read[column], fitted[column].astype(float))
    assert (
        (study / "mixed_models.csv")
        .read_text()
        .splitlines()[2]
        .startswith("class_level/digits/mlp,statsmodels,digits,mlp,magnitude,2,slope,")
    )


def test_engines_that_disagree_mark_their_model_alone(study: Path, tmp_path: Path, written) -> None:
    """The comparison also works on tables that were written and read, for every kind of term."""
    fits = study / "panel.c", study / "panel.f"
    for row, message in (
        (0, "the slope of control at ratio 1: pymer4 says"),
        (None, "the trend of"),
    ):
        of_engine = (pd.read_csv(path).query("engine == 'statsmodels'") for path in fits)
        table, facts = (found.reset_index(drop=True) for found in of_engine)
        place = row if row is not None else table.index[table["term"] == "trend"][0]
        table.loc[place, "estimate"] += 1e-3
        paths = tmp_path / "c", tmp_path / "f"
        table.assign(engine="pymer4").to_csv(paths[0], index=False)
        facts.assign(engine="pymer4").to_csv(paths[1], index=False)
        tables.write_mixed_models(
            [fits[0], paths[0]], [fits[1], paths[1]], tmp_path / "m.csv", tmp_path / "mf.csv"
        )
        found = pd.read_csv(tmp_path / "mf.csv", keep_default_na=False)
        apart = found["message"].str.startswith(f"{DISAGREE} about {message}")
        assert set(found.loc[apart, "model"]) == {table.loc[place, "model"]}
        assert set(found.loc[apart, "engine"]) == {"pymer4", "statsmodels"}
        assert not found.loc[~apart, "message"].str.contains(DISAGREE).any()
        of_model = found["model"] == table.loc[place, "model"]
        assert set(found.loc[of_model, "believe"]) <= {"", "bootstrap"}


def test_what_is_missing_is_named(study: Path, tmp_path: Path, monkeypatch) -> None:
    broken = tmp_path / "recall.csv"
    pd.read_csv(study / "recall.csv").drop(columns="class").to_csv(broken, index=False)
    out = tmp_path / "c.csv", tmp_path / "f.csv"
    recall, alpha, sparsity = inputs(study, "recall", "alpha", "sparsity")
    mlp = [("digits", "mlp")]
    with pytest.raises(TableError, match=r"recall\.csv lacks the column class"):
        tables.write_fits(broken, alpha, sparsity, mlp, "statsmodels", *out)
    with pytest.raises(TableError, match=r"nothing\.csv: no such table"):
        tables.write_mixed_models([tmp_path / "nothing.csv"], [], *out)
    with pytest.raises(InferenceError, match="unknown engine 'lme5'"):
        tables.write_fits(broken, alpha, sparsity, mlp, "lme5", *out)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="R is not installed"):
        tables.write_fits(recall, alpha, sparsity, mlp, "pymer4", *out)
    # R is not needed where nothing can be estimated.
    tables.write_fits(recall, alpha, sparsity, [], "pymer4", *out, across=True)
    assert len(pd.read_csv(out[1])) == 4
