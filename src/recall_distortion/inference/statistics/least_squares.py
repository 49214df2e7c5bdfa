"""The seed-level cluster bootstrap of least-squares coefficients.

Dense networks are drawn with replacement, within each panel, with all the rows that stem from them.
Draws are studentized with the cluster-robust standard error (Liang and Zeger, Biometrika 1986; the
studentized cluster bootstrap: Cameron, Gelbach and Miller, Review of Economics and Statistics
2008), centred within panels, because the panels are not drawn. With one column it is
``bootstrap.ratio``; where every dense network has the same rows, the coefficients are the means of
those of each dense network by itself.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csgraph

from recall_distortion.inference.statistics.bootstrap import (
    DRAWS,
    LEAST_REPLICATES,
    SEED,
    Bootstrapped,
    draws,
)
from recall_distortion.measures.rounding import DUST

# Relative size of the smallest eigenvalue below which a draw does not determine its coefficients.
TOLERANCE = 1e-10
# Draws computed at a time: [draws, dense networks, coefficients] fits the processor's cache.
CHUNK = 500


def clustered(
    response: np.ndarray,
    fixed: np.ndarray,
    clusters: np.ndarray,
    strata: np.ndarray,
    count: int = DRAWS,
) -> Bootstrapped:
    """Return the bootstrap of the least-squares coefficients of ``fixed`` [n, p].

    ``clusters`` [n] and ``strata`` [n] are labels; each cluster lies in one stratum. Columns that
    share no row do not depend on each other and are treated separately, each with the clusters
    that have rows of its own; where a stratum has fewer than ``LEAST_REPLICATES`` of these, the
    draws are NaN. The degrees of freedom are the number of clusters less that of strata.
    """
    p = fixed.shape[1]
    estimate, error = np.full(p, np.nan), np.full(p, np.nan)
    studentized, df = np.full((count, p), np.nan), np.full(p, np.nan)
    shared = (np.abs(fixed).T @ np.abs(fixed)) > 0
    _, blocks = csgraph.connected_components(shared, directed=False)
    for block in np.unique(blocks):
        columns = np.flatnonzero(blocks == block)
        rows = (fixed[:, columns] != 0).any(axis=1)
        codes, labels = pd.factorize(clusters[rows])
        x, y = fixed[np.ix_(rows, columns)], response[rows]
        squares = np.zeros((len(labels), len(columns), len(columns)))
        products = np.zeros((len(labels), len(columns)))
        np.add.at(squares, codes, x[:, :, None] * x[:, None, :])
        np.add.at(products, codes, x * y[:, None])
        of_clusters = np.empty(len(labels), dtype=object)
        of_clusters[codes] = strata[rows]
        stratum = pd.factorize(of_clusters)[0]
        found = _block(squares, products, stratum, count)
        estimate[columns], error[columns], studentized[:, columns] = found
        df[columns] = len(labels) - len(np.unique(stratum))
    return Bootstrapped(estimate, error, studentized, df)


def _block(
    squares: np.ndarray, products: np.ndarray, stratum: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return estimates and standard errors [p] and studentized draws [B, p] of one block.

    As in ``bootstrap``, everything is computed from residuals: draws shift the sample's estimate.
    """
    sizes = np.bincount(stratum)
    estimate = _inverse(squares.sum(0)[None])[0] @ products.sum(0)
    scores = products - squares @ estimate
    size = np.maximum(np.abs(products), np.einsum("cii->ci", squares)).max(0)
    scores[:, np.abs(scores).max(0) <= DUST * size] = 0
    _, error = (v[0] for v in _shift(np.ones((1, len(stratum))), squares, scores, stratum))
    studentized = np.full((count, len(estimate)), np.nan)
    if sizes.min() < LEAST_REPLICATES:
        return estimate, error, studentized
    weights = np.zeros((count, len(stratum)))
    for number, n in enumerate(sizes):
        weights[:, stratum == number] = draws(n, count, SEED + number)
    for first in range(0, count, CHUNK):
        chunk = slice(first, first + CHUNK)
        shift, errors = _shift(weights[chunk], squares, scores, stratum)
        with np.errstate(invalid="ignore", divide="ignore"):
            studentized[chunk] = shift / errors
    studentized[:, error == 0] = 0
    return estimate, error, studentized


def _inverse(matrices: np.ndarray) -> np.ndarray:
    """Return the inverses [B, p, p]; NaN where a matrix is singular."""
    size = np.sqrt(np.einsum("bii->bi", matrices))
    size = np.where(size > 0, size, 1.0)
    both = size[:, :, None] * size[:, None, :]
    scaled = matrices / both
    usable = np.linalg.eigvalsh(scaled)[:, 0] > TOLERANCE
    scaled[~usable] = np.eye(matrices.shape[1])
    found: np.ndarray = np.linalg.inv(scaled) / both
    found[~usable] = np.nan
    return found


def _shift(
    weights: np.ndarray, squares: np.ndarray, scores: np.ndarray, stratum: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what draws shift the estimates by, and their standard errors, [B, p] each.

    ``weights`` [B, clusters]; ``scores`` [clusters, p] are those of the sample's estimates.
    """
    clusters, p = scores.shape
    inverse = _inverse((weights @ squares.reshape(clusters, -1)).reshape(-1, p, p))
    shift = np.einsum("bij,bj->bi", inverse, weights @ scores)
    # What each cluster adds to the coefficients, [B, p, clusters]: by the sample's estimates and
    # by the draw's.
    before = inverse @ scores.T
    influence = before - inverse @ np.einsum("cij,bj->bic", squares, shift)
    variance = np.zeros_like(shift)
    for number, n in enumerate(np.bincount(stratum)):
        members = stratum == number
        w, g, old = weights[:, None, members], influence[:, :, members], before[:, :, members]
        total = (w * g**2).sum(-1) - (w * g).sum(-1) ** 2 / n
        # Where residuals cancel, what is left is rounding, and may be negative.
        kept = np.where(total > DUST * (w * (g**2 + old**2)).sum(-1), total, 0)
        variance += n / max(n - 1, 1) * kept
    variance[np.isnan(shift)] = np.nan
    return shift, np.sqrt(variance)
