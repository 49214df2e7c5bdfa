"""The simulation against theory, against the package's own functions, and what it ships.

Tolerances of random results are four Monte Carlo standard errors: with the fixed seeds each passes
or fails always, and a right program fails one in 16,000.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.columns import ALPHA_COLUMNS, CROSSFIT_COLUMNS, RECALL_COLUMNS
from recall_distortion.errors import StudyError, TableError
from recall_distortion.inference import contrasts
from recall_distortion.inference.class_level import class_level
from recall_distortion.inference.effects import effects
from recall_distortion.inference.intervals import intervals
from recall_distortion.inference.pooled import pooled
from recall_distortion.inference.simulate import (
    Cell,
    Design,
    __main__,
    coverage,
    engine,
    estimators,
    levels,
    mixed,
    slopes,
    study,
    summary,
    sweep,
    unbalanced,
)
from recall_distortion.inference.simulate.rows import COLUMNS, Row
from recall_distortion.inference.simulate.scenarios import FAMILIES, scenarios

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
SES = 4.0  # Monte Carlo standard errors


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row["quantity"]: row for row in rows}


def near(row: Row, value: float, extra: float = 0.0) -> bool:
    """Whether a row's value is within 4 standard errors, as the true ``value`` gives them."""
    error = row["std_error"]
    if 0 < value < 1 and 0 <= row["value"] <= 1:
        error = max(error, np.sqrt(value * (1 - value) / row["studies"]))
    return abs(row["value"] - value) <= SES * error + extra


def observed(design: Design, seed: int) -> tuple[engine.Truth, engine.Hits]:
    rng = np.random.default_rng(seed)
    truth = engine.draw(design, 1, rng)
    return truth, engine.observe(design, truth, rng)


# The model


@pytest.mark.parametrize("images", [200, unbalanced(200)])
def test_balances_have_the_spread_that_was_asked_and_sum_to_zero(images) -> None:
    design = Design((Cell("magnitude", 10.0),), images=images, seeds=20, class_share=0.3)
    balance = engine.draw(design, 2000, np.random.default_rng(1)).balance
    assert np.abs((balance * design.weights).sum(-1)).max() < 1e-15
    # The mean square of a study: its spread over studies gives the standard error.
    squares = (balance**2).mean((1, 2))
    assert abs(squares.mean() - 0.05**2) < SES * squares.std() / np.sqrt(len(squares))
    products = (balance[:, 0] * balance[:, 1]).mean(1)
    assert abs(products.mean() - 0.3 * 0.05**2) < SES * products.std() / np.sqrt(len(products))


@pytest.mark.parametrize("skew", [0.0, 0.5])
def test_slopes_have_the_mean_and_spread_that_were_asked(skew: float) -> None:
    design = Design(sweep([1.2, 1.4], sds=[0.05, 0.3]), seeds=10, skew=skew)
    alpha = engine.draw(design, 20_000, np.random.default_rng(2)).alpha[:, 0]
    errors = alpha.std(0) / np.sqrt(len(alpha))
    assert (np.abs(alpha.mean(0) - [1.0, 1.2, 1.4]) < SES * errors).all()
    variances = (alpha - [1.0, 1.2, 1.4]) ** 2
    truth = 0.03**2 + np.array([0.05, 0.05, 0.3]) ** 2
    errors = variances.std(0) / np.sqrt(len(alpha))
    assert (np.abs(variances.mean(0) - truth) < SES * errors).all()
    shared = (alpha[:, 0] - 1) * (alpha[:, 2] - 1.4)
    assert abs(shared.mean() - 0.03**2) < SES * shared.std() / np.sqrt(len(shared))
    third = stats.skew(alpha[:, 2])
    assert third > 1 if skew else abs(third) < SES * np.sqrt(6 / len(alpha))


