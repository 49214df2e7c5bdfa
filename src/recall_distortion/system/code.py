"""What code decides the numbers of a job, and one word for what each file of it says.

The workflow compares these words with those of the last time, so that an edit reruns what depends
on it and nothing else. What a job imports is read from its source, at any depth, all modules of a
package that lists them itself among it; what is imported by a name that only the job knows, its
network's module and its criteria's, is told.

An edit that changes no number changes no word: of a comment, a docstring, or the text of what is
raised, printed or warned of, also where a private constant of the file holds it.
"""

from __future__ import annotations

import ast
import hashlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

#: Rooms of which nothing decides a number but what is named here: errors, files, logs, devices.
_DECIDING = {"system": ("processor", "sealed")}
#: Facts about everything that a job may use, of which it uses what it is told.
_FACTS = ("networks.plans", "data.sources")

#: Statements whose text is for people, and functions that only show it to them.
_SHOWN = ("print", "warn")
_DIGITS = 16  # of a word; 64 bits


def deciding(script: str | Path, source: str | Path, told: Iterable[str] = ()) -> dict[str, str]:
    """Return a word for each file that decides what a script computes, by the file's path.

    ``source`` is the folder of packages that the script imports from; the paths of their files are
    relative to it. ``told`` are dotted names of modules that are imported by name where they exist.
    """
    script, source = Path(script), Path(source)
    files = {script.as_posix(): script}
    left = [*_imported(script, source)]
    for module in told:
        left += _existing(module, source)
    seen = set()
    while left:
        module = left.pop()
        if module in seen or not _decides(module):
            continue
        seen.add(module)
        path = _file(module, source)
        files[path.relative_to(source).as_posix()] = path
        left += _imported(path, source)
    return {name: word(path) for name, path in sorted(files.items())}


@cache
def by_room(script: str, source: str, told: tuple[str, ...] = ()) -> dict[str, str]:
    """Return one word for each room of the deciding files, and one for the script by its name.

    A change then says in a line where it was. The arguments are those of ``deciding``.
    """
    return parted(deciding(script, source, told))


def parted(words: Mapping[str, str]) -> dict[str, str]:
    """Return the words of ``deciding`` as one for each room."""
    rooms: dict[str, list[str]] = {}
    for name, own in sorted(words.items()):
        _, _, inner = name.partition("/")
        room = Path(name).name if "scripts" in Path(name).parts else inner.partition("/")[0]
        rooms.setdefault(room, []).append(f"{name} {own}")
    return {room: _digest("\n".join(lines)) for room, lines in rooms.items()}


def word(path: Path) -> str:
    """Return what a source file says as a word, the same as long as only people read the change."""
    return _read(path).word


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def said(text: str, tree: ast.Module | None = None) -> str:
    """Return source code without comments, docstrings, empty lines and texts for people."""
    lines = [line.encode() for line in text.splitlines()]
    strings = _strings(tree or ast.parse(text))
    cut = [part for part, for_people in strings if for_people]
    cut += _comments(lines, [part for part, _ in strings])
    kept = [False] * len(lines)  # whether a line's end lies in a text, which has it as it is
    for ((row, _), (end, _)), for_people in strings:
        kept[row:end] = [not for_people] * (end - row)
    # From the last to the first, so that a place that is cut out moves no other one.
    for (row, column), (end, end_column) in sorted(cut, reverse=True):
        lines[row] = lines[row][:column] + lines[end][end_column:]
        del lines[row + 1 : end + 1], kept[row:end]
    left = [
        line if whole else line.rstrip()
        for line, whole in zip(lines, kept, strict=True)
        if whole or line.strip()
    ]
    return b"\n".join(left).decode()


_Place = tuple[int, int]  # row and byte within it, both from 0
_Part = tuple[_Place, _Place]  # its first byte, and the one after its last


