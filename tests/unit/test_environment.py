"""What of the caller's environment a study's jobs do not get."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from recall_distortion.system.environment import FURTHER, check_folders, leave_out, leave_out_r
from recall_distortion.system.errors import SetupError

SOURCE = Path("/project/src")
KEPT = {
    "HOME": "/home/x",
    "PATH": "/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "3",
    "PYTHONUNBUFFERED": "1",
    "PYTHON_VERSION": "3.12",  # as the container images of Python have it
    "R_LIBS": "/r",
    "R_LIBS_SITE": "/r",
    "R_LIBS_USER": "/r",
    "R_HOMES": "not R's",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "0",
}
LEFT_OUT = (
    "BASH_ENV",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONIOENCODING",
    "PYTHONOPTIMIZE",
    "PYTHONSAFEPATH",
    "PYTHONSTARTUP",
    "PYTHONUTF8",
    "PYTHONWARNINGS",
    "R_DEFAULT_PACKAGES",
    "R_ENVIRON",
    "R_ENVIRON_USER",
    "R_HOME",
    "R_PROFILE",
    "R_PROFILE_USER",
)


def test_the_caller_s_settings_are_left_out_and_named() -> None:
    environment = {**KEPT, **dict.fromkeys(LEFT_OUT, "x")}
    assert leave_out(environment, SOURCE) == sorted(LEFT_OUT)
    assert environment == {**KEPT, "PYTHONPATH": "/project/src"}
    # A job that asks again, as one on a cluster does, is told nothing.
    assert leave_out(environment, SOURCE) == []
    assert environment["PYTHONPATH"] == "/project/src"


@pytest.mark.parametrize(
    ("given", "further", "path", "left_out"),
    [
        ("/other/src", None, "/project/src", ["PYTHONPATH"]),
        ("/project/src", None, "/project/src", []),
        ("/other/src:/project/src", None, "/project/src", ["PYTHONPATH"]),
        (None, "/plugin", "/project/src:/plugin", []),
        ("/plugin:/more:/project/src", "/plugin:/more", "/project/src:/plugin:/more", []),
        ("/plugin:/third", "/plugin", "/project/src:/plugin", ["PYTHONPATH"]),
        ("", None, "/project/src", ["PYTHONPATH"]),  # an empty part is the working folder
    ],
)
def test_of_python_s_folders_the_project_s_own_and_the_named_ones_are_left(
    given: str | None, further: str | None, path: str, left_out: list[str]
) -> None:
    environment = {
        key: value.replace(":", os.pathsep)
        for key, value in (("PYTHONPATH", given), (FURTHER, further))
        if value is not None
    }
    assert leave_out(environment, SOURCE) == left_out
    assert environment["PYTHONPATH"] == path.replace(":", os.pathsep)


def test_folders_of_code_but_python_s_own_are_left_out_with_their_variable() -> None:
    own = f"{sys.prefix}/lib/site-packages"
    folders = ["/project/src", "", "/other", own, "/usr/lib", "/plugin"]
    given = os.pathsep.join(["/other", own, "/project/src", "/plugin", "/gone/../other"])
    leave_out({"PYTHONPATH": given, FURTHER: "/plugin"}, SOURCE, folders)
    assert folders == ["/project/src", "", own, "/usr/lib", "/plugin"]


def test_r_alone() -> None:
    environment = {**KEPT, "PYTHONPATH": "/a", "R_HOME": "/r", "R_PROFILE": "p"}
    assert leave_out_r(environment) == ["R_HOME", "R_PROFILE"]
    assert environment == {**KEPT, "PYTHONPATH": "/a"}


PLAIN = "/home/jürgen/a-b_c.d/x@y=z,1+2%~^!#/"


@pytest.mark.parametrize("character", [*"{}:", "\udcff"])
def test_a_project_is_refused_where_no_job_could_start(character: str) -> None:
    with pytest.raises(SetupError, match=r"this path holds .*Move the project.*\./run setup"):
        check_folders(Path(f"/a{character}b"), f"{PLAIN}python")


@pytest.mark.parametrize("character", [*" \t\n\"'$&;()<>|`\\*?[]{}", "\u3000"])
def test_a_python_is_refused_whose_path_a_shell_would_misread(character: str) -> None:
    with pytest.raises(SetupError, match=r"(?s)path of this Python holds .*plainer path"):
        check_folders(Path(PLAIN), f"/a{character}b/.venv/bin/python")


def test_other_folders_are_taken() -> None:
    check_folders(Path(f"{PLAIN} \"'$&;()"), f"{PLAIN}python")
