"""A verdict never rests on rounding: wherever numbers are compared, equal ones give none."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recall_distortion.inference.questions.seeds_needed import seeds_needed
from recall_distortion.inference.statistics import bootstrap
from recall_distortion.inference.statistics.intervals import interval, t_interval, verdict
from recall_distortion.inference.statistics.least_squares import clustered
from recall_distortion.inference.statistics.ttests import independent_test, paired_test
from recall_distortion.measures.distortion import Counts, recall_table, slope
from recall_distortion.measures.rounding import DUST, above, all_equal, below, differences
from recall_distortion.vocabulary import (
    CONTROL,
    DEINTENSIFICATION,
    INCONCLUSIVE,
    INTENSIFICATION,
)
from tests import synthetic

ULP = np.finfo(float).eps
NEAR = [1.0, 1 + ULP, 1 - ULP / 2, 1 + 2 * ULP, 1 - ULP]


@pytest.mark.parametrize("null", [0.0, 1.0])
@pytest.mark.parametrize("off", [2e-16, 1e-15, 1e-13])
def test_an_end_that_rounding_puts_beyond_the_null_excludes_nothing(null, off):
    assert verdict(null + off, null + off, null) == INCONCLUSIVE
    assert verdict(null - off, null - off, null) == INCONCLUSIVE
    assert verdict(null + 1e-9, null + 1, null) == INTENSIFICATION
    assert verdict(null - 1, null - 1e-9, null) == DEINTENSIFICATION


@pytest.mark.parametrize("ends", [(2, np.nan), (np.nan, 0.5), (2, np.inf), (-np.inf, 0.5)])
def test_an_interval_with_one_end_has_no_verdict(ends):
    assert verdict(*ends) == ""


def test_what_is_rounding_and_what_is_not():
    assert differences([1 + ULP, 1.5, 1e300], [1, 1, 1e300]).tolist() == [0, 0.5, 0]
    assert np.isnan(differences(np.nan, 1))
    assert differences([np.inf, 1], [1, -np.inf]).tolist() == [np.inf, np.inf]
    assert not all_equal([1, np.inf], size=np.inf)
    assert all_equal(NEAR)
    assert not all_equal([1, 1 + 1e-9])
    assert not all_equal([1, np.nan])
    assert all_equal([1e-16, -1e-16])
    assert not all_equal([1e-16, -1e-16], size=0)
    assert differences(4e-17, -4e-17) == 0 != differences(4e-17, -4e-17, size=0)
    assert above(1 + 2 * DUST, 1)
    assert below(1 - 2 * DUST, 1)
    assert not above(np.nan, 1)
    assert not below(np.nan, 1)


def test_slopes_equal_but_for_rounding_have_an_interval_of_no_width():
    for order in itertools.permutations(NEAR):
        mean, low, high = interval(np.array(order))
        assert low == mean == high
        assert verdict(low, high) == INCONCLUSIVE
    found = t_interval(np.array(list(itertools.permutations(NEAR))), 0.99)
    np.testing.assert_array_equal(found.low, found.high)
    np.testing.assert_array_equal(found.low, found.mean)


def test_tests_of_values_equal_but_for_rounding_say_so():
    left = pd.Series([1.5, 1.1, 0.3, 0.7], index=range(4))
    for off in (ULP, -ULP):
        nearly = left * (1 + off)
        found = paired_test(left, nearly, "two-sided")
        assert found["estimate"] == 0
        assert np.isnan(found["p"])
        assert "all equal" in found["note"]
        # The same distance in every pair, but for rounding: no spread to divide by.
        shifted = paired_test(left, nearly + 0.1, "two-sided")
        assert not np.isfinite(shifted["t"])
        assert "all equal" in shifted["note"]
    one, other = pd.Series(NEAR), pd.Series(NEAR[::-1])
    found = independent_test(one, other, "less")
    assert found["estimate"] == 0
    assert np.isnan(found["p"])


def test_ordinary_tests_are_scipys():
    rng = np.random.default_rng(0)
    left, right = (pd.Series(rng.normal(1, 0.1, 9)) for _ in range(2))
    expected = stats.ttest_rel(left, right, alternative="less")
    assert paired_test(left, right, "less")["p"] == expected.pvalue
    expected = stats.ttest_ind(left, right, alternative="less", equal_var=False)
    assert independent_test(left, right, "less")["p"] == expected.pvalue


@pytest.mark.parametrize("scale", [1.0, 0.07, 3e-5])
def test_the_bootstrap_of_ratios_equal_but_for_rounding_is_not_significant(scale):
    rng = np.random.default_rng(1)
    denominators = scale * rng.uniform(0.5, 2, (8, 3))
    numerators = denominators * (1 + ULP * rng.integers(-3, 4, (8, 3)))
    found = bootstrap.ratio(numerators, denominators)
    for p in (found.p_above(1.0), found.p_below(1.0)):
        assert (p > 0.4).all()
    for low, high in zip(*found.interval(0.99), strict=True):
        assert verdict(low, high) == INCONCLUSIVE
    clusters = np.arange(8)
    squares = clustered(numerators[:, 0], denominators[:, :1], clusters, np.zeros(8))
    assert (squares.p_above(1.0) > 0.4).all()
    assert (squares.p_below(1.0) > 0.4).all()


def test_the_seeds_needed_of_equal_differences_are_two():
    base = np.random.default_rng(2).normal(1, 0.2, 6)
    table = synthetic.networks(
        {
            ("own", "cnn", CONTROL, 1.0): base.tolist(),
            ("own", "cnn", "magnitude", 2.0): (base * (1 + ULP)).tolist(),
        }
    )
    pooled = table.drop_duplicates(["method", "ratio"]).assign(narrow="")
    found = seeds_needed(table, pooled)
    assert (found.loc[found["question"] == CONTROL, "sd"] == 0).all()


@pytest.mark.parametrize("support", [[475, 25], [10, 20, 30], [7, 11, 13, 17], [892, 1135, 1032]])
@pytest.mark.parametrize("parts", [3, 7, 10])
def test_recalls_that_are_the_same_fraction_leave_no_balance(support, parts):
    """What rounding leaves of recall less accuracy would be all of a slope's denominator."""
    support = np.array(support) * parts
    counts = Counts(support, (support // parts)[None], support[None])
    assert (counts.normalized_balance == 0).all()
    assert np.isnan(slope(counts.normalized_balance[0], np.ones(len(support))))
    labels = np.repeat(np.arange(len(support)), support)
    wrong = (labels + 1) % len(support)
    first = np.concatenate([np.arange(n) < n // parts for n in support])
    table = recall_table(labels, np.where(first, labels, wrong), len(support))
    assert (table["balance"] == 0).all()


def test_a_half_without_an_image_of_a_class_has_no_balance_for_it():
    support = np.array([4.0, 0.0])
    found = Counts(support, np.array([[2.0, 0.0]]), support[None]).normalized_balance
    assert found[0, 0] == 0
    assert np.isnan(found[0, 1])


@pytest.mark.parametrize("n", [2, 3, 6, 7, 30])
def test_equal_slopes_and_differences_are_tested_without_scipys_rounding(n):
    """Whether the mean of n equal numbers rounds decides what scipy says of them."""
    for value in (1.1, 0.3, 4e-17):
        left, right = pd.Series([1.3] * n), pd.Series([value] * n)
        for found in (
            paired_test(left, right, "greater"),
            independent_test(left, right, "greater"),
        ):
            assert found["estimate"] == pytest.approx(1.3 - value)
            assert (found["t"], found["p"]) == (np.inf, 0)
            assert "all equal" in found["note"]
        assert paired_test(left, right, "less")["p"] == 1
        assert independent_test(right, left, "two-sided")["p"] == 0
    # Slopes of 0 come out of their sums as a few 1e-17, either way.
    zeros = pd.Series([4.4e-17, -4.4e-17] * n)
    for found in (
        paired_test(zeros, -zeros, "two-sided"),
        independent_test(zeros, -zeros, "less"),
    ):
        assert found["estimate"] == 0
        assert np.isnan(found["p"])


def test_slopes_of_zero_have_a_bootstrap_of_no_width():
    rng = np.random.default_rng(3)
    denominators = rng.uniform(0.01, 0.02, (8, 2))
    numerators = 4e-19 * rng.choice([-1, 1], (8, 2))
    found = bootstrap.ratio(numerators, denominators)
    other = bootstrap.difference(numerators, denominators, -numerators, denominators)
    for result in (found, other):
        for low, high in zip(*result.interval(0.99), strict=True):
            assert verdict(low, high, null=0) == INCONCLUSIVE
        assert (result.p_above(0) > 0.4).all()
