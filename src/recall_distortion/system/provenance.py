"""How results were made, kept beside them: who is given them need not make them again.

The workflow's engine keeps a record of every file that it made: by which rule, from what
parameters, from inputs with which checksums. It keeps them apart from the results, and looks at
files' times before it looks at contents; git, DVC and plain copies bring neither along. ``save``
writes a study's records into its folder. ``restore`` gives a file its record and its time back,
where its content is what was recorded. Everything else is left to the engine: what it then finds
changed, it makes again. It does not find that one of its own results was changed, so ``restore``
says that of tables, figures and the report, and has it make foreign weights and predictions again.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shlex
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from recall_distortion.system import sealed
from recall_distortion.system.errors import DataError
from recall_distortion.system.files import sha256, unreadable, unwritable, write_json

NAME = "provenance.json"

Record = dict[str, Any]
Made = tuple[str, Record]  # a file's checksum, and how it was made
RecordOf = Callable[[str], Path]

# What differs between the outputs of one job; the rest of their records is written once.
_OF_AN_OUTPUT = ("starttime", "endtime")
# What differs between two runs that made the same from the same.
_OF_A_RUN = (*_OF_AN_OUTPUT, "job_hash")
# The text of a conda environment, 2 kB in every record, which decides nothing.
_LEFT_OUT = ("conda_env",)
# What DVC puts back from any earlier run with the same input, so that another content is no edit.
_PUT_BACK = ("data", "dense", "compressed", "predictions")
# Files that carry a checksum of their own, and are large.
_SEALED = ".safetensors"
# What the engine's mark of an unfinished output holds where it is not the engine's own.
_FOREIGN = {"foreign": True}
# Seconds by which a time may differ after a way through JSON and a file system.
_TOLERANCE = 1e-5


def save(folder: str | Path, record_of: RecordOf) -> None:
    """Write the records of a study's files, with the files' checksums, into its folder.

    ``record_of`` returns the file in which the engine keeps its record of an output. A record
    counts only while its file has the time at which it was made; a file that was changed since is
    not claimed to have been made so. Files that are not here keep what was known of them as long as
    something here was made from them. What was made again and came out the same, from inputs that
    did, keeps its record and gets its time back, so that a study that somebody else ran before
    leaves nothing to commit.
    """
    folder = Path(folder)
    known = _read(folder / NAME)
    found: dict[str, Made] = {}
    for path in sorted(folder.rglob("*")):
        name = path.as_posix()
        if not path.is_file():
            continue
        record = _read_record(record_of(name))
        if record is not None and _is_of(record, path):
            checksum, recorded = known.get(name, ("", {}))
            record = {key: value for key, value in record.items() if key not in _LEFT_OUT}
            found[name] = (checksum if recorded == record else sha256(path), record)
        elif name in known and sha256(path) == known[name][0]:
            found[name] = known[name]
    used = {name for _, record in found.values() for name in record["input"]}
    for name in used & known.keys() - found.keys():
        if not Path(name).exists():
            found[name] = known[name]
    for name in _made_again(found, known):
        if found[name] != known[name]:
            found[name] = known[name]
            _, record = known[name]
            _set_time(Path(name), record["endtime"])
            write_json(record_of(name), record)
    _write(folder / NAME, found)


def _made_again(found: Mapping[str, Made], known: Mapping[str, Made]) -> list[str]:
    """Return the files that came out as they were known, from inputs that did too.

    The engine takes an input that is newer than an output for changed unless it has its checksum,
    which it takes of small files alone. So an output gets an earlier time only where all inputs are
    as old, or have one.
    """

    @cache
    def is_same(name: str) -> bool:
        if name not in known:
            return False
        (checksum, record), (before, recorded) = found[name], known[name]
        if checksum != before or _of_any_run(record) != _of_any_run(recorded):
            return False
        return all(
            is_same(part) if part in found else part in record["input_checksums"]
            for part in record["input"]
        )

    return [name for name in found if is_same(name)]


def _of_any_run(record: Record) -> Record:
    return {key: value for key, value in record.items() if key not in _OF_A_RUN}


class Restored(NamedTuple):
    """What ``restore`` found."""

    known: int  # files whose record and time were given back
    foreign: list[str]  # weights and predictions that are to be made again


def restore(folder: str | Path, record_of: RecordOf, mark_of: RecordOf) -> Restored:
    """Tell the engine which of a study's files are what was recorded of them.

    A file that has the time of its record was made here, or was restored before; it gets another
    record only where it was made later elsewhere, from other inputs, and came out the same. A file
    that is not here gets its record all the same: an intermediate result need not be here to be
    known. ``mark_of`` returns the file that is there while the engine makes an output, and after
    it was killed meanwhile; it is also written for weights and predictions that are not what was
    made, be they another study's or put back by DVC, so that the engine makes them again. Damaged
    ones are left to who reads them and says so. Raises ``DataError`` naming tables, figures and
    other results that were changed after they were made.
    """
    folder = Path(folder)
    restored = 0
    foreign, changed = [], []
    known = _read(folder / NAME)
    for name, (checksum, record) in known.items():
        path, kept, mark = Path(name), record_of(name), mark_of(name)
        present = _read_record(kept)
        if path.exists():
            here = present if present is not None and _is_of(present, path) else None  # made here
            newest = here is not None and not _is_later(record, here)
            ours = here is not None and _is_later(here, record)  # made since and not written down
            trusted = ours or (newest and path.suffix == _SEALED)
            if not trusted and not _has_content(path, checksum):
                if mark.exists() and _read_record(mark) != _FOREIGN:
                    continue  # the engine is making it, or makes it again by itself
                if here is not None and not newest:
                    continue  # an earlier one, of this folder
                if _is_edited(path, folder, known):
                    changed.append(name)
                elif path.suffix != _SEALED or _is_whole(path):
                    write_json(mark, _FOREIGN)
                    foreign.append(name)
                continue
            if _read_record(mark) == _FOREIGN:
                mark.unlink(missing_ok=True)
            if newest:
                continue
            _set_time(path, record["endtime"])
            restored += 1
        if record != present:
            write_json(kept, record)
    if changed:
        raise DataError(
            f"{', '.join(sorted(changed))}: not what the study wrote, by the checksum in"
            f" {folder / NAME}. To make it again, delete it, but not {NAME}:"
            f" `rm -r {shlex.join(sorted(changed))}`, and give the same command again. Or put the"
            f" whole study back as git has it: `git checkout HEAD -- {shlex.quote(str(folder))}`"
        )
    return Restored(restored, sorted(foreign))


def catch_up(folder: str | Path, record_of: RecordOf) -> None:
    """Save what was made here and is not written down, because that run ended before it could."""
    folder = Path(folder)
    known = _read(folder / NAME)
    for path in folder.rglob("*"):
        record = _read_record(record_of(path.as_posix()))
        if record is None or not _is_of(record, path):
            continue
        made = known.get(path.as_posix())
        if made is None or _is_later(record, made[1]):
            save(folder, record_of)
            return


def _is_of(record: Record, path: Path) -> bool:
    """Return whether a file still has the time at which the engine finished it."""
    return math.isclose(record["endtime"], path.stat().st_mtime, rel_tol=0, abs_tol=_TOLERANCE)


def _has_content(path: Path, checksum: str) -> bool:
    return path.is_file() and sha256(path) == checksum


def _is_edited(path: Path, folder: Path, known: Mapping[str, Made]) -> bool:
    """Return whether a file of another content can only be one that was changed after it was made.

    Weights and predictions may be an earlier run's, and so may the tables beside them, unless these
    weights are the study's own.
    """
    if path.relative_to(folder).parts[0] not in _PUT_BACK:
        return True
    if path.suffix == _SEALED:
        return False
    beside = path.with_name(path.name.partition(".")[0] + _SEALED)
    recorded, _ = known.get(beside.as_posix(), ("", None))
    return _has_content(beside, recorded)


def _is_whole(path: Path) -> bool:
    """Return whether a sealed file is undamaged."""
    try:
        sealed.verify(path)
    except (OSError, ValueError):
        return False
    return True


def _is_later(record: Record, other: Record) -> bool:
    return bool(record["endtime"] > other["endtime"] + _TOLERANCE)


def _set_time(path: Path, time: float) -> None:
    try:
        os.utime(path, (time, time))
    except PermissionError:
        raise DataError(
            f"{path}: its time cannot be set, because it belongs to another user; if it lies in a"
            " shared cache: `dvc config --local cache.type copy`, then `dvc checkout --relink`"
        ) from None
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        raise unwritable(path, error.strerror) from None


def _read_record(path: Path) -> Record | None:
    """Return the engine's record of a file; none where it has none or is just writing it."""
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return record


