"""What the simulation finds, at smaller numbers than those of its published table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated import SES, by_name, near

from recall_distortion.inference.mixed import comparison
from recall_distortion.inference.mixed.designs.class_level import class_level
from recall_distortion.simulation import coverage, levels, mixed, slopes, study
from recall_distortion.vocabulary import Panel

pytestmark = pytest.mark.slow


def test_t_intervals_cover_under_their_assumptions_and_not_with_image_noise() -> None:
    rng = np.random.default_rng(18)
    exact = by_name(coverage.t_intervals(coverage.t_design(10, None), 6000, rng))
    assert near(exact["coverage of the t interval"], 0.99)
    assert near(exact["mean slope"], 1.0)
    noisy = by_name(coverage.t_intervals(coverage.t_design(10, 50), 500, rng))
    assert noisy["coverage of the t interval"]["value"] < 0.5


@pytest.mark.parametrize("agreement", [0.0, 0.5])
@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_naive_slopes_are_attenuated_and_pooled_cross_fitted_are_not(
    alpha: float, agreement: float
) -> None:
    design = slopes.design(200, alpha, agreement)
    found = by_name(slopes.slopes(design, 400, np.random.default_rng(19)))
    naive = found["naive slope, pooled"]
    # The delta method is of first order: its error is of the size of the noise squared.
    assert near(naive, naive["theory"], extra=0.005)
    assert near(found["reliability"], found["reliability"]["theory"], extra=0.005)
    assert naive["value"] < 0.95 * alpha
    # A quotient of sums over 30 replicates is biased by about the squared error of the lower sum.
    assert near(found["cross-fitted slope, pooled"], alpha, extra=0.005)
    assert found["recalls clipped to [0, 1]"]["value"] < 0.001


def test_agreement_raises_the_naive_slope_of_nothing() -> None:
    """Where nothing of the balances is left (slope 0), shared errors look like a slope."""
    apart, agreed = (
        by_name(slopes.slopes(slopes.design(100, 0.0, x), 300, np.random.default_rng(20)))
        for x in (0.0, 0.8)
    )
    assert near(apart["naive slope, pooled"], 0.0)
    assert agreed["naive slope, pooled"]["value"] > 0.2
    for rows in (apart, agreed):
        assert near(rows["cross-fitted slope, pooled"], 0.0, extra=0.005)


def test_tests_hold_their_level() -> None:
    rng = np.random.default_rng(21)
    rows = levels.sweep_errors(levels.null_sweep(10, None), 5000, rng)
    rows += levels.method_errors(levels.null_methods(10, None), 5000, rng)
    rows += levels.network_errors(levels.null_networks(10, None), 3000, rng)
    for row in rows:
        if row["quantity"].startswith("one"):
            assert near(row, row["nominal"]), row
        else:
            # Bonferroni's bound; far below it the family would not be counted rightly.
            error = np.sqrt(0.05 * 0.95 / row["studies"])
            assert 0.025 < row["value"] < 0.05 + SES * error, row


def test_a_control_that_agrees_more_misleads_naive_differences_only() -> None:
    design = levels.null_sweep(30, 200, agreeing_control=True)
    rng = np.random.default_rng(22)
    naive = by_name(levels.sweep_errors(design, 200, rng))
    assert naive["any finding of the control question"]["value"] > 0.4
    crossfit = by_name(levels.crossfit_errors(design, 150, rng))
    found = crossfit["any cross-fitted difference from the control"]["value"]
    assert found < 0.05 + SES * np.sqrt(0.05 * 0.95 / 150)
    assert crossfit["any paired difference of the replicates' own slopes"]["value"] > 0.4


def test_studentized_intervals_cover_and_percentile_intervals_are_shorter() -> None:
    rows = coverage.bootstrap_intervals(
        coverage.bootstrap_design(10, 1000), 300, np.random.default_rng(23)
    )
    found = by_name(rows)
    assert near(found["coverage: cross-fitted slope"], 0.99)
    assert near(found["coverage: cross-fitted difference from the control"], 0.99)
    percentile = found["coverage: cross-fitted slope, percentile bootstrap"]["value"]
    assert percentile < found["coverage: cross-fitted slope"]["value"]


def test_mixed_models_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # The fitter that needs no R; the same seeds give the same studies to fit again here.
    monkeypatch.setattr(comparison, "REML_FITTERS", ("statsmodels",))
    design = replace(mixed.design(growing=True), seeds=6)
    rows = mixed.class_models(design, 2, np.random.default_rng(25))
    seeds = np.random.default_rng(25)
    verdicts, covered = [], []
    for _ in range(2):
        recall = study(design, int(seeds.integers(2**63)))["recall"]
        model = class_level(recall, Panel("simulated", "network", "simulated"))[1]
        table, _ = comparison.fit(model, "statsmodels")
        table = table[table["term"] == "slope"]
        verdicts.append((table["verdict"] != "inconclusive").any())
        covered.append(((table["low"] <= 1) & (table["high"] >= 1)).mean())
    name = "class_level_scaled by statsmodels"
    found = by_name([row for row in rows if row["note"].startswith(name)])
    assert found["any verdict in the model"]["value"] == np.mean(verdicts)
    assert found["coverage, all cells"]["value"] == pytest.approx(np.mean(covered))
    names = {row["note"].split(";")[0] for row in rows}
    assert names == {
        "class_level by statsmodels",
        name,
        "bootstrap",
        "class_level as believed",
    }


def test_power_is_that_of_theory() -> None:
    from statsmodels.stats.power import TTestPower

    for row in levels.power(levels.effect_design(10, 0.05), 4000, np.random.default_rng(24)):
        assert near(row, row["theory"])
        sd = float(row["note"].removeprefix("sd "))
        # The note's standard deviation has four digits.
        expected = TTestPower().power(0.05 / sd, 10, 0.01)
        assert row["theory"] == pytest.approx(expected, abs=1e-3)
    assert levels.t_power(2.0, 30, 0.01) == pytest.approx(1.0)
