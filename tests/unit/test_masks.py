"""Masks keep exactly what was asked, the highest scored, and account for it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from recall_distortion import networks
from recall_distortion.compression.pruning.masks import (
    erk_masks,
    global_masks,
    keep_fraction,
    layer_masks,
    signed_threshold_masks,
)
from recall_distortion.compression.pruning.sparsity import Sparsity
from recall_distortion.system.errors import NetworkError


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def flat(tensors: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([value.numpy().ravel() for value in tensors.values()])


class Plain(nn.Module):
    """A network of so many weights that may be pruned, and so many others."""

    def __init__(self, prunable: int, others: int) -> None:
        super().__init__()
        self.first = nn.Linear(prunable, 1, bias=False)
        self.classifier = nn.Linear(others, 1, bias=False)


# Few distinct values, so that most draws have many ties.
SCORES = st.lists(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
        elements=st.sampled_from([0.0, 0.5, 1.0, -1.0, 1e-8, 3.5]) | st.floats(-10, 10, width=32),
    ),
    min_size=1,
    max_size=4,
).map(lambda arrays: {f"layer{i}.weight": torch.from_numpy(a) for i, a in enumerate(arrays)})
FRACTIONS = st.floats(0, 1) | st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0])


@settings(deadline=None)
@given(scores=SCORES, fraction=FRACTIONS, seed=st.integers(0, 5))
def test_a_global_mask_keeps_the_exact_number_of_highest_scores(scores, fraction, seed):
    masks = global_masks(scores, fraction, generator=generator(seed))
    assert list(masks) == list(scores)
    for name, mask in masks.items():
        assert mask.dtype == torch.bool
        assert mask.shape == scores[name].shape
    kept, values = flat(masks), flat(scores)
    assert kept.sum() == round(fraction * values.size)
    if 0 < kept.sum() < values.size:
        assert values[kept].min() >= values[~kept].max()


@settings(deadline=None)
@given(scores=SCORES, fraction=FRACTIONS, seed=st.integers(0, 5))
def test_a_layer_mask_keeps_the_exact_number_of_each_layer(scores, fraction, seed):
    masks = layer_masks(scores, fraction, generator=generator(seed))
    for name, value in scores.items():
        kept, values = masks[name].numpy().ravel(), value.numpy().ravel()
        assert masks[name].shape == value.shape
        assert kept.sum() == round(fraction * values.size)
        if 0 < kept.sum() < values.size:
            assert values[kept].min() >= values[~kept].max()


@pytest.mark.parametrize("make", [global_masks, layer_masks, erk_masks])
@settings(deadline=None)
@given(scores=SCORES, fractions=st.lists(FRACTIONS, min_size=2, max_size=5))
def test_masks_of_smaller_fractions_lie_within_larger_ones(make, scores, fractions):
    masks = [flat(make(scores, f, generator=generator(1))) for f in sorted(fractions)]
    for smaller, larger in itertools.pairwise(masks):
        assert not (smaller & ~larger).any()


@pytest.mark.parametrize("make", [global_masks, layer_masks, erk_masks])
def test_ties_fall_as_the_generator_says(make):
    scores = {"a": torch.ones(20, 10), "b": torch.ones(300)}
    first = make(scores, 0.5, generator=generator(1))
    again = make(scores, 0.5, generator=generator(1))
    other = make(scores, 0.5, generator=generator(2))
    assert all(torch.equal(first[name], again[name]) for name in scores)
    assert any(not torch.equal(first[name], other[name]) for name in scores)
    unsaid = [make(scores, 0.5) for _ in range(2)]
    assert all(torch.equal(unsaid[0][name], unsaid[1][name]) for name in scores)


def test_ties_do_not_favour_a_layer_or_a_place():
    """Each of 40 tied weights is kept with probability 1/2: binomial, within 5 standard errors."""
    scores = {"a": torch.zeros(10), "b": torch.zeros(30)}
    rounds = 600
    kept = sum(
        flat(global_masks(scores, 0.5, generator=generator(seed))).astype(int)
        for seed in range(rounds)
    )
    assert np.abs(kept / rounds - 0.5).max() < 5 * np.sqrt(0.25 / rounds)


def test_masks_leave_the_global_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    global_masks({"a": torch.zeros(50)}, 0.5)
    layer_masks({"a": torch.zeros(50)}, 0.5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("make", [global_masks, layer_masks, erk_masks, signed_threshold_masks])
def test_scores_that_rank_nothing_are_refused(make):
    for value in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(NetworkError, match=r"scores of fc1\.weight are not all finite"):
            make({"fc1.weight": torch.tensor([1.0, value])}, 0.5)
    with pytest.raises(NetworkError, match="no weights"):
        make({}, 0.5)
    for fraction in (-0.1, 1.1, float("nan")):
        with pytest.raises(NetworkError, match="between 0 and 1"):
            make({"fc1.weight": torch.ones(3)}, fraction)


# The published script's threshold on signed scores


def shrinkbench_keep(scores: np.ndarray, fraction: float) -> np.ndarray:
    """Return what the rule keeps: docs/methods.md, section 3, in NumPy's own quantile."""
    threshold = np.quantile(scores, 1 - fraction)
    removed = (scores > -threshold) & (scores < threshold)
    return ~removed


