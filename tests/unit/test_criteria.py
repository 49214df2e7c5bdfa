"""Each criterion is its formula (docs/methods.md, section 3)."""

from __future__ import annotations

import pytest
import torch

from recall_distortion.compression.facts import CRITERIA
from recall_distortion.compression.pruning import criteria
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


NEED_GRADIENT = {name for name, facts in CRITERIA.items() if facts.needs_gradient}


@pytest.mark.parametrize("name", sorted(NEED_GRADIENT))
def test_a_missing_gradient_is_told(name):
    with pytest.raises(NetworkError, match="needs the gradient"):
        score(name, torch.tensor(THETA), None)


def test_the_others_need_none():
    for name in set(CRITERIA) - NEED_GRADIENT:
        assert score(name, torch.tensor(THETA), None).shape == (5,)
