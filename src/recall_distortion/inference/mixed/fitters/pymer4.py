"""Mixed models by lme4 and lmerTest, through pymer4.

R runs in the thread that first imports rpy2 and in no other, so fits that run side by side need a
process each.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.mixed.fitters.r_packages import lazy_r_packages
from recall_distortion.inference.mixed.fitters.r_stack import check_r_stack, where_r_looks
from recall_distortion.inference.mixed.model import (
    RESIDUAL,
    SINGULAR,
    Fit,
    MixedModel,
    RandomTerm,
    not_fitted,
)
from recall_distortion.system import environment
from recall_distortion.system.errors import SetupError

# By default lme4's optimizer stops at steps of 1e-8 in the relative deviations and in the deviance;
# a slope of a small panel can then be 1e-5 from its maximum. Whether the columns differ much in
# scale is not checked: the answer is only that the cells do, and the check takes a tenth of a fit.
_CONTROL = """
lme4::lmerControl(
  optCtrl = list(xtol_abs = 1e-10, ftol_abs = 1e-11), check.scaleX = "ignore"
)
"""

# The files of commands and variables that R reads when it starts.
_SETTINGS = ("R_PROFILE", "R_PROFILE_USER", "R_ENVIRON", "R_ENVIRON_USER")


def prepare() -> None:
    """Check R's packages, then import pymer4 and load lmerTest (10 s); raises ``SetupError``.

    R starts without its users' settings: no profile, no environment file, no saved workspace.
    """
    check_r_stack()
    libraries = where_r_looks()  # before R starts, which sets these variables too
    # rpy2's compiled interface complains at length where it was built against another R; the
    # plain one does the same work. It must be chosen before rpy2 is imported.
    os.environ.setdefault("RPY2_CFFI_MODE", "ABI")
    environment.leave_out_r(os.environ)
    # rpy2 asks an Rscript that reads these, and that takes no options.
    os.environ.update(dict.fromkeys(_SETTINGS, os.devnull))
    with _library_path_kept():
        from rpy2.rinterface_lib import embedded

        if not embedded.isinitialized():
            options = ("rpy2", "--quiet", "--vanilla")
            embedded.set_initoptions(options)  # type: ignore[arg-type]  # rpy2 says it takes one
        with lazy_r_packages():
            import pymer4.tidystats.lmerTest  # noqa: F401
    _load("lmerTest", libraries)


def _load(package: str, libraries: str) -> None:
    """Load what every fit needs, so that the message names a package that does not work."""
    from rpy2.rinterface_lib.embedded import RRuntimeError
    from rpy2.robjects import r

    try:
        r("loadNamespace")(package)
    except RRuntimeError as error:
        raise SetupError(
            f"R cannot load the package {package}: {' '.join(str(error).split())}. Install it and "
            f"what it names again, for this R{libraries}"
        ) from error


@contextlib.contextmanager
def _library_path_kept() -> Iterator[None]:
    """Undo what starting R does to this process's ``LD_LIBRARY_PATH``.

    rpy2 puts R's folders there, the system's among them. That is too late for this process, but
    every process that it starts inherits it: a Python outside the system's folders then loads
    the system's libpython of another release and fails at its first compiled module.
    """
    name = "LD_LIBRARY_PATH"
    before = os.environ.get(name)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def fit(model: MixedModel) -> Fit:
    """Return the REML fit of a model by ``pymer4.tidystats.lmer``; call ``prepare`` first.

    ``pymer4.models.lmer`` fits the same by the same function, and then computes predictions,
    residuals and tables for print that take three times as long as the fit. What is needed of it
    comes from lmerTest's own summary, with Satterthwaite's degrees of freedom.
    """
    from pymer4.tidystats.lmerTest import lmer
    from rpy2.rinterface_lib.embedded import RRuntimeError
    from rpy2.robjects import r

    formula, data, groups = _in_r(model)
    try:
        with _quiet():
            fitted = lmer(formula, data, control=r(_CONTROL))
    except RRuntimeError as error:
        return not_fitted(model, "lme4", error)
    found = np.array(r("function(m) coef(summary(m))[, c('Estimate', 'Std. Error', 'df')]")(fitted))
    found = found.reshape(-1, 3)  # R makes one row a vector
    if len(found) != len(model.terms):
        return not_fitted(model, "lme4", ValueError("it dropped columns of the fixed effects"))
    of_groups = dict(
        zip(
            r("function(m) as.data.frame(lme4::VarCorr(m))$grp")(fitted),
            r("function(m) as.data.frame(lme4::VarCorr(m))$sdcor")(fitted),
            strict=True,
        )
    )
    converged, message = _convergence(fitted, r)
    return Fit(
        estimates=found[:, 0],
        std_errors=found[:, 1],
        df=found[:, 2],
        deviations={
            **{term.name: of_groups[group] for term, group in groups},
            RESIDUAL: of_groups["Residual"],
        },
        loglik=float(r("function(m) as.numeric(logLik(m))")(fitted)[0]),
        singular=bool(r("lme4::isSingular")(fitted, tol=SINGULAR)[0]),
        converged=converged,
        message=message,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep R's console out of the log: lme4's messages are read from the model into the table."""
    from rpy2.rinterface_lib import callbacks

    names = ("consolewrite_print", "consolewrite_warnerror")
    before = {name: getattr(callbacks, name) for name in names}
    try:
        for name in names:
            setattr(callbacks, name, lambda text: None)
        yield
    finally:
        for name in names:
            setattr(callbacks, name, before[name])


