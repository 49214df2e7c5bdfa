"""The leading eigenvalues of a symmetric matrix that is known by its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: The residual of each eigenvalue, relative to the largest one, at which the search ends.
TOLERANCE = 1e-3
#: Products at most for each eigenvalue that is asked for.
PRODUCTS = 4
#: A vector that is shorter than so many roundings of what it is left of counts as none.
_NOTHING = 100


@dataclass(frozen=True)
class Leading:
    """Eigenvalues by falling magnitude, the residual |A v - λ v| of each, and the products taken.

    ``values`` and ``residuals`` are float64 [k]; of a product that is not finite they are NaN.
    """

    values: np.ndarray
    residuals: np.ndarray
    products: int

    @property
    def residual(self) -> float:
        """The largest residual over the largest magnitude; 0 of a matrix of zeros."""
        largest = float(np.abs(self.values).max())
        return float(self.residuals.max()) / largest if largest != 0 else 0.0


def leading(
    product: Callable[[Tensor], Tensor],
    start: Tensor,
    count: int,
    *,
    tolerance: float = TOLERANCE,
    products: int | None = None,
) -> Leading:
    """Return the ``count`` eigenvalues of largest magnitude of the symmetric matrix of a product.

    ``product`` maps a vector [n] to one, ``start`` [n] is where the search begins: one drawn at
    random has a part of every eigenvector. It ends where every residual is at most ``tolerance``
    times the largest eigenvalue, or after so many ``products``, ``PRODUCTS`` times ``count`` unless
    said. Of a matrix smaller than ``count`` there are n eigenvalues.

    Lanczos' method with every new vector made orthogonal to all before it, twice (Parlett, The
    Symmetric Eigenvalue Problem, 1998, sections 6.9 and 13.8). It is not restarted, so that of all
    methods that only multiply none has a larger space after as many products. A residual is the
    last component of the small matrix's eigenvector times the length of the next vector (section
    13.2); an eigenvalue of the matrix lies within it.
    """
    size = len(start)
    count = min(count, size)
    most = min(size, PRODUCTS * count if products is None else max(products, count))
    basis = start.new_zeros(most, size)
    basis[0] = start / start.norm()
    small = np.zeros((most, most))
    values = residuals = np.full(count, np.nan)
    for step in range(most):
        found = product(basis[step])
        known = basis[: step + 1]
        along = known @ found
        left = found - along @ known
        left = left - (known @ left) @ known
        length = float(left.norm())
        small[step, step] = float(along[step])
        if not np.isfinite(small[step, step] + length):
            return Leading(np.full(count, np.nan), np.full(count, np.nan), step + 1)
        if step + 1 >= count:
            every, vectors = np.linalg.eigh(small[: step + 1, : step + 1])
            order = np.argsort(-np.abs(every), kind="stable")[:count]
            values, residuals = every[order], length * np.abs(vectors[-1, order])
            if residuals.max() <= tolerance * np.abs(values).max():
                return Leading(values, residuals, step + 1)
        if step + 1 < most:
            # What rounding leaves of nothing has no direction of its own.
            if length <= _NOTHING * torch.finfo(start.dtype).eps * float(found.norm()):
                left, length = _apart(known), 0.0
            basis[step + 1] = left / left.norm()
            small[step, step + 1] = small[step + 1, step] = length
    return Leading(values, residuals, most)


def _apart(basis: Tensor) -> Tensor:
    """Return a vector [n] that is orthogonal to the rows of ``basis`` [m, n], m < n."""
    rng = torch.Generator().manual_seed(len(basis))
    found = torch.randn(basis.shape[1], generator=rng).to(basis)
    for _ in range(2):
        found = found - (basis @ found) @ basis
    return found
