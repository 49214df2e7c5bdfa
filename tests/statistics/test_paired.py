"""Intervals and tests of paired proportions against independent computations of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import proportion_confint

from recall_distortion.inference.statistics.paired import (
    Ends,
    cautious,
    clopper_pearson,
    excess,
    mcnemar,
    normal_quantile,
    of_sum,
    tango,
    wilson,
)

TABLES = [(0, 0, 10), (0, 5, 20), (7, 0, 20), (3, 4, 40), (12, 2, 50), (20, 0, 20), (1, 1, 2)]


@pytest.mark.parametrize("level", [0.9, 0.99])
def test_wilson_is_that_of_statsmodels(level: float) -> None:
    for successes, images in [(0, 5), (3, 10), (10, 10), (999, 1000)]:
        expected = proportion_confint(successes, images, 1 - level, "wilson")
        np.testing.assert_allclose(wilson(successes, images, level), expected, atol=1e-12)


def score(difference: float, lost: int, gained: int, images: int) -> float:
    """Return the score statistic, the likelihood being maximized numerically."""

    def fit(share_lost: float) -> float:
        share_gained = share_lost + difference
        rest = 1 - share_lost - share_gained
        counts = np.array([lost, gained, images - lost - gained])
        shares = np.array([share_lost, share_gained, rest]).clip(1e-300)
        return -float((counts * np.log(shares)).sum())

    low, high = max(0.0, -difference), (1 - difference) / 2
    found = optimize.minimize_scalar(
        fit, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    variance = (2 * found + difference - difference**2) / images
    return ((gained - lost) / images - difference) / np.sqrt(variance)


@pytest.mark.parametrize(("lost", "gained", "images"), TABLES)
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_the_ends_of_tango_s_interval_have_the_score_of_its_level(
    lost: int, gained: int, images: int, level: float
) -> None:
    z = stats.norm.ppf((1 + level) / 2)
    for end, sign in zip(tango(lost, gained, images, level), (1, -1), strict=True):
        if abs(end) < 1:  # else no difference is excluded on this side
            assert score(end, lost, gained, images) == pytest.approx(sign * z, rel=2e-5)


def test_tango_s_interval_lies_around_the_difference_and_turns_with_it() -> None:
    lost, gained, images = np.array(TABLES).T
    low, high = tango(lost, gained, images, 0.99)
    difference = (gained - lost) / images
    assert (low <= difference).all()
    assert (high >= difference).all()
    turned = tango(gained, lost, images, 0.99)
    np.testing.assert_allclose(turned.low, -high, atol=1e-12)
    np.testing.assert_allclose(turned.high, -low, atol=1e-12)


def test_where_nothing_changed_the_interval_says_what_could_have() -> None:
    """z^2 / (n + z^2), from the equation of the ends: a class needs 326 images to exclude 2 %."""
    z2 = normal_quantile(0.99) ** 2
    images = np.array([1, 10, 325, 326, 10_000])
    low, high = tango(0, 0, images, 0.99)
    np.testing.assert_allclose(high, z2 / (images + z2), rtol=1e-12)
    np.testing.assert_allclose(low, -high)
    assert high[2] > 0.02 > high[3]


def test_without_an_image_there_is_no_interval() -> None:
    assert np.isnan(tango(0, 0, 0, 0.99)).all()
    assert np.isnan(wilson(0, 0, 0.99)).all()


@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.0), (0.1, 0.1), (0.3, 0.05), (0.01, 0.03)])
def test_tango_s_interval_covers_what_it_says(lost: float, gained: float) -> None:
    """The exact coverage, over every table of 60 images.

    A score interval's swings about 95 %, and is larger where hardly any image changes.
    """
    images = 60
    counts = np.array(
        [pair for pair in itertools.product(range(images + 1), repeat=2) if sum(pair) <= images]
    )
    rest = images - counts.sum(1)
    chance = stats.multinomial.pmf(
        np.column_stack([counts, rest]), images, [lost, gained, 1 - lost - gained]
    )
    low, high = tango(counts[:, 0], counts[:, 1], images, 0.95)
    truth = gained - lost
    covered = chance[(low <= truth) & (truth <= high)].sum()
    assert covered > 0.93
    assert covered < 0.97 or images * (lost + gained) < 3


@pytest.mark.parametrize("level", [0.9, 0.99999])
def test_exact_intervals_are_those_of_statsmodels(level: float) -> None:
    for successes, images in [(0, 5), (3, 10), (10, 10), (999, 1000)]:
        expected = proportion_confint(successes, images, 1 - level, "beta")
        np.testing.assert_allclose(clopper_pearson(successes, images, level), expected, atol=1e-9)


@pytest.mark.parametrize("classes", [10, 1000])
@pytest.mark.parametrize(("lost", "gained"), [(0.02, 0.0), (0.02, 0.005), (0.1, 0.1)])
def test_cautious_intervals_err_as_seldom_as_many_classes_need(
    classes: int, lost: float, gained: float
) -> None:
    """The exact chance that a class of 1,000 images is said to have lost more than it did.

    Over 1,000 classes Tango's interval says it of some class in 4 % of cases where half a percent
    is allowed, if 2 % are lost and none gained.
    """
    images, level = 1000, 1 - 0.01 / classes
    counts = np.array(list(itertools.product(range(200), repeat=2)))
    chance = stats.multinomial.pmf(
        np.column_stack([counts, images - counts.sum(1)]),
        images,
        [lost, gained, 1 - lost - gained],
    )
    assert chance.sum() == pytest.approx(1, abs=1e-9)
    wide, narrow = (find(*counts.T, images, level) for find in (cautious, tango))
    truth = gained - lost
    # Ends that are the truth but for rounding do not exclude it.
    wrong = chance[wide.high < truth - 1e-12].sum()
    assert wrong <= (1 - level) / 2
    assert (wide.low <= narrow.low).all()
    assert (wide.high >= narrow.high).all()
    if (classes, lost, gained) == (1000, 0.02, 0.0):
        assert chance[narrow.high < truth - 1e-12].sum() > 5 * (1 - level) / 2


@pytest.mark.parametrize(("lost", "gained", "images"), TABLES)
def test_mcnemar_s_exact_p_is_that_of_statsmodels(lost: int, gained: int, images: int) -> None:
    expected = reference_mcnemar([[0, lost], [gained, 0]], exact=True).pvalue
    if not lost + gained:
        expected = 1.0  # which statsmodels leaves open
    found = mcnemar(lost, gained)
    assert found.exact == pytest.approx(expected)
    fewer, changed = min(lost, gained), lost + gained
    half = stats.binom.pmf(fewer, changed, 0.5) / 2
    assert (
        found.mid == pytest.approx(min(1, 2 * (stats.binom.cdf(fewer, changed, 0.5) - half)))
        if changed
        else found.mid == 1
    )


def test_an_interval_of_a_sum_of_normal_estimates_is_the_usual_one() -> None:
    errors = np.array([0.1, 0.2, 0.05])
    estimates, z = np.array([1.0, -2.0, 0.5]), normal_quantile(0.95)
    weights = np.array([[1.0, -1.0, 0.0], [0.5, 0.3, 0.2]])
    low, high = of_sum(weights, estimates, Ends(estimates - z * errors, estimates + z * errors))
    half = z * np.sqrt((weights**2 * errors**2).sum(1))
    np.testing.assert_allclose(low, weights @ estimates - half)
    np.testing.assert_allclose(high, weights @ estimates + half)


def test_the_excess_is_the_sum_in_which_a_class_counts_in_all_images_once() -> None:
    images, lost, gained = np.array([900, 90, 10]), np.array([9, 12, 4]), np.array([8, 0, 0])
    ends = tango(lost, gained, images, 0.99)
    changes = (gained - lost) / images
    weights = np.eye(3) - images / images.sum()
    found, (low, high) = excess(images, changes, ends)
    np.testing.assert_allclose(found, changes - (gained - lost).sum() / images.sum())
    expected = of_sum(weights, changes, ends)
    np.testing.assert_allclose(low, expected.low)
    np.testing.assert_allclose(high, expected.high)


def test_one_class_alone_has_no_excess() -> None:
    found, (low, high) = excess(
        np.array([50]), np.array([-0.1]), Ends(np.array([-0.2]), np.array([0.0]))
    )
    assert (found, low, high) == (0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "lost", "gained"),
    [
        ([200] * 4, [0.05] * 4, [0.02] * 4),
        ([1000, 100, 10], [0.01, 0.05, 0.2], [0.01, 0.0, 0.1]),
        ([30] * 50, [0.1] * 50, [0.0] * 50),
    ],
)
def test_the_excess_is_covered(images: list[int], lost: list[float], gained: list[float]) -> None:
    rng = np.random.default_rng(7)
    n, studies = np.array(images), 1000
    shares = np.column_stack([lost, gained, 1 - np.add(lost, gained)])
    drawn = np.stack([rng.multinomial(m, p, studies) for m, p in zip(n, shares, strict=True)], 1)
    truth = np.subtract(gained, lost)
    truth = truth - (n * truth).sum() / n.sum()
    covered = np.zeros(len(n))
    for counts in drawn:
        ends = tango(counts[:, 0], counts[:, 1], n, 0.95)
        _, (low, high) = excess(n, (counts[:, 1] - counts[:, 0]) / n, ends)
        covered += (low <= truth) & (truth <= high)
    # Three standard errors of 1,000 studies below 95 %; small classes are covered more often.
    assert (covered / studies).min() > 0.95 - 3 * np.sqrt(0.95 * 0.05 / studies)
