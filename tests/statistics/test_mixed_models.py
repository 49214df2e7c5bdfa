"""The class-level mixed model by two fitters and plain R: known truth, agreement, refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fits import agreed
from r_reference import lmer_in_r, needs_r
from scipy import stats

from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs import class_level, class_rows
from recall_distortion.inference.mixed.fitters import statsmodels as statsmodels_fitter
from recall_distortion.inference.mixed.fitters.likelihood import Profile, maximum
from recall_distortion.inference.mixed.fitters.rotation import rotated
from recall_distortion.inference.mixed.model import MixedModel
from recall_distortion.inference.statistics.adjustment import holm
from recall_distortion.tables.schema import COLUMNS
from tests import synthetic

pytestmark = pytest.mark.slow

CELLS = {
    ("control", 1.0): 0.75,
    ("magnitude", 2.0): 0.9,
    ("magnitude", 10.0): 1.3,
    ("undecayed", 2.5): 1.0,
}
MISSING = [("magnitude", 10.0, 3), ("undecayed", 2.5, 0), ("control", 1.0, 5)]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    table = synthetic.recall(CELLS, missing=MISSING, seeds=10)
    return class_rows.design(table, synthetic.MLP)[0]


def model_of(table: pd.DataFrame) -> MixedModel:
    """Return the unscaled model of a panel's recall table."""
    return class_level.class_level(table, synthetic.MLP)[0]


@pytest.fixture(scope="module")
def model(rows: pd.DataFrame) -> MixedModel:
    return class_level.of_rows("class_level/digits/mlp/usual", rows)


@pytest.fixture(scope="module")
def by_statsmodels(model: MixedModel):
    return comparison.fit(model, "statsmodels")


@pytest.fixture(scope="module")
def by_pymer4(model: MixedModel):
    return comparison.fit(model, "pymer4")


def fit_both(table: pd.DataFrame):
    """Return both fitters' fits of a panel's model, as ``combine`` takes them."""
    fits = [comparison.fit(model_of(table), fitter) for fitter in comparison.REML_FITTERS]
    return tuple(zip(*fits, strict=True))


def slopes(coefficients: pd.DataFrame) -> pd.DataFrame:
    return coefficients[coefficients["term"] == "slope"].reset_index(drop=True)


def deviations(coefficients: pd.DataFrame) -> pd.Series:
    return coefficients[coefficients["term"] != "slope"].set_index("term")["estimate"]


# --- statsmodels


def test_rotating_the_rows_changes_no_fit(rows: pd.DataFrame) -> None:
    """The likelihood of the rotated rows equals that of the model written out in full."""
    turned = rotated(rows)
    assert len(turned.after) == len(rows)
    assert np.sum(turned.after**2) == pytest.approx(np.sum(rows["after"] ** 2), rel=1e-12)
    relative = {"sd(seed)": 3.0, "sd(seed:cell)": 40.0, "sd(class)": 0.7}

    def reml(y: np.ndarray, x: np.ndarray, v: np.ndarray) -> float:
        inverse = np.linalg.inv(v)
        information = x.T @ inverse @ x
        residual = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
        free = len(y) - x.shape[1]
        logdets = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
        return -0.5 * (logdets + free * np.log(residual @ inverse @ residual))

    before = rows["before"].to_numpy()
    v = np.eye(len(rows))
    for term, column in class_level.RANDOM_TERMS.items():
        same = rows[column].to_numpy()[:, None] == rows[column].to_numpy()[None, :]
        v += relative[term] * np.outer(before, before) * same
    x = before[:, None] * pd.get_dummies(rows["cell"], dtype=float).to_numpy()
    turned_v = np.eye(len(rows))
    for position, group in enumerate(np.unique(turned.group)):
        inside = np.flatnonzero(turned.group == group)
        for term, matrices in turned.random.items():
            z = matrices[position]
            turned_v[np.ix_(inside, inside)] += relative[term] * z @ z.T
    assert reml(turned.after, turned.fixed, turned_v) == pytest.approx(
        reml(rows["after"].to_numpy(), x, v), abs=1e-7
    )


