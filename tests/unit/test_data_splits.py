"""The stratified split: exact, in proportion, reproducible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_distortion.data.splits import shares, stratified_split
from recall_distortion.system.errors import DataError


def split(labels, fraction, seed=0, classes=None):
    classes = classes or int(labels.max()) + 1
    return stratified_split(
        labels,
        fraction,
        np.random.default_rng(seed),
        part="hold-out set",
        class_names=[f"c{index}" for index in range(classes)],
    )


def test_shares_worked_example():
    # Quotas 1.8, 1.2, 1.0 of 4 from 18, 12, 10: floors 1, 1, 1 and the largest remainder, 0.8.
    assert shares([18, 12, 10], 4) == [2, 1, 1]
    # Equal remainders go to the earlier class.
    assert shares([10, 10, 10], 4) == [2, 1, 1]
    # A class of two gives exactly one, whatever its quota of 0.02 or 1.98.
    assert shares([198, 2], 2) == [1, 1]
    assert shares([198, 2], 198) == [197, 1]


@given(
    counts=st.lists(st.integers(2, 60), min_size=2, max_size=8),
    where=st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_shares_are_exact_and_within_one_of_the_quota_where_no_bound_binds(counts, where):
    low, high = len(counts), sum(counts) - len(counts)
    total = low + round(where * (high - low))
    taken = shares(counts, total)
    assert sum(taken) == total
    assert all(1 <= share < count for share, count in zip(taken, counts, strict=True))
    quotas = [total * count / sum(counts) for count in counts]
    if all(1 <= quota <= count - 1 for quota, count in zip(quotas, counts, strict=True)):
        assert all(abs(share - quota) < 1 for share, quota in zip(taken, quotas, strict=True))


@given(
    counts=st.lists(st.integers(4, 30), min_size=2, max_size=6),
    fraction=st.floats(0.26, 0.74),
    seed=st.integers(0, 5),
)
@settings(max_examples=40, deadline=None)
def test_split_parts_the_images_and_depends_on_the_seed_only(counts, fraction, seed):
    labels = np.random.default_rng(9).permutation(np.repeat(np.arange(len(counts)), counts))
    rest, taken = split(labels, fraction, seed)
    assert len(taken) == round(fraction * len(labels))
    assert np.array_equal(np.sort(np.concatenate([rest, taken])), np.arange(len(labels)))
    assert np.all(np.diff(taken) > 0)
    assert np.all(np.diff(rest) > 0)
    assert set(labels[taken]) == set(labels[rest]) == set(range(len(counts)))
    again = split(labels, fraction, seed)
    assert np.array_equal(rest, again[0])
    assert np.array_equal(taken, again[1])


def test_split_draws_anew_for_another_seed_and_every_image_can_be_drawn():
    labels = np.repeat([0, 1], 10)
    draws = {tuple(split(labels, 0.2, seed)[1]) for seed in range(60)}
    assert len(draws) > 20
    assert set().union(*draws) == set(range(20))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_split_refuses_a_fraction_outside_0_to_1(fraction):
    with pytest.raises(DataError, match="between 0 and 1"):
        split(np.repeat([0, 1], 10), fraction)


def test_split_refuses_what_leaves_a_class_without_image():
    with pytest.raises(DataError, match="class 'c1' has 1 image "):
        split(np.array([0, 0, 0, 1]), 0.5)
    with pytest.raises(DataError, match=r"is 1, which cannot give each of 2 classes"):
        split(np.repeat([0, 1], 10), 0.05)
    with pytest.raises(DataError, match=r"fraction from 0\.1 to 0\.9"):
        split(np.repeat([0, 1], 10), 0.97)
