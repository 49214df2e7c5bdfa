"""Means over networks and images: components against analysis of variance, intervals simulated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from recall_distortion.inference.statistics import crossed, paired
from recall_distortion.inference.statistics.crossed import components
from recall_distortion.inference.statistics.crossed_slope import (
    Pairs,
    Slope,
    crossed_slope,
    slope_difference,
)
from recall_distortion.inference.statistics.pair_slope import PairCounts, pair_slope, pair_sums
from recall_distortion.inference.statistics.pair_slope import (
    slope_difference as difference_of_one,
)
from recall_distortion.simulation.populations import SETTINGS, SKEWED, Population, coverage

LABELS = np.repeat([0, 1, 2], [300, 500, 200])
IMAGES = np.bincount(LABELS)


def right(networks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which images [K, M] networks before, after and their controls recognize."""
    rng = np.random.default_rng(seed)
    easy = rng.random(len(LABELS))
    shape = (networks, len(LABELS))

    def answers(recalls: list[float]) -> np.ndarray:
        return 0.7 * easy + 0.3 * rng.random(shape) < np.array(recalls)[LABELS]

    return answers([0.9, 0.7, 0.5]), answers([0.8, 0.65, 0.3]), answers([0.9, 0.7, 0.45])


def shares(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of lost and gained images of each class, means over networks."""
    lost, gained = (before & ~after).mean(0), (after & ~before).mean(0)
    return tuple(np.bincount(LABELS, part) / IMAGES for part in (lost, gained))


def changes(before: np.ndarray, after: np.ndarray, **options: object) -> crossed.Components:
    moved = after.astype(float) - before
    return components([moved[None]], LABELS, 3, **options)


def difference(pairs: Pairs, other: np.ndarray, level: float) -> Slope:
    """Return by how much a slope exceeds that of other networks after the same."""
    others = Pairs(pairs.label, pairs.classes, pairs.before, other)
    slopes = crossed_slope(pairs, level), crossed_slope(others, level)
    return slope_difference(pairs, others, slopes, level)


def test_components_are_those_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 1)) + rng.normal(size=(1, 9)) + rng.normal(size=(4, 9))
    found = components([values[None]], np.zeros(9, int), 1)
    seed, image = np.indices(values.shape)
    table = pd.DataFrame({"y": values.ravel(), "s": seed.ravel(), "i": image.ravel()})
    squares = anova_lm(ols("y ~ C(s) + C(i)", table).fit())
    mean = squares["sum_sq"] / squares["df"] / values.size
    assert found.of_seeds.item() == pytest.approx(mean["C(s)"])
    assert found.of_images.item() == pytest.approx(mean["C(i)"])
    assert found.of_interaction.item() == pytest.approx(mean["Residual"])


def test_components_of_several_quantities_are_those_of_each_and_of_their_sum() -> None:
    rng = np.random.default_rng(1)
    values, group = rng.normal(size=(2, 3, 40)), rng.integers(0, 2, 40)
    both = components([values[:, :1], values[:, 1:]], group, 2)
    added = components([values.sum(0, keepdims=True)], group, 2)
    for name in ("of_seeds", "of_images", "of_interaction"):
        np.testing.assert_allclose(getattr(both, name).sum((1, 2)), getattr(added, name).ravel())
        one = components([values[:1]], group, 2)
        np.testing.assert_allclose(getattr(both, name)[:, 0, 0], getattr(one, name).ravel())


def test_resampling_networks_and_images_counts_their_interaction_three_times() -> None:
    """Why the variance is not that of a crossed bootstrap (Owen 2007)."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(20, 1)) / 5 + rng.normal(size=(20, 50))
    found = components([values[None]], np.zeros(50, int), 1)
    seeds, images, rest = (
        part.item() for part in (found.of_seeds, found.of_images, found.of_interaction)
    )
    drawn = [
        values[np.ix_(rng.integers(0, 20, 20), rng.integers(0, 50, 50))].mean()
        for _ in range(20_000)
    ]
    assert np.var(drawn) == pytest.approx(seeds + images + rest, rel=0.08)
    assert seeds + images - rest < 0.7 * np.var(drawn)


@pytest.mark.parametrize("networks", [2, 3, 10])
def test_copies_of_one_network_say_what_one_says(networks: int) -> None:
    before, after, control = (np.repeat(part, networks, axis=0) for part in right(1))
    lost, gained = shares(before, after)
    found = changes(before, after)
    one = paired.tango(lost * IMAGES, gained * IMAGES, IMAGES, 0.99)
    many = crossed.change(lost, gained, found, 0.99)
    np.testing.assert_allclose(many, one, atol=1e-12)
    np.testing.assert_allclose(
        crossed.change(lost, gained, found, 0.999, is_cautious=True),
        paired.cautious(lost * IMAGES, gained * IMAGES, IMAGES, 0.999),
        atol=1e-12,
    )
    recall = np.bincount(LABELS, before[0]) / IMAGES
    parts = components([before[None]], LABELS, 3)
    expected = paired.wilson(recall * IMAGES, IMAGES, 0.99)
    np.testing.assert_allclose(crossed.share(recall, parts, 0.99), expected, atol=1e-12)
    exceeds, ends = paired.excess(IMAGES, gained - lost, one)
    several, own, alone = crossed.excess(found, many, 0.99)
    np.testing.assert_allclose(several, exceeds, atol=1e-12)
    np.testing.assert_allclose(own, ends, atol=1e-12)
    np.testing.assert_allclose(alone, [exceeds, exceeds], atol=1e-12)
    pairs = Pairs(LABELS, 3, before, after)
    slope = pair_slope(PairCounts(*(part[0] for part in vars(pairs.counts()).values())), 0.99)
    np.testing.assert_allclose(
        crossed_slope(pairs, 0.99)[:3], (slope.alpha, slope.low, slope.high), rtol=1e-9
    )
    kinds = np.zeros((3, 2, 2, 2), int)
    np.add.at(kinds, (LABELS, *(part[0].astype(int) for part in (before, after, control))), 1)
    np.testing.assert_allclose(
        difference(pairs, control, 0.99)[:3], difference_of_one(kinds, 0.99), rtol=1e-9
    )


def test_an_interval_over_other_seeds_is_that_of_the_networks_changes() -> None:
    before, after, _ = right(6)
    each = np.stack(
        [
            np.bincount(LABELS, b) - np.bincount(LABELS, a)
            for a, b in zip(before, after, strict=True)
        ]
    )
    low, high = stats.t.interval(0.99, 5, (each / IMAGES).mean(0), stats.sem(each / IMAGES))
    np.testing.assert_allclose(crossed.over_seeds(changes(before, after), 0.99), (low, high))


def test_no_interval_is_shorter_than_that_over_images_alone() -> None:
    """Each network loses another image: images vary less than the interaction says."""
    before = np.ones((50, 100), bool)
    after = ~np.eye(50, 100, dtype=bool)
    moved = after.astype(float) - before
    found = components([moved[None]], np.zeros(100, int), 1)
    assert found.of_seeds.item() == 0
    assert found.of_images.item() < found.of_interaction.item()
    z2 = paired.normal_quantile(0.99) ** 2
    assert crossed.spread(found, 0.99).item() == pytest.approx(z2 * found.of_images.item())


def test_where_nothing_changed_there_are_as_many_images_as_there_are() -> None:
    before, _, _ = right(5)
    nothing = np.zeros(3)
    found = crossed.change(nothing, nothing, changes(before, before), 0.99)
    np.testing.assert_allclose(found, paired.tango(nothing, nothing, IMAGES, 0.99))


def test_of_classes_with_one_image_or_none_nothing_breaks() -> None:
    values = np.array([[0.0, 0, 1, -1], [0, 1, 1, -1]])
    found = components([values[None]], np.array([0, 0, 0, 2]), 3)
    lost, gained = np.array([0, np.nan, 1]), np.array([0.5, np.nan, 0])
    ends = crossed.change(lost, gained, found, 0.99)
    assert np.isnan([end[1] for end in ends]).all()
    np.testing.assert_allclose([end[2] for end in ends], [-1, -0.0], atol=0.9)
    assert np.isfinite([end[0] for end in ends]).all()


def test_p_is_the_level_at_which_the_interval_ends_at_no_change() -> None:
    before, after, _ = right(5)
    found, (lost, gained) = changes(before, after), shares(before, after)
    p = crossed.p_value(lost, gained, found)
    for place, value in enumerate(p):
        low, high = crossed.change(lost, gained, found, 1 - value)
        assert min(abs(low[place]), abs(high[place])) < 1e-6
    same = crossed.p_value(
        np.array([0.1, 0]),
        np.array([0.1, 0]),
        components([np.zeros((1, 2, 4))], np.array([0, 0, 1, 1]), 2),
    )
    assert list(same) == [1, 1]


def test_an_excess_varies_as_its_sum_does() -> None:
    """With many images its halves are those of the weighted sum, whose components are known."""
    population = Population(30, (20_000, 30_000), (0.9, 0.7), (0.85, 0.6), seeds=0.1)
    before, after = population.draw(np.random.default_rng(3))
    labels, n = population.labels, np.array(population.images)
    moved = after.astype(float) - before
    found = components([moved[None]], labels, 2)
    lost, gained = (
        np.bincount(labels, part.mean(0)) / n for part in (before & ~after, after & ~before)
    )
    exceeds, ends, _ = crossed.excess(found, crossed.change(lost, gained, found, 0.99), 0.99)
    weight = np.where(labels == 0, 0.6, -0.6) * len(labels) / n[labels]
    z2, t2 = paired.normal_quantile(0.99) ** 2, stats.t.ppf(0.995, 29) ** 2
    seeds = stats.sem((moved * weight).mean(1)) ** 2
    own = (found.of_images - found.of_interaction).ravel()
    expected = np.sqrt(t2 * seeds + z2 * (0.36 * own).sum())
    assert exceeds[0] == pytest.approx((moved * weight).mean())
    np.testing.assert_allclose(exceeds[0] - ends.low[0], expected, rtol=0.03)
    np.testing.assert_allclose(ends.high[0] - exceeds[0], expected, rtol=0.03)


def test_an_excess_of_two_networks_does_not_cancel_where_its_changes_have_no_room() -> None:
    """Both changes' ends are those of all recalls there are, their spreads 6 and 19 are not."""
    labels = np.repeat([0, 1], 200)
    moved = np.zeros((2, 400))
    moved[:, :20], moved[:, 200:260] = [[-1], [1]], [[-1], [1]]
    found = components([moved[None]], labels, 2)
    lost, gained = (np.bincount(labels, (sign * moved > 0).mean(0)) / 200 for sign in (-1, 1))
    for level in (0.99, 0.995):
        changes = crossed.change(lost, gained, found, level)
        exceeds, ends, _ = crossed.excess(found, changes, level)
        np.testing.assert_allclose(exceeds, 0, atol=1e-12)
        # Between these two networks alone it is 0.1 to either side, and t is 64.
        np.testing.assert_allclose(ends, [[-1, -1], [1, 1]], atol=0.02)


def test_an_excess_is_not_known_better_than_over_these_images() -> None:
    """Two networks whose changes differ by as much in either class have the same excess."""
    labels = np.repeat([0, 1], 5)
    moved = np.zeros((2, 10))
    moved[0, [0, 5]], moved[1, [1, 6]] = -1, 1
    found = components([moved[None]], labels, 2)
    lost, gained = (np.bincount(labels, (s * moved > 0).mean(0)) / 5 for s in (-1, 1))
    exceeds, ends, _ = crossed.excess(found, crossed.change(lost, gained, found, 0.99), 0.99)
    images = 2 * 0.25 * (found.of_images[0, 0, 0] + 1 / 25)
    least = paired.normal_quantile(0.99) * np.sqrt(images)
    assert (ends.high - exceeds > 0.99 * least).all()
    assert (exceeds - ends.low > 0.99 * least).all()


def test_a_slope_varies_over_images_as_resampled_ones_do() -> None:
    """Of single pairs V and of their mean B: the images' own part is B - (V - B) / (K - 1)."""
    before, after, control = right(4, seed=5)
    pairs, others = Pairs(LABELS, 3, before, after), Pairs(LABELS, 3, before, control)
    slopes = [crossed_slope(one, 0.2) for one in (pairs, others)]
    rng = np.random.default_rng(6)

    def residuals(some: np.ndarray) -> np.ndarray:
        """Return each pair's residual of its slope, and of the difference from the control's."""
        sides = [
            Pairs(LABELS[some], 3, before[:, some], side[:, some]) for side in (after, control)
        ]
        found = []
        for side, slope in zip(sides, slopes, strict=True):
            sums = np.stack(pair_sums(side.counts()), 1)
            found.append((sums[:, 0] - slope.alpha * sums[:, 1]) / sums[:, 1].mean())
        return np.array([found[0], found[0] - found[1]])

    places = [np.flatnonzero(label == LABELS) for label in range(3)]
    drawn = np.array(
        [
            residuals(np.concatenate([rng.choice(one, len(one)) for one in places]))
            for _ in range(1500)
        ]
    )  # [draws, 2, K]
    of_mean, of_single = drawn.mean(2).var(0), drawn.var(0).mean(1)
    own = of_mean - (of_single - of_mean) / 3
    z2 = paired.normal_quantile(0.2) ** 2
    more = difference(pairs, control, 0.2)
    half, of_seeds = (
        (getattr(more, high) - getattr(more, low)) / 2
        for low, high in (("low", "high"), ("seeds_low", "seeds_high"))
    )
    assert (half**2 - of_seeds**2) / z2 == pytest.approx(own[1], rel=0.2)
    # Fieller's ends near the estimate are those of the delta method.
    slope = slopes[0]
    halves, of_seeds = (
        (slope.alpha - low) * (high - slope.alpha)
        for low, high in ((slope.low, slope.high), (slope.seeds_low, slope.seeds_high))
    )
    assert (halves - of_seeds) / z2 == pytest.approx(own[0], rel=0.2)


def test_a_slope_without_classes_that_differ_has_no_ends() -> None:
    same = np.ones((3, len(LABELS)), bool)
    assert np.isnan(crossed_slope(Pairs(LABELS, 3, same, same), 0.99)[1:]).all()
    assert np.isnan(difference(Pairs(LABELS, 3, same, same), same, 0.99)).all()


STUDIES = 250


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SETTINGS if name != SKEWED])
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    """At 95 %, where 250 studies tell more than at 99; docs/audit.md has more studies."""
    found = coverage(SETTINGS[name], STUDIES, np.random.default_rng(7), 0.95)
    error = np.sqrt(0.95 * 0.05 / STUDIES)
    for quantity in ("change", "together", "excess"):
        assert found[quantity] > 0.95 - 3 * error, quantity
    if found["alpha known"] > 0.2:
        assert found["alpha"] > 0.95 - 3 * error / np.sqrt(found["alpha known"])


