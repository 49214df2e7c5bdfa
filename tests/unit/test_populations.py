"""Populations of networks: modal labels, what differs, and the null, each computed another way."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from recall_distortion.measures import populations
from recall_distortion.measures.populations import (
    Differing,
    Votes,
    differing_at,
    exchanged,
    permuted,
    vote_distance,
)
from recall_distortion.system.errors import TableError

CLASSES = 4


def drawn(rng, networks, images, classes=CLASSES, wrong=0.5):
    """Return labels [K, M] that follow an image's own, more or less."""
    own = np.random.default_rng(7).integers(0, classes, images)
    other = rng.integers(0, classes, (networks, images))
    hard = np.random.default_rng(8).random(images) * wrong
    return np.where(rng.random((networks, images)) < hard, other, own).astype(np.uint8)


def modes(predicted):
    """Return the set of modal labels of each image, by counting."""
    found = []
    for labels in predicted.T:
        counts = Counter(labels.tolist())
        found.append({label for label, n in counts.items() if n == max(counts.values())})
    return found


def pies(dense, own):
    return sum(min(a) != min(b) for a, b in zip(modes(dense), modes(own), strict=True))


def distance(dense, own):
    total = 0
    for a, b in zip(dense.T, own.T, strict=True):
        x, y = Counter(a.tolist()), Counter(b.tolist())
        total += sum(abs(x[c] / len(a) - y[c] / len(b)) for c in {*x, *y})
    return total / 2 / dense.shape[1]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_worked_by_hand():
    dense = np.array([[0, 0, 1, 2], [0, 1, 1, 2], [0, 1, 3, 3], [0, 0, 3, 3]])
    own = np.array([[0, 1, 3, 0], [0, 1, 3, 0], [1, 1, 3, 1], [1, 0, 0, 1]])
    # Modes: 0 | 0 or 1 | 1 or 3 | 2 or 3, and 0 or 1 | 1 | 3 | 0 or 1.
    votes = Votes.of(dense, 4), Votes.of(own, 4)
    assert votes[0].lowest.tolist() == [0, 0, 1, 2]
    assert votes[0].highest.tolist() == [0, 1, 3, 3]
    assert votes[0].tied.tolist() == [False, True, True, True]
    assert votes[1].agreement.tolist() == [0.5, 0.75, 0.75, 0.5]
    found = Differing.of(*votes)
    assert found.lowest.tolist() == [False, True, True, True]
    assert found.highest.tolist() == [True, False, False, True]
    assert found.certain.tolist() == [False, False, False, True]
    assert found.possible.tolist() == [True] * 4
    assert vote_distance(*votes).tolist() == [0.5, 0.25, 0.5, 1]
    assert votes[0].right(np.array([0, 1, 1, 0])).tolist() == [1, 0.5, 0.5, 0]


def test_bounds_are_those_over_every_way_to_break_ties(rng):
    dense, own = drawn(rng, 4, 60), drawn(rng, 4, 60, wrong=0.9)
    found = Differing.of(Votes.of(dense, CLASSES), Votes.of(own, CLASSES))
    for image, (a, b) in enumerate(zip(modes(dense), modes(own), strict=True)):
        ways = {x != y for x, y in itertools.product(a, b)}
        assert found.certain[image] == (ways == {True})
        assert found.possible[image] == (True in ways)
        assert found.lowest[image] == (min(a) != min(b))
        assert found.highest[image] == (max(a) != max(b))


def test_true_labels_and_names_of_classes_play_no_part(rng):
    dense, own = drawn(rng, 5, 80), drawn(rng, 5, 80, wrong=0.9)
    order = rng.permutation(CLASSES)
    for name in ("certain", "possible"):
        first, second = (
            getattr(Differing.of(Votes.of(a, CLASSES), Votes.of(b, CLASSES)), name)
            for a, b in ((dense, own), (order[dense], order[own]))
        )
        assert np.array_equal(first, second)
    same = Differing.of(Votes.of(dense, CLASSES), Votes.of(dense[::-1], CLASSES))
    assert not same.certain.any()
    assert not same.lowest.any()