def _strings(tree: ast.Module) -> list[tuple[_Part, bool]]:
    """Return where code has strings, and whether only people read them.

    They do where a constant is a statement of its own, as docstrings are, or is raised or shown, or
    where a private constant of the module holds it that is used for nothing else.
    """
    found: list[tuple[_Part, bool, str]] = []  # the last the constant that holds it
    uses: set[tuple[str, bool]] = set()
    left: list[tuple[ast.AST, bool, str]] = [(tree, False, "")]
    while left:
        node, shown, holder = left.pop()
        shown = shown or _is_shown(node)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.JoinedStr):
                found.append((_part(child), shown, holder))
                inner = (part for part in ast.walk(child) if isinstance(part, ast.Name))
                uses |= {(name.id, shown) for name in inner}
            elif isinstance(child, ast.Constant):
                alone = isinstance(node, ast.Expr)
                if alone or isinstance(child.value, bytes | str):
                    found.append((_part(child), shown or alone, holder))
            elif isinstance(child, ast.Name):
                if isinstance(child.ctx, ast.Load):
                    uses.add((child.id, shown))
            else:
                left.append((child, shown, holder or _private(child, node)))
    messages = {name for name, _ in uses} - {name for name, shown in uses if not shown}
    return [(part, shown or holder in messages) for part, shown, holder in found]


def _private(node: ast.AST, parent: ast.AST) -> str:
    """Return the private constant that a statement of a module gives a value; "" of any other.

    One that a function makes is any other: the function may do more than make a message.
    """
    if not isinstance(parent, ast.Module) or not isinstance(node, ast.Assign):
        return ""
    if not any(isinstance(part, ast.Call) for part in ast.walk(node)):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if len(names) == len(node.targets) == 1 and names[0].startswith("_"):
            return names[0]
    return ""


def _is_shown(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _SHOWN
    return isinstance(node, ast.Raise)


def _comments(lines: Sequence[bytes], strings: Sequence[_Part]) -> Iterator[_Part]:
    """Yield where comments lie: what follows a # that is in no string."""
    for row, line in enumerate(lines):
        column = line.find(b"#")
        while column >= 0:
            if not any(first <= (row, column) < last for first, last in strings):
                yield (row, column), (row, len(line))
                break
            column = line.find(b"#", column + 1)


def _part(node: ast.expr) -> _Part:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno - 1, node.col_offset), (node.end_lineno - 1, node.end_col_offset)


class _Read(NamedTuple):
    """What a source file was read for: its word, what it imports, whether it lists modules."""

    word: str
    names: tuple[str, ...]
    lists: bool


@cache
def _read(path: Path) -> _Read:
    """Read a file once, and keep no tree of it.

    All trees together are so many objects that Python's garbage collector, which goes through those
    that are kept again and again, took as long as reading them.
    """
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    nodes = ast.walk(tree) if "iter_modules(" in text else ()
    lists = any(isinstance(node, ast.Attribute) and node.attr == "iter_modules" for node in nodes)
    return _Read(_digest(said(text, tree)), tuple(_names(tree)), lists)


@cache
def _imported(path: Path, source: Path) -> tuple[str, ...]:
    """Return the modules of ``source`` that a file imports, and the packages that they lie in."""
    found: list[str] = []
    for name in [*_read(path).names, *_listed(path, source)]:
        found += _existing(name, source)
    return tuple(dict.fromkeys(found))


def _listed(path: Path, source: Path) -> Iterator[str]:
    """Yield the modules beside a file that imports whatever ``pkgutil`` finds there."""
    if path.is_relative_to(source) and _read(path).lists:
        package = ".".join(path.parent.relative_to(source).parts)
        yield from (
            f"{package}.{module.name}" for module in pkgutil.iter_modules([str(path.parent)])
        )


@cache
def _existing(name: str, source: Path) -> tuple[str, ...]:
    """Return the modules that a dotted name leads to: packages on the way, and what it names."""
    parts = name.split(".")
    # The first part is a package of its own, which imports nothing until it is asked.
    modules = [".".join(parts[:size]) for size in range(2, len(parts) + 1)]
    return tuple(module for module in modules if _file(module, source).is_file())


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that code imports when it runs."""
    # Statements lie in statements; what an expression holds imports nothing.
    bodies = ["body", "orelse", "handlers", "finalbody", "cases"]
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        bodies = ["orelse"]
    for part in (part for body in bodies for part in getattr(node, body, ())):
        yield from _names(part)


@cache
def _file(module: str, source: Path) -> Path:
    path = source.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _decides(module: str) -> bool:
    _, _, inner = module.partition(".")
    room, _, rest = inner.partition(".")
    return inner not in _FACTS and rest in _DECIDING.get(room, (rest,))