def test_recovers_the_truth() -> None:
    table = synthetic.recall(CELLS, seeds=40, classes=24, random_seed=2)
    fitted, facts = comparison.fit(model_of(table), "statsmodels")
    found = slopes(fitted)
    truth = np.array(list(CELLS.values()))
    assert (np.abs(found["estimate"] - truth) < 4 * found["std_error"]).all()
    assert (found["std_error"] < 0.05).all()
    expected = {"sd(seed)": 0.08, "sd(seed:cell)": 0.1, "sd(class)": 0.1, "sd(residual)": 0.01}
    assert deviations(fitted).to_dict() == pytest.approx(expected, rel=0.35)
    assert list(found["verdict"]) == [
        "de-intensification",
        "de-intensification",
        "intensification",
        "inconclusive",
    ]
    assert facts["converged"]
    assert not facts["singular"]
    assert facts["groups"] == "seed=40;seed:cell=160;class=24"
    assert list(facts) == COLUMNS["mixed_model_fits"]


def test_columns_intervals_and_p_values(by_statsmodels) -> None:
    fitted, _ = by_statsmodels
    assert list(fitted.columns) == COLUMNS["mixed_models"]
    found = slopes(fitted)
    z = (found["estimate"] - 1) / found["std_error"]
    assert found["p_intensification"].to_numpy() == pytest.approx(1 - stats.norm.cdf(z), abs=1e-12)
    assert found["p_deintensification"].to_numpy() == pytest.approx(stats.norm.cdf(z), abs=1e-12)
    half = 2.5758293035489004 * found["std_error"]
    assert found["low"].to_numpy() == pytest.approx(found["estimate"] - half)
    assert found["high"].to_numpy() == pytest.approx(found["estimate"] + half)
    assert np.isinf(found["df"]).all()
    random = fitted[fitted["term"] != "slope"]
    assert (
        random[["method", "ratio", "std_error", "p_intensification", "verdict"]]
        .isna()
        .to_numpy()
        .all()
    )
    for side in ("p_intensification", "p_deintensification"):
        assert found[f"{side}_adjusted"].to_numpy() == pytest.approx(holm_by_hand(found[side]))