@pytest.mark.parametrize("fraction", [0.0, 0.0126, 0.05, 0.1, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 0.3])
def test_the_signed_threshold_is_that_of_the_published_script(fraction, shift):
    rng = np.random.default_rng(5)
    values = rng.laplace(size=10_001) + shift
    scores = {"a": torch.from_numpy(values[:4000].reshape(40, 100))}
    scores["b"] = torch.from_numpy(values[4000:])
    masks = signed_threshold_masks(scores, fraction)
    assert masks["a"].shape == (40, 100)
    np.testing.assert_array_equal(flat(masks), shrinkbench_keep(values, fraction))


@settings(deadline=None)
@given(
    values=hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-8, 8).map(float)),
    kept=st.integers(0, 60),
)
def test_the_signed_threshold_on_ties_and_small_sets(values, kept):
    # Quantiles that fall on an element, where no rounding of an interpolation decides.
    fraction = min(kept, len(values) - 1) / max(len(values) - 1, 1)
    threshold = np.sort(values)[len(values) - 1 - min(kept, len(values) - 1)]
    removed = np.abs(values) < threshold
    if not np.isclose((1 - fraction) * (len(values) - 1) % 1, 0, atol=0):
        return
    mask = signed_threshold_masks({"a": torch.from_numpy(values)}, fraction)["a"].numpy()
    np.testing.assert_array_equal(mask, ~removed)


def test_hand_made_signed_scores():
    scores = {"a": torch.tensor([-5.0, -1.0, 0.0, 1.0, 2.0])}
    # Kept fraction 1/4: the 0.75 quantile of five values is the fourth, 1; both 1 and -1 stay.
    assert signed_threshold_masks(scores, 0.25)["a"].tolist() == [True, True, False, True, True]
    # Between the values at position 1.5, 0 and 1, the threshold is 0.5, which removes 0 alone.
    between = {"a": torch.tensor([10.0, -5.0, 0.0, 1.0])}
    assert signed_threshold_masks(between, 0.5)["a"].tolist() == [True, True, False, True]
    # The median is 0 and nothing lies strictly between 0 and 0.
    assert signed_threshold_masks(scores, 0.5)["a"].all()


def test_the_real_ratios_of_the_signed_threshold():
    """docs/methods.md, section 3: nominal 2, 4, 10, 20, 50 are really about 1.0, 2.1, 5.2, 10, 26.

    With symmetric scores twice the fraction asked is kept, and everything at ratio 2. The fractions
    are ResNet-56's (section 4), so what is never pruned keeps the last ratio above 25.
    """
    rng = np.random.default_rng(0)
    total, prunable = 853_018, 848_304
    network = Plain(prunable, total - prunable)
    values = rng.standard_t(3, prunable) * rng.exponential(size=prunable)  # symmetric, heavy
    fractions = (0.49722, 0.24583, 0.09500, 0.04472, 0.01455)
    stated = (1.0, 2.1, 5.2, 10, 26)
    for fraction, about in zip(fractions, stated, strict=True):
        scores = {"first.weight": torch.from_numpy(values)[None]}
        masks = signed_threshold_masks(scores, fraction)
        found = Sparsity.of(masks, network, "total").realised_ratio
        derived = total / (total - prunable + 2 * fraction * prunable)
        assert found == pytest.approx(derived, rel=0.02)
        assert found == pytest.approx(about, rel=0.15)


# Accounting


