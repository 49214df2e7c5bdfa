"""Intervals of means on arrays, against scipy row by row, and what they do with odd values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recall_distortion.inference.statistics import intervals as module
from recall_distortion.system.errors import TableError
from recall_distortion.vocabulary import DEINTENSIFICATION, INCONCLUSIVE, INTENSIFICATION


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("level", [0.8, 0.99])
def test_rows_are_those_of_scipy(axis: int, level: float) -> None:
    values = np.random.default_rng(0).normal(1, 0.2, (7, 5))
    found = module.t_interval(values, level, axis=axis)
    test = stats.ttest_1samp(values, 0, axis=axis)
    low, high = test.confidence_interval(level)
    np.testing.assert_allclose(found.mean, values.mean(axis), rtol=1e-12)
    np.testing.assert_allclose(found.low, low, rtol=1e-12)
    np.testing.assert_allclose(found.high, high, rtol=1e-12)
    np.testing.assert_allclose(found.std_error, stats.sem(values, axis=axis), rtol=1e-12)
    assert found.df == values.shape[axis] - 1 == test.df.flat[0]


def test_a_row_is_the_same_alone_and_among_others() -> None:
    values = np.random.default_rng(1).normal(1, 0.2, (4, 3, 9))
    found = module.t_interval(values, 0.95)
    turned = module.t_interval(np.moveaxis(values, -1, 0), 0.95, axis=0)
    for i, j in np.ndindex(4, 3):
        alone = module.t_interval(values[i, j], 0.95)
        for name in ("mean", "low", "high", "std_error"):
            assert getattr(found, name)[i, j] == getattr(alone, name)
            assert getattr(turned, name)[i, j] == getattr(alone, name)
        assert (float(alone.mean), float(alone.low), float(alone.high)) == module.interval(
            values[i, j], 0.95
        )


def test_equal_values_have_no_width_whatever_rounding_makes_of_their_mean() -> None:
    values = np.array([[0.1 + 0.2, 0.3, 0.3], [1.1, 1.1, 1.1], [1.0, 1.5, 2.0]])
    found = module.t_interval(values, 0.99)
    np.testing.assert_array_equal(found.low[:2], found.high[:2])
    np.testing.assert_array_equal(found.mean[:2], values[:2, 0])
    np.testing.assert_array_equal(found.std_error[:2], 0)
    assert found.low[2] < 1.5 < found.high[2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_takes_its_row_along_and_no_other(bad: float) -> None:
    values = np.random.default_rng(2).normal(1, 0.2, (3, 4))
    whole = module.t_interval(values, 0.99)
    values[1, 2] = bad
    found = module.t_interval(values, 0.99)
    for name in ("mean", "low", "high", "std_error"):
        now, before = getattr(found, name), getattr(whole, name)
        np.testing.assert_array_equal(np.isnan(now), [False, True, False])
        np.testing.assert_array_equal(now[[0, 2]], before[[0, 2]])


@pytest.mark.filterwarnings("error")
def test_one_value_has_a_mean_and_no_interval_and_none_has_nothing() -> None:
    one = module.t_interval(np.array([[1.5], [np.nan]]), 0.99)
    np.testing.assert_array_equal(one.mean, [1.5, np.nan])
    assert np.isnan([one.low, one.high, one.std_error]).all()
    assert one.df == 0
    none = module.t_interval(np.zeros((2, 0)), 0.99)
    assert np.isnan([none.mean, none.low, none.high, none.std_error]).all()
    assert none.mean.shape == (2,)


def test_a_row_of_a_table_says_the_same() -> None:
    values = np.random.default_rng(3).normal(1, 0.2, 6)
    row = module.interval_row(values, 0.9)
    assert (row["mean"], row["low"], row["high"]) == module.interval(values, 0.9)
    assert (row["n"], row["df"], row["level"]) == (6, 5, 0.9)
    assert row["std_error"] == pytest.approx(stats.sem(values), rel=1e-12)
    assert np.isnan(module.interval_row(values[:1], 0.9)["df"])
    assert np.isnan(module.interval_row(np.array([1.0, np.nan]), 0.9)["df"])


def test_intervals_cover_at_their_level() -> None:
    generator = np.random.default_rng(3)
    samples = generator.normal(1, 0.2, (4000, 5))
    ends = np.array([module.interval(sample, 0.9)[1:] for sample in samples])
    covered = ((ends[:, 0] < 1) & (ends[:, 1] > 1)).mean()
    assert covered == pytest.approx(0.9, abs=4 * np.sqrt(0.9 * 0.1 / 4000))


def test_a_verdict_of_a_difference_is_against_0() -> None:
    assert module.verdict(0.1, 0.2) == DEINTENSIFICATION
    assert module.verdict(0.1, 0.2, null=0) == INTENSIFICATION
    assert module.verdict(-0.1, 0.2, null=0) == INCONCLUSIVE
    assert module.verdict(np.nan, np.nan, null=0) == ""


@pytest.mark.parametrize("level", [0, 1, 99, -0.5, np.nan])
def test_a_level_lies_between_0_and_1(level: float) -> None:
    with pytest.raises(TableError, match="between 0 and 1"):
        module.require_level(level)
