"""Files of compressed networks: masks, what was retrained, and what it was before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from recall_distortion.compression.methods import Cell
from recall_distortion.system import sealed
from recall_distortion.system.errors import TableError
from recall_distortion.training.replicates import Failure, load_tensors, save_tensors, stack
from recall_distortion.vocabulary import COMPRESSED, CONTROL, RETRAINED

# What a file's tensors lie under, besides the states.
_MASK = "mask"
_EARLIER = "finetuned/"  # what the fine-tuned networks lay under before
# What is not written of a cell, because most are like that.
_USUAL = {"of_dense": True, "control": CONTROL}


@dataclass(frozen=True)
class Compressed:
    """One method's networks of a block at one ratio.

    ``masks`` maps parameters to booleans [K, ...] for ``mask_seeds`` (none for the control);
    ``retrained`` maps parameters and buffers to [K', ...] for ``seeds``, the replicates whose
    retraining succeeded. ``compressed`` has for ``mask_seeds`` the networks [K, ...] just before
    that retraining; it is empty where they are the dense ones under their masks. Networks that
    were trained from weights of their own are not ``of_dense`` and were nothing before;
    ``control`` is the arm of the same training. ``facts`` are those of the retraining: device,
    engine and software.
    """

    cell: Cell
    mask_seeds: list[int]
    masks: dict[str, Tensor]
    seeds: list[int]
    retrained: dict[str, Tensor]
    failures: list[Failure]
    facts: dict[str, Any]
    compressed: dict[str, Tensor] = field(default_factory=dict)
    of_dense: bool = True
    control: str = CONTROL


@dataclass
class Made:
    """The networks of a cell as they are made: tensors by name, of each seed.

    ``of_dense`` and ``control`` are as in ``Compressed``.
    """

    masks: dict[int, Mapping[str, Tensor]] = field(default_factory=dict)
    compressed: dict[int, Mapping[str, Tensor]] = field(default_factory=dict)
    retrained: dict[int, Mapping[str, Tensor]] = field(default_factory=dict)
    of_dense: bool = True
    control: str = CONTROL


def save_compressed(
    path: str | Path,
    made: Mapping[Cell, Made],
    failures: Sequence[Failure],
    metadata: Mapping[str, Any],
) -> None:
    """Write the networks of some cells, all of them or nothing.

    ``metadata`` are of the whole file: architecture, methods and facts.
    """
    tensors: dict[str, Tensor] = {}
    cells = []
    for cell, networks in made.items():
        parts = {_MASK: networks.masks, COMPRESSED: networks.compressed}
        for part, states in (parts | {RETRAINED: networks.retrained}).items():
            for name, value in stack(list(states.values())).items():
                tensors[f"{_prefix(part, cell)}{name}"] = value
        seeds = {"mask_seeds": list(networks.masks), "seeds": list(networks.retrained)}
        further = {"of_dense": networks.of_dense, "control": networks.control}
        if further == _USUAL:
            further = {}
        cells.append(asdict(cell) | seeds | further)
    whole = {
        "architecture": metadata["architecture"],
        "methods": metadata["methods"],
        "cells": cells,
        "failures": [vars(failure) for failure in failures],
        "facts": metadata["facts"],
    }
    save_tensors(path, tensors, whole)


def load_compressed(path: str | Path) -> list[Compressed]:
    """Read what ``save_compressed`` wrote, one entry for each cell.

    Raises ``TableError`` naming the file where it is damaged, foreign or of an earlier version.
    """
    tensors, metadata = load_tensors(path)
    if any(name.startswith(_EARLIER) for name in tensors):
        raise TableError(f"{path}: an earlier version wrote it; {sealed.REMEDY}, which remakes it")
    try:
        return [_compressed(tensors, metadata, cell) for cell in metadata["cells"]]
    except (KeyError, TypeError) as error:
        raise TableError(
            f"{path}: not a file of compressed replicates ({error}); {sealed.REMEDY}"
        ) from None


def _compressed(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], written: Mapping[str, Any]
) -> Compressed:
    cell = Cell(written["method"], written["ratio"])
    failures = [Failure(**failure) for failure in metadata["failures"]]
    return Compressed(
        cell,
        written["mask_seeds"],
        _under(tensors, _prefix(_MASK, cell)),
        written["seeds"],
        _under(tensors, _prefix(RETRAINED, cell)),
        [failure for failure in failures if Cell(failure.method, failure.ratio) == cell],
        metadata["facts"],
        _under(tensors, _prefix(COMPRESSED, cell)),
        **{name: written.get(name, value) for name, value in _USUAL.items()},
    )


def _prefix(part: str, cell: Cell) -> str:
    return f"{part}/{cell.method}/{cell.ratio}/"


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