@pytest.mark.parametrize("dense_networks", [6, 9])
def test_the_exchange_is_that_counted_network_by_network(rng, monkeypatch, dense_networks):
    dense, first = drawn(rng, dense_networks, 70), drawn(rng, 6, 70, wrong=0.8)
    second = drawn(rng, 6, 70, wrong=0.6)
    found = exchanged(Votes.of(dense, CLASSES), first, second, exchanges=40)
    swaps = np.random.default_rng(populations.EXCHANGE_SEED).integers(0, 2, (40, 6), dtype=np.int8)
    counted, apart = [], []
    for swap in [np.zeros(6, int), *swaps]:
        a = np.where(swap[:, None] == 1, second, first)
        b = np.where(swap[:, None] == 1, first, second)
        counted.append(pies(dense, a) - pies(dense, b))
        apart.append(distance(dense, a) - distance(dense, b))
    assert found.pies == counted[0]
    assert found.distance == pytest.approx(apart[0], abs=1e-7)
    assert found.pies_p == np.mean(np.abs(counted) >= abs(counted[0]))
    assert found.distance_p == np.mean(np.abs(apart) >= abs(apart[0]) - 1e-7)
    # In pieces of a few images as well.
    monkeypatch.setattr(populations, "_AT_ONCE", 500)
    again = exchanged(Votes.of(dense, CLASSES), first, second, exchanges=40)
    assert vars(again) == pytest.approx(vars(found))


def test_any_network_of_unpaired_populations_may_stand_in_either(rng):
    dense, first, second = drawn(rng, 5, 60), drawn(rng, 5, 60, wrong=0.9), drawn(rng, 5, 60)
    found = permuted(Votes.of(dense, CLASSES), first, second, exchanges=30)
    generator = np.random.default_rng(populations.EXCHANGE_SEED)
    start = np.arange(10) < 5
    chosen = generator.permuted(np.broadcast_to(start, (30, 10)), axis=1)
    both = np.concatenate([first, second])
    counted = [pies(dense, both[m]) - pies(dense, both[~m]) for m in [start, *chosen]]
    assert found.pies == counted[0]
    assert found.pies_p == np.mean(np.abs(counted) >= abs(counted[0]))
    with pytest.raises(TableError, match="populations of 5 and 4 networks"):
        permuted(Votes.of(dense, CLASSES), first, second[:4])


def test_nothing_to_tell_apart_has_a_p_of_1(rng):
    dense, own = drawn(rng, 5, 60), drawn(rng, 5, 60)
    found = exchanged(Votes.of(dense, CLASSES), own, own)
    assert found == populations.Exchanged(0, 1.0, 0.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("test", [exchanged, permuted])
def test_without_an_effect_small_p_are_as_rare_as_they_say(test):
    """300 studies: 15 of them below 0.05 are expected, and up to 26 in 99.5 % of such runs."""
    below = {"pies": 0, "distance": 0}
    for study in range(300):
        rng = np.random.default_rng([11, study])
        dense, first, second = (drawn(rng, 8, 100, wrong=0.9) for _ in range(3))
        found = test(Votes.of(dense, CLASSES), first, second, exchanges=99)
        below["pies"] += found.pies_p <= 0.05
        below["distance"] += found.distance_p <= 0.05
    assert below["pies"] <= 26
    assert 5 <= below["distance"] <= 26


def test_an_effect_is_seen(rng):
    dense, first, second = drawn(rng, 12, 300), drawn(rng, 12, 300, wrong=1.5), drawn(rng, 12, 300)
    found = exchanged(Votes.of(dense, CLASSES), first, second)
    assert found.pies > 0
    # The arrangement at hand, and now and then the one in which all seeds are exchanged.
    assert max(found.pies_p, found.distance_p) <= 0.003


def test_fewer_networks_are_counted_as_they_are_taken(rng):
    dense, own = drawn(rng, 8, 70), drawn(rng, 7, 70, wrong=0.9)
    subsets = [(rng.permutation(8)[:3], rng.permutation(7)[:3]) for _ in range(6)]
    found = differing_at(dense, own, subsets)
    assert found.tolist() == [pies(dense[a], own[b]) for a, b in subsets]


def test_more_than_255_networks_are_counted(rng):
    votes = Votes.of(np.zeros((300, 2), int), 3)
    assert votes.counts.tolist() == [[300, 0, 0]] * 2
    with pytest.raises(TableError, match="from 1 to 65,535 networks, not 0"):
        Votes.of(np.zeros((0, 2), int), 3)
