"""Check R and the packages that pymer4 needs of it, with plain messages, before any import."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess

from recall_distortion.system import environment
from recall_distortion.system.errors import SetupError

# R packages that pymer4 imports, by the name R knows them by. It can do without two others that it
# imports, report and performance (r_packages).
R_PACKAGES = (
    "lme4",
    "lmerTest",
    "emmeans",
    "broom",
    "broom.mixed",
    "parameters",
    "insight",
    "tibble",
    "boot",
)
PYTHON_PACKAGES = ("rpy2", "pymer4", "polars")

# Marks the answers among whatever else R, or a script that wraps it, prints.
_MARK = "recall_distortion:"
_QUERY = (
    f"answer <- function(x) cat('{_MARK}', x, '\\n'); answer(as.character(getRversion())); "
    "for (p in commandArgs(TRUE)) if (!nzchar(system.file(package = p))) answer(p)"
)
# The environment variables that say where R looks for packages.
_LIBRARIES = ("R_LIBS", "R_LIBS_USER", "R_LIBS_SITE")


def debian_name(package: str) -> str:
    """Return the Debian package that carries an R package."""
    return f"r-cran-{package.lower()}"


def check_r_stack() -> str:
    """Return R's version; raise ``SetupError`` saying what is missing and how to install it.

    Asks ``Rscript`` (0.2 s) rather than rpy2, whose own complaints about a missing R name neither
    the cause nor the remedy, and which takes seconds to import.
    """
    everything = " ".join(["make", "r-base-core", *map(debian_name, R_PACKAGES)])
    rscript = shutil.which("Rscript")
    if rscript is None:
        raise SetupError(
            "R is not installed: there is no Rscript on the PATH, and pymer4 fits the mixed models "
            "in R. On Debian or Ubuntu install it, as root, with: apt-get install "
            f"--no-install-recommends {everything}"
        )
    surroundings = dict(os.environ)
    environment.leave_out_r(surroundings)
    answer = subprocess.run(
        [rscript, "--vanilla", "-e", _QUERY, *R_PACKAGES],
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise SetupError(
            f"{rscript} does not run: {answer.stderr.strip() or 'it says nothing'}. "
            f"Install R again, on Debian or Ubuntu with: apt-get install --reinstall {everything}"
        )
    found: list[str] = re.findall(rf"^{_MARK} (\S+)", answer.stdout, re.MULTILINE)
    if not found:
        raise SetupError(
            f"{rscript} does not answer but says: {answer.stdout.strip() or 'nothing'}. "
            f"Install R again, on Debian or Ubuntu with: apt-get install --reinstall {everything}"
        )
    version, *missing = found
    if missing:
        names = " ".join(map(debian_name, missing))
        raise SetupError(
            f"R {version} lacks the package{'s' if len(missing) > 1 else ''} {', '.join(missing)}. "
            "On Debian or Ubuntu install, as root, with: apt-get install "
            f"--no-install-recommends {names}{where_r_looks()}"
        )
    absent = [name for name in PYTHON_PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        raise SetupError(
            f"Python lacks {', '.join(absent)}, through which mixed models reach R. Install the "
            "project's pinned requirements again, after R and make: rpy2 is built against R"
        )
    _check_rinterface(version)
    return version


def where_r_looks() -> str:
    """Return the end of a message on a package: what the caller's environment has to do with it."""
    given = [f"{name}={os.environ[name]}" for name in _LIBRARIES if os.environ.get(name)]
    if not given:
        return ""
    return f". R looks where {' and '.join(given)} says; unset that if the packages lie elsewhere"


def _check_rinterface(r_version: str) -> None:
    """Refuse the rpy2-rinterface releases that need a newer R than the one that is installed."""
    try:
        found = importlib.metadata.version("rpy2-rinterface")
    except importlib.metadata.PackageNotFoundError:
        return  # an rpy2 from before it was split in three, or one built another way
    if _numbers(found) >= (3, 6, 6) and _numbers(r_version) < (4, 5):
        raise SetupError(
            f"rpy2-rinterface {found} needs R 4.5 or later and this is R {r_version}: it would "
            "fail with \"symbol 'R_getVar' not found\". Install rpy2-rinterface==3.6.5"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
