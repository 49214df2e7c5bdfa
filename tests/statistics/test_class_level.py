"""The rows of the class-level models, what they leave out, and the scaled model's truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fits import agreed
from r_reference import lmer_in_r, needs_r

from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs import class_level, class_rows
from recall_distortion.inference.mixed.fitters.bootstrap import bootstrapped
from recall_distortion.system.errors import InferenceError, TableError
from tests import synthetic

CELLS = {
    ("control", 1.0): 0.75,
    ("magnitude", 2.0): 0.9,
    ("magnitude", 10.0): 1.3,
    ("undecayed", 2.5): 1.0,
}
MISSING = [("magnitude", 10.0, 3), ("undecayed", 2.5, 0), ("control", 1.0, 5)]


def unequal(factors: dict[tuple[str, float], float], **options) -> pd.DataFrame:
    """Return a recall table whose cells' random slopes and noise are multiplied by ``factors``."""
    table = synthetic.recall(dict.fromkeys(factors, 0.0), **options)
    dense = table[table["state"] == "dense"].set_index(["seed", "class"])["normalized_balance"]
    before = dense.loc[pd.MultiIndex.from_frame(table[["seed", "class"]])].to_numpy()
    cells = zip(table["method"], table["ratio"], strict=True)
    factor = np.array([factors.get(cell, np.nan) for cell in cells])
    # The table's slopes are 0 plus random ones; the true slope of every cell is 1.
    changed = before + factor * table["normalized_balance"].to_numpy()
    retrained = (table["state"] == "retrained").to_numpy()
    table.loc[retrained, "normalized_balance"] = changed[retrained]
    return table


def models_of(table: pd.DataFrame):
    return class_level.class_level(table, synthetic.MLP)


# --- the rows


def test_design_has_every_retrained_row() -> None:
    table = synthetic.recall(CELLS, missing=MISSING, seeds=10)
    rows, notes = class_rows.design(table, synthetic.MLP)
    assert notes == []
    assert list(rows.columns) == class_rows.ROW_COLUMNS
    assert len(rows) == (4 * 10 - len(MISSING)) * 6
    assert list(dict.fromkeys(rows["cell"])) == [
        "control@1",
        "magnitude@2",
        "magnitude@10",
        "undecayed@2.5",
    ]
    row = rows[(rows["cell"] == "magnitude@10") & (rows["seed"] == 4) & (rows["class"] == 2)]
    same = (table["seed"] == 4) & (table["class"] == 2)
    dense = table[same & (table["state"] == "dense")]
    after = table[same & (table["method"] == "magnitude") & (table["ratio"] == 10)]
    assert row["before"].item() == dense["normalized_balance"].item()
    assert row["after"].item() == after["normalized_balance"].item()


def test_a_damaged_table_is_refused() -> None:
    table = synthetic.recall(CELLS, seeds=3)

    def refused(broken: pd.DataFrame, message: str, error: type = InferenceError) -> None:
        with pytest.raises(error, match=message):
            models_of(broken)

    refused(
        table[~((table["state"] == "dense") & (table["seed"] == 1))], "seed 1.*no dense network"
    )
    refused(table.drop(index=table.index[-1]), "replicate 2:undecayed@2.5 has 5 classes")
    refused(pd.concat([table, table.tail(1)]), "more than one row", TableError)
    refused(table.drop(columns="seed"), "lacks the column seed", TableError)
    refused(table.assign(dataset="mnist"), "no network of digits/mlp/usual")


