"""The workflow engine's own files: its record of each output, its marks and its locks.

They are private to Snakemake, and another version, or another way to keep records, may have them
otherwise. All that this project knows of them is in this file. Where it does not recognize them it
leaves them alone and says how to go on; nothing but a rerun depends on them.
"""

from __future__ import annotations

import os
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from recall_distortion.system import provenance
from recall_distortion.system.errors import SetupError
from recall_distortion.system.processes import hold, only_one_alive

#: The versions of the engine's records that are known: a JSON file for each output.
FORMATS = (6,)

_FOLDER = Path(".snakemake")


class Records:
    """What the engine keeps of one study's results, which lie in the folder ``results``.

    ``kept`` names the way in which this engine keeps records: files, a database.
    """

    def __init__(self, results: str, kept: object = "file") -> None:
        self.results = results
        self.study = Path(results).name
        version, way = _version(), str(kept).lower()
        self.known = way == "file" and version in FORMATS
        self._what = f"in format {version} ({way})"
        #: Whether no other living process is at work on this study here.
        self.alone = only_one_alive(_FOLDER / "living" / self.study)

    def restore(self) -> None:
        """Make results known that came by git, DVC or a copy; take away locks that are nobody's.

        Raises ``DataError`` where results were changed after they were made.
        """
        if not self.known:
            if Path(self.results, provenance.NAME).exists():
                _say(
                    f"This Snakemake keeps its records {self._what}, which this project does not "
                    f"know: it may make {self.results} again although nothing changed. Files that "
                    "you trust are taken as they are with `snakemake --touch`; those that are "
                    "missing come with `dvc pull`."
                )
            return
        if self.alone:
            self._unlock()
        found = provenance.restore(self.results, record, _mark)
        if self.alone:
            provenance.catch_up(self.results, record)
        if found.known:
            _say(f"{self.results}: {found.known} files are as {provenance.NAME} records them.")
        for name in found.foreign:
            _say(f"{name} is not what {provenance.NAME} records, and is made again.")

    def begin(self) -> None:
        """Raise ``SetupError`` if this study is being computed already.

        Of two that start at once both may pass the engine's lock, and the end of another study in
        this folder takes that away.
        """
        if not hold(_FOLDER / "held" / self.study):
            raise SetupError(
                f"{self.results}: another Snakemake is at work on this study in this folder. Wait "
                "for its end."
            )

    def finish(self) -> None:
        """Write down how the results were made."""
        if self.known:
            provenance.save(self.results, record)

    def _unlock(self) -> None:
        """Take away the locks that a killed engine left on this study's files.

        A lock is a list of files. Other studies' may be in use, and are not in its way.
        """
        for lock in (_FOLDER / "locks").glob("*.lock"):
            with suppress(FileNotFoundError):  # another study's end takes all locks away
                lines = lock.read_text(encoding="utf-8").splitlines()
                if any(line.startswith(f"{self.results}/") for line in lines):
                    lock.unlink()


def record(path: str) -> Path:
    """Return the file in which the engine keeps how it made an output: the path in base64."""
    return _file(path, "metadata")


def _mark(path: str) -> Path:
    """Return the file that the engine keeps while it makes an output."""
    return _file(path, "incomplete")


def _file(path: str, kind: str) -> Path:
    name = urlsafe_b64encode(path.encode()).decode()
    *folders, last = _parts(name, os.pathconf(".", "PC_NAME_MAX") - 1)
    return _FOLDER.joinpath(kind, *(f"@{folder}" for folder in folders), last)


def _parts(name: str, size: int) -> Iterator[str]:
    """Yield a name in parts that the file system takes; all but the last are folders."""
    return (name[at : at + size] for at in range(0, len(name), size))


def _version() -> int | None:
    """Return the version of the records of the engine that runs this process."""
    engine = sys.modules.get("snakemake.persistence")
    return getattr(engine, "RECORD_FORMAT_VERSION", None)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
