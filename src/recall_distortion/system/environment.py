"""What surrounds a study: its folders' names, and what it takes over of its caller's settings."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import MutableMapping, MutableSequence
from pathlib import Path

from recall_distortion.system.errors import SetupError

#: Folders of further Python code that a study's jobs shall find, which PYTHONPATH cannot say.
FURTHER = "RECALL_DISTORTION_PYTHONPATH"

# Python's settings that change no result: what is kept of compiled code, when output appears. Names
# that go on with an underscore are not Python's, but those that its container images set.
_OF_PYTHON = re.compile(
    "PYTHON(?!DONTWRITEBYTECODE$|FAULTHANDLER$|HASHSEED$|NOUSERSITE$|PYCACHEPREFIX$|UNBUFFERED$)"
    "[A-Z0-9]+"
)
# R_LIBS and its like stay: they say where R's packages lie, which may be needed.
_OF_R = re.compile(
    "R_(HOME|ARCH|(SHARE|INCLUDE|DOC)_DIR|DEFAULT_PACKAGES|(PROFILE|ENVIRON)(_USER)?)"
)
_OF_BASH = re.compile("BASH_ENV")  # what every bash runs first, a job's too

# What no path of the project may hold: Snakemake's placeholders, what parts PYTHONPATH, and bytes
# that are not UTF-8. Python's own path stands on jobs' command lines as it is, for a shell to read.
_MISREAD = re.compile("[{}:\udc80-\udcff]")
_MISREAD_BY_SHELLS = re.compile(r"""[\s"'$&;()<>|`\\*?\[\]{}]""")


def check_folders(project: Path, python: str) -> None:
    """Refuse a project, or an environment's Python, in a folder that no job could be started from.

    Raises ``SetupError``.
    """
    if found := _MISREAD.search(str(project)):
        raise SetupError(
            f"{project}: this path holds {found[0]!r}, and jobs cannot be started there. Move the "
            "project to a folder with a plainer path, and set it up there with ./run setup"
        )
    if found := _MISREAD_BY_SHELLS.search(python):
        raise SetupError(
            f"{python}: the path of this Python holds {found[0]!r}, which a job's shell would "
            "misread. Move the project to a folder with a plainer path, and set it up there with "
            "./run setup; or use an environment in such a folder"
        )


def leave_out(
    environment: MutableMapping[str, str],
    source: Path,
    folders: MutableSequence[str] | None = None,
) -> list[str]:
    """Take from an environment what is its caller's, and return the names.

    Of ``PYTHONPATH`` is left what a job needs: the ``source`` folder of this project, so that no
    other copy of the package runs, and what ``RECALL_DISTORTION_PYTHONPATH`` names. The rest goes
    from ``folders`` too, in which this process looks for code, but for Python's own.
    """
    path = os.pathsep.join([str(source), *filter(None, [environment.get(FURTHER)])])
    given = environment.pop("PYTHONPATH", path)
    left_out = _take(environment, _OF_PYTHON, _OF_R, _OF_BASH)
    foreign = set(given.split(os.pathsep)) - set(path.split(os.pathsep))
    if foreign:
        left_out = sorted([*left_out, "PYTHONPATH"])
    environment["PYTHONPATH"] = path
    folders = [] if folders is None else folders
    absolute = {os.path.abspath(folder) for folder in foreign}
    for folder in [name for name in folders if name in absolute]:
        if not Path(folder).is_relative_to(sys.prefix):
            folders.remove(folder)
    return left_out


def leave_out_r(environment: MutableMapping[str, str]) -> list[str]:
    """Take from an environment what would change which R starts, and how; return the names."""
    return _take(environment, _OF_R)


def _take(environment: MutableMapping[str, str], *patterns: re.Pattern[str]) -> list[str]:
    names = sorted(name for name in environment if any(p.fullmatch(name) for p in patterns))
    for name in names:
        del environment[name]
    return names
