"""R and its packages: what is missing is said, what is loaded stays out of the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from r_reference import needs_r

from recall_distortion.inference.mixed.fitters import pymer4, r_stack
from recall_distortion.system.errors import SetupError


@needs_r
@pytest.mark.slow
@pytest.mark.parametrize("path", [None, "/somewhere/lib"])
def test_starting_r_leaves_no_library_path_to_child_processes(path: str | None) -> None:
    # In a process of its own, because R starts only once in each. Its child reads the variable as
    # the C library has it, which is what the dynamic loader of a child sees.
    code = (
        "import subprocess\n"
        "from recall_distortion.inference.mixed.fitters import pymer4\n"
        "pymer4.prepare()\n"
        "print(subprocess.run(['/bin/sh', '-c', 'echo path=$LD_LIBRARY_PATH'], check=True, "
        "capture_output=True, text=True).stdout)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    if path is not None:
        environment["LD_LIBRARY_PATH"] = path
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"path={path or ''}\n" in found.stdout


@needs_r
def test_r_packages_are_loaded_at_their_first_use(monkeypatch) -> None:
    pymer4.prepare()
    from rpy2.robjects import packages

    from recall_distortion.inference.mixed.fitters.r_packages import lazy_r_packages

    real = packages.importr
    installed = packages.isinstalled
    loaded = []

    def counted(name: str, **options):
        loaded.append(name)
        return real(name, **options)

    monkeypatch.setattr(packages, "importr", counted)
    with lazy_r_packages():
        stats, report = packages.importr("stats"), packages.importr("report")
    assert packages.importr is counted
    assert loaded == []
    assert stats.rnorm is not None
    assert stats.sd is not None
    assert loaded == ["stats"]

    monkeypatch.setattr(
        packages, "isinstalled", lambda name, **o: name != "report" and installed(name, **o)
    )
    with pytest.raises(SetupError, match=r"report::report .*not installed"):
        report.report("model")


def test_check_r_stack_without_r(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"no Rscript on the PATH.*apt-get install.*r-cran-lme4"):
        r_stack.check_r_stack()


def fake_r(folder: Path, answer: str) -> None:
    script = folder / "Rscript"
    script.write_text(f"#!{sys.executable}\n{answer}\n")
    script.chmod(0o755)


def test_check_r_stack_names_the_missing_package(monkeypatch, tmp_path: Path) -> None:
    lines = [
        "WARNING: ignoring environment value of R_HOME",  # as R says it, among its answers
        *(f"{r_stack._MARK} {word} " for word in ("4.2.2", "lmerTest", "broom.mixed")),
    ]
    fake_r(tmp_path, f"for line in {lines}: print(line)")
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("R_LIBS", "R_LIBS_USER", "R_LIBS_SITE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SetupError, match=r"r-cran-lmertest r-cran-broom.mixed$") as caught:
        r_stack.check_r_stack()
    assert "R 4.2.2 lacks the packages lmerTest, broom.mixed." in str(caught.value)
    monkeypatch.setenv("R_LIBS_SITE", "/elsewhere")
    with pytest.raises(SetupError, match=r"R looks where R_LIBS_SITE=/elsewhere says; unset that"):
        r_stack.check_r_stack()


def test_check_r_stack_reports_an_r_that_does_not_answer(monkeypatch, tmp_path: Path) -> None:
    fake_r(tmp_path, "print('Good morning')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"does not answer but says: Good morning\. Install R"):
        r_stack.check_r_stack()


PREPARE = """
from recall_distortion.system.errors import SetupError
from recall_distortion.inference.mixed.fitters import pymer4
try:
    pymer4.prepare()
except SetupError as error:
    raise SystemExit(f"error: {error}")
from rpy2.robjects import r
print("left over:", r("exists('left_over')")[0])
"""


def prepare(folder: Path, settings: dict[str, str]) -> str:
    """Start R from a folder, in a process of its own, and return what that printed."""
    found = subprocess.run(
        [sys.executable, "-c", PREPARE],
        env={**os.environ, "HOME": str(folder), **settings},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return found.stdout


@needs_r
@pytest.mark.slow
def test_r_starts_without_its_user_s_settings(tmp_path: Path) -> None:
    save = "left_over <- 1; save.image()"
    subprocess.run(["Rscript", "--vanilla", "-e", save], cwd=tmp_path, check=True)
    fails = tmp_path / ".Rprofile"
    fails.write_text("cat('a greeting')\nstop('a profile that fails')\n")
    variables = tmp_path / ".Renviron"
    variables.write_text("R_LIBS_SITE=/nowhere\n")
    settings = {
        "R_HOME": "/nowhere",
        "R_PROFILE": str(fails),
        "R_PROFILE_USER": str(fails),
        "R_ENVIRON": str(variables),
        "R_ENVIRON_USER": str(variables),
        "R_DEFAULT_PACKAGES": "nowhere",
    }
    assert prepare(tmp_path, settings).splitlines()[-1] == "left over: False"


@needs_r
@pytest.mark.slow
def test_a_package_that_cannot_be_loaded_is_named_with_its_library(tmp_path: Path) -> None:
    broken = tmp_path / "library/lme4/DESCRIPTION"
    broken.parent.mkdir(parents=True)
    broken.write_text("Package: lme4\nVersion: 9.9\nBuilt: R 3.0.0; ; 2014-01-01; unix\n")
    said = prepare(tmp_path, {"R_LIBS": str(tmp_path / "library")}).splitlines()[-1]
    assert said.startswith("error: R cannot load the package lmerTest: Error: package ‘lme4’")
    assert f"R looks where R_LIBS={tmp_path}/library" in said


def test_check_r_stack_reports_a_broken_r(monkeypatch, tmp_path: Path) -> None:
    fake_r(tmp_path, "raise SystemExit('no libR.so')")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"does not run: no libR\.so"):
        r_stack.check_r_stack()


def test_check_r_stack_knows_which_rpy2_needs_which_r(monkeypatch) -> None:
    monkeypatch.setattr(r_stack.importlib.metadata, "version", lambda name: "3.6.6")
    with pytest.raises(SetupError, match=r"rpy2-rinterface==3\.6\.5"):
        r_stack._check_rinterface("4.2.2")
    r_stack._check_rinterface("4.5.0")


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, recall_distortion.inference.jobs.fit\n"
        "heavy = {'pymer4', 'rpy2', 'statsmodels', 'polars', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
