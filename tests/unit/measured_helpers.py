"""Files of predictions written by hand, whose tables the tests of measures recompute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recall_distortion.inference.jobs.measure import write_measures
from recall_distortion.system import sealed
from recall_distortion.tables.files import read_table, write_table

Cell = tuple[str, str, str]  # method, ratio, state

NAMES = ["NA", "1", "a,b", 'ü "x"', ""]
CLASSES = len(NAMES)
RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.repeat(np.arange(CLASSES), [8, 9, 10, 12, 14]))
SEEDS = range(6)
DENSE: Cell = ("dense", "1", "dense")
CONTROL: Cell = ("control", "1", "retrained")
CELLS = [
    DENSE,
    CONTROL,
    *(
        (method, ratio, state)
        for method in ("random", "magnitude")
        for ratio in ("10", "2")
        for state in ("compressed", "retrained")
    ),
]
# One table of all predictions: the cell and the seed give a network's labels.
PREDICTED = {
    (cell, seed): np.where(RNG.random(len(LABELS)) < 0.7, LABELS, RNG.integers(0, CLASSES, 53))
    for cell in CELLS
    for seed in SEEDS
}
# And what goes along with them, in steps that half precision holds exactly.
LOSS = {key: RNG.integers(0, 64, len(LABELS)) / 16 for key in PREDICTED}
PROBABILITY = {key: RNG.integers(128, 257, len(LABELS)) / 256 for key in PREDICTED}
FAILED = {("magnitude", "10"): [2], ("random", "2"): list(SEEDS)}

CPU = {"device": "cpu", "engine": "vectorized, up to 30 at once, float32", "torch": "2.10"}
GPU = {"device": "cuda", "engine": "one after another, bfloat16", "torch": "2.9", "gpu": "NVIDIA X"}


def failed(cell: Cell, seeds: Sequence[int]) -> list[int]:
    lost = FAILED.get(cell[:2], []) if cell[2] == "retrained" else []
    return [seed for seed in seeds if seed in lost]


def write_predictions(
    path: Path,
    seeds: Sequence[int],
    cells: Sequence[Cell],
    *,
    metadata: dict[str, Any] | None = None,
    labels: np.ndarray = LABELS,
    trained: dict[str, str] | None = CPU,
    losses: bool = True,
) -> Path:
    """Write a file of predictions as the workflow writes it, with the failures of its cells.

    Without ``trained`` it says nothing of what made the networks.
    """
    tensors = {"labels": labels.astype(np.int64)}
    found, failures = {}, []
    for cell in cells:
        key = "/".join(cell)
        lost = failed(cell, seeds)
        found[key] = [seed for seed in seeds if seed not in lost]
        failures += [
            {
                "method": cell[0],
                "ratio": cell[1],
                "stage": "finetuning",
                "seed": seed,
                "reason": f'seed {seed}: loss is nan, "really"',
            }
            for seed in lost
        ]
        if found[key]:
            kept = {"predicted": (PREDICTED, np.uint8)}
            if losses:
                kept |= {"loss": (LOSS, np.float16), "probability": (PROBABILITY, np.float16)}
            for name, (values, kind) in kept.items():
                rows = [values[cell, seed][: len(labels)] for seed in found[key]]
                tensors[f"{key}/{name}"] = np.array(rows, kind)
    content = {
        "dataset": "small",
        "architecture": "mlp",
        "recipe": "usual",
        "class_names": NAMES,
        "seeds": found,
        "failures": failures,
    }
    if trained is not None:
        made = {"trained": trained, "evaluated": GPU}
        content["made"] = {"/".join(cell[:2]): made for cell in cells}
    sealed.write(path, tensors, content | (metadata or {}))
    return path


def write_sparsity(path: Path, seeds: Sequence[int], method: str, ratio: str) -> Path:
    """Write what a pruning job says of its networks."""
    rows = [
        {
            "dataset": "small",
            "architecture": "mlp",
            "recipe": "usual",
            "method": method,
            "ratio": float(ratio),
            "seed": seed,
            "realised_ratio": 4 / 3 + seed,
            "kept_fraction": 0.3,
            "kept_prunable": 30,
            "prunable": 100,
            "total": 120,
        }
        for seed in seeds
    ]
    write_table(path, "sparsity", pd.DataFrame(rows))
    return path


def write_blocks(folder: Path, blocks: Sequence[Sequence[int]]) -> tuple[list[Path], list[Path]]:
    """Write the predictions and sparsities of all cells, the seeds cut into blocks."""
    folder.mkdir()
    bundles = {
        "dense": [DENSE],
        "control": [CONTROL],
        "random": [cell for cell in CELLS if cell[0] == "random"],
        "magnitude": [cell for cell in CELLS if cell[0] == "magnitude"],
    }
    predictions = [
        write_predictions(folder / f"{name}-{seeds[0]}.safetensors", seeds, cells)
        for name, cells in bundles.items()
        for seeds in blocks
    ]
    sparsity = [
        write_sparsity(folder / f"{method}-{ratio}-{seeds[0]}.csv", seeds, method, ratio)
        for method in ("random", "magnitude")
        for ratio in ("2", "10")
        for seeds in blocks
    ]
    return predictions, sparsity


def measured(folder: Path, *predictions: Path, sparsity: Sequence[Path] = (), splits: int = 5):
    """Write the tables of files of predictions and return their paths by name."""
    paths = {name: folder / f"{name}.csv" for name in ("recall", "networks")}
    write_measures(predictions, sparsity, *paths.values(), splits=splits)
    return paths


def run(folder: Path, blocks: Sequence[Sequence[int]]) -> dict[str, Path]:
    """Write the predictions cut into blocks, measure them, and return the tables' paths."""
    predictions, sparsity = write_blocks(folder, blocks)
    return measured(folder, *predictions, sparsity=sparsity)


def read(paths: dict[str, Path], name: str) -> pd.DataFrame:
    return read_table(paths[name], name)