def _in_r(model: MixedModel) -> tuple[str, Any, list[tuple[RandomTerm, str]]]:
    """Return the model as R's formula and data, and the grouping column of each random term.

    The columns have names that R takes as they are; their order is that of the fixed effects. They
    are handed over as memory: pymer4's own way there from a polars table, through pandas, makes a
    string of every row's number for every column, which took a third of a fit.
    """
    from rpy2.robjects import DataFrame, FloatVector, r

    fixed = {f"x{i}": model.fixed[:, i] for i in range(len(model.terms))}
    data = {"y": model.response, **fixed}
    levels = {}
    groups = [(term, f"g{i}") for i, term in enumerate(model.random)]
    parts = ["0", *fixed]
    columns: list[np.ndarray] = []
    for term, group in groups:
        place = next((i for i, known in enumerate(columns) if known is term.column), len(columns))
        if place == len(columns):
            columns.append(term.column)
            data[f"z{place}"] = term.column
        levels[group] = pd.factorize(term.labels)
        parts.append(f"(0 + z{place} | {group})")
    vectors = {
        name: FloatVector(np.ascontiguousarray(column, float)) for name, column in data.items()
    }
    factor = r("function(codes, count) factor(paste0('level', seq_len(count) - 1))[codes]")
    for name, (codes, labels) in levels.items():
        vectors[name] = factor(FloatVector(codes + 1.0), len(labels))
    return f"y ~ {' + '.join(parts)}", DataFrame(vectors), groups


def _convergence(model: Any, r: Any) -> tuple[bool, str]:
    """Return whether lme4's optimizer converged, and all that lme4 says about it.

    lme4 lists a singular fit among its convergence messages. It is a maximum on the boundary, which
    the column ``singular`` shows, so that message alone does not make a fit unconverged.
    """
    code = r("function(m) { code <- m@optinfo$conv$opt; if (is.null(code)) 0 else code }")(model)
    messages = list(r("function(m) as.character(unlist(m@optinfo$conv$lme4$messages))")(model))
    complaints = [text for text in messages if "singular" not in text.lower()]
    if code[0] != 0:
        complaints.append(f"optimizer code {code[0]:g}")
        messages.append(complaints[-1])
    return not complaints, "; ".join(messages)
