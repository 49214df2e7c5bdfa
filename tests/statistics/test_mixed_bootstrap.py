"""The bootstrap of the mixed models' effects, and which of the two to believe."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs import class_level, class_rows
from recall_distortion.inference.mixed.designs.model_level import model_level
from recall_distortion.inference.mixed.designs.panels import across_architectures
from recall_distortion.inference.mixed.fitters.bootstrap import bootstrapped
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.inference.statistics.adjustment import holm
from recall_distortion.inference.statistics.least_squares import clustered
from recall_distortion.tables.schema import COLUMNS
from tests import synthetic

CELLS = {("control", 1.0): 0.75, ("magnitude", 2.0): 0.9, ("magnitude", 10.0): 1.3}
PANEL = {("digits", "mlp"): 0.0}
METHODS = {"magnitude": (1.3, 0.4, 0.0, 0.0), "undecayed": (0.9, -0.1, 0.0, 0.0)}


def sums(table: pd.DataFrame, cell: tuple[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return sum of before x after and of before squared, per seed [n, 1] each."""
    wide = table.pivot(index=["seed", "class"], columns=["method", "ratio"]).normalized_balance
    before, after = wide[("dense", 1.0)], wide[cell]
    of_seed = pd.DataFrame({"xy": before * after, "xx": before**2}).groupby("seed").sum()
    return of_seed[["xy"]].to_numpy(), of_seed[["xx"]].to_numpy()


def test_class_level_rows_are_the_bootstrap_of_pooled_slopes() -> None:
    table = synthetic.recall(CELLS, seeds=12)
    needed = table[["method", "ratio", "seed", "class", "normalized_balance"]]
    plain, scaled = (
        bootstrapped(model)[0] for model in class_level.class_level(table, synthetic.MLP)
    )
    for row in plain.to_dict("records"):
        found = bootstrap.ratio(*sums(needed, (row["method"], row["ratio"])))
        low, high = found.interval(0.99)
        assert row["estimate"] == pytest.approx(found.estimate[0], rel=1e-12)
        assert row["std_error"] == pytest.approx(found.std_error[0], rel=1e-9)
        assert row["low"] == pytest.approx(low[0], rel=1e-9)
        assert row["high"] == pytest.approx(high[0], rel=1e-9)
        assert row["p_intensification"] == pytest.approx(found.p_above(1)[0], rel=1e-9)
        assert row["p_deintensification"] == pytest.approx(found.p_below(1)[0], rel=1e-9)
    np.testing.assert_array_equal(
        plain["p_intensification_adjusted"], holm(plain["p_intensification"].to_numpy())
    )
    assert list(plain.columns) == COLUMNS["mixed_models"]
    assert plain["df"].isna().all()
    assert set(plain["fitter"]) == {"bootstrap"}
    # The cells' scales cancel.
    for column in ("estimate", "std_error", "low", "p_deintensification_adjusted"):
        np.testing.assert_allclose(scaled[column], plain[column], rtol=1e-9)


def test_model_level_rows_are_the_bootstrap_of_the_seeds_own_lines() -> None:
    alpha = synthetic.slopes(PANEL, METHODS, seeds=10)
    table, facts = bootstrapped(model_level(alpha, synthetic.MLP)[0])
    doublings = np.log2([2, 4, 16]) - np.mean(np.log2([2, 4, 16]))
    for method in METHODS:
        wide = alpha[alpha["method"] == method].pivot(index="seed", columns="ratio", values="alpha")
        lines = np.polynomial.polynomial.polyfit(doublings, wide.to_numpy().T, 1).T
        means = bootstrap.ratio(lines, np.ones_like(lines))
        found = table[table["method"] == method]
        np.testing.assert_allclose(found["estimate"], means.estimate, rtol=1e-9)
        np.testing.assert_allclose(found["std_error"], means.std_error, rtol=1e-9)
        np.testing.assert_allclose(found["low"], means.interval(0.99)[0], rtol=1e-7)
        expected = [means.p_above(1)[0], means.p_above(0)[1]]
        np.testing.assert_allclose(found["p_intensification"], expected, rtol=1e-9)
    assert list(facts) == COLUMNS["mixed_model_fits"]
    assert facts["converged"]
    assert facts["groups"] == "dense network=10"


def test_the_level_reaches_every_interval_and_no_verdict() -> None:
    table = synthetic.recall(CELLS, seeds=12)
    for model in class_level.class_level(table, synthetic.MLP):
        wide, narrow = (
            [comparison.fit(model, "statsmodels", level)[0], bootstrapped(model, level)[0]]
            for level in (0.99, 0.8)
        )
        for at_99, at_80 in zip(wide, narrow, strict=True):
            slopes = at_99["term"] == "slope"
            assert set(at_99.loc[slopes, "level"]) == {0.99}
            assert set(at_80.loc[slopes, "level"]) == {0.8}
            assert at_99.loc[~slopes, "level"].isna().all()
            assert (at_99["low"] < at_80["low"])[slopes].all()
            assert (at_99["high"] > at_80["high"])[slopes].all()
            same = ["estimate", "p_intensification_adjusted", "verdict"]
            pd.testing.assert_frame_equal(at_99[same], at_80[same])
        z = (narrow[0]["estimate"] - narrow[0]["low"]) / narrow[0]["std_error"]
        np.testing.assert_allclose(z[narrow[0]["term"] == "slope"], 1.2815515655446004)


