"""Mixed models by statsmodels' ``MixedLM``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.mixed.designs.identifiability import indicators
from recall_distortion.inference.mixed.fitters.likelihood import maximum
from recall_distortion.inference.mixed.fitters.rotation import Rotated, rotated
from recall_distortion.inference.mixed.model import (
    RESIDUAL,
    SINGULAR,
    Fit,
    MixedModel,
    not_fitted,
)
from recall_distortion.vocabulary import STATSMODELS

# A fit is repeated from where it stopped until the log-likelihood gains less than this, which is
# far below the tolerance at which the fitters are compared.
GAIN = 1e-7
MAXIMUM_RESTARTS = 10
# Relative change of the mean negative log-likelihood at which one search by Powell's method ends.
# scipy's default of 1e-4 stops whole units of log-likelihood short on thousands of rows.
POWELL_FTOL = 1e-11
# The smallest relative variance that is not taken for zero; MixedLM mistakes those below 1e-10.
SMALLEST_VARIANCE = 2e-10


def prepare() -> None:
    """Import statsmodels (3 s)."""
    import statsmodels.regression.mixed_linear_model  # noqa: F401


def grouped(model: MixedModel) -> Rotated:
    """Return a model's rows in groups that share no random effect.

    Those of a class-level model are rotated (``rotation``). Elsewhere random effects are nested,
    and the groups are the levels of the coarsest.
    """
    if model.crossed is not None:
        return rotated(model.crossed)
    coarsest = min(model.random, key=lambda term: len(np.unique(term.labels)))
    codes = pd.factorize(coarsest.labels)[0]
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))[:-1]
    random = {}
    for term in model.random:
        of_groups = np.split(indicators(term).toarray()[order], ends)
        random[term.name] = [z[:, (z != 0).any(axis=0)] for z in of_groups]
    return Rotated(codes[order], model.response[order], model.fixed[order], random)


def likelihood(data: Rotated) -> Any:
    """Return the ``MixedLM`` of grouped rows, without its two faults at a variance of zero."""
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    class Bounded(MixedLM):  # type: ignore[misc]  # statsmodels comes without types
        def get_fe_params(self, cov_re: np.ndarray, vcomp: np.ndarray, tol: float = 1e-10) -> Any:
            # A relative variance below tol is taken for an infinite one.
            return super().get_fe_params(cov_re, np.maximum(vcomp, SMALLEST_VARIANCE), tol)

        def hessian(self, params: Any) -> tuple[np.ndarray, bool]:
            # fit() ends by inverting the whole Hessian for standard errors, and fails where a
            # variance of zero makes it singular. The standard errors here need a block of it only.
            return -np.eye(self.k_fe + self.k_vc), False

        def information(self, params: Any) -> np.ndarray:
            """Return the information of the fixed effects [p, p], variances taken as known."""
            whole: np.ndarray = super().hessian(params)[0]
            return -whole[: self.k_fe, : self.k_fe]

    terms = sorted(data.random)
    components = VCSpec(
        terms,
        [[[str(i) for i in range(z.shape[1])] for z in data.random[term]] for term in terms],
        [data.random[term] for term in terms],
    )
    return Bounded(data.after, data.fixed, groups=data.group, exog_vc=components)


def fit(model: MixedModel) -> Fit:
    """Return the REML fit of a model by ``MixedLM`` with Powell's method.

    Powell's, because with gradient methods the standard errors were off by up to 3 % while the
    fit claimed to have converged. The search starts where one of the same likelihood from its
    cross-products has ended (``likelihood``) and is repeated from where it stopped until it gains
    nothing: one search alone can stop short.
    """
    from statsmodels.regression.mixed_linear_model import MixedLMParams

    data = grouped(model)
    mixed = likelihood(data)
    terms = mixed.exog_vc.names
    try:
        with warnings.catch_warnings():
            # MixedLM warns of the boundary on every fit with a variance below 0.01, whatever the
            # scale of the data; a variance that is zero is found below, from the numbers.
            warnings.simplefilter("ignore")
            result, loglik, settled = _maximized(mixed, maximum(data, terms))
            relative = np.maximum(np.asarray(result.vcomp) / result.scale, SMALLEST_VARIANCE)
            estimates, _ = mixed.get_fe_params(np.zeros((0, 0)), relative)
            parameters = MixedLMParams.from_components(
                fe_params=estimates, cov_re=np.zeros((0, 0)), vcomp=relative
            )
            information = mixed.information(parameters)
    except np.linalg.LinAlgError as error:
        return not_fitted(model, STATSMODELS, error)
    count = len(estimates)
    # The fixed effects' own block of the information, as lme4 has it: the variances are taken as
    # known. statsmodels' own standard errors invert the whole Hessian, which agrees to 1e-4 inside
    # and means nothing where a variance is zero.
    std_errors = np.sqrt(np.diag(np.linalg.inv(information)))
    deviations = np.sqrt(relative)
    named = dict(zip(terms, deviations * np.sqrt(result.scale), strict=True))
    at_zero = [term for term, value in zip(terms, deviations, strict=True) if value < SINGULAR]
    messages = [f"boundary fit: {', '.join(at_zero)} at zero"] if at_zero else []
    if not settled:
        messages.append(f"the log-likelihood still rose after {MAXIMUM_RESTARTS} restarts")
    return Fit(
        estimates=np.asarray(estimates),
        std_errors=std_errors,
        df=np.full(count, np.inf),
        deviations={**named, RESIDUAL: float(np.sqrt(result.scale))},
        loglik=loglik,
        singular=bool(at_zero),
        converged=settled and bool(result.converged) and bool(np.isfinite(std_errors).all()),
        message="; ".join(messages),
    )


def _maximized(mixed: Any, start: np.ndarray) -> tuple[Any, float, bool]:
    """Return the best fit, its log-likelihood, and whether the last search gained nothing.

    ``start`` [terms] are deviations over that of the residual where another search has ended
    (``likelihood.maximum``), so that the first one here can confirm it.
    """

    def search(values: np.ndarray) -> tuple[Any, float]:
        found = mixed.fit(reml=True, method="powell", start_params=values, ftol=POWELL_FTOL)
        return found, float(found.llf)

    def deviations(found: Any) -> np.ndarray:
        relative = np.maximum(np.asarray(found.vcomp) / found.scale, SMALLEST_VARIANCE)
        reached: np.ndarray = np.sqrt(relative)
        return reached

    start = np.maximum(start, np.sqrt(SMALLEST_VARIANCE))
    best, loglik = search(start)
    if loglik - float(mixed.loglike(start)) < GAIN:
        return best, loglik, True
    for _ in range(MAXIMUM_RESTARTS):
        again, again_loglik = search(deviations(best))
        gained = again_loglik - loglik
        if gained > 0:
            best, loglik = again, again_loglik
        if gained < GAIN:
            return best, loglik, True
    return best, loglik, False
