"""Each criterion is its formula (docs/methods.md, section 3)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recall_distortion.compression.facts import CRITERIA
from recall_distortion.compression.pruning import criteria
from recall_distortion.compression.pruning.masks import global_masks
from recall_distortion.system.errors import NetworkError

THETA = [2.0, -1.0, 0.5, 0.0, -4.0]
GRADIENT = [0.1, 0.3, -2.0, 5.0, 0.0]
EPSILON = 0.2

# By hand from theta, g and epsilon above.
EXPECTED = {
    "magnitude": [2.0, 1.0, 0.5, 0.0, 4.0],
    "gradient": [0.2, 0.3, 1.0, 0.0, 0.0],
    "regularized_gradient": [2 * (0.1 + 0.4), 0.3 - 0.2, 0.5 * 1.9, 0.0, 4 * 0.8],
    "undecayed": [-0.2 + 0.8, 0.3 + 0.2, 1.0 + 0.05, 0.0, 0.2 * 16],
    "undecayed_signed": [-0.2 + 0.8, 0.3 + 0.2, 1.0 + 0.05, 0.0, 0.2 * 16],
    "lamp": [4 / 20, 1 / 21, 0.25 / 21.25, 0.0, 1.0],
}


def score(name: str, weight: torch.Tensor, gradient: torch.Tensor | None, epsilon: float = EPSILON):
    generator = torch.Generator().manual_seed(1)
    return criteria.load(name).score(weight, gradient, epsilon=epsilon, generator=generator)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_criterion_is_its_formula(name):
    weight, gradient = torch.tensor(THETA).double(), torch.tensor(GRADIENT).double()
    found = score(name, weight, gradient)
    torch.testing.assert_close(found, torch.tensor(EXPECTED[name]).double(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(
        score(name, weight.view(5, 1, 1), gradient.view(5, 1, 1)), found.view(5, 1, 1)
    )


def test_a_signed_score_keeps_its_sign():
    weight, gradient = torch.tensor([1.0, -1.0]), torch.tensor([3.0, -3.0])
    assert torch.equal(score("undecayed_signed", weight, gradient, 1.0), torch.tensor([-2.0, -2.0]))
    assert torch.equal(score("undecayed", weight, gradient, 1.0), torch.tensor([2.0, 2.0]))


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_a_criterion_changes_neither_weight_nor_gradient(name):
    weight, gradient = torch.tensor(THETA), torch.tensor(GRADIENT)
    score(name, weight, gradient)
    assert weight.tolist() == torch.tensor(THETA).tolist()
    assert gradient.tolist() == torch.tensor(GRADIENT).tolist()


def test_at_an_optimum_gradient_and_undecayed_rank_as_magnitude():
    """Where the gradient of L is zero, g = -epsilon theta."""
    weight = torch.randn(200, generator=torch.Generator().manual_seed(0)).double()
    gradient = -EPSILON * weight
    torch.testing.assert_close(score("gradient", weight, gradient), EPSILON * weight**2)
    torch.testing.assert_close(score("undecayed", weight, gradient), 2 * EPSILON * weight**2)
    torch.testing.assert_close(
        score("regularized_gradient", weight, gradient), torch.zeros(200).double()
    )
    ranks = score("magnitude", weight, None).argsort()
    for name in ("gradient", "undecayed", "undecayed_signed"):
        assert torch.equal(score(name, weight, gradient).argsort(), ranks)


def test_the_papers_formulas_by_automatic_differentiation():
    """With L = T + epsilon / 2 |theta|^2 written out, as in the paper.

    The paper's UP, abs(-theta grad L + epsilon theta^2) = abs(theta grad T), is ``gradient``; its
    GP, abs(theta grad L), is ``regularized_gradient``. ``undecayed`` deducts the decay from the
    gradient of T, where there is none, as the script did: epsilon theta^2 - theta grad T.
    """
    generator = torch.Generator().manual_seed(2)
    theta = torch.randn(6, 4, generator=generator, dtype=torch.double, requires_grad=True)
    inputs = torch.randn(32, 6, generator=generator, dtype=torch.double)
    labels = torch.randint(0, 4, (32,), generator=generator)

    def task(weights):
        logits = inputs @ weights
        chosen = logits.gather(1, labels[:, None])[:, 0]
        return (logits.exp().sum(1).log() - chosen).mean()

    (of_task,) = torch.autograd.grad(task(theta), theta)
    (of_loss,) = torch.autograd.grad(task(theta) + EPSILON / 2 * (theta**2).sum(), theta)
    weight = theta.detach()
    published_up = (-weight * of_loss + EPSILON * weight**2).abs()
    torch.testing.assert_close(score("gradient", weight, of_task), published_up)
    torch.testing.assert_close(score("gradient", weight, of_task), (weight * of_task).abs())
    torch.testing.assert_close(
        score("regularized_gradient", weight, of_task), (weight * of_loss).abs()
    )
    torch.testing.assert_close(
        score("undecayed", weight, of_task), (EPSILON * weight**2 - weight * of_task).abs()
    )


def test_random_scores_are_uniform_and_the_generators():
    weight = torch.zeros(50, 400)
    first = score("random", weight, None)
    assert torch.equal(first, score("random", weight + 7, None))
    other = criteria.random(weight, generator=torch.Generator().manual_seed(2))
    assert not torch.equal(first, other)
    ordered = first.flatten().double().sort().values
    steps = torch.arange(1, 20_001) / 20_000
    # Kolmogorov-Smirnov distance, critical at 0.001: 1.95 / sqrt(n).
    assert (ordered - steps).abs().max() < 1.95 / 20_000**0.5


# Few distinct values, so that most draws have ties, and zeros as earlier masks leave them.
LAYERS = st.lists(st.sampled_from([0.0, -0.5, 0.5, 1.0]) | st.floats(-9, 9), min_size=1).map(
    lambda values: torch.tensor(values, dtype=torch.double)
)
POSITIVE = st.lists(st.integers(1, 10**6), min_size=1, max_size=12, unique=True)


@settings(deadline=None)
@given(weight=LAYERS)
def test_lamp_is_its_sum_over_every_pair_of_weights(weight):
    squares = weight.square()
    at_least = weight.abs()[None, :] >= weight.abs()[:, None]
    sums = (squares[None, :] * at_least).sum(1)
    expected = torch.where(sums > 0, squares / sums, 0.0)
    # Rounding of at most a sum of all of them, in each of the two.
    torch.testing.assert_close(score("lamp", weight, None), expected, rtol=1e-13, atol=0)


@settings(deadline=None)
@given(values=POSITIVE, scale=st.sampled_from([1e-12, 3e-3, 0.7, 1e9]))
def test_a_layers_scale_does_not_matter_to_lamp_and_its_largest_weight_scores_1(values, scale):
    weight = torch.tensor(values, dtype=torch.double)
    found = score("lamp", weight, None)
    torch.testing.assert_close(score("lamp", -scale * weight, None), found, rtol=1e-12, atol=0)
    assert torch.equal(found.argsort(), weight.argsort())
    assert found[weight.argmax()] == 1
    assert (found[weight < weight.max()] <= 0.5).all()


def test_equal_weights_share_lamps_score_and_zeros_have_none():
    found = score("lamp", torch.tensor([[2.0, -2.0], [1.0, -1.0]]), None)
    expected = torch.tensor([[1 / 2, 1 / 2], [1 / 10, 1 / 10]], dtype=torch.double)
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=0)
    assert score("lamp", torch.zeros(3), None).tolist() == [0, 0, 0]


def test_lamps_squares_are_no_float32():
    """In float32 these squares are 0, and their sums would stop growing."""
    found = score("lamp", torch.tensor([1e-30, 2e-30]), None)
    torch.testing.assert_close(found, torch.tensor([0.2, 1.0]).double(), rtol=1e-6, atol=0)
    many = torch.full((100_000,), 0.1)
    many[0] = 1e4
    assert score("lamp", many, None)[1].item() == pytest.approx(0.01 / (1e8 + 999.99), rel=1e-6)


@settings(deadline=None)
@given(layers=st.lists(POSITIVE, min_size=2, max_size=4), asked=st.floats(0, 1))
def test_by_lamp_no_layer_loses_its_last_weight_while_another_has_two(layers, asked):
    scores = {
        str(i): score("lamp", torch.tensor(values, dtype=torch.double) * 10.0 ** (3 * i), None)
        for i, values in enumerate(layers)
    }
    kept = [int(mask.sum()) for mask in global_masks(scores, asked).values()]
    assert min(kept) >= 1 or max(kept) <= 1


NEED_GRADIENT = {name for name, facts in CRITERIA.items() if facts.needs_gradient}
FLOWS = {name for name in CRITERIA if criteria.load(name).gradient}  # another than the loss's


def test_one_criterion_has_a_gradient_of_its_own_and_rounds():
    assert {"synflow"} == FLOWS
    assert not FLOWS & NEED_GRADIENT
    assert {n: r for n in CRITERIA if (r := criteria.load(n).rounds) > 1} == {"synflow": 100}
    found = score("synflow", torch.tensor(THETA), torch.tensor(GRADIENT))
    assert found.dtype == torch.float64
    torch.testing.assert_close(
        found, score("gradient", *map(torch.tensor, (THETA, GRADIENT))).double()
    )


@pytest.mark.parametrize("name", sorted(NEED_GRADIENT | FLOWS))
def test_a_missing_gradient_is_told(name):
    with pytest.raises(NetworkError, match="needs the gradient"):
        score(name, torch.tensor(THETA), None)


def test_the_others_need_none():
    for name in set(CRITERIA) - NEED_GRADIENT - FLOWS:
        assert score(name, torch.tensor(THETA), None).shape == (5,)
