"""What is found in one's own networks, by a process that has torch, and kept beside the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import recall_distortion
from recall_distortion.compression.facts import CHANNEL
from recall_distortion.networks import structure
from recall_distortion.networks.parameters import Counts
from recall_distortion.networks.structure import Layer
from recall_distortion.study.models import Study
from recall_distortion.system import code
from recall_distortion.system.errors import StudyError
from recall_distortion.system.files import write_json
from recall_distortion.vocabulary import Panel

FOLDER = "networks"
_EXAMINING = "recall_distortion.networks.examining"
_LOOKING = (
    *("examining", "own", "registry", "structure", "channel_groups", "functions", "grouping"),
    *("identities", "reduced", "tracing"),
)


class ImageShape(Protocol):
    """What must be known of a data set before a network is built for it."""

    @property
    def channels(self) -> int: ...

    @property
    def image_size(self) -> int: ...

    @property
    def classes(self) -> int: ...


@dataclass(frozen=True)
class Found:
    """What a study must know of a network of one's own, for images of a data set.

    ``tokens`` says whether a linear layer of it gets more than features, ``rectifiers`` whether it
    calls one, ``norms`` whether it has batch norm over images, ``hidden`` whether it has a linear
    layer or convolution besides the classifier. Where channels are removed ``layers`` has its
    groups, and ``stay`` why the channels of other layers stay.
    """

    counts: Counts
    classifier: str
    prunable: tuple[str, ...]
    draws: bool
    tokens: bool
    rectifiers: bool
    norms: bool
    hidden: bool
    layers: tuple[Layer, ...] = ()
    stay: Mapping[str, str] = field(default_factory=dict)


def examine(
    study: Study, path: str | Path, shapes: Mapping[str, ImageShape], results: str = "results"
) -> dict[tuple[str, str], Found]:
    """Return what one's own networks are, by architecture and data set; none where there are none.

    What was found for the same code lies in the folder of the study's results; else a process with
    torch finds it, which takes a few seconds. Raises ``StudyError`` for a network that cannot be
    trained here, naming what is wrong with it.
    """
    wanted: dict[tuple[str, str], dict[str, Any]] = {}
    for panel in (network.panel for network in study.networks()):
        try:
            definition = study.definition(panel.architecture)
        except StudyError as error:
            raise StudyError(f"{path}: {error}") from None
        if definition is not None:
            shape = shapes[panel.dataset]
            asked = {
                "name": panel.architecture,
                "definition": asdict(definition),
                "channels": shape.channels,
                "classes": shape.classes,
                "image": [shape.image_size, shape.image_size],
                "files": [_seen(p) for p in definition.files(study.replicate_seeds())],
                "groups": _removes_channels(study, panel),
                "curvature": study.curvature is not None,
            }
            # As a file has it, to which it is compared.
            wanted[panel.architecture, panel.dataset] = json.loads(json.dumps(asked))
    folder = Path(results, study.folder, FOLDER)
    by = _software() if wanted else {}
    found, left = {}, {}
    for key, asked in wanted.items():
        kept = _read(folder / f"{'-'.join(key)}.json")
        if kept.get("asked") == asked and kept.get("by") == by:
            found[key] = _found(kept["found"])
        else:
            left[key] = asked
    if left:
        for (key, asked), answer in zip(left.items(), _ask(list(left.values())), strict=True):
            if "error" in answer:
                raise StudyError(f"{path}: {answer['error']}")
            found[key] = _found(answer["found"])
            kept = {"asked": asked, "by": by, "found": answer["found"]}
            write_json(folder / f"{'-'.join(key)}.json", kept)
    return found


def _removes_channels(study: Study, panel: Panel) -> bool:
    """Return whether a method removes channels of a network, whatever its recipe."""
    methods = {
        method
        for network in study.networks()
        if network.panel[:2] == panel[:2]
        for method in network.methods
    }
    pruning = (study.pruning(method) for method in methods)
    return any(one is not None and one.unit == CHANNEL.name for one in pruning)


def brought(study: Study, panel: Panel, seeds: Sequence[int]) -> list[str]:
    """Return the files of a panel's dense networks of one's own; none where they are trained."""
    definition = study.definition(panel.architecture)
    return [] if definition is None else definition.files(seeds)


def _found(values: Mapping[str, Any]) -> Found:
    return Found(**{**values, "counts": Counts(**values["counts"]),
                    "prunable": tuple(values["prunable"]),
                    "layers": tuple(structure.read(values["layers"]))})  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    """Return what was found before; nothing where that cannot be read: it is then sought anew."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _seen(path: str) -> list[str | int]:
    """Return a file's path with what changes when it is written: its size and its time."""
    try:
        seen = os.stat(path)
    except OSError:
        return [path]  # which is said where it is read
    return [path, seen.st_size, seen.st_mtime_ns]


def _software() -> dict[str, str]:
    """Return what an answer depends on beside what is asked: torch, and the code that looks."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        raise StudyError("one's own networks need torch, which is not installed here") from None
    rooms = Path(recall_distortion.__file__).parent
    return {"torch": torch} | {
        name: code.word(rooms / "networks" / f"{name}.py") for name in _LOOKING
    }


def _ask(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    source = str(Path(recall_distortion.__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", _EXAMINING],
        input=json.dumps(asked),
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StudyError(f"looking at one's own networks failed: {last}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