@pytest.mark.parametrize(
    ("name", "classes", "fractions"),
    [
        ("resnet20", 10, [0.49622, 0.24432, 0.09319, 0.04281, 0.01258]),
        ("resnet56", 10, [0.49722, 0.24583, 0.09500, 0.04472, 0.01455]),
        ("resnet56", 100, [0.49377, 0.24066, 0.08879, 0.03817, 0.00780]),
    ],
)
def test_the_kept_fraction_of_built_networks(name, classes, fractions):
    """docs/methods.md, section 4; the catalogue's test holds the whole table."""
    network = networks.build(name, channels=3, classes=classes)
    for ratio, expected in zip((2, 4, 10, 20, 50), fractions, strict=True):
        assert keep_fraction(network, ratio) == pytest.approx(expected, abs=5e-6)
        assert keep_fraction(network, ratio, "prunable") == pytest.approx(1 / ratio)


def test_an_infeasible_ratio_names_the_network_and_the_limit():
    with pytest.raises(NetworkError, match=r"MLP cannot reach ratio 50.*largest feasible.* 10"):
        keep_fraction(networks.build("mlp", channels=1, classes=10), 50)


def test_lenet5_at_50_is_really_about_42():
    network = networks.build("lenet5", channels=1, classes=10)
    weights = networks.prunable_parameters(network)
    masks = global_masks(
        {name: weight.detach().abs() for name, weight in weights.items()},
        keep_fraction(network, 50),
    )
    found = Sparsity.of(masks, network, "total")
    assert (found.kept_prunable, found.prunable, found.total) == (383, 60_630, 61_706)
    assert found.kept_fraction == 383 / 60_630
    assert found.realised_ratio == pytest.approx(61_706 / (383 + 1_076))
    assert found.realised_ratio == pytest.approx(42.3, abs=0.01)
    by_weights = Sparsity.of(masks, network, "prunable")
    assert by_weights.realised_ratio == pytest.approx(60_630 / 383)


@settings(deadline=None)
@given(kept=st.lists(st.booleans(), min_size=1, max_size=40), others=st.integers(1, 30))
def test_sparsity_counts_what_is_left(kept, others):
    masks, network = {"first.weight": torch.tensor([kept])}, Plain(len(kept), others)
    total = Sparsity.of(masks, network, "total")
    assert total.realised_ratio == pytest.approx((len(kept) + others) / (sum(kept) + others))
    prunable = Sparsity.of(masks, network, "prunable")
    expected = len(kept) / sum(kept) if any(kept) else float("inf")
    assert prunable.realised_ratio == pytest.approx(expected)
    assert total.kept_prunable == prunable.kept_prunable == sum(kept)


def test_sparsity_counts_masks_of_any_parameter():
    """By hand: a ResNet's first channel with its batch norm, and a bias of the classifier."""
    network = networks.build("resnet20", channels=3, classes=10)
    masks = {
        name: torch.ones_like(network.get_parameter(name), dtype=torch.bool)
        for name in ("conv1.weight", "bn1.weight", "bn1.bias", "classifier.bias")
    }
    masks["conv1.weight"][0] = False  # 3 x 3 x 3 weights
    for name in ("bn1.weight", "bn1.bias", "classifier.bias"):
        masks[name][0] = False
    found = Sparsity.of(masks, network, "total")
    assert (found.kept_prunable, found.prunable, found.total) == (267_696 - 27, 267_696, 269_722)
    assert found.realised_ratio == pytest.approx(269_722 / (269_722 - 27 - 3))
    by_weights = Sparsity.of(masks, network, "prunable")
    assert by_weights.realised_ratio == pytest.approx(267_696 / (267_696 - 27))
    assert Sparsity.of({}, network, "total").realised_ratio == 1
    nothing = {
        name: torch.zeros_like(value, dtype=torch.bool)
        for name, value in network.named_parameters()
    }
    assert Sparsity.of(nothing, network, "total").realised_ratio == float("inf")


def test_masks_of_what_is_no_parameter_are_refused():
    network = networks.build("mlp", channels=1, classes=4)
    for name in ("fc9.weight", "fc1"):
        with pytest.raises(NetworkError, match=rf"mask is of {name}, which is no .* fc1\.weight"):
            Sparsity.of({name: torch.ones(3, dtype=torch.bool)}, network, "total")
    for mask in (torch.ones(3, dtype=torch.bool), torch.ones(32)):
        with pytest.raises(NetworkError, match=r"mask of fc1\.bias is .*torch\.bool \[32\]"):
            Sparsity.of({"fc1.bias": mask}, network, "total")