def test_a_cell_with_an_accuracy_of_zero_is_left_out_whole() -> None:
    table = synthetic.recall(CELLS, seeds=6)
    broken = (table["method"] == "undecayed") & (table["seed"] == 2)
    table.loc[broken, "normalized_balance"] = np.nan
    note = (
        "left out undecayed at ratio 2.5: 1 of 6 replicates has an accuracy of 0 or a class "
        "without images"
    )
    for model in models_of(table):
        assert model.notes == (note,)
        assert not model.reason
        assert set(model.terms["method"]) == {"control", "magnitude"}
        assert len(model.response) == 3 * 6 * 6
        fitted, facts = comparison.fit(model, "statsmodels")
        assert facts["message"].endswith(note)
        assert facts["converged"]
        assert "undecayed" not in set(fitted["method"])
    # The other cells' fit is the one without that cell in the table.
    alone = comparison.fit(models_of(table[table["method"] != "undecayed"])[0], "statsmodels")
    with_it = comparison.fit(models_of(table)[0], "statsmodels")
    np.testing.assert_array_equal(with_it[0]["estimate"], alone[0]["estimate"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[t["state"] == "dense"], "no retrained cell is left"),
        (lambda t: t.assign(normalized_balance=np.nan), "no retrained cell is left"),
        (
            lambda t: t.assign(
                normalized_balance=t["normalized_balance"].where(
                    (t["state"] != "dense") | (t["seed"] != 0)
                )
            ),
            "1 of 3 dense networks has an accuracy of 0",
        ),
        (lambda t: t[t["seed"] == 0], "one seed"),
        (lambda t: t[t["class"] == 0], "one class"),
        (lambda t: t[t["method"].isin(["dense", "control"])], "one cell"),
    ],
)
def test_what_cannot_be_estimated_says_why(change, reason: str) -> None:
    for model in models_of(change(synthetic.recall(CELLS, seeds=3))):
        assert reason in model.reason
        assert model.believe == ""
        table, facts = comparison.fit(model, "statsmodels")
        assert facts["message"].startswith("not estimated: ")
        assert reason in facts["message"]
        assert len(table) == 0 or table["estimate"].isna().all()


def test_one_ratio_without_a_control_is_estimated() -> None:
    table = synthetic.recall({("magnitude", 4.0): 0.9, ("random", 4.0): 1.2}, seeds=5)
    for model in models_of(table):
        assert not model.reason


# --- the scaled model


def test_scales_worked_by_hand() -> None:
    before = np.array([1.0, 2.0, 0.0])
    residual = np.array([2.0, -1.0, 3.0])  # orthogonal to before
    rows = pd.DataFrame(
        {
            "cell": ["a"] * 6 + ["b"] * 3,
            "seed_cell": ["0:a"] * 3 + ["1:a"] * 3 + ["0:b"] * 3,
            "before": np.tile(before, 3),
            "after": np.concatenate([5 * before + residual, -before, 0.5 * before]),
        }
    )
    # Cell a: squares 4 + 1 + 9 of six rows less two slopes. Cell b: nothing but a slope.
    assert class_level.scales(rows).to_dict() == pytest.approx({"a": np.sqrt(14 / 4), "b": 0.0})


def test_a_cell_without_residual_is_left_out_of_the_scaled_model() -> None:
    table = synthetic.recall(CELLS, seeds=5)
    dense = table[table["state"] == "dense"]
    exact = (table["method"] == "undecayed").to_numpy()
    table.loc[exact, "normalized_balance"] = 0.5 * dense["normalized_balance"].to_numpy()
    plain, scaled = models_of(table)
    assert "undecayed" in set(plain.terms["method"])
    assert np.isinf(plain.spread)
    assert plain.believe == "bootstrap"
    assert "undecayed" not in set(scaled.terms["method"])
    assert scaled.notes == (
        "left out undecayed at ratio 2.5: its replicates' own slopes leave no residual",
    )
    assert comparison.fit(scaled, "statsmodels")[1]["converged"]


def test_spread_is_that_of_the_cells_scales() -> None:
    factors = {("control", 1.0): 1.0, ("magnitude", 2.0): 2.0, ("magnitude", 50.0): 100.0}
    plain, scaled = models_of(unequal(factors, seeds=30, classes=10))
    assert plain.spread == pytest.approx(100, rel=0.15)
    assert plain.believe == "bootstrap"
    assert scaled.spread < 2  # by chance: between 30 replicates of three cells
    assert scaled.believe == "model"


def test_between_replicates_worked_by_hand() -> None:
    rows = pd.DataFrame(
        {
            "cell": ["a"] * 4,
            "seed_cell": ["0:a", "0:a", "1:a", "1:a"],
            "before": [1.0, 1.0, 1.0, -1.0],
            "after": [3.0, 3.0, 1.0, -1.0],
        }
    )
    # Slopes 3 and 1 about 2, each of two rows' weight, one degree of freedom: 2 + 2.
    assert class_level.between(rows).to_dict() == pytest.approx({"a": 2.0})


def test_scaled_rows_whose_replicates_differ_unequally_are_not_believed() -> None:
    """Scaling by the residual does not help where one cell's slopes vary out of proportion."""
    factors = {("control", 1.0): 1.0, ("magnitude", 2.0): 1.0, ("magnitude", 50.0): 1.0}
    table = unequal(factors, seeds=30, classes=10, sd_seed=0.0, sd_seed_cell=0.05)
    dense = table[table["state"] == "dense"]["normalized_balance"].to_numpy()
    control = (table["method"] == "control").to_numpy()
    more = np.repeat(np.random.default_rng(1).normal(0, 2, 30), 10)
    wide = table.copy()
    wide.loc[control, "normalized_balance"] += more * dense
    assert models_of(table)[1].believe == "model"
    assert models_of(wide)[1].spread > 3
    assert models_of(wide)[1].believe == "bootstrap"
    few = models_of(wide[wide["seed"] < 14])[1]
    assert few.spread == pytest.approx(1, rel=1e-12)