def holm_by_hand(p: pd.Series) -> list[float]:
    ordered = sorted(range(len(p)), key=lambda i: p.iloc[i])
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(ordered):
        largest = max(largest, (len(p) - rank) * p.iloc[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def test_holm_worked_by_hand() -> None:
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_nan = holm(np.array([0.01, np.nan, 0.6]))
    assert with_nan[[0, 2]] == pytest.approx([0.03, 1.0])
    assert np.isnan(with_nan[1])


def test_a_variance_of_zero_is_marked() -> None:
    table = synthetic.recall(CELLS, sd_seed_cell=0.0, random_seed=2)
    fitted, facts = comparison.fit(model_of(table), "statsmodels")
    assert facts["singular"]
    assert facts["converged"]
    assert "sd(seed:cell) at zero" in facts["message"]
    assert deviations(fitted)["sd(seed:cell)"] == pytest.approx(0, abs=1e-4)
    assert np.isfinite(slopes(fitted)["std_error"]).all()


@pytest.mark.parametrize(
    ("cells", "options", "reason"),
    [
        (CELLS, {"seeds": 1}, "one seed"),
        ({("control", 1.0): 0.8}, {}, "one cell"),
        (CELLS, {"classes": 1}, "one class"),
        (CELLS, {"noise": 0.0}, "there is no residual"),
    ],
)
@pytest.mark.parametrize("name", comparison.REML_FITTERS)
def test_panels_from_which_the_model_cannot_be_estimated(
    cells, options, reason, name, monkeypatch
) -> None:
    # Nothing is imported for what cannot be estimated.
    monkeypatch.setattr(
        statsmodels_fitter, "prepare", lambda: pytest.fail("statsmodels was asked for")
    )
    fitted, facts = comparison.fit(model_of(synthetic.recall(cells, **options)), name)
    assert not facts["converged"]
    assert facts["message"].startswith("not estimated: ")
    assert reason in facts["message"]
    assert np.isnan(facts["loglik"])
    assert len(slopes(fitted)) == len(cells)
    assert slopes(fitted)["estimate"].isna().all()
    assert set(slopes(fitted)["verdict"]) == {""}


def test_a_dense_model_without_balance_cannot_be_judged() -> None:
    table = synthetic.recall(CELLS, seeds=3)
    table.loc[table["state"] == "dense", "normalized_balance"] = 0.0
    _, facts = comparison.fit(model_of(table), "statsmodels")
    assert "recall all classes equally" in facts["message"]


@needs_r
@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("unequal", [0, 1, 2, 3])
def test_dense_models_without_balance_leave_a_model_estimated_or_refused(unequal, classes) -> None:
    """They add noise alone: the only other of five does not show how replicates differ."""
    table = synthetic.recall(CELLS, seeds=5, classes=classes)
    flat = (table["state"] == "dense") & (table["seed"] >= unequal)
    table.loc[flat, "normalized_balance"] = 0.0
    _, fits = agreed(comparison.combine(*fit_both(table)))
    if unequal > 1:
        assert fits["converged"].all()
    else:
        why = (
            "only 1 of 5 dense networks recalls its classes unequally"
            if unequal
            else "no balance to"
        )
        assert fits["message"].str.startswith("not estimated: ").all()
        assert fits["message"].str.contains(why).all()
        assert not fits["message"].str.contains("; ").any()


@needs_r
@pytest.mark.parametrize("unequal", [1, 2, 3])
def test_classes_without_balance_leave_a_model_estimated_or_refused(unequal) -> None:
    table = synthetic.recall(CELLS, seeds=6, classes=6)
    flat = (table["state"] == "dense") & (table["class"] >= unequal)
    table.loc[flat, "normalized_balance"] = 0.0
    _, fits = agreed(comparison.combine(*fit_both(table)))
    if unequal > 1:
        assert fits["converged"].all()
    else:
        assert fits["message"].str.contains("absorb the differences between classes").all()


@needs_r
@pytest.mark.parametrize("unequal", [1, 2, 3])
def test_cells_without_balance_leave_a_model_estimated_or_refused(unequal) -> None:
    """The replicates that have a balance are missing from the others."""
    cells = {("control", 1.0): 1.0, ("magnitude", 2.0): 1.1, ("magnitude", 10.0): 1.5}
    gone = [(*cell, seed) for cell in list(cells)[unequal:] for seed in (0, 1, 2)]
    table = synthetic.recall(cells, seeds=6, missing=gone)
    flat = (table["state"] == "dense") & (table["seed"] > 2)
    table.loc[flat, "normalized_balance"] = 0.0
    _, fits = agreed(comparison.combine(*fit_both(table)))
    if unequal == 3:
        assert fits["converged"].all()
    else:
        named = ", ".join(f"{method}@{ratio:g}" for method, ratio in list(cells)[unequal:])
        assert fits["message"].str.contains(f"of {named} recall all classes equally").all()


# --- lme4


@needs_r
def test_fitters_agree(rows, by_pymer4, by_statsmodels) -> None:
    (first, facts), (second, other_facts) = by_pymer4, by_statsmodels
    a, b = slopes(first), slopes(second)
    assert list(a["method"]) == list(b["method"]) == [method for method, _ in CELLS]
    assert list(a["ratio"]) == list(b["ratio"]) == [ratio for _, ratio in CELLS]
    assert a["estimate"].to_numpy() == pytest.approx(b["estimate"].to_numpy(), abs=1e-6)
    assert a["std_error"].to_numpy() == pytest.approx(b["std_error"].to_numpy(), rel=1e-4)
    assert facts["loglik"] == pytest.approx(other_facts["loglik"], abs=1e-5)
    assert deviations(first).to_numpy() == pytest.approx(deviations(second).to_numpy(), rel=1e-3)
    assert facts["converged"]
    assert not facts["singular"]
    assert facts["message"] == ""
    table, fits = agreed(comparison.combine([first, second], [facts, other_facts]))
    assert len(table) == 2 * (len(CELLS) + 4)
    assert list(fits["fitter"]) == ["pymer4", "statsmodels"]


@needs_r
def test_plain_r_finds_the_same(rows, by_pymer4, tmp_path: Path) -> None:
    fitted, facts = by_pymer4
    names = [f"before:cell{cell}" for cell in dict.fromkeys(rows["cell"])]
    plain = lmer_in_r(facts["formula"], rows, tmp_path).loc[names]
    found = slopes(fitted)
    assert found["estimate"].to_numpy() == pytest.approx(plain["estimate"].to_numpy(), abs=1e-7)
    assert found["std_error"].to_numpy() == pytest.approx(plain["std_error"].to_numpy(), rel=1e-5)
    assert found["df"].to_numpy() == pytest.approx(plain["df"].to_numpy(), rel=1e-4)
    assert facts["loglik"] == pytest.approx(plain["loglik"].iloc[0], abs=1e-6)
    t = (plain["estimate"] - 1) / plain["std_error"]
    assert found["p_intensification"].to_numpy() == pytest.approx(
        stats.t.sf(t, plain["df"]), rel=1e-3
    )


@needs_r
def test_a_singular_fit_is_marked_by_lme4_and_still_compared() -> None:
    table = synthetic.recall(CELLS, sd_seed_cell=0.0, random_seed=2)
    coefficients, facts = fit_both(table)
    assert facts[0]["singular"]
    assert facts[0]["converged"]
    assert "singular" in facts[0]["message"]
    _, fits = agreed(comparison.combine(coefficients, facts))
    assert list(fits["singular"]) == [True, True]


@needs_r
@pytest.mark.parametrize(
    "options",
    [{"classes": 2, "seeds": 3}, {"seeds": 2}, {"seeds": 5, "missing": MISSING}],
    ids=["two classes", "two seeds", "cell without some seeds"],
)
def test_fitters_agree_on_tiny_panels(options) -> None:
    _, fits = agreed(comparison.combine(*fit_both(synthetic.recall(CELLS, **options))))
    assert fits["converged"].all()


@needs_r
def test_a_seed_whose_dense_model_has_no_balance_is_no_obstacle() -> None:
    table = synthetic.recall(CELLS, seeds=5)
    table.loc[(table["state"] == "dense") & (table["seed"] == 2), "normalized_balance"] = 0.0
    _, fits = agreed(comparison.combine(*fit_both(table)))
    assert fits["converged"].all()


def test_the_search_for_a_start_climbs_the_likelihood_of_statsmodels(model) -> None:
    """Equal but for a constant, from inside and at a variance of zero; and no start is higher."""
    data = statsmodels_fitter.grouped(model)
    mixed = statsmodels_fitter.likelihood(data)
    terms = mixed.exog_vc.names
    mixed.reml, mixed.cov_pen, mixed.fe_pen, mixed._cov_sing = True, None, None, 0
    profile = Profile(data, terms)
    points = np.array([[0.3, 2.0, 7.0], [1.0, 1.0, 1.0], [5.0, 0.02, 0.4], [0.5, 3.0, 1.5e-5]])
    difference = [profile(point) - mixed.loglike(point) for point in points]
    np.testing.assert_allclose(difference, difference[0], atol=1e-7)
    top = mixed.loglike(maximum(data, terms))
    for point in (*points, statsmodels_fitter.fit(model).deviations):
        if isinstance(point, dict):
            point = np.array([point[term] for term in terms]) / point["sd(residual)"]
        assert mixed.loglike(np.maximum(point, 1.5e-5)) <= top + 1e-7


def test_a_fitter_that_fails_is_reported_in_the_fits(model, monkeypatch) -> None:
    def fails(*_) -> None:
        raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(statsmodels_fitter, "_maximized", fails)
    fitted, facts = comparison.fit(model, "statsmodels")
    assert not facts["converged"]
    assert facts["message"] == "statsmodels failed: Singular matrix"
    assert slopes(fitted)["estimate"].isna().all()
