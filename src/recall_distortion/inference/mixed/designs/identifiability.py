"""Check, before a mixed model is fitted, that its rows can identify all of its variances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import linalg, sparse

from recall_distortion.inference.mixed.model import EXACT, RandomTerm

# Relative size below which a direction counts as absent.
TOLERANCE = 1e-8


def indicators(term: RandomTerm) -> sparse.csc_array:
    """Return the design [n, levels] of a random term."""
    codes, levels = pd.factorize(term.labels)
    shape = len(codes), len(levels)
    return sparse.csc_array((term.column, (np.arange(len(codes)), codes)), shape=shape)


def not_estimable(
    response: np.ndarray, fixed: np.ndarray, random: Sequence[RandomTerm], names: Sequence[str]
) -> str:
    """Return why the model cannot be estimated by REML, or an empty string.

    ``names`` say what each random term stands for ("differences between panels").
    """
    found = not_identifiable(fixed, random, names)
    if found:
        return found
    everything = np.hstack([fixed, *(indicators(term).toarray() for term in random)])
    basis = linalg.orth(everything, rcond=TOLERANCE)
    left = response - basis @ (basis.T @ response)
    if (left**2).sum() <= EXACT**2 * (response**2).sum():
        return "its effects fit every slope exactly: there is no residual"
    return ""


def not_identifiable(fixed: np.ndarray, random: Sequence[RandomTerm], names: Sequence[str]) -> str:
    """Return which variances no response could identify, or an empty string.

    With P the projection that takes the fixed effects out and V_i the covariance that a variance i
    stands for (the identity for the residual), the expected information about the variances is
    that of the matrix of tr(P V_i P V_j) (Searle, Casella and McCulloch, Variance Components, 1992,
    section 6.6), so they are identifiable where it has full rank; a zero on its diagonal is a
    variance that the fixed effects absorb.
    """
    n, p = fixed.shape
    basis = linalg.orth(fixed, rcond=TOLERANCE)
    if basis.shape[1] < p:
        return "the fixed effects cannot be distinguished from each other on these rows"
    if n <= p:
        return f"{n} rows for {p} fixed effects: none are left to estimate errors from"
    designs = [indicators(term) for term in random]
    projected = [basis.T @ z for z in designs]
    information = np.full((len(random) + 1, len(random) + 1), float(n - p))
    for i, z in enumerate(designs):
        for j in range(i + 1):
            left = (z.T @ designs[j]).toarray() - projected[i].T @ projected[j]
            information[i, j] = information[j, i] = (left**2).sum()
        # Of the last i = j the trace, which is the sum of squares of what P leaves of the design.
        information[i, -1] = information[-1, i] = trace = np.trace(left)
        if trace <= TOLERANCE * (z.data**2).sum():
            return f"the fixed effects absorb the {names[i]}"
    scale = np.sqrt(np.diag(information))
    if np.linalg.eigvalsh(information / np.outer(scale, scale))[0] < TOLERANCE:
        return (
            f"the {' and the '.join(names)} cannot be distinguished from each other and from the "
            "residual"
        )
    return ""
