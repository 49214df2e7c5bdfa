"""The simulation's model against theory, and its arrays against the package's own functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulated import SES, observed

from recall_distortion.inference.mixed.designs.class_level import class_level
from recall_distortion.inference.questions import contrasts
from recall_distortion.inference.questions.effects import effects
from recall_distortion.inference.questions.pooled import PER_NETWORK, pooled
from recall_distortion.inference.questions.slopes import slopes as cell_slopes
from recall_distortion.inference.statistics.ttests import independent_test
from recall_distortion.simulation import Cell, Design, arrays, estimators, study, sweep, unbalanced
from recall_distortion.system.errors import StudyError
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import Panel

pytestmark = pytest.mark.slow

# The model


@pytest.mark.parametrize("images", [200, unbalanced(200)])
def test_balances_have_the_spread_that_was_asked_and_sum_to_zero(images) -> None:
    design = Design((Cell("magnitude", 10.0),), images=images, seeds=20, class_share=0.3)
    balance = arrays.draw(design, 2000, np.random.default_rng(1)).balance
    assert np.abs((balance * design.weights).sum(-1)).max() < 1e-15
    # The mean square of a study: its spread over studies gives the standard error.
    squares = (balance**2).mean((1, 2))
    assert abs(squares.mean() - 0.05**2) < SES * squares.std() / np.sqrt(len(squares))
    products = (balance[:, 0] * balance[:, 1]).mean(1)
    assert abs(products.mean() - 0.3 * 0.05**2) < SES * products.std() / np.sqrt(len(products))


@pytest.mark.parametrize("skew", [0.0, 0.5])
def test_slopes_have_the_mean_and_spread_that_were_asked(skew: float) -> None:
    design = Design(sweep([1.2, 1.4], sds=[0.05, 0.3]), seeds=10, skew=skew)
    alpha = arrays.draw(design, 20_000, np.random.default_rng(2)).alpha[:, 0]
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
    truth = arrays.draw(design, 1, np.random.default_rng(3))
    many = 20_000
    tiled = arrays.Truth(
        *(np.repeat(getattr(truth, name), many, 0) for name in ("balance", "recall", "alpha")),
        np.repeat(truth.recall_after, many, 0),
        0.0,
    )
    hits = arrays.observe(design, tiled, np.random.default_rng(4))
    for counts, p in (
        (hits.dense[:, 0], truth.recall[0, 0]),
        (hits.after[:, 0, 0], truth.recall_after[0, 0, 0]),
        (
            hits.both[:, 0, 0],
            arrays.joint(truth.recall[0, 0], truth.recall_after[0, 0, 0], np.array(agreement)),
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
    truth = arrays.draw(design, 50, rng)
    hits = arrays.observe(design, truth, rng)
    assert truth.clipped == 0
    np.testing.assert_allclose(arrays.naive(design, hits).slopes, truth.alpha, rtol=1e-9)
    np.testing.assert_allclose(arrays.crossfit(design, hits, rng).slopes, truth.alpha, rtol=1e-9)


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


# The arrays against images and the package's own measures


def test_both_routes_have_the_same_counts_and_slopes() -> None:
    design = Design(sweep([1.0, 1.5], agreement=0.6), images=unbalanced(60), seeds=7)
    tables = study(design, 11)
    _, hits = observed(design, 11)
    recall, networks = tables["recall"], tables["networks"]
    for name, table in tables.items():
        assert list(table.columns) == COLUMNS[name]
    dense = recall[recall["method"] == "dense"]["correct"].to_numpy().reshape(7, 10)
    np.testing.assert_array_equal(dense, hits.dense[0])
    after = recall[recall["state"] == "retrained"]["correct"].to_numpy().reshape(3, 7, 10)
    np.testing.assert_array_equal(after, np.moveaxis(hits.after[0], 1, 0))
    retrained = networks[networks["state"] == "retrained"]["alpha"].to_numpy().reshape(3, 7)
    np.testing.assert_allclose(retrained, arrays.naive(design, hits).slopes[0].T, rtol=1e-9)
    # Dense networks, then reseed: three pairs of seven seeds.
    assert list(networks["method"].iloc[:11]) == ["dense"] * 7 + ["reseed"] * 3 + ["control"]
    assert list(networks["seed"].iloc[6:11]) == [6, 0, 2, 4, 0]
    assert networks["alpha"].isna().sum() == 7
    assert recall.groupby(["method", "ratio", "seed"])["predicted"].sum().eq(600).all()
    pd.testing.assert_frame_equal(study(design, 11)["networks"], networks)


@pytest.mark.parametrize("images", [20, (7, 12, 31)])
def test_hypergeometric_halves_are_those_of_images(images) -> None:
    """Given the counts, the mean over halvings is the same whichever way halves are drawn."""
    many = 4000
    design = Design(sweep([1.2], agreement=0.6), images=images, seeds=3, classes=3, splits=many)
    of_images = study(design, 12)["networks"].query("state == 'retrained'")
    _, hits = observed(design, 12)
    tiled = arrays.Hits(*(np.repeat(getattr(hits, n), many, 0) for n in ("dense", "after", "both")))
    once = replace(design, splits=1)
    sums = arrays.crossfit(once, tiled, np.random.default_rng(13))
    for values, other in (
        (sums.numerator, of_images["crossfit_numerator"].to_numpy().reshape(2, 3).T),
        (
            np.repeat(sums.denominator[..., None], 2, 2),
            of_images["crossfit_denominator"].to_numpy().reshape(2, 3).T,
        ),
    ):
        # Both means are of that many independent halvings: their difference has twice the variance.
        error = values.std(0) * np.sqrt(2 / many)
        assert (np.abs(values.mean(0) - other) < SES * error).all()
        assert (values.std(0) > 0).all()


def test_half_counts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a test set of odd size the halves differ by one image, and no image is lost or doubled."""
    calls: list[tuple[np.ndarray, np.ndarray]] = []
    normalized = arrays.normalized
    monkeypatch.setattr(
        arrays,
        "normalized",
        lambda c, n: calls.append((np.array(c), np.array(n))) or normalized(c, n),
    )
    design = Design((Cell("magnitude", 10.0, agreement=0.5),), images=(5, 8), classes=2, splits=3)
    _, hits = observed(design, 14)
    arrays.crossfit(design, hits, np.random.default_rng(15))
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
    networks = tables["networks"]
    cells = networks[networks["state"] == "retrained"]
    values = cells["alpha"].to_numpy().reshape(4, 9).T[None]  # [1, K, T]
    found = cell_slopes(networks)
    of_cells = found[found["state"] == "retrained"]
    low, high = estimators.t_ends(values, 0.99)
    np.testing.assert_allclose(low[0], of_cells["low"])
    np.testing.assert_allclose(high[0], of_cells["high"])

    tested = contrasts.tests(networks, {})
    for question, differences, alternative in (
        ("ratio", values[..., 1:-1] - values[..., 2:], "less"),
        ("control", values[..., 1:] - values[..., :1], "two-sided"),
    ):
        rows = tested[tested["question"] == question]
        p = estimators.one_sample_p(differences, alternative)[0]
        np.testing.assert_allclose(p, rows["p"])
        np.testing.assert_allclose(np.minimum(p * len(p), 1), rows["p_adjusted"])
    welch = independent_test(pd.Series(values[0, :, 1]), pd.Series(values[0, :, 2]), "greater")
    p = estimators.welch_p(values[..., 1], values[..., 2], "greater")
    assert p[0] == pytest.approx(welch["p"])

    sums = arrays.Sums(
        cells["crossfit_numerator"].to_numpy().reshape(4, 9).T[None],
        cells["crossfit_denominator"].to_numpy()[:9][None],
    )
    together = pooled(tables["recall"], networks)
    of_pooled = together[together["state"] == "retrained"]
    low, high = estimators.pooled_interval(sums, 0.99)
    np.testing.assert_allclose(low[0], of_pooled["crossfit_low"])
    np.testing.assert_allclose(high[0], of_pooled["crossfit_high"])
    against = effects(networks, together, found)
    low, high = estimators.difference_interval(sums, 0.99)
    np.testing.assert_allclose(low[0], against["crossfit_low"])
    np.testing.assert_allclose(high[0], against["crossfit_high"])
    _, hits = observed(design, 16)
    per_network, _ = estimators.stability(design, hits, sums)
    assert ((of_pooled["interpret"] == PER_NETWORK) == per_network[0]).all()
    error = arrays.denominator_error(design, hits)[0]
    assert int((~(sums.denominator[0] > 2 * error)).sum()) == of_pooled["unstable"].iloc[0]


@pytest.mark.parametrize("images", [None, 30])
def test_every_inference_reads_a_simulated_study(images) -> None:
    tables = study(Design(sweep([1.1, 1.3]), images=images, seeds=6), 17)
    recall, networks = tables["recall"], tables["networks"]
    found = cell_slopes(networks)
    together = pooled(recall, networks)
    assert len(found) == len(together) == 4
    assert len(effects(networks, together, found)) == 2
    assert set(contrasts.tests(networks, {})["question"]) == {"ratio", "control"}
    models = class_level(recall, Panel("simulated", "network", "simulated"))
    assert [model.reason for model in models] == ["", ""]
    if images is None:
        np.testing.assert_allclose(networks["alpha"], networks["alpha_crossfit"], rtol=1e-9)
