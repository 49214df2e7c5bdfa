"""The model-level models: against least squares, plain R and what they cannot know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fits import agreed
from r_reference import lmer_in_r, needs_r
from scipy import stats

from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs.model_level import model_level
from recall_distortion.inference.statistics.adjustment import holm
from recall_distortion.system.errors import TableError
from tests import synthetic

PANEL = {("digits", "mlp"): 0.0}
METHODS = {"magnitude": (1.3, 0.4, 0.0, 0.0), "undecayed": (0.9, -0.1, 0.0, 0.0)}


def table_of(**options) -> pd.DataFrame:
    return synthetic.slopes(PANEL, METHODS, **{"seeds": 12, **options})


def models_of(alpha: pd.DataFrame):
    return model_level(alpha, synthetic.MLP)


def effects(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["term"].str.startswith("sd(")].reset_index(drop=True)


def test_balanced_slopes_are_those_of_least_squares() -> None:
    """In a balanced panel the estimates are means over seeds of each seed's own line."""
    alpha = table_of(growth=3.0)
    doublings = np.log2([2, 4, 16]) - np.mean(np.log2([2, 4, 16]))
    plain, scaled = models_of(alpha)
    for model in (plain, scaled):
        found = effects(comparison.fit(model, "statsmodels")[0])
        assert list(found["method"]) == ["magnitude"] * 2 + ["undecayed"] * 2
        assert list(found["term"]) == ["level", "trend"] * 2
        assert found["ratio"].isna().all()
        for method in METHODS:
            wide = alpha[alpha["method"] == method].pivot(
                index="seed", columns="ratio", values="alpha"
            )
            weights = 1 / wide.std().to_numpy() if model is scaled else np.ones(3)
            lines = np.polynomial.polynomial.polyfit(doublings, wide.to_numpy().T, 1, w=weights)
            of_method = found.loc[found["method"] == method, "estimate"]
            np.testing.assert_allclose(of_method, lines.mean(axis=1), rtol=1e-9)


def test_standard_error_of_a_trend_by_analysis_of_variance() -> None:
    """REML's residual variance of a balanced panel is the residual mean square."""
    alpha = table_of(seeds=15)
    table, facts = comparison.fit(models_of(alpha)[0], "statsmodels")
    doublings = np.log2(alpha["ratio"]) - np.mean(np.log2([2, 4, 16]))
    x = np.column_stack(
        [
            part
            for method in METHODS
            for part in ((alpha["method"] == method), (alpha["method"] == method) * doublings)
        ]
    ).astype(float)
    seeds = pd.get_dummies(alpha["seed"], dtype=float).to_numpy()[:, 1:]
    y = alpha["alpha"].to_numpy()
    left = y - np.hstack([x, seeds]) @ np.linalg.lstsq(np.hstack([x, seeds]), y, rcond=None)[0]
    mean_square = left @ left / (len(y) - 4 - 14)
    error = np.sqrt(mean_square / (15 * (np.unique(doublings) ** 2).sum()))
    found = effects(table)
    trends = found.loc[found["term"] == "trend", "std_error"]
    np.testing.assert_allclose(trends, error, rtol=1e-4)
    assert facts["groups"] == "seed=15"
    assert facts["rows"] == 90


def test_levels_are_tested_against_one_and_trends_against_zero() -> None:
    found = effects(comparison.fit(models_of(table_of())[0], "statsmodels")[0])
    null = np.where(found["term"] == "level", 1, 0)
    z = (found["estimate"] - null) / found["std_error"]
    np.testing.assert_allclose(found["p_intensification"], stats.norm.sf(z), rtol=1e-9)
    np.testing.assert_allclose(found["p_deintensification"], stats.norm.cdf(z), rtol=1e-9)
    adjusted = holm(stats.norm.sf(z))  # over all four tests of the model
    np.testing.assert_allclose(found["p_intensification_adjusted"], adjusted, rtol=1e-9)
    assert list(found["verdict"]) == [
        "intensification",
        "intensification",
        "de-intensification",
        "de-intensification",
    ]


def test_scales_are_the_cells_standard_deviations() -> None:
    alpha = table_of(growth=5.0)
    plain, scaled = models_of(alpha)
    by_cell = alpha.groupby(["method", "ratio"], sort=False)["alpha"].std()
    np.testing.assert_allclose(scaled.scales["estimate"], by_cell, rtol=1e-12)
    assert plain.spread > 3
    assert plain.believe == "bootstrap"
    assert scaled.spread < 1.5
    assert scaled.believe == "model"
    terms = comparison.fit(scaled, "statsmodels")[0]
    assert (terms["term"] == "sd(cell)").sum() == 6