def test_a_failed_replicate_leaves_the_least_squares_line() -> None:
    alpha = synthetic.slopes(PANEL, METHODS, seeds=10).drop(index=[0, 14])
    table, _ = bootstrapped(model_level(alpha, synthetic.MLP)[0])
    of_method = alpha[alpha["method"] == "magnitude"]
    doublings = np.log2(of_method["ratio"]) - np.mean(np.log2([2, 4, 16]))
    line = np.polynomial.polynomial.polyfit(doublings, of_method["alpha"], 1)
    np.testing.assert_allclose(table["estimate"].head(2), line, rtol=1e-9)
    assert table["low"].notna().all()


def test_cluster_robust_errors_worked_out_in_full() -> None:
    """The sandwich, centred in each stratum, written out for one set of rows."""
    generator = np.random.default_rng(1)
    clusters = np.repeat(np.arange(14), 3)
    strata = np.where(clusters < 6, "a", "b")
    x = np.column_stack([np.ones(42), generator.normal(size=42)])
    y = x @ [1.0, 2.0] + generator.normal(size=14)[clusters] + (strata == "a")
    found = clustered(y, x, clusters, strata, count=20)
    coefficients = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(found.estimate, coefficients, rtol=1e-10)
    left = y - x @ coefficients
    scores = np.array([x[clusters == c].T @ left[clusters == c] for c in range(14)])
    middle = sum(
        n / (n - 1) * np.cov(part.T, bias=True) * n
        for part, n in ((scores[:6], 6), (scores[6:], 8))
    )
    bread = np.linalg.inv(x.T @ x)
    np.testing.assert_allclose(found.std_error, np.sqrt(np.diag(bread @ middle @ bread)), rtol=1e-9)


def test_panels_are_resampled_by_themselves() -> None:
    """Panels far apart add nothing to the error, because they are not drawn."""
    names = ("resnet20", "resnet32", "resnet56")
    panels = {("d", name): float(place) for place, name in enumerate(names)}
    sizes = {name: 2.0**place for place, name in enumerate(names)}
    errors = {}
    for sd_panel in (0.0, 50.0):
        alpha = synthetic.slopes(panels, METHODS, seeds=8, sd_panel=sd_panel, random_seed=5)
        networks = alpha.assign(total=alpha["architecture"].map(sizes), accuracy=0.5)
        table, facts = bootstrapped(across_architectures(networks)[0])
        errors[sd_panel] = table["std_error"].to_numpy()
        assert facts["groups"] == "panel=3;dense network=24"
    np.testing.assert_allclose(errors[50.0], errors[0.0], rtol=1e-6)


@pytest.mark.slow
def test_intervals_cover_a_known_level() -> None:
    """Of 60 panels, 12 seeds each, unequal scatter: 99 % intervals of a level."""
    inside = 0
    for number in range(60):
        alpha = synthetic.slopes(
            PANEL, {"magnitude": METHODS["magnitude"]}, seeds=12, growth=6.0,
            sd_panel=0.0, random_seed=number,
        )  # fmt: skip
        model = model_level(alpha, synthetic.MLP)[0]
        found = clustered(model.response, model.fixed, model.clusters, model.strata, count=999)
        low, high = found.interval(0.99)
        inside += bool(low[0] < 1.3 < high[0])
    assert inside >= 56  # binomial(60, 0.98) is below 56 with probability 0.006


def test_too_few_replicates_have_estimates_but_no_interval() -> None:
    table = synthetic.recall(CELLS, seeds=4)
    found, facts = bootstrapped(class_level.class_level(table, synthetic.MLP)[0])
    assert found["estimate"].notna().all()
    assert found[["low", "high", "p_intensification"]].isna().all().all()
    assert set(found["verdict"]) == {""}
    assert "fewer than 5 replicates" in facts["message"]
    assert not facts["converged"]


def test_believe_is_the_same_for_all_fitters_of_a_model() -> None:
    table = synthetic.recall(CELLS, seeds=8)
    rows, _ = class_rows.design(table, synthetic.MLP)
    rows.loc[rows["cell"] == "magnitude@10", "after"] *= 5
    model = class_level.of_rows("class_level/digits/mlp/usual", rows)
    assert 3 < model.spread < 8
    coefficients, facts = comparison.fit(model, "statsmodels")
    _, fits = comparison.combine(*zip((coefficients, facts), bootstrapped(model), strict=True))
    assert list(fits["believe"]) == ["bootstrap", "bootstrap"]
    even = class_level.class_level(table, synthetic.MLP)[0]
    assert even.spread < 2
    coefficients, facts = comparison.fit(even, "statsmodels")
    _, fits = comparison.combine(*zip((coefficients, facts), bootstrapped(even), strict=True))
    assert list(fits["believe"]) == ["model", "model"]
    # Where no fitter converged, only the bootstrap has found anything.
    failed = coefficients, {**facts, "converged": False}
    _, fits = comparison.combine(*zip(failed, bootstrapped(even), strict=True))
    assert list(fits["believe"]) == ["bootstrap", "bootstrap"]
    _, fits = comparison.combine([coefficients], [{**facts, "converged": False}])
    assert list(fits["believe"]) == [""]
