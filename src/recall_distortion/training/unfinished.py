"""What a killed training job leaves behind, so that the next one goes on where it stopped.

A job keeps it in a folder of its own: the networks that are fitted, and the state of those in
training after an epoch. Going on from there gives what an undisturbed job gives, bit for bit on a
CPU. The folder is no result: it is removed when the job's results are written, and a folder that
belongs to anything else, or is damaged, is removed unread and costs only time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import recall_distortion
from recall_distortion.system import files
from recall_distortion.system.errors import TableError, UnwritableError
from recall_distortion.training.replicates import load_tensors, save_tensors, software

#: Seconds of training that may be lost; the epoch that is running comes on top. Shorter jobs leave
#: nothing.
INTERVAL = 10.0
#: Writing may take this share of the time: where states are large, they are written less often.
LARGEST_SHARE = 0.05

#: The files and folders of the package that decide how a job goes on.
_CODE = ("fast", "networks", "training")
_RUNNING = "running.safetensors"


class Unfinished:
    """The folder of one job; without a folder nothing is kept.

    ``facts`` are whatever decides the job's results and is not said to ``bind``; files among them
    are given as paths and count by their content.
    """

    def __init__(
        self, folder: str | Path | None = None, facts: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self._given = dict(facts or {})
        self._facts = dict(self._given)
        self._fingerprint: str | None = None
        self._pending: list[tuple[dict[str, Tensor], Any]] = []
        self._written = 0  # networks whose results lie in the folder
        self._last = time.monotonic()
        self._cost = 0.0  # seconds that writing took the last time
        self._before: Unfinished | None = None

    def bind(self, **facts: Any) -> None:
        """Add facts that decide the results; tensors count by their content."""
        self._facts |= facts

    def following(self, name: str) -> Unfinished:
        """Return what keeps the training that follows this one in the same job, by its name.

        It lies within this one's folder, and what is not yet written here is written with it.
        """
        found = Unfinished(None if self.folder is None else self.folder / name, self._given)
        found._before, found._last, found._cost = self, self._last, self._cost
        return found

    @property
    def fingerprint(self) -> str:
        """One word for everything that decides the results; computed when first asked for."""
        if self._fingerprint is None:
            digest = hashlib.sha256()
            threads = {"threads": torch.get_num_threads()}  # sums are split among them
            _digest(digest, self._facts | software() | threads)
            package = Path(recall_distortion.__file__).parent
            for name in _CODE:
                path = package / name
                for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                    _digest(digest, {source.name: source})
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def fitted(self) -> list[tuple[dict[str, Tensor], Any]]:
        """Return what ``finish`` was given in the calls that an earlier job wrote, in order.

        A folder that does not fit this job is removed, with one printed line.
        """
        found: list[tuple[dict[str, Tensor], Any]] = []
        if self.folder is None or not self.folder.is_dir():
            return found
        for path in sorted(self.folder.glob("fitted-*.safetensors")):
            read = self._read(path)
            if read is None or read[1]["first"] != len(found):
                self.remove()
                return []
            tensors, metadata = read
            found += [
                (_under(tensors, f"{number}/"), result)
                for number, result in enumerate(metadata["results"])
            ]
        self._written = len(found)
        return found

    def running(self) -> tuple[dict[str, Tensor], Any] | None:
        """Return what ``keep`` wrote last, of the network that follows the fitted ones."""
        if self.folder is None or not (path := self.folder / _RUNNING).exists():
            return None
        read = self._read(path)
        if read is None:
            path.unlink(missing_ok=True)
            return None
        tensors, metadata = read
        # An earlier stack's lies there until the next one writes its own, in this job too.
        following = metadata["first"] == self._written + len(self._pending)
        return (tensors, metadata["state"]) if following else None

    def finish(self, results: Sequence[tuple[dict[str, Tensor], Any]]) -> None:
        """Take the results of the next networks; they are written when it is time."""
        if self.folder is not None:
            self._pending += results
            if self.due():
                self._write()

    def due(self) -> bool:
        """Return whether there is a folder and enough time has passed to write again."""
        waited = time.monotonic() - self._last
        often = waited >= INTERVAL and waited * LARGEST_SHARE >= self._cost
        return often and self.folder is not None

    def keep(self, tensors: Mapping[str, Tensor], state: Any) -> None:
        """Write the state of the networks in training, and results not yet written before it."""
        if self.folder is not None:
            self._write(tensors, state)

    def remove(self) -> None:
        """Remove the folder: the results are written, or it fits nothing."""
        if self.folder is None:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # other jobs' folders lie beside it, or none was made
            self.folder.parent.rmdir()

    def _write(self, tensors: Mapping[str, Tensor] | None = None, state: Any = None) -> None:
        began = time.monotonic()
        try:
            self._write_fitted()
            if tensors is not None:
                self._save(_RUNNING, tensors, {"state": state})
        except UnwritableError as error:
            # The results can still be written, or else say themselves what is wrong.
            print(
                f"warning: {self.folder}: the half-trained state could not be written ({error}); "
                "if this job is stopped now, its training starts again",
                flush=True,
            )
        self._last = time.monotonic()
        self._cost = self._last - began

    def _write_fitted(self) -> None:
        if self._before is not None:
            self._before._write_fitted()
        if self._pending:
            fitted = {
                f"{number}/{name}": value
                for number, (found, _) in enumerate(self._pending)
                for name, value in found.items()
            }
            results = [result for _, result in self._pending]
            self._save(f"fitted-{self._written:06d}.safetensors", fitted, {"results": results})
            self._written += len(self._pending)
            self._pending = []

    def _save(self, name: str, tensors: Mapping[str, Tensor], metadata: dict[str, Any]) -> None:
        assert self.folder is not None  # nothing is taken without one
        fits = {"fingerprint": self.fingerprint, "first": self._written}
        save_tensors(self.folder / name, tensors, fits | metadata)

    def _read(self, path: Path) -> tuple[dict[str, Tensor], Any] | None:
        try:
            tensors, metadata = load_tensors(path)  # which compares the file with its checksum
            fits = metadata["fingerprint"] == self.fingerprint
        except (TableError, KeyError, TypeError):
            print(f"{path}: damaged half-trained state; it is removed", flush=True)
            return None
        if not fits:
            print(f"{path}: half-trained by other code, data or recipe; it is removed", flush=True)
            return None
        return tensors, metadata


def _digest(digest: Any, facts: Mapping[str, Any]) -> None:
    """Add facts to a digest: tensors and files by their content, anything else as JSON."""
    for name, value in sorted(facts.items()):
        if isinstance(value, Tensor):
            plain = value.detach().cpu().contiguous()
            digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
            digest.update(plain.numpy().tobytes())
        elif isinstance(value, Path):
            digest.update(f"{name} {files.sha256(value)}\n".encode())
        else:
            digest.update(f"{name} {json.dumps(value, sort_keys=True)}\n".encode())


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