def test_scaling_every_cell_alike_changes_nothing() -> None:
    """With equal scales the scaled model is the unscaled one, slopes and errors multiplied back."""
    table = synthetic.recall(CELLS, seeds=8)
    rows, _ = class_rows.design(table, synthetic.MLP)
    constant = pd.Series(7.0, index=rows["cell"].unique())
    plain, facts = comparison.fit(class_level.of_rows("plain", rows), "statsmodels")
    scaled, scaled_facts = comparison.fit(
        class_level.of_rows("scaled", rows, scale=constant), "statsmodels"
    )
    slopes = plain["term"] == "slope"
    for column in ("estimate", "std_error", "p_intensification", "low"):
        np.testing.assert_allclose(
            scaled.loc[: slopes.sum() - 1, column], plain.loc[slopes, column], rtol=1e-5, atol=1e-7
        )
    free = len(rows) - slopes.sum()
    assert scaled_facts["loglik"] - facts["loglik"] == pytest.approx(free * np.log(7), abs=1e-4)


@pytest.mark.slow
def test_slopes_of_the_scaled_model_cover_the_truth() -> None:
    """99 % intervals over panels whose cells scatter 50-fold; the unscaled model drowns."""
    factors = {("control", 1.0): 0.2, ("magnitude", 2.0): 0.5, ("magnitude", 50.0): 10.0}
    found = []
    for number in range(20):
        table = unequal(factors, seeds=10, classes=10, random_seed=number)
        found.append(comparison.fit(models_of(table)[1], "statsmodels")[0].head(3))
    covered = np.array([(panel["low"] < 1) & (panel["high"] > 1) for panel in found])
    # By t with 9 degrees of freedom for classes and seeds, normal quantiles at 0.99 cover 0.97:
    # binomial(20, 0.97) is below 17 with probability 0.003.
    assert (covered.sum(0) >= 17).all()
    plain = comparison.fit(models_of(table)[0], "statsmodels")[0]
    # The noise of the heaviest cell blows up the control's standard error: about 25-fold here.
    assert plain["std_error"].iloc[0] > 10 * found[-1]["std_error"].iloc[0]


@pytest.mark.slow
@needs_r
def test_fitters_and_plain_r_agree_on_the_scaled_model(tmp_path: Path) -> None:
    factors = {("control", 1.0): 0.2, ("magnitude", 2.0): 0.5, ("magnitude", 50.0): 20.0}
    table = unequal(factors, seeds=9, missing=[("magnitude", 50.0, 3)])
    models = models_of(table)
    fits = [comparison.fit(model, fitter) for model in models for fitter in comparison.REML_FITTERS]
    fits += [bootstrapped(model) for model in models]
    combined, facts = agreed(comparison.combine(*zip(*fits, strict=True)))
    assert list(facts["fitter"]) == ["pymer4", "statsmodels", "bootstrap"] * 2
    of_model = combined[combined["model"] == "class_level_scaled/digits/mlp/usual"]
    # Whoever has the tables can fit the model again.
    scale = of_model[(of_model["term"] == "sd(cell)") & (of_model["fitter"] == "pymer4")]
    assert len(scale) == 3
    rows, _ = class_rows.design(table, synthetic.MLP)
    rows = rows.merge(scale[["method", "ratio", "estimate"]].rename(columns={"estimate": "scale"}))
    assert len(rows) == (27 - 1) * 6
    formula = facts.loc[facts["model"] == "class_level_scaled/digits/mlp/usual", "formula"].iloc[0]
    plain = lmer_in_r(formula, rows, tmp_path)
    plain = plain.loc[[f"before:cell{cell}" for cell in ("control@1", "magnitude@2")]]
    found = of_model[(of_model["term"] == "slope") & (of_model["fitter"] == "pymer4")].head(2)
    factor = scale["estimate"].to_numpy()[:2]
    for column in ("estimate", "std_error"):
        np.testing.assert_allclose(found[column], plain[column] * factor, rtol=1e-5)
    np.testing.assert_allclose(found["df"], plain["df"], rtol=1e-3)
