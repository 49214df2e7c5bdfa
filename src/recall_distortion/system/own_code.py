"""Python code of a user's own: where it lies, and a word for each file that it is made of.

Nothing of it is run. What it imports is read from it, as far as that lies in the same folders; of a
package that is installed the version stands for the files.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from modulefinder import ModuleFinder
from pathlib import Path

from recall_distortion.system.code import said
from recall_distortion.system.errors import NetworkError

#: What the words have a package's version under.
_VERSION = "version of "


@dataclass(frozen=True)
class Place:
    """A module by the name that it is imported by, and the folders that it and others lie in.

    An installed package has no folders.
    """

    name: str
    folders: tuple[str, ...]


def locate(target: str, folder: str) -> Place:
    """Return where a module lies: a file ``name.py``, or a dotted name, seen from a ``folder``.

    A file's path begins there. A dotted name is looked for there, then in the folder in which the
    process runs, then among what is installed. Raises ``NetworkError`` where there is no such
    module.
    """
    if target.endswith(".py"):
        path = Path(folder, target)
        if not path.is_file():
            raise NetworkError(f"there is no file {path}")
        if not path.stem.isidentifier():
            raise NetworkError(
                f"{path}: a file is imported by its name without .py, which {path.stem!r} cannot "
                "be; name it by letters, digits and '_'"
            )
        return Place(path.stem, tuple(dict.fromkeys([str(path.parent), folder, "."])))
    for root in (folder, "."):
        inner = Path(root, *target.split("."))
        if inner.with_suffix(".py").is_file() or Path(inner, "__init__.py").is_file():
            return Place(target, tuple(dict.fromkeys([root, folder, "."])))
    if _installed(target.partition(".")[0]) is None:
        raise NetworkError(
            f"there is no module {target} in {folder}, in {Path.cwd()} or among what is installed; "
            "a file beside the study is written with its .py"
        )
    return Place(target, ())


def words(place: Place) -> dict[str, str]:
    """Return a word for each file that decides what a module does, by the file's path.

    Comments do not count, as in ``system.code``. Raises ``NetworkError`` for code that is none.
    """
    if place.folders:
        return _closure(place.name, place.folders, only="")
    package = place.name.partition(".")[0]
    spec = _installed(package)
    assert spec is not None  # as locate has seen
    own = Path(spec.origin or next(iter(spec.submodule_search_locations or ()), ""))
    within = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}
    if any(own.is_relative_to(folder) for folder in within):
        return {f"{_VERSION}{package}": _version(package)}
    # Installed to be edited: its files lie elsewhere, and so may those of others beside it.
    root = own.parent.parent if own.stem == "__init__" else own.parent
    return _closure(place.name, (str(root),), only=package)


def _installed(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    except (ImportError, ValueError):
        return None


def _version(package: str) -> str:
    names = packages_distributions().get(package, [package])
    try:
        return ", ".join(sorted({version(name) for name in names}))
    except PackageNotFoundError:
        return "unknown"


class _Finder(ModuleFinder):
    """Follows imports through some folders, ``only`` within one package where one is named."""

    def __init__(self, folders: tuple[str, ...], only: str) -> None:
        super().__init__(path=list(folders))
        self._only = only

    def find_module(self, name, path, parent=None):  # type: ignore[no-untyped-def]
        """Return what ``ModuleFinder`` finds, in these folders alone."""
        if parent is None and self._only not in ("", name):
            raise ImportError(name)
        return super().find_module(name, path, parent)


def _closure(name: str, folders: tuple[str, ...], *, only: str) -> dict[str, str]:
    finder = _Finder(folders, only)
    try:
        finder.import_hook(name)
    except SyntaxError as error:
        raise NetworkError(
            f"{error.filename}, line {error.lineno}: is no Python: {error.msg}"
        ) from None
    except (ImportError, UnicodeDecodeError, ValueError) as error:
        raise NetworkError(f"{name} cannot be read: {error}") from None
    modules = [vars(module)["__file__"] for module in finder.modules.values()]
    files = sorted(str(file) for file in modules if file)
    # As seen from the folder of the process, so that they are the same where the project is moved.
    texts = {os.path.relpath(path): said(Path(path).read_text(encoding="utf-8")) for path in files}
    return {path: hashlib.sha256(text.encode()).hexdigest()[:16] for path, text in texts.items()}