# Masks within masks

# Two fractions, the second at most as large, so that what it asks for is left.
ROUNDS = st.tuples(FRACTIONS, FRACTIONS).map(lambda pair: sorted(pair, reverse=True))


@pytest.mark.parametrize("make", [global_masks, layer_masks, erk_masks])
@settings(deadline=None)
@given(scores=SCORES, rounds=ROUNDS, seed=st.integers(0, 5), other=st.integers(0, 5))
def test_masks_within_masks_are_nested_exact_and_of_the_highest_left(
    make, scores, rounds, seed, other
):
    """The second round ranks by scores of its own: those of the first in another order."""
    first = make(scores, rounds[0], generator=generator(seed))
    later = {name: value.flatten().flip(0).view_as(value) for name, value in scores.items()}
    second = make(later, rounds[1], within=first, generator=generator(other))
    whole, each = [list(scores)], [[name] for name in scores]

    def of(parts):
        for names in parts:
            yield [flat({name: found[name] for name in names}) for found in (first, second, later)]

    for before, after, values in of(each if make is layer_masks else whole):
        assert not (after & ~before).any()
        assert after.sum() == round(rounds[1] * len(values))
    for before, after, values in of(whole if make is global_masks else each):
        if after.any() and (before & ~after).any():
            assert values[after].min() >= values[before & ~after].max()


@pytest.mark.parametrize("make", [global_masks, layer_masks, erk_masks])
@settings(deadline=None)
@given(scores=SCORES, rounds=ROUNDS, seed=st.integers(0, 5))
def test_pruning_by_the_same_scores_in_rounds_is_pruning_at_once(make, scores, rounds, seed):
    """Ties, too, fall by the seed in the same way, however many weights are left."""
    first = make(scores, rounds[0], generator=generator(seed))
    second = make(scores, rounds[1], within=first, generator=generator(seed))
    once = make(scores, rounds[1], generator=generator(seed))
    assert all(torch.equal(second[name], once[name]) for name in scores)


@settings(deadline=None)
@given(scores=SCORES, rounds=ROUNDS)
def test_a_signed_threshold_within_masks_is_that_of_what_is_left(scores, rounds):
    first = global_masks(scores, rounds[0])
    found = flat(signed_threshold_masks(scores, rounds[1], within=first))
    left, values = flat(first), flat(scores).astype(float)
    assert not (found & ~left).any()
    if left.any():
        asked = {"a": torch.from_numpy(values[left])}
        alone = signed_threshold_masks(asked, min(rounds[1] * (len(values) / left.sum()), 1.0))
        np.testing.assert_array_equal(found[left], flat(alone))


@pytest.mark.parametrize("make", [global_masks, layer_masks, erk_masks, signed_threshold_masks])
def test_what_a_mask_removed_ranks_nothing_and_a_tensor_without_a_mask_is_whole(make):
    scores = {"a": torch.tensor([torch.nan, 3.0, 2.0, 1.0]), "b": torch.tensor([5.0, 0.0])}
    left = torch.tensor([False, True, True, True])
    masks = make(scores, 0.5, within={"a": left})
    assert masks["a"].tolist()[:2] == [False, True]
    assert masks["b"][0]
    with pytest.raises(NetworkError, match="scores of a are not all finite"):
        make(scores, 0.5, within={"b": torch.tensor([True, False])})


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (global_masks, "all layers"),
        (layer_masks, "b"),
        (erk_masks, "b"),
        (signed_threshold_masks, "all layers"),
    ],
)
def test_more_than_is_left_cannot_be_kept(make, where):
    scores = {"a": torch.arange(4.0), "b": torch.arange(4.0)}
    first = {"a": torch.ones(4, dtype=torch.bool), "b": torch.zeros(4, dtype=torch.bool)}
    with pytest.raises(NetworkError, match=rf"weights of {where} should stay and .* leave"):
        make(scores, 0.75, within=first)
    for mask in (torch.ones(3, dtype=torch.bool), torch.ones(4)):
        with pytest.raises(NetworkError, match=r"mask of b .* give one of torch\.bool \[4\]"):
            make(scores, 0.5, within={"b": mask})