@pytest.mark.parametrize("agreement", [0.0, 0.5, 1.0])
def test_agreement_keeps_the_binomial_margins(agreement: float) -> None:
    design = Design((Cell("magnitude", 10.0, agreement=agreement),), seeds=1, images=40)
    truth = engine.draw(design, 1, np.random.default_rng(3))
    many = 20_000
    tiled = engine.Truth(
        *(np.repeat(getattr(truth, name), many, 0) for name in ("balance", "recall", "alpha")),
        np.repeat(truth.recall_after, many, 0),
        0.0,
    )
    hits = engine.observe(design, tiled, np.random.default_rng(4))
    for counts, p in (
        (hits.dense[:, 0], truth.recall[0, 0]),
        (hits.after[:, 0, 0], truth.recall_after[0, 0, 0]),
        (
            hits.both[:, 0, 0],
            engine.joint(truth.recall[0, 0], truth.recall_after[0, 0, 0], np.array(agreement)),
        ),
    ):
        variance = 40 * p * (1 - p)
        assert (np.abs(counts.mean(0) - 40 * p) < SES * np.sqrt(variance / many)).all()
        # The variance of a sample variance is (kurtosis - 1) variance² / n.
        kurtosis = stats.binom.stats(40, p, moments="k") + 3
        error = variance * np.sqrt((kurtosis - 1) / many)
        assert (np.abs(counts.var(0) - variance) < SES * error).all()
    assert (hits.both <= np.minimum(hits.dense[:, :, None], hits.after)).all()
    assert (hits.after - hits.both <= 40 - hits.dense[:, :, None]).all()
    if agreement == 1:
        lower = truth.recall_after[0, 0, 0] <= truth.recall[0, 0]
        assert lower.any()
        assert (hits.both == hits.after)[..., lower].all()


