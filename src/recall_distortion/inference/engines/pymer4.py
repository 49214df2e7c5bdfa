"""The mixed model by lme4 and lmerTest, through pymer4.

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

from recall_distortion.inference.model import (
    FORMULA,
    RANDOM_TERMS,
    RESIDUAL,
    SINGULAR,
    EngineFit,
    not_fitted,
)
from recall_distortion.inference.r_packages import lazy_r_packages
from recall_distortion.inference.r_stack import check_r_stack

# lme4's optimizer stops at steps of 1e-8 in the relative deviations and in the deviance, and then
# can be 1e-5 from the maximum in a slope of a small panel. This is its documented place to change
# that (R: ?nloptwrap), because pymer4's lmer passes no control on.
_TIGHTEN = """
local({
  defaults <- environment(lme4::nloptwrap)
  defaults$defaultControl$xtol_abs <- 1e-10
  defaults$defaultControl$ftol_abs <- 1e-11
})
"""


def prepare() -> None:
    """Check R's packages, then import pymer4 (5 s); raises ``SetupError``."""
    check_r_stack()
    # rpy2's compiled interface complains at length where it was built against another R; the
    # plain one does the same work. It must be chosen before rpy2 is imported.
    os.environ.setdefault("RPY2_CFFI_MODE", "ABI")
    with _library_path_kept():
        with lazy_r_packages():
            import pymer4.models  # noqa: F401
        from rpy2.robjects import r

        r(_TIGHTEN)


@contextlib.contextmanager
def _library_path_kept() -> Iterator[None]:
    """Take back what starting R does to this process's ``LD_LIBRARY_PATH``.

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


def fit(rows: pd.DataFrame) -> EngineFit:
    """Return the REML fit of the rows by ``pymer4.models.lmer``; call ``prepare`` first."""
    import polars
    from pymer4.models import lmer
    from rpy2.rinterface_lib.embedded import RRuntimeError
    from rpy2.robjects import r

    cells = list(dict.fromkeys(rows["cell"]))
    # Names that R takes as they are, in an order that sorting as text keeps: R sorts the levels
    # of a text column. The rows' own labels are put back by position.
    codes = {cell: f"c{position:04d}" for position, cell in enumerate(cells)}
    data = polars.DataFrame(
        {
            "after": rows["after"].to_numpy(),
            "before": rows["before"].to_numpy(),
            "cell": [codes[cell] for cell in rows["cell"]],
            **{column: [str(v) for v in rows[column]] for column in RANDOM_TERMS.values()},
        }
    )
    model = lmer(FORMULA, data)
    try:
        # Satterthwaite degrees of freedom are pymer4's default, and its only ones without emmeans,
        # whose limit of 3,000 rows therefore does not matter here.
        model.fit(verbose=False)
    except RRuntimeError as error:
        return not_fitted(rows, "lme4", error)
    slopes = {row["term"]: row for row in model.result_fit.to_dicts()}
    found = [slopes[f"before:cell{codes[cell]}"] for cell in cells]
    deviations = {row["group"]: row["estimate"] for row in model.ranef_var.to_dicts()}
    converged, message = _convergence(model.r_model, r)
    return EngineFit(
        slopes=np.array([row["estimate"] for row in found]),
        std_errors=np.array([row["std_error"] for row in found]),
        df=np.array([row["df"] for row in found]),
        deviations={
            **{term: deviations[column] for term, column in RANDOM_TERMS.items()},
            RESIDUAL: deviations["Residual"],
        },
        loglik=float(r("function(m) as.numeric(logLik(m))")(model.r_model)[0]),
        singular=bool(r("lme4::isSingular")(model.r_model, tol=SINGULAR)[0]),
        converged=converged,
        message=message,
    )


def _convergence(model: Any, r: Any) -> tuple[bool, str]:
    """Return whether lme4's optimizer converged, and all that lme4 says about it.

    lme4 lists a singular fit among its convergence messages. It is a maximum on the boundary, and
    told apart by ``singular``, so that message alone does not make a fit unconverged.
    """
    code = r("function(m) { code <- m@optinfo$conv$opt; if (is.null(code)) 0 else code }")(model)
    messages = list(r("function(m) as.character(unlist(m@optinfo$conv$lme4$messages))")(model))
    complaints = [text for text in messages if "singular" not in text.lower()]
    if code[0] != 0:
        complaints.append(f"optimizer code {code[0]:g}")
        messages.append(complaints[-1])
    return not complaints, "; ".join(messages)