@pytest.mark.slow
def test_an_excess_of_two_networks_holds_at_99_percent() -> None:
    """Where t is 64, both changes' intervals are cut off at all recalls there are."""
    found = coverage(SETTINGS["two seeds that differ much"], STUDIES, np.random.default_rng(11))
    assert found["excess"] > 0.99 - 3 * np.sqrt(0.99 * 0.01 / STUDIES)


def test_seeds_alone_say_nothing_of_images_that_are_hard_for_all_networks() -> None:
    found = coverage(
        SETTINGS["images are hard for all networks"], 50, np.random.default_rng(8), 0.95
    )
    assert found["these images"] < 0.5


def test_the_drawn_recalls_are_the_true_ones_where_networks_collapse() -> None:
    population, rng = SETTINGS[SKEWED], np.random.default_rng(9)
    moved = []
    for _ in range(100):
        before, after = (
            crossed.components([one.astype(float)[None]], population.labels, 4).means[:, :, 0]
            for one in population.draw(rng)
        )
        moved.append((after - before).mean(0))
    error = np.std(moved, 0) / 10
    assert (np.abs(np.mean(moved, 0) - population.change) < 4 * error).all()
    assert population.change[0] == pytest.approx(-0.9 * 0.1 * 0.45)


@pytest.mark.slow
def test_intervals_over_seeds_take_their_effects_as_about_normal() -> None:
    """Of five networks none has what befalls one in ten with the probability 0.9 ** 5 = 0.59."""
    found = coverage(SETTINGS[SKEWED], 200, np.random.default_rng(10))
    error = np.sqrt(0.59 * 0.41 / 200)
    assert found["worst class"] < 0.41 + 4 * error
    assert found["within"] == pytest.approx(0.59, abs=4 * error)