def test_exact_recalls_give_back_the_true_slopes() -> None:
    design = Design(sweep([1.3], deviation=0.0), images=None, seeds=5)
    rng = np.random.default_rng(5)
    truth = engine.draw(design, 50, rng)
    hits = engine.observe(design, truth, rng)
    assert truth.clipped == 0
    np.testing.assert_allclose(engine.naive(design, hits).slopes, truth.alpha, rtol=1e-9)
    np.testing.assert_allclose(engine.crossfit(design, hits, rng).slopes, truth.alpha, rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds"),
        ({"classes": 1}, "classes"),
        ({"images": 1}, "images"),
        ({"images": (50, 50)}, "images"),
        ({"accuracy": 1.0}, "accuracy"),
        ({"class_share": 1.5}, "class_share"),
        ({"balance_sd": 0.0}, "balance_sd"),
        ({"splits": 0}, "splits"),
        ({"cells": ()}, "cells"),
        ({"cells": (Cell("magnitude", 2.0), Cell("magnitude", 2.0))}, "one per method and ratio"),
    ],
)
def test_a_senseless_design_is_refused(change: dict, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        replace(Design((Cell("magnitude", 2.0),)), **change)


@pytest.mark.parametrize(
    "change", [{"agreement": 1.1}, {"sd": -1}, {"ratio": 0.5}, {"alpha": np.nan}]
)
def test_a_senseless_cell_is_refused(change: dict) -> None:
    with pytest.raises(StudyError, match=next(iter(change))):
        replace(Cell("magnitude", 2.0), **change)


# The engine against images and the package's own measurement


def test_both_routes_have_the_same_counts_and_slopes() -> None:
    design = Design(sweep([1.0, 1.5], agreement=0.6), images=unbalanced(60), seeds=7)
    tables = study(design, 11)
    _, hits = observed(design, 11)
    recall, alpha = tables["recall"], tables["alpha"]
    for name, columns in (
        ("recall", RECALL_COLUMNS),
        ("alpha", ALPHA_COLUMNS),
        ("crossfit", CROSSFIT_COLUMNS),
    ):
        assert list(tables[name].columns) == columns
    dense = recall[recall["method"] == "dense"]["correct"].to_numpy().reshape(7, 10)
    np.testing.assert_array_equal(dense, hits.dense[0])
    after = recall[recall["state"] == "finetuned"]["correct"].to_numpy().reshape(3, 7, 10)
    np.testing.assert_array_equal(after, np.moveaxis(hits.after[0], 1, 0))
    finetuned = alpha[alpha["state"] == "finetuned"]["alpha"].to_numpy().reshape(3, 7)
    np.testing.assert_allclose(finetuned, engine.naive(design, hits).slopes[0].T, rtol=1e-9)
    # Reseed: the first rows; three pairs of seven seeds.
    assert list(alpha["method"].iloc[:3]) == ["reseed"] * 3
    assert list(alpha["seed"].iloc[:4]) == [0, 2, 4, 0]
    assert recall.groupby(["method", "ratio", "seed"])["predicted"].sum().eq(600).all()
    pd.testing.assert_frame_equal(study(design, 11)["crossfit"], tables["crossfit"])


@pytest.mark.parametrize("images", [20, (7, 12, 31)])
def test_hypergeometric_halves_are_those_of_images(images) -> None:
    """Given the counts, the mean over halvings is the same whichever way halves are drawn."""
    many = 4000
    design = Design(sweep([1.2], agreement=0.6), images=images, seeds=3, classes=3, splits=many)
    of_images = study(design, 12)["crossfit"].query("state == 'finetuned'")
    _, hits = observed(design, 12)
    tiled = engine.Hits(*(np.repeat(getattr(hits, n), many, 0) for n in ("dense", "after", "both")))
    once = replace(design, splits=1)
    sums = engine.crossfit(once, tiled, np.random.default_rng(13))
    for values, other in (
        (sums.numerator, of_images["numerator"].to_numpy().reshape(2, 3).T),
        (
            np.repeat(sums.denominator[..., None], 2, 2),
            of_images["denominator"].to_numpy().reshape(2, 3).T,
        ),
    ):
        # Both means are of that many independent halvings: their difference has twice the variance.
        error = values.std(0) * np.sqrt(2 / many)
        assert (np.abs(values.mean(0) - other) < SES * error).all()
        assert (values.std(0) > 0).all()


def test_half_counts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a test set of odd size the halves differ by one image, and no image is lost or doubled."""
    calls: list[tuple[np.ndarray, np.ndarray]] = []
    normalized = engine.normalized
    monkeypatch.setattr(
        engine,
        "normalized",
        lambda c, n: calls.append((np.array(c), np.array(n))) or normalized(c, n),
    )
    design = Design((Cell("magnitude", 10.0, agreement=0.5),), images=(5, 8), classes=2, splits=3)
    _, hits = observed(design, 14)
    engine.crossfit(design, hits, np.random.default_rng(15))
    assert len(calls) == 4 * design.splits
    odd_first = set()
    for split in range(design.splits):
        (a, n_a), (b, n_b), (ta, tn_a), (tb, tn_b) = calls[4 * split : 4 * split + 4]
        np.testing.assert_array_equal(a + b, hits.dense)
        np.testing.assert_array_equal(ta + tb, hits.after)
        for first, second in ((n_a, n_b), (tn_a[:, :, 0], tn_b[:, :, 0])):
            np.testing.assert_array_equal(np.broadcast_to(first + second, (1, 1, 2)), [[[5, 8]]])
            assert np.abs(first - second).max() == 1
        assert (a <= n_a).all()
        assert (ta[:, :, 0] <= n_a).all()
        odd_first.add(int(n_a[0, 0, 0]))
    assert odd_first <= {2, 3}


def test_estimators_are_the_package_s() -> None:
    """Every vectorized interval and test gives what the package gives for the study's tables."""
    design = Design(sweep([1.05, 1.1, 1.2], agreement=0.5), images=400, seeds=9)
    tables = study(design, 16)
    alpha, crossfit = tables["alpha"], tables["crossfit"]
    cells = alpha[alpha["state"] == "finetuned"]
    values = cells["alpha"].to_numpy().reshape(4, 9).T[None]  # [1, K, T]
    found = intervals(alpha)
    of_cells = found[found["state"] == "finetuned"]
    low, high = estimators.t_interval(values, 0.99)
    np.testing.assert_allclose(low[0], of_cells["low"])
    np.testing.assert_allclose(high[0], of_cells["high"])

    tested = contrasts.tests(alpha)
    for question, differences, alternative in (
        ("ratio", values[..., 1:-1] - values[..., 2:], "less"),
        ("control", values[..., 1:] - values[..., :1], "two-sided"),
    ):
        rows = tested[tested["question"] == question]
        p = estimators.one_sample_p(differences, alternative)[0]
        np.testing.assert_allclose(p, rows["p"])
        np.testing.assert_allclose(np.minimum(p * len(p), 1), rows["p_adjusted"])
    welch = contrasts.independent_test(
        pd.Series(values[0, :, 1]), pd.Series(values[0, :, 2]), "greater"
    )
    p = estimators.welch_p(values[..., 1], values[..., 2], "greater")
    assert p[0] == pytest.approx(welch["p"])

    rows = crossfit[crossfit["state"] == "finetuned"]
    sums = engine.Sums(
        rows["numerator"].to_numpy().reshape(4, 9).T[None],
        rows["denominator"].to_numpy()[:9][None],
    )
    together = pooled(tables["recall"], alpha, crossfit)
    of_pooled = together[together["state"] == "finetuned"]
    low, high = estimators.pooled_interval(sums, 0.99)
    np.testing.assert_allclose(low[0], of_pooled["crossfit_low"])
    np.testing.assert_allclose(high[0], of_pooled["crossfit_high"])
    against = effects(alpha, crossfit, together, found)
    low, high = estimators.difference_interval(sums, 0.99)
    np.testing.assert_allclose(low[0], against["crossfit_low"])
    np.testing.assert_allclose(high[0], against["crossfit_high"])
    _, hits = observed(design, 16)
    per_model, _ = estimators.stability(design, hits, sums)
    assert (of_pooled["per_model"] == per_model[0]).all()
    error = engine.denominator_error(design, hits)[0]
    assert int((~(sums.denominator[0] > 2 * error)).sum()) == of_pooled["unstable"].iloc[0]


@pytest.mark.parametrize("images", [None, 30])
def test_every_inference_reads_a_simulated_study(images) -> None:
    tables = study(Design(sweep([1.1, 1.3]), images=images, seeds=6), 17)
    recall, alpha, crossfit = tables["recall"], tables["alpha"], tables["crossfit"]
    found = intervals(alpha)
    together = pooled(recall, alpha, crossfit)
    assert len(found) == len(together) == 4
    assert len(effects(alpha, crossfit, together, found)) == 2
    assert set(contrasts.tests(alpha, recall)["question"]) == {"ratio", "control"}
    models = class_level(recall, "simulated", "network")
    assert [model.reason for model in models] == ["", ""]
    if images is None:
        np.testing.assert_allclose(alpha["alpha"], alpha["alpha_crossfit"], rtol=1e-9)


# What the simulation finds, at smaller numbers


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
    design = levels.null_sweep(30, 200, loyal_control=True)
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
    # The engine that needs no R; the same seeds give the same studies to fit again here.
    monkeypatch.setattr(mixed.mixed_models, "ENGINES", ("statsmodels",))
    design = replace(mixed.design(growing=True), seeds=6)
    rows = mixed.class_models(design, 2, np.random.default_rng(25))
    seeds = np.random.default_rng(25)
    verdicts, covered = [], []
    for _ in range(2):
        recall = study(design, int(seeds.integers(2**63)))["recall"]
        model = class_level(recall, "simulated", "network")[1]
        table, _ = mixed.mixed_models.fit(model, "statsmodels")
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


# The command


def test_rows_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, other = (tmp_path / "made" / f"{name}.csv" for name in ("one", "two", "other"))
    options = ["--studies", "20", "--families", "power", "t intervals"]
    assert __main__.main([str(one), *options]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert __main__.main([str(two), *options, "--jobs", "2"]) == 0
    assert __main__.main([str(other), *options, "--seed", "5"]) == 0
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    chosen = [s for s in scenarios() if s.family in ("power", "t intervals")]
    assert len(printed) == len(chosen) + 1
    assert printed[0].startswith(f"1/{len(chosen)} t intervals: ")
    table = pd.read_csv(one)
    assert list(table.columns) == COLUMNS
    assert set(table["studies"]) == {20, 100}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "OUT.csv"),
        (["out.csv", "--studies", "1"], "--studies is a whole number of 2 or more, not '1'"),
        (["out.csv", "--studies", "many"], "not 'many'"),
        (["out.csv", "--jobs", "0"], "--jobs is a whole number of 1 or more"),
        (["out.csv", "--seed", "-1"], "--seed is a whole number of 0 or more"),
        (["out.csv", "--families", "all"], "invalid choice"),
        (["out.txt"], "path of a table to write"),
        (["blocked/out.csv"], "cannot write"),
    ],
)
def test_the_command_s_errors(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("blocked").write_text("a file, not a folder")
    with pytest.raises(SystemExit) as stopped:
        __main__.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["blocked"]


def test_scenarios_are_all_of_the_families_and_have_names_of_their_own() -> None:
    found = scenarios()
    assert {scenario.family for scenario in found} == set(FAMILIES)
    assert len({(scenario.family, scenario.label) for scenario in found}) == len(found)


# What ships


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return summary.read(DOCS / "simulation.csv")


def test_the_shipped_table_is_of_these_scenarios(shipped: pd.DataFrame) -> None:
    assert list(shipped.columns) == COLUMNS
    assert shipped.groupby("family").ngroups == len(FAMILIES)
    keys = [name for name in COLUMNS if name not in ("nominal", "theory", "value", "std_error")]
    assert not shipped.duplicated(keys).any()
    found = shipped[shipped["family"] == levels.POWER_FAMILY]
    assert set(found["studies"]) == {20_000}
    assert set(shipped.loc[shipped["family"] == slopes.FAMILY, "studies"]) == {2_000}
    of_fits = shipped[shipped["family"] == mixed.FAMILY]
    assert len(of_fits) == 2 * 6 * 5
    # Coverage is that of the fits that converged.
    assert of_fits["studies"].between(190, 200).all()


def test_the_documented_tables_are_those_of_the_shipped_table(shipped: pd.DataFrame) -> None:
    text = (DOCS / "simulation.md").read_text(encoding="utf-8")
    for name, table in summary.tables(shipped).items():
        assert table in text, name


def test_the_shipped_table_bears_its_claims(shipped: pd.DataFrame) -> None:
    for seeds in (5, 10, 30):
        row = summary.one(
            shipped,
            family=coverage.T_FAMILY,
            quantity="coverage of the t interval",
            seeds=seeds,
            images="exact",
            distribution="normal",
        )
        assert abs(row["value"] - 0.99) <= 0.005
    of_slopes = shipped[shipped["family"] == slopes.FAMILY]
    pooled_rows = of_slopes[of_slopes["quantity"] == "cross-fitted slope, pooled"]
    assert len(pooled_rows) == 30
    enough = pooled_rows[pooled_rows["images"] != "50"]
    assert (enough["value"] / enough["nominal"] - 1).abs().max() < 0.01
    naive = of_slopes[of_slopes["quantity"] == "naive slope, pooled"]
    assert (naive["value"] < naive["nominal"]).all()
    assert (naive["value"] - naive["theory"]).abs().max() < 0.02
    errors = shipped[
        (shipped["family"] == levels.LEVEL_FAMILY)
        & (shipped["images"] == "exact")
        & (shipped["distribution"] == "normal")
    ]
    families = errors[errors["quantity"].str.startswith("any")]
    assert len(families) == 16
    assert families["value"].max() <= 0.055
    single = errors[errors["quantity"].str.startswith("one")]
    assert (single["value"] - single["nominal"]).abs().max() <= 0.01
    power = shipped[shipped["family"] == levels.POWER_FAMILY]
    error = np.maximum(power["std_error"], 0.001)
    assert ((power["value"] - power["theory"]).abs() < 5 * error).all()


def test_summary_says_what_is_wrong(tmp_path: Path, shipped: pd.DataFrame, capsys) -> None:
    with pytest.raises(TableError, match="run the simulation first"):
        summary.read(tmp_path / "none.csv")
    with pytest.raises(TableError, match="not one"):
        summary.one(shipped, family="none")
    assert summary.main([]) == 2
    assert summary.main([str(tmp_path / "none.csv")]) == 1
    assert "no such table" in capsys.readouterr().err
    assert summary.main([str(DOCS / "simulation.csv")]) == 0
    assert "| images a class |" in capsys.readouterr().out
