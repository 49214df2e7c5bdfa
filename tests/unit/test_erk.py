"""The scope ``erk``: how many weights of which layer, by the layers' shapes alone."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import get_args

import pytest
import torch
from core_helpers import method
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_distortion import networks
from recall_distortion.compression.facts import CRITERIA
from recall_distortion.compression.pruning.masks import SCOPES, erk_counts, erk_masks
from recall_distortion.compression.pruning.selection import method_masks
from recall_distortion.compression.schedules.gradual import Gradual
from recall_distortion.report import definitions
from recall_distortion.study.parts import Method


def published(shapes: list[tuple[int, ...]], keep: int) -> tuple[list[Fraction], set[int]]:
    """Return how many weights of each layer stay, not rounded, and which layers are dense.

    As the authors write it: while a layer's density is more than 1 it is made dense, the densest
    first, and epsilon is solved again for what is left.
    """
    dense: set[int] = set()
    while True:
        rest = [i for i in range(len(shapes)) if i not in dense]
        left = keep - sum(math.prod(shapes[i]) for i in dense)
        epsilon = Fraction(left, sum(sum(shapes[i]) for i in rest)) if rest else Fraction(0)
        densities = {i: epsilon * Fraction(sum(shapes[i]), math.prod(shapes[i])) for i in rest}
        most = max(rest, key=lambda i: densities[i], default=None)
        if most is None or densities[most] <= 1:
            counts = [epsilon * sum(shape) for shape in shapes]
            return [
                Fraction(math.prod(shape)) if i in dense else counts[i]
                for i, shape in enumerate(shapes)
            ], dense
        dense.add(most)


SHAPES = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 30), st.integers(1, 30)),
        st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5)),
    ),
    min_size=1,
    max_size=8,
)


def size(shapes: list[tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes)


@settings(deadline=None)
@given(shapes=SHAPES, share=st.floats(0, 1))
def test_the_total_is_exact_and_one_epsilon_gives_every_layer(shapes, share):
    keep = round(share * size(shapes))
    counts = erk_counts(shapes, keep)
    assert sum(counts) == keep
    # What epsilon may be, for round(epsilon * sum) of each layer to be its count.
    least = [Fraction(2 * n - 1, 2 * sum(s)) for n, s in zip(counts, shapes, strict=True) if n]
    most = [
        Fraction(2 * n + 1, 2 * sum(s))
        for n, s in zip(counts, shapes, strict=True)
        if n < math.prod(s)
    ]
    assert all(0 <= n <= math.prod(s) for n, s in zip(counts, shapes, strict=True))
    if least and most:
        assert max(least) <= min(most)


@settings(deadline=None)
@given(shapes=SHAPES, share=st.floats(0, 1))
def test_it_is_the_published_one_but_for_rounding(shapes, share):
    """Both have one epsilon, and the same total.

    Rounding moves a total by at most half a weight a layer, and all layers in one direction make up
    for it, so that none is further off than that and half a weight of its own.
    """
    keep = round(share * size(shapes))
    expected, dense = published(shapes, keep)
    assert sum(expected) == keep
    counts = erk_counts(shapes, keep)
    for found, real in zip(counts, expected, strict=True):
        assert abs(found - real) <= Fraction(len(shapes) + 1, 2)
    assert all(abs(counts[i] - math.prod(shapes[i])) <= (len(shapes) + 1) / 2 for i in dense)


@settings(deadline=None)
@given(shapes=SHAPES, shares=st.lists(st.floats(0, 1), min_size=2, max_size=6))
def test_of_a_smaller_total_no_layer_keeps_more(shapes, shares):
    totals = sorted(round(share * size(shapes)) for share in shares)
    for fewer, more in itertools.pairwise([erk_counts(shapes, keep) for keep in totals]):
        assert all(a <= b for a, b in zip(fewer, more, strict=True))


def test_one_weight_more_takes_none_away():
    """Of 12 : 12 : 4 sides largest remainders give the last layer 2 of 10 weights, and 1 of 11."""
    shapes = [(6, 6), (6, 6), (2, 2)]
    assert [erk_counts(shapes, keep) for keep in (9, 10, 11)] == [[4, 4, 1], [5, 4, 1], [5, 5, 1]]


def test_everything_and_nothing():
    shapes = [(3, 4), (2, 1, 5, 5), (7, 7)]
    assert erk_counts(shapes, 0) == [0, 0, 0]
    assert erk_counts(shapes, size(shapes)) == [12, 50, 49]
    # Equal layers have the same density; the odd weight is the first one's.
    assert erk_counts([(4, 4)] * 3, 10) == [4, 3, 3]


def counts_of(name: str, channels: int, fraction: float) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many weights of each layer stay, and how many it has."""
    network = networks.build(name, channels=channels, classes=10)
    weights = networks.prunable_parameters(network)
    masks = erk_masks({n: weight.detach().abs() for n, weight in weights.items()}, fraction)
    return (
        {n.removesuffix(".weight"): int(mask.sum()) for n, mask in masks.items()},
        {n.removesuffix(".weight"): mask.numel() for n, mask in masks.items()},
    )