@pytest.mark.slow
@needs_r
def test_fitters_and_plain_r_agree(tmp_path: Path) -> None:
    alpha = table_of(growth=3.0)
    alpha = alpha[~((alpha["method"] == "undecayed") & (alpha["seed"] == 3))]
    models = models_of(alpha)
    fits = [comparison.fit(model, fitter) for model in models for fitter in comparison.REML_FITTERS]
    table, facts = agreed(comparison.combine(*zip(*fits, strict=True)))
    assert facts["converged"].all()
    by_cell = alpha.groupby(["method", "ratio"])["alpha"]
    rows = alpha.assign(
        doublings=np.log2(alpha["ratio"]) - np.mean(np.log2([2, 4, 16])),
        scale=by_cell.transform("std"),
    )
    for model in models:
        plain = lmer_in_r(model.formula, rows, tmp_path)
        found = effects(table[(table["model"] == model.name) & (table["fitter"] == "pymer4")])
        names = [f"method{method}{suffix}" for method in METHODS for suffix in ("", ":doublings")]
        plain = plain.loc[names]
        np.testing.assert_allclose(found["estimate"], plain["estimate"], atol=1e-6)
        np.testing.assert_allclose(found["std_error"], plain["std_error"], rtol=1e-4)
        np.testing.assert_allclose(found["df"], plain["df"], rtol=1e-2)


def test_a_method_of_one_ratio_has_a_level_only() -> None:
    alpha = table_of()
    alpha = alpha[(alpha["method"] != "undecayed") | (alpha["ratio"] == 4)]
    model = models_of(alpha)[0]
    assert list(model.terms["term"]) == ["level", "trend", "level"]
    assert model.notes == (
        "undecayed has one ratio, so its level is that at 4 and it has no trend",
    )
    table, facts = comparison.fit(model, "statsmodels")
    assert facts["converged"]
    level = effects(table)["estimate"].iloc[2]
    assert level == pytest.approx(alpha.loc[alpha["method"] == "undecayed", "alpha"].mean())


def test_other_methods_states_and_panels_do_not_matter() -> None:
    alpha = table_of()
    others = [
        alpha.assign(method="control", ratio=1.0).drop_duplicates(["seed"]),
        alpha.assign(method="reseed", ratio=1.0, state="dense").drop_duplicates(["seed"]),
        alpha.assign(state="compressed", alpha=99.0),
        alpha.assign(architecture="cnn", alpha=99.0),
    ]
    alone, among = models_of(alpha)[0], models_of(pd.concat([*others, alpha]))[0]
    np.testing.assert_array_equal(alone.response, among.response)
    np.testing.assert_array_equal(alone.fixed, among.fixed)


def test_a_cell_with_a_slope_that_is_not_finite_is_left_out_whole() -> None:
    alpha = table_of(seeds=5)
    alpha.loc[(alpha["method"] == "magnitude") & (alpha["ratio"] == 16), "alpha"] = [
        np.nan,
        1.0,
        np.inf,
        1.0,
        1.0,
    ]
    for model in models_of(alpha):
        assert model.notes == (
            "left out magnitude at ratio 16: 2 of 5 slopes are not finite (an accuracy of 0, or "
            "equal recalls of all classes in the dense network)",
        )
        assert len(model.response) == 5 * 5
        assert not model.reason


def test_a_cell_whose_slopes_are_equal_has_no_scale() -> None:
    alpha = table_of(seeds=5)
    alpha.loc[(alpha["method"] == "magnitude") & (alpha["ratio"] == 16), "alpha"] = 1.0
    plain, scaled = models_of(alpha)
    assert len(plain.response) == 30
    assert len(scaled.response) == 25
    assert scaled.notes == ("left out magnitude at ratio 16: all its slopes are equal",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t[t["method"] == "control"], "no retrained cell is left"),
        (lambda t: t.assign(alpha=np.nan), "no retrained cell is left"),
        (lambda t: t[t["seed"] == 0], "one seed"),
        (
            lambda t: t[(t["method"] == "magnitude") & (t["ratio"] == 2)],
            "no dense network was compressed twice",
        ),
        (lambda t: t.assign(alpha=1.0), "fit every slope exactly"),
    ],
)
def test_what_cannot_be_estimated_says_why(change, reason: str) -> None:
    for model in models_of(change(table_of())):
        assert reason in model.reason
        table, facts = comparison.fit(model, "statsmodels")
        assert facts["message"].startswith(f"not estimated: {model.reason}")
        assert table["estimate"].isna().all()


def test_damaged_tables_are_refused() -> None:
    alpha = table_of()
    with pytest.raises(TableError, match="lacks the column alpha"):
        models_of(alpha.drop(columns="alpha"))
    with pytest.raises(TableError, match="more than one row"):
        models_of(pd.concat([alpha, alpha.tail(1)]))
