"""A linear mixed model written out in numbers, and what a fitter finds; no fitter is named here.

``designs`` describe the project's models in these terms, ``fitters`` fit them and ``comparison``
compares what they find.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from recall_distortion.vocabulary import BOOTSTRAP, CELL, MODEL

RESIDUAL = "sd(residual)"
# The term under which a scaled model's table gives what each cell's rows were divided by.
CELL_SCALE = "sd(cell)"

# A random effect whose standard deviation is below this many residual standard deviations counts
# as zero: lme4's own tolerance in isSingular.
SINGULAR = 1e-4

# A residual below this fraction of the response is rounding. The likelihood then has no maximum,
# and fitters stop wherever they happen to.
EXACT = 1e-9

# Where the residual standard deviations of cells differ by more than this factor, and so their
# variances by more than nine, one variance for all of them is so wrong that the bootstrap is to be
# believed: the standard error of the quietest cell is then mostly the others' noise. A rule of
# thumb.
LARGEST_SPREAD = 3.0

# What is said about each fixed effect, in the order of ``MixedModel.fixed``: where it belongs, its
# value under the null hypothesis, and the factor that takes it back to the scale of the slopes.
TERM_COLUMNS = [*CELL, "term", "null", "factor"]


@dataclass(frozen=True)
class RandomTerm:
    """A random slope: ``column`` [n] times one effect per level of ``labels`` [n].

    ``name`` is its term in the tables, ``sd(seed)``; a column of ones is a random intercept.
    ``unit`` is what a standard deviation found for the column is to be multiplied by.
    """

    name: str
    labels: np.ndarray
    column: np.ndarray
    unit: float = 1.0


@dataclass(frozen=True)
class MixedModel:
    """``response`` [n] ~ ``fixed`` [n, p] + ``random`` + residual, and what the tables say of it.

    ``terms`` has a row per fixed effect (``TERM_COLUMNS``). ``scales`` has a row per cell with its
    scale as ``estimate``, in a scaled model. ``clusters`` [n] says which dense network a row stems
    from and ``strata`` [n] which panel, for the bootstrap. ``spread`` is the largest over the
    smallest residual standard deviation among the cells, as the model sees its rows, which takes
    them to be equal (see ``class_level.spread``; of slopes, the residual of least squares).
    ``notes`` say what was left out, ``reason`` why the model cannot be estimated, if it cannot.
    ``crossed`` has the rows of a class-level model, whose random effects are not nested.
    """

    name: str
    formula: str
    terms: pd.DataFrame
    response: np.ndarray
    fixed: np.ndarray
    random: tuple[RandomTerm, ...]
    clusters: np.ndarray
    strata: np.ndarray
    scales: pd.DataFrame
    spread: float = np.nan
    notes: tuple[str, ...] = ()
    reason: str = ""
    crossed: pd.DataFrame | None = None

    @property
    def believe(self) -> str:
        """``bootstrap`` where the spread exceeds ``LARGEST_SPREAD``, else ``model``."""
        if self.reason:
            return ""
        return BOOTSTRAP if self.spread > LARGEST_SPREAD else MODEL

    @property
    def groups(self) -> str:
        """How many levels each random effect has, as ``seed=30;class=10``."""
        return ";".join(f"{term.name[3:-1]}={len(np.unique(term.labels))}" for term in self.random)


@dataclass(frozen=True)
class Fit:
    """What a fitter found, on the scale of the model's response.

    ``estimates``, ``std_errors``, ``df``: [p]; ``deviations``: standard deviation per random term
    and of the residual; ``loglik``: the REML log-likelihood.
    """

    estimates: np.ndarray
    std_errors: np.ndarray
    df: np.ndarray
    deviations: dict[str, float]
    loglik: float
    singular: bool
    converged: bool
    message: str


def terms_table(rows: list[dict[str, str | float]]) -> pd.DataFrame:
    """Return the table of fixed effects; what a row does not say is missing, its factor 1."""
    table = pd.DataFrame(rows, columns=TERM_COLUMNS)
    return table.astype({"ratio": float, "null": float, "factor": float}).fillna({"factor": 1.0})


def not_estimated(model: MixedModel, message: str) -> Fit:
    """Return a fit without numbers, and why in ``message``."""
    nothing = np.full(len(model.terms), np.nan)
    return Fit(
        estimates=nothing,
        std_errors=nothing,
        df=nothing,
        deviations={},
        loglik=np.nan,
        singular=False,
        converged=False,
        message=message,
    )


def not_fitted(model: MixedModel, fitter: str, error: Exception) -> Fit:
    """Return the fit of a fitter that failed: no numbers, and its error as the message."""
    message = " ".join(str(error).split()) or type(error).__name__
    return not_estimated(model, f"{fitter} failed: {message}")
