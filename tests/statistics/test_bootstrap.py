"""The bootstrap of ratios: its sums and errors recomputed, its coverage and level simulated."""

from __future__ import annotations

import time

import numpy as np
import pytest

from recall_distortion.inference.statistics import bootstrap

LEVEL = 0.99


def sums(n: int, m: int, seed: int = 0, slope: float = 1.2, sd: float = 0.2):
    """Return numerators and denominators [n, m] of replicates whose slopes vary about ``slope``."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(4, 0.25, (n, m))
    return x * rng.normal(slope, sd, x.shape), x


def two(n: int, m: int, seed: int = 0):
    """Return the sums of two ratios of the same replicates, which share part of their variation."""
    y, x = sums(n, m, seed)
    v, u = sums(n, m, seed + 1, slope=1.0)
    return y, x, v + 0.3 * y, u + 0.2 * x


# Estimates, standard errors and draws


def test_estimates_are_plain_quotients_of_sums() -> None:
    y, x, v, u = two(12, 7)
    first, second = y.sum(0) / x.sum(0), v.sum(0) / u.sum(0)
    np.testing.assert_allclose(bootstrap.ratio(y, x).estimate, first, rtol=1e-13)
    np.testing.assert_allclose(
        bootstrap.difference(y, x, v, u).estimate, first - second, rtol=1e-11
    )


def by_delta_method(columns: np.ndarray, gradient: np.ndarray) -> float:
    """Return the standard error of a function of means, from their covariance matrix."""
    return float(np.sqrt(gradient @ np.cov(columns) @ gradient / columns.shape[1]))


def test_standard_errors_are_those_of_the_delta_method() -> None:
    parts = two(15, 4)
    ratios, differences = bootstrap.ratio(*parts[:2]), bootstrap.difference(*parts)
    for column in range(4):
        y, x, v, u = (part[:, column] for part in parts)
        of_ratio = np.array([1 / x.mean(), -y.mean() / x.mean() ** 2])
        of_other = np.array([-1 / u.mean(), v.mean() / u.mean() ** 2])
        expected = by_delta_method(np.array([y, x]), of_ratio)
        assert ratios.std_error[column] == pytest.approx(expected, rel=1e-10)
        both = by_delta_method(np.array([y, x, v, u]), np.concatenate([of_ratio, of_other]))
        assert differences.std_error[column] == pytest.approx(both, rel=1e-10)


def test_standard_errors_are_those_of_the_jackknife_in_a_large_sample() -> None:
    """The two differ in terms of order 1/n, here 1/2,000, times moments of the denominators."""
    n = 2000
    y, x, v, u = (part[:, 0] for part in two(n, 1))
    first = (y.sum() - y) / (x.sum() - x)
    second = (v.sum() - v) / (u.sum() - u)
    for left_out, found in (
        (first, bootstrap.ratio(y[:, None], x[:, None], count=10)),
        (first - second, bootstrap.difference(*(part[:, None] for part in (y, x, v, u)), count=10)),
    ):
        jackknife = np.sqrt((n - 1) * left_out.var())
        assert found.std_error[0] == pytest.approx(jackknife, rel=0.005)


def test_draws_are_recomputed_from_their_replicates() -> None:
    n, m = 6, 3
    parts = two(n, m)
    weights = bootstrap.draws(n, 40)
    assert (weights.sum(1) == n).all()
    own = bootstrap.ratio(*parts[:2], count=40)
    both = bootstrap.difference(*parts, count=40)
    for draw, counts in enumerate(weights):
        chosen = np.repeat(np.arange(n), counts)
        if len(set(chosen)) < 2:
            continue
        again = bootstrap.ratio(*(part[chosen] for part in parts[:2]), count=1)
        expected = (again.estimate - own.estimate) / again.std_error
        np.testing.assert_allclose(own.studentized[draw], expected, rtol=1e-8, atol=1e-8)
        again = bootstrap.difference(*(part[chosen] for part in parts), count=1)
        expected = (again.estimate - both.estimate) / again.std_error
        np.testing.assert_allclose(both.studentized[draw], expected, rtol=1e-8, atol=1e-8)


def test_a_draw_of_one_replicate_alone_is_infinite() -> None:
    y, x, v, u = two(5, 1)
    alone = bootstrap.draws(5).max(1) == 5
    assert 0 < alone.sum() < 50  # 9,999 draws, of which 5 / 5^5 are expected: 16
    for found in (bootstrap.ratio(y, x), bootstrap.difference(y, x, v, u)):
        np.testing.assert_array_equal(np.isinf(found.studentized[:, 0]), alone)
        assert np.isfinite(found.interval(0.99)).all()
        # 16 of 9,999 draws reach the quantile of 0.01 %, and an infinite end is no end.
        assert np.isnan(found.interval(0.9998)).any()


def test_results_repeat_and_do_not_depend_on_the_other_columns() -> None:
    y, x = sums(10, 5)
    found, again = bootstrap.ratio(y, x), bootstrap.ratio(y.copy(), x.copy())
    np.testing.assert_array_equal(found.interval(LEVEL), again.interval(LEVEL))
    alone = bootstrap.ratio(y[:, 2:3], x[:, 2:3])
    np.testing.assert_allclose(
        np.ravel(alone.interval(LEVEL)), np.array(found.interval(LEVEL))[:, 2], rtol=1e-9
    )


def test_scaling_scales_and_the_order_of_sides_changes_the_sign() -> None:
    y, x, v, u = two(10, 3)
    low, high = bootstrap.ratio(y, x).interval(LEVEL)
    np.testing.assert_allclose(
        bootstrap.ratio(7 * y, 2 * x).interval(LEVEL), (3.5 * low, 3.5 * high)
    )
    low, high = bootstrap.difference(y, x, v, u).interval(LEVEL)
    turned = bootstrap.difference(v, u, y, x).interval(LEVEL)
    np.testing.assert_allclose(turned, (-high, -low), rtol=1e-6)
    found = bootstrap.difference(y, x, v, u)
    np.testing.assert_allclose(
        found.p_above(0.1), bootstrap.difference(v, u, y, x).p_below(-0.1), rtol=1e-12
    )


def test_a_hundred_statistics_of_thirty_replicates_take_under_two_seconds() -> None:
    y, x = sums(30, 100)
    start = time.perf_counter()
    bootstrap.ratio(y, x).interval(LEVEL)
    assert time.perf_counter() - start < 2


# Replicates that are equal, few or not finite


@pytest.mark.parametrize("slope", [1.1, 0.1 + 0.2, 1 / 3, -2.0, 0.0])
def test_equal_slopes_have_an_interval_of_no_width(slope: float) -> None:
    x = np.random.default_rng(0).gamma(4, 0.25, (8, 1)) / 3
    found = bootstrap.ratio(slope * x, x)
    low, high = found.interval(LEVEL)
    assert low[0] == high[0] == found.estimate[0] == pytest.approx(slope, rel=1e-14)
    assert found.std_error[0] == 0
    assert found.p_above(slope - 0.1)[0] == pytest.approx(1 / (bootstrap.DRAWS + 1))
    assert found.p_above(slope + 0.1)[0] == 1
    assert found.p_below(slope + 0.1)[0] == pytest.approx(1 / (bootstrap.DRAWS + 1))
    assert found.p_above(found.estimate[0])[0] == 1


def test_a_constant_difference_has_an_interval_of_no_width() -> None:
    y, x = sums(8, 1)
    for factor in (1.0, 3.0):  # the same ratio, from the same sums and from sums thrice as large
        same = bootstrap.difference(y, x, factor * y, factor * x)
        low, high = same.interval(LEVEL)
        assert same.estimate[0] == low[0] == high[0] == 0
        assert same.p_above(0)[0] == same.p_below(0)[0] == 1
    shifted = bootstrap.difference(y + 0.3 * x, x, y, x)
    low, high = shifted.interval(LEVEL)
    assert low[0] == high[0] == shifted.estimate[0] == pytest.approx(0.3, rel=1e-12)


def test_small_but_real_variation_is_no_rounding() -> None:
    y, x = sums(8, 1, sd=1e-9)
    found = bootstrap.ratio(y, x)
    low, high = found.interval(LEVEL)
    # A t interval of 8 values of sd 1e-9 is 2.5e-9 wide; these denominators and tails are not far.
    assert 1e-9 < high[0] - low[0] < 1e-8


@pytest.mark.parametrize("n", [0, 1, 4])
def test_few_replicates_have_an_estimate_only(n: int) -> None:
    y, x, v, u = two(n, 2)
    for found in (bootstrap.ratio(y, x), bootstrap.difference(y, x, v, u)):
        assert np.isfinite(found.estimate).all() == (n > 0)
        assert np.isnan([found.interval(LEVEL), (found.p_above(1), found.p_below(1))]).all()
    with np.errstate(all="raise"):
        assert np.isfinite(bootstrap.ratio(*sums(5, 2)).interval(LEVEL)).all()


@pytest.mark.parametrize("informative", [1, 2, 4, 6, 7])  # of 5, too many draws hold one alone
def test_replicates_without_a_denominator_do_not_count(informative: int) -> None:
    """A network whose classes are all equal has no slope, however many others there are."""
    y, x, v, u = (part.copy() for part in two(8, 2))
    for part in (y, x, v, u):
        part[informative:, 0] = 0
    for found in (bootstrap.ratio(y, x), bootstrap.difference(y, x, v, u)):
        for end in (*found.interval(LEVEL), found.p_above(0)):
            assert np.isfinite(end).tolist() == [informative >= bootstrap.LEAST_REPLICATES, True]
    alone = bootstrap.ratio(y[:informative], x[:informative])
    found = bootstrap.ratio(y, x)
    assert found.estimate[0] == pytest.approx(alone.estimate[0])


@pytest.mark.parametrize("total", [0.0, -0.1])
def test_a_denominator_that_is_not_above_zero_makes_no_ratio(total: float) -> None:
    y, x = sums(8, 2)
    x[:, 0] -= x[:, 0].mean() - total / 8
    x[0, 0] += total - x[:, 0].sum()  # exactly
    found = [bootstrap.ratio(y, x), bootstrap.difference(y, x, y, np.abs(x) + 1)]
    for result in found:
        assert np.isnan(result.estimate).tolist() == [True, False]
        assert np.isnan(result.interval(LEVEL)[0]).tolist() == [True, False]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_column(bad: float) -> None:
    y, x, v, u = two(9, 4)
    clean = bootstrap.ratio(y, x), bootstrap.difference(y, x, v, u)
    y[3, 1] = bad
    x[:, 2] = 0
    for found, before in zip(
        (bootstrap.ratio(y, x), bootstrap.difference(y, x, v, u)), clean, strict=True
    ):
        low, high = found.interval(LEVEL)
        assert np.isnan(low[1:3]).all()
        assert np.isnan(high[1:3]).all()
        assert np.isnan(found.p_above(1)[1:3]).all()
        np.testing.assert_allclose(low[[0, 3]], before.interval(LEVEL)[0][[0, 3]])


# Coverage and level


def studies(n: int, kind: str, count: int = 2000):
    """Return numerators and denominators of many studies at once, each of true slope 1.2."""
    rng = np.random.default_rng(7)
    x = rng.gamma(4, 0.25, (n, count))
    slopes = {
        "normal": 1.2 + 0.2 * rng.standard_normal(x.shape),
        "lognormal": rng.lognormal(np.log(1.2) - 0.5**2 / 2, 0.5, x.shape),
    }
    return x * slopes[kind], x


def share_within(low: np.ndarray, high: np.ndarray) -> float:
    return float(((low <= 1.2) & (high >= 1.2)).mean())


# With 4,000 studies and 9,999 draws these came out as 0.986, 0.989, 0.976 and 0.987 in this order:
# slightly short with 10 replicates, more so where the replicates' slopes are skewed.
EXPECTED = [
    (10, "normal", 0.986),
    (30, "normal", 0.989),
    (10, "lognormal", 0.976),
    (30, "lognormal", 0.987),
]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "kind", "expected"), EXPECTED)
def test_intervals_cover_as_the_module_says(n: int, kind: str, expected: float) -> None:
    count, draws = 2000, 1999
    y, x = studies(n, kind, count)
    covered = share_within(*bootstrap.ratio(y, x, count=draws).interval(LEVEL))
    # 4 binomial standard errors, and 0.002 for the quantile of fewer draws: its tail of 0.5 % has
    # a standard error of 0.16 % in one study, part of which all studies share.
    tolerance = 4 * np.sqrt(expected * (1 - expected) / count) + 0.002
    assert covered == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_percentile_intervals_are_shorter_than_they_should_be(kind: str) -> None:
    """Why the draws are studentized: with 10 replicates, percentiles covered 0.95 and 0.93."""
    y, x = studies(10, kind)
    weights = bootstrap.draws(10, 1999)
    ends = np.quantile((weights @ y) / (weights @ x), [0.005, 0.995], axis=0)
    percentile = share_within(*ends)
    studentized = share_within(*bootstrap.ratio(y, x, count=1999).interval(LEVEL))
    assert percentile < 0.97
    assert studentized > percentile + 0.01


def test_intervals_of_differences_cover() -> None:
    """Of two ratios, 1.2 and 1.0, whose replicates share denominators and errors."""
    rng = np.random.default_rng(8)
    n, count = 15, 2000
    x = rng.gamma(4, 0.25, (n, count))
    shared = rng.normal(0, 0.2, x.shape)
    y, v = (x * (slope + shared + rng.normal(0, 0.1, x.shape)) for slope in (1.2, 1.0))
    found = bootstrap.difference(y, x, v, x, count=1999)
    low, high = found.interval(LEVEL)
    covered = ((low <= 0.2) & (high >= 0.2)).mean()
    assert covered == pytest.approx(0.988, abs=4 * np.sqrt(0.988 * 0.012 / count) + 0.002)
    # The pairing removes what is shared: unpaired, the error would be 2.2 times as large.
    unpaired = np.hypot(
        bootstrap.ratio(y, x, count=10).std_error, bootstrap.ratio(v, x, count=10).std_error
    )
    assert np.median(unpaired / found.std_error) == pytest.approx(np.sqrt(0.1 / 0.02), rel=0.1)


@pytest.mark.parametrize("at", [0.01, 0.05, 0.25, 0.5, 0.75, 0.95])
def test_p_values_are_uniform_where_the_null_is_true(at: float) -> None:
    """With 30 normal replicates, up to 4 binomial standard errors and a bias of 0.01."""
    count = 2000
    found = bootstrap.ratio(*studies(30, "normal", count), count=1999)
    for p in (found.p_above(1.2), found.p_below(1.2)):
        tolerance = 4 * np.sqrt(at * (1 - at) / count) + 0.01
        assert (p <= at).mean() == pytest.approx(at, abs=tolerance)


def test_p_values_and_intervals_agree() -> None:
    """An end of the 98 % interval is where the one-sided p is 1 %, up to one draw in 9,999."""
    found = bootstrap.ratio(*sums(20, 3))
    low, high = found.interval(0.98)
    for column in range(3):
        assert found.p_above(low[column])[column] == pytest.approx(0.01, abs=3e-4)
        assert found.p_below(high[column])[column] == pytest.approx(0.01, abs=3e-4)
