"""Files of quantized networks: their stored tensors, and how each method made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from recall_distortion.compression.methods import Cell
from recall_distortion.compression.quantization.plan import Quantizer
from recall_distortion.system import sealed
from recall_distortion.system.errors import TableError, TrainingError
from recall_distortion.training.plain import read
from recall_distortion.training.replicates import Block, load_tensors, save_tensors, stack

_PART = "quantized"


@dataclass(frozen=True)
class Quantized:
    """One method's networks of a block in one cell: ``networks`` holds [K, ...] for its seeds.

    ``facts`` are those of the job: device, engine and software.
    """

    cell: Cell
    quantizer: Quantizer
    networks: Block
    facts: dict[str, Any]


def save_quantized(
    path: str | Path,
    made: Mapping[Cell, Mapping[int, Mapping[str, Tensor]]],
    metadata: Mapping[str, Any],
) -> None:
    """Write networks by cell and seed, all of them or nothing.

    ``metadata`` are of the whole file: architecture, methods and facts.
    """
    tensors = {
        f"{_prefix(cell)}{name}": value
        for cell, states in made.items()
        for name, value in stack(list(states.values())).items()
    }
    cells = [asdict(cell) | {"seeds": list(states)} for cell, states in made.items()]
    save_tensors(path, tensors, {**metadata, "cells": cells})


def load_quantized(path: str | Path) -> list[Quantized]:
    """Read what ``save_quantized`` wrote, one entry for each cell.

    Raises ``TableError`` naming the file where it is damaged or foreign.
    """
    tensors, metadata = load_tensors(path)
    try:
        found = []
        for written in metadata["cells"]:
            cell = Cell(written["method"], written["ratio"])
            own = {
                name.removeprefix(_prefix(cell)): value
                for name, value in tensors.items()
                if name.startswith(_prefix(cell))
            }
            block = Block(metadata["architecture"], 0, 0, written["seeds"], own)
            quantizer = read(Quantizer, metadata["methods"][cell.method], cell.method)
            found.append(Quantized(cell, quantizer, block, metadata["facts"]))
    except (KeyError, TypeError, TrainingError) as error:
        raise TableError(
            f"{path}: not a file of quantized replicates ({error}); {sealed.REMEDY}"
        ) from None
    return found


def _prefix(cell: Cell) -> str:
    return f"{_PART}/{cell.method}/{cell.ratio}/"
