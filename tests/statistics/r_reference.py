"""Whether R is there, and lmerTest's answer to a model, asked through Rscript and a CSV file."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from recall_distortion.inference.mixed.fitters import r_stack
from recall_distortion.system.errors import SetupError


@functools.cache
def r_missing() -> str:
    """Return why the R stack cannot be used, or an empty string."""
    try:
        r_stack.check_r_stack()
    except SetupError as error:
        return str(error)
    return ""


needs_r = pytest.mark.skipif(bool(r_missing()), reason=r_missing() or "R is there")

_SCRIPT = """
suppressMessages(library(lmerTest))
arguments <- commandArgs(TRUE)
d <- read.csv(arguments[1])
for (name in c("cell", "seed", "seed_cell", "class", "panel", "method"))
  if (name %in% names(d)) d[[name]] <- factor(d[[name]])
parts <- strsplit(arguments[3], ", weights = ")[[1]]
control <- lmerControl(optCtrl = list(xtol_abs = 1e-10, ftol_abs = 1e-11))
if (length(parts) == 2) {
  d$w <- eval(parse(text = parts[2]), d)
  m <- lmer(as.formula(parts[1]), d, weights = w, control = control)
} else m <- lmer(as.formula(parts[1]), d, control = control)
s <- coef(summary(m))
write.csv(data.frame(name = rownames(s), estimate = s[, 1], std_error = s[, 2], df = s[, 3],
                     loglik = as.numeric(logLik(m)), n = nobs(m)), arguments[2])
"""


def lmer_in_r(formula: str, rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return estimate, std_error, df and loglik of a formula as the tables write it, by name."""
    script, data, answer = (folder / name for name in ("fit.R", "rows.csv", "answer.csv"))
    script.write_text(_SCRIPT)
    rows.to_csv(data, index=False)
    subprocess.run(
        ["Rscript", script, data, answer, formula], check=True, capture_output=True, timeout=120
    )
    return pd.read_csv(answer).set_index("name")
