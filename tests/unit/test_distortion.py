"""Recall, balance and slope are the paper's, and the cross-fitted slope is consistent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics

from recall_distortion.measures.distortion import (
    Counts,
    HalfBalances,
    class_means,
    class_rows,
    crossfit,
    crossfit_sums,
    intercepts,
    normalized,
    recall_table,
    reseed_pairs,
    slope,
    slopes,
    split_halves,
)
from recall_distortion.system.errors import TableError


def test_the_papers_worked_example():
    """A = 0.8 with recalls 0.9 and 0.7, then 0.6 with 0.7 and 0.5: alpha = I = 4/3."""
    labels = np.repeat([0, 1], 10)

    def predictions(right):
        return np.concatenate(
            [np.where(np.arange(10) < count, c, 1 - c) for c, count in enumerate(right)]
        )

    before = recall_table(labels, predictions([9, 7]), 2)
    after = recall_table(labels, predictions([7, 5]), ["even", "odd"])
    np.testing.assert_allclose(before["recall"], [0.9, 0.7])
    np.testing.assert_allclose(before["accuracy"], [0.8, 0.8])
    np.testing.assert_allclose(before["balance"], [0.1, -0.1])
    np.testing.assert_allclose(before["normalized_balance"], [1 / 8, -1 / 8])
    np.testing.assert_allclose(after["normalized_balance"], [1 / 6, -1 / 6])
    assert before["class_name"].tolist() == ["0", "1"]
    assert after["class_name"].tolist() == ["even", "odd"]
    alpha = slope(before["normalized_balance"], after["normalized_balance"])
    assert alpha == pytest.approx(4 / 3)
    ratios = after["normalized_balance"] / before["normalized_balance"]
    np.testing.assert_allclose(ratios, 4 / 3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("balanced", [True, False])
def test_recall_and_precision_are_those_of_scikit_learn(seed, balanced):
    rng = np.random.default_rng(seed)
    classes = 7
    weights = np.full(classes, 1 / classes) if balanced else rng.dirichlet(np.ones(classes))
    labels = np.concatenate([np.arange(classes), rng.choice(classes, 400, p=weights)])
    right = rng.random(len(labels)) < 0.7
    predictions = np.where(right, labels, rng.integers(0, classes, len(labels)))
    table = recall_table(labels, predictions, classes)
    matrix = metrics.confusion_matrix(labels, predictions)
    assert table["class"].tolist() == list(range(classes))
    np.testing.assert_array_equal(table["support"], matrix.sum(1))
    np.testing.assert_array_equal(table["predicted"], matrix.sum(0))
    np.testing.assert_array_equal(table["correct"], np.diag(matrix))
    recall = metrics.recall_score(labels, predictions, average=None)
    np.testing.assert_allclose(table["recall"], recall)
    precision = metrics.precision_score(labels, predictions, average=None)
    np.testing.assert_allclose(table["precision"], precision)
    accuracy = metrics.accuracy_score(labels, predictions)
    np.testing.assert_allclose(table["accuracy"], accuracy)
    np.testing.assert_allclose(table["balance"], recall - accuracy)
    np.testing.assert_allclose(table["normalized_balance"], (recall - accuracy) / accuracy)


def test_a_class_that_is_never_predicted_has_recall_0_and_no_precision():
    table = recall_table([0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 0, 1], 3)
    assert table["recall"].tolist() == [1, 1, 0]
    np.testing.assert_array_equal(table["precision"], [2 / 3, 2 / 3, np.nan])
    np.testing.assert_allclose(table["normalized_balance"], [0.5, 0.5, -1])


def test_a_network_that_is_always_wrong_has_no_normalized_balance():
    table = recall_table([0, 1], [1, 0], 2)
    assert table["accuracy"].tolist() == [0, 0]
    assert table["normalized_balance"].isna().all()


def test_a_class_without_a_test_image_is_told_by_name():
    with pytest.raises(TableError, match=r"no image of class 'cat'"):
        recall_table([0, 0, 2], [0, 1, 2], ["ant", "cat", "dog"])


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 1, 2], [0, 1, 1], "^labels: a label lies outside 0 to 1"),
        ([0, 1, -1], [0, 1, 1], "^labels: a label lies outside 0 to 1"),
        ([0, 1, 1], [0, 1, 2], "^predictions: a prediction lies outside 0 to 1"),
        ([0, 1, 1], [0, -1, 1], "^predictions: a prediction lies outside 0 to 1"),
        ([0.0, 1.0], [0, 1], "^labels: a label is a class index, not float64"),
        ([0, 1], ["0", "1"], "^predictions: a prediction is a class index"),
        ([], [], "^labels: hold no image"),
        ([0, 1], [0, 1, 1], "vectors of one length"),
        ([[0, 1]], [[0, 1]], "vectors of one length"),
    ],
)
def test_what_is_no_vector_of_class_indices(labels, predictions, message):
    with pytest.raises(TableError, match=message):
        recall_table(labels, predictions, 2)


@pytest.mark.parametrize("classes", [0, -1, 2.0, None, [], "ab", ["a", "a"], {"a", "b"}])
def test_what_is_neither_a_number_nor_names_of_classes(classes):
    with pytest.raises(TableError, match=r"^classes: give their number"):
        recall_table([0, 1], [0, 1], classes)


def test_a_class_without_an_image_is_no_fault_of_the_predictions():
    with pytest.raises(TableError, match=r"^labels: .*no image of class 'eel'"):
        recall_table([0, 1], [0, 1], ["cat", "dog", "eel"])


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.uint64])
def test_any_integer_type_will_do(kind):
    labels = np.arange(300) % 200
    table = recall_table(labels.astype(kind), labels.astype(kind), np.int64(200))
    assert (table["recall"] == 1).all()
    # Many networks at once, where a narrow type would overflow.
    predicted = np.tile(labels, (50, 1)).astype(kind)
    counts = Counts.of(labels.astype(kind), predicted, [str(c) for c in range(200)], "here")
    np.testing.assert_array_equal(counts.correct, np.tile(np.bincount(labels), (50, 1)))


def test_the_rows_of_several_networks_are_those_of_each():
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(4), rng.integers(0, 4, 60)])
    predicted = rng.integers(0, 4, (3, 64))
    names = ["a", "b", "c", "d"]
    rows = class_rows(Counts.of(labels, predicted, names, "here"), names, [5, 6, 9])
    assert rows["seed"].tolist() == [5] * 4 + [6] * 4 + [9] * 4
    for row, seed in enumerate([5, 6, 9]):
        own = rows[rows["seed"] == seed].drop(columns="seed").reset_index(drop=True)
        alone = recall_table(labels, predicted[row], names)
        assert own.equals(alone)


# The slope

BALANCES = hnp.arrays(
    np.float64, st.integers(2, 12), elements=st.floats(-1, 1).map(lambda x: round(x, 6))
)


@given(before=BALANCES, seed=st.integers(0, 1000))
def test_the_slope_is_the_least_squares_slope_without_intercept(before, seed):
    assume(np.abs(before).max() > 1e-3)
    after = 1.3 * before + np.random.default_rng(seed).normal(0, 0.1, len(before))
    expected = np.linalg.lstsq(before[:, None], after, rcond=None)[0][0]
    assert slope(before, after) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(before=BALANCES, scale=st.floats(-5, 5), seed=st.integers(0, 1000))
def test_scaling_the_balances_after_scales_the_slope(before, scale, seed):
    assume(np.abs(before).max() > 1e-3)
    after = np.random.default_rng(seed).normal(0, 0.1, len(before))
    assert slope(before, scale * after) == pytest.approx(scale * slope(before, after), abs=1e-9)
    assert slope(before, before) == pytest.approx(1)
    order = np.random.default_rng(seed).permutation(len(before))
    assert slope(before[order], after[order]) == pytest.approx(slope(before, after), abs=1e-9)


def test_a_slope_without_a_denominator_is_nan():
    assert np.isnan(slope([0.0, 0.0], [0.1, -0.1]))
    found = slopes(np.array([[0.0, 0.0], [1.0, -1.0]]), np.array([[0.1, -0.1], [2.0, -2.0]]))
    np.testing.assert_array_equal(found, [np.nan, 2.0])


@pytest.mark.parametrize(
    ("before", "after"), [([1.0], [1.0, 2.0]), ([], []), ([[1.0]], [[1.0]]), (1.0, 1.0)]
)
def test_a_slope_needs_two_vectors_of_one_length(before, after):
    with pytest.raises(TableError, match="two vectors of one length"):
        slope(before, after)


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ([0.1, np.nan, -0.1], [0.1, 0.2, 0.3], "before: the balance of class 1 is nan"),
        ([0.1, 0.2, -0.1], [0.1, 0.2, np.inf], "after: the balance of class 2 is inf"),
        ([0.1, 0.2], ["a", "b"], "after: balances are numbers"),
    ],
)
def test_a_balance_that_is_no_number_is_told_by_its_place(before, after, place):
    with pytest.raises(TableError, match=f"^{place}"):
        slope(before, after)


@given(
    classes=st.integers(2, 8),
    per_class=st.integers(1, 20),
    seed=st.integers(0, 10_000),
)
def test_balances_of_a_balanced_test_set_sum_to_zero(classes, per_class, seed):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    predictions = rng.integers(0, classes, len(labels))
    assume((predictions == labels).any())
    table = recall_table(labels, predictions, classes)
    assert table["normalized_balance"].sum() == pytest.approx(0, abs=1e-9)


def test_balances_of_an_unbalanced_test_set_sum_to_zero_by_support_only():
    table = recall_table([0, 0, 0, 1], [0, 0, 0, 0], 2)
    assert table["normalized_balance"].sum() != pytest.approx(0)
    assert (table["support"] * table["normalized_balance"]).sum() == pytest.approx(0)


# The cross-fitted slope


@pytest.mark.parametrize("counts", [[10, 10, 10], [7, 12, 3], [1, 2, 5]])
def test_halves_are_stratified_and_differ(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    halves = split_halves(labels, 30)
    assert halves.shape == (30, len(labels))
    assert halves.dtype == bool
    for c, count in enumerate(counts):
        sizes = halves[:, labels == c].sum(1)
        assert set(sizes) == ({count // 2} if count % 2 == 0 else {count // 2, count // 2 + 1})
    assert len({half.tobytes() for half in halves}) > 15
    np.testing.assert_array_equal(halves, split_halves(labels, 30))
    np.testing.assert_array_equal(halves[:7], split_halves(labels, 7))


def test_each_image_falls_into_either_half_equally_often():
    labels = np.repeat(np.arange(3), [20, 15, 8])
    share = split_halves(labels, 1000).mean(0)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / 1000**0.5


def naive_balances(labels, correct, part, classes):
    """Return the normalized balances of one network on the images of a part, in plain loops."""
    recalls, right = [], 0
    images = [i for i in range(len(labels)) if part[i]]
    for c in range(classes):
        of_class = [i for i in images if labels[i] == c]
        recalls.append(sum(bool(correct[i]) for i in of_class) / len(of_class))
    right = sum(bool(correct[i]) for i in images)
    accuracy = right / len(images)
    return [(recall - accuracy) / accuracy for recall in recalls]


@pytest.mark.parametrize("counts", [[12, 12, 12, 12], [9, 20, 14, 6]])
def test_the_cross_fitted_slope_is_its_formula(counts):
    """docs/methods.md, section 5.2, with numerators and denominators averaged over the splits."""
    rng = np.random.default_rng(1)
    classes = len(counts)
    labels = rng.permutation(np.repeat(np.arange(classes), counts))
    before, after = rng.random((2, 3, len(labels))) < rng.uniform(0.6, 0.9, classes)[labels]
    halves = split_halves(labels, 4)
    balances = [HalfBalances.of(labels, correct, halves, classes) for correct in (before, after)]
    found = crossfit(*balances)
    sums = crossfit_sums(*balances)
    for k in range(3):
        numerators, denominators = [], []
        for half in halves:
            a, b = (naive_balances(labels, before[k], part, classes) for part in (half, ~half))
            ta, tb = (naive_balances(labels, after[k], part, classes) for part in (half, ~half))
            numerators.append(sum((a[c] * tb[c] + b[c] * ta[c]) / 2 for c in range(classes)))
            denominators.append(sum(a[c] * b[c] for c in range(classes)))
        assert sums[0][k] == pytest.approx(np.mean(numerators), rel=1e-9)
        assert sums[1][k] == pytest.approx(np.mean(denominators), rel=1e-9)
        assert found[k] == pytest.approx(np.mean(numerators) / np.mean(denominators), rel=1e-9)


@pytest.mark.filterwarnings("error")
def test_a_class_of_one_image_has_no_cross_fitted_slope():
    labels = np.repeat(np.arange(3), [20, 20, 1])
    correct = np.random.default_rng(6).random((2, 41)) < 0.7
    halves = HalfBalances.of(labels, correct, split_halves(labels, 5), 3)
    assert np.isnan(crossfit(halves, halves)).all()
    assert np.isnan(crossfit_sums(halves, halves)).all()


@given(st.sets(st.integers(0, 1000), max_size=9))
def test_pairs_of_seeds_are_neighbours_and_disjoint(seeds):
    pairs = reseed_pairs(list(seeds)[::-1])
    assert len(pairs) == len(seeds) // 2
    flat = [seed for pair in pairs for seed in pair]
    assert flat == sorted(seeds)[: 2 * len(pairs)]


def test_an_unchanged_network_has_cross_fitted_slope_1():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(5), 20)
    correct = rng.random((4, 100)) < 0.7
    halves = HalfBalances.of(labels, correct, split_halves(labels, 10), 5)
    np.testing.assert_allclose(crossfit(halves, halves), 1)


def test_the_cross_fitted_slope_is_not_attenuated():
    """Networks whose true class recalls are known, measured on 40 images a class.

    The true balances' standard deviation is 0.1 and the sampling error's about
    sqrt(0.7 x 0.3 / 40) / 0.7 = 0.10, so the naive slope is attenuated by about a half. The pooled
    cross-fitted slope must lie within 4 standard errors (of the jackknife over 400 networks).
    """
    rng = np.random.default_rng(3)
    networks, classes, images, truth = 400, 20, 40, 1.3
    balance = rng.normal(0, 0.1, (networks, classes)).clip(-0.25, 0.25)
    balance -= balance.mean(1, keepdims=True)
    recall_before, recall_after = 0.7 * (1 + balance), 0.6 * (1 + truth * balance)
    assert recall_before.max() < 1
    assert recall_after.max() < 1
    labels = np.repeat(np.arange(classes), images)
    before = rng.random((networks, len(labels))) < recall_before[:, labels]
    after = rng.random((networks, len(labels))) < recall_after[:, labels]
    halves = split_halves(labels, 10)
    x, y = (HalfBalances.of(labels, correct, halves, classes) for correct in (before, after))

    def pooled(left, right):
        # All networks' classes side by side: one cross-fitted slope over all of them.
        def joined(part):
            flat = (p.reshape(len(halves), 1, -1) for p in (part.first, part.second))
            return HalfBalances(*flat)

        return crossfit(joined(left), joined(right))[0]

    found = pooled(x, y)
    left_out = []
    for k in range(0, networks, 10):  # the jackknife, by groups of ten networks
        rest = np.delete(np.arange(networks), np.arange(k, k + 10))
        parts = (HalfBalances(p.first[:, rest], p.second[:, rest]) for p in (x, y))
        left_out.append(pooled(*parts))
    groups = len(left_out)
    error = np.sqrt((groups - 1) * np.var(left_out))
    assert error < 0.05
    assert abs(found - truth) < 4 * error

    support = np.full(classes, images)
    naive_before, naive_after = (
        normalized((correct[:, None] & (labels == np.arange(classes)[:, None])).sum(2), support)
        for correct in (before, after)
    )
    naive = (naive_before * naive_after).sum() / (naive_before**2).sum()
    assert naive < truth - 0.4


# Fits that have an intercept


@pytest.mark.parametrize("networks", [0, 1, 2, 15])
def test_intercepts_are_those_of_polyfit(networks):
    rng = np.random.default_rng(4)
    x = rng.normal(0, 0.1, (networks, 8))
    y = 1.2 * x + 0.02 + rng.normal(0, 0.02, x.shape)
    found = np.stack(intercepts(x, y), axis=1)
    fits = np.array([np.polyfit(x[k], y[k], 1)[::-1] for k in range(networks)])
    np.testing.assert_allclose(found, fits.reshape(networks, 2), rtol=1e-9)


def test_an_intercept_by_hand():
    found = intercepts(np.array([[0.1, -0.1, 0.0]]), np.array([[0.2, -0.2, 0.03]]))
    assert [float(part[0]) for part in found] == pytest.approx([0.01, 2.0])


def test_a_balanced_test_set_has_no_intercept():
    rng = np.random.default_rng(5)
    x, y = rng.normal(0, 0.1, (2, 6, 9))
    x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
    intercept, slope_with_intercept = intercepts(x, y)
    np.testing.assert_array_equal(intercept, 0)  # what rounding leaves is none
    np.testing.assert_allclose(slope_with_intercept, slopes(x, y))


# Means over the images of a class


def test_means_of_a_class_are_over_its_images_alone():
    labels = np.array([2, 0, 1, 0, 2, 2])
    values = np.array([[1, 2, 3, 4, 5, 9], [0.5, 0, 0, 1, 0.5, 0.5]], np.float16)
    found = class_means(labels, values, 3)
    np.testing.assert_allclose(found, [[3, 3, 5], [0.5, 0, 0.5]])
    assert class_means(labels, None, 3) is None
    # Half precision would have run over long before such a sum.
    many = np.full((1, 60_000), 6.0, np.float16)
    assert class_means(np.zeros(60_000, int), many, 1)[0, 0] == 6