def _read(path: Path) -> dict[str, Made]:
    """Return checksum and record of every file of a study that ``save`` wrote down."""
    if not path.exists():
        return {}
    try:
        jobs = json.loads(path.read_text(encoding="utf-8"))["jobs"]
        found = {
            name: (output["checksum"], job["record"] | {key: output[key] for key in _OF_AN_OUTPUT})
            for job in jobs
            for name, output in job["outputs"].items()
        }
        for name, (_, record) in found.items():
            if not Path(name).is_relative_to(path.parent) or ".." in Path(name).parts:
                raise ValueError(f"{name!r} is no file of {path.parent}")
            if not all(math.isfinite(record[key]) for key in _OF_AN_OUTPUT):
                raise ValueError(f"{name!r} has no time")
        return found
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError
    ) as error:  # fmt: skip
        if why := unreadable(path, error):
            raise DataError(why) from None
        raise DataError(
            f"{path}: damaged ({type(error).__name__}: {error}); after a merge take one side of it,"
            " `git checkout --theirs` or `--ours`, as for the tables beside it; or delete it, and"
            " what was not made in this folder is made again"
        ) from None


def _write(path: Path, found: dict[str, Made]) -> None:
    jobs: dict[str, dict[str, Any]] = {}
    for name, (checksum, record) in sorted(found.items()):
        common = {key: value for key, value in record.items() if key not in _OF_AN_OUTPUT}
        job = jobs.setdefault(json.dumps(common, sort_keys=True), {"outputs": {}, "record": common})
        own = {key: record[key] for key in _OF_AN_OUTPUT}
        job["outputs"][name] = {"checksum": checksum, **own}
    write_json(path, {"jobs": list(jobs.values())})
