"""Leading eigenvalues of matrices whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recall_distortion.evaluation.eigenvalues import PRODUCTS, TOLERANCE, leading


def matrix(spectrum, seed=0):
    """Return a symmetric matrix with a spectrum, in a random basis."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(len(spectrum), len(spectrum))))
    return torch.from_numpy(basis * np.asarray(spectrum, float) @ basis.T)


def started(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).double()


class Counted:
    """Products with a matrix, and how many there were."""

    def __init__(self, of):
        self.of, self.count = of, 0

    def __call__(self, vector):
        self.count += 1
        return self.of @ vector


# As of the loss of a trained network: a few large ones, many near 0, some below.
SPECTRUM = np.concatenate([[9.0, -7.5, 6.0, 4.0, 3.2, 2.5, 2.0, -1.5, 1.2, 1.0],
                           np.random.default_rng(5).normal(0, 0.05, 390)])  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_ten_leading_eigenvalues_in_at_most_forty_products(seed):
    product = Counted(matrix(SPECTRUM, seed))
    found = leading(product, started(400, seed), 10)
    assert product.count == found.products < PRODUCTS * 10 == 40
    expected = SPECTRUM[np.argsort(-np.abs(SPECTRUM))][:10]
    assert found.residual <= TOLERANCE
    # An eigenvalue lies within its residual; by the gaps the error is of its square.
    np.testing.assert_allclose(found.values, expected, atol=9 * TOLERANCE)
    assert (np.diff(np.abs(found.values)) <= 0).all()


def test_residuals_are_those_of_the_vectors():
    """After few products: computed by the small matrix alone, they are |A v - λ v|."""
    of, start, steps = matrix(SPECTRUM), started(400), 12
    found = leading(lambda vector: of @ vector, start, 3, tolerance=0, products=steps)
    # The same space, made by no code of the package: A's powers of the start.
    space = [start.numpy() / start.norm().item()]
    for _ in range(steps - 1):
        vector = of.numpy() @ space[-1]
        for one in [*space, *space]:
            vector = vector - one * (one @ vector)
        space.append(vector / np.linalg.norm(vector))
    basis = np.array(space)
    values, vectors = np.linalg.eigh(basis @ of.numpy() @ basis.T)
    order = np.argsort(-np.abs(values))[:3]
    inside = basis.T @ vectors[:, order]
    residuals = np.linalg.norm(of.numpy() @ inside - inside * values[order], axis=0)
    np.testing.assert_allclose(found.values, values[order], rtol=1e-9)
    np.testing.assert_allclose(found.residuals, residuals, rtol=1e-6)
    assert found.products == steps
    assert found.residual == pytest.approx(residuals.max() / abs(values).max(), rel=1e-6)


def test_a_search_that_does_not_converge_says_by_how_much():
    flat = np.linspace(0.9, 1.0, 500)  # nothing stands out
    found = leading(Counted(matrix(flat)), started(500), 10)
    assert found.products == 40
    assert found.residual > TOLERANCE
    # Still within its residual of some eigenvalue.
    nearest = np.abs(found.values[:, None] - flat).min(1)
    assert (nearest <= found.residuals + 1e-12).all()


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_of_few_ranks_the_others_are_zero(rank):
    spectrum = np.zeros(60)
    spectrum[:rank] = [5, -4, 3][:rank]
    found = leading(Counted(matrix(spectrum)), started(60), 5)
    np.testing.assert_allclose(found.values, spectrum[:5], atol=1e-9)
    assert found.residual <= 1e-6


def test_more_than_there_are_are_all():
    spectrum = np.array([3.0, -2.0, 1.0])
    found = leading(Counted(matrix(spectrum)), started(3), 10)
    np.testing.assert_allclose(found.values, spectrum, rtol=1e-9)
    assert found.products == 3


def test_what_is_not_finite_has_none():
    found = leading(lambda vector: vector * torch.inf, started(50), 4)
    assert np.isnan(found.values).all()
    assert np.isnan(found.residual)
    assert found.products == 1


def test_single_precision_is_enough():
    of = matrix(SPECTRUM)
    double = leading(lambda vector: of @ vector, started(400), 10)
    single = leading(lambda vector: of.float() @ vector, started(400).float(), 10)
    np.testing.assert_allclose(single.values, double.values, atol=9e-5)
    assert single.residual <= TOLERANCE