def test_lenet5_at_a_fiftieth_of_its_weights():
    """By hand: 1213 / (17 + 32 + 520 + 204) = 1.569 weights a side."""
    kept, whole = counts_of("lenet5", 1, 1 / 50)
    assert kept == {"conv1": 27, "conv2": 50, "fc1": 816, "fc2": 320}
    assert sum(kept.values()) == round(60_630 / 50)
    real, dense = published([(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120)], 1213)
    densities = [float(n) / size for n, size in zip(real, whole.values(), strict=True)]
    assert [round(density, 3) for density in densities] == [0.178, 0.021, 0.017, 0.032]
    assert not dense


def test_resnet20_at_half_of_its_weights_has_dense_layers():
    kept, whole = counts_of("resnet20", 3, 1 / 2)
    dense = {name for name in kept if kept[name] == whole[name]}
    stage1 = {f"stage1.{block}.conv{i}" for block in range(3) for i in (1, 2)}
    assert dense == {"conv1", "stage2.0.conv1"} | stage1
    assert sum(kept.values()) == 133_848
    # The others share what is left by the sums of their sides, 70, 102 and 134.
    left = 133_848 - sum(whole[name] for name in dense)
    a_side = left / (5 * 70 + 102 + 5 * 134)
    for name in set(kept) - dense:
        sides = 70 if name.startswith("stage2") else 102 if name == "stage3.0.conv1" else 134
        assert abs(kept[name] - a_side * sides) < 1


def test_the_words_of_a_scope_are_the_same_everywhere():
    assert set(SCOPES) == set(get_args(Method.model_fields["scope"].annotation))
    assert set(SCOPES) == set(definitions._SCOPES)


@pytest.mark.parametrize(
    "criterion",
    # What is scored anew in rounds ranks other scores in another scope: test_synflow has its own.
    sorted(n for n, facts in CRITERIA.items() if not facts.keeps_more and n != "synflow"),
)
def test_a_method_of_any_criterion_that_ranks_keeps_its_best_of_each_layer(criterion):
    network = networks.build("mlp", channels=1, classes=4)
    networks.initialize(network, torch.Generator().manual_seed(1))
    weights = networks.prunable_parameters(network)
    rng = torch.Generator().manual_seed(2)
    gradients = {name: torch.randn(w.shape, generator=rng) for name, w in weights.items()}
    (first, second) = (
        method_masks(network, method(criterion, scope=scope), [0.1], gradients, seed=3)[0]
        for scope in ("erk", "global")
    )
    # 307 of 3,072: by hand 307 * 96 / 160 and 307 * 64 / 160.
    assert {name: int(mask.sum()) for name, mask in first.items()} == {
        "fc1.weight": 184,
        "fc2.weight": 123,
    }
    # Where the whole ranking gave a layer more or fewer, the best are among or around them.
    for name in weights:
        mine, other = first[name], second[name]
        assert not (mine & ~other).any() or not (other & ~mine).any()


def test_gradual_pruning_keeps_so_many_of_each_layer_at_every_step():
    rng = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(s, generator=rng) for name, s in (("a", (6, 10)), ("b", (30, 9)))}
    removal = Gradual(("a", "b"), 0.1, 0, 4, scope="erk")
    for epochs in range(1, 5):
        masks = removal.masks(epochs, weights)
        keep = round((1 - removal.sparsity(epochs)) * 330)
        expected = erk_counts([(6, 10), (30, 9)], keep)
        assert [int(mask.sum()) for mask in masks.values()] == expected
        for name, mask in masks.items():
            sizes = weights[name].abs()
            assert mask.all() or sizes[mask].min() > sizes[~mask].max()
