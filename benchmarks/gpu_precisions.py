"""Whether half precision changes what a study measures: accuracy and alpha, seed by seed.

Dense networks, their control and magnitude pruning at ratio 10, by a recipe of a few epochs, as the
workflow's jobs compute them, in both precisions from the same weights and in the same order.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from gpu_setting import ARCHITECTURE, AUGMENTATION, BATCH, DECAY, MOMENTUM, PRECISIONS, RATE

from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.compression.methods import CompressionPlan
from recall_distortion.data import load
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.inference.statistics.intervals import PAPER_LEVEL, t_interval
from recall_distortion.measures.networks import measure
from recall_distortion.tables.files import read_table
from recall_distortion.tables.predictions import read_predictions
from recall_distortion.training import TrainingPlan, read, train_block
from recall_distortion.vocabulary import CONTROL, DENSE, Panel

MAGNITUDE, RATIO = "magnitude", "10"
PANEL = Panel("images", ARCHITECTURE, "short")
CELL = ["method", "state"]


def compare(
    prepared: str, device: str, seeds: Sequence[int], *, block: int, epochs: int, until: float
) -> None:
    """Compare blocks of seeds, and print after each what all seeds so far say.

    The first block is always computed, another where the one before says that it would be done
    before ``until``, a time as ``time.monotonic`` has it.
    """
    networks = pd.DataFrame()
    took = 0.0
    for first in range(0, len(seeds), block):
        own = seeds[first : first + block]
        start = time.monotonic()
        if first and start + took > until:
            print(f"no time for seeds {own[0]} and after, {took:.0f} s for each {block}")
            return
        for precision in PRECISIONS:
            found = computed(prepared, device, own, epochs, precision)
            networks = pd.concat([networks, found.assign(precision=precision)])
        took = time.monotonic() - start
        print_differences(networks, epochs)


def computed(
    prepared: str, device: str, seeds: Sequence[int], epochs: int, precision: str
) -> pd.DataFrame:
    """Return the table of networks of a block, trained, pruned and evaluated in a precision."""
    engine = {"engine": "auto", "at_once": len(seeds), "precision": precision}
    dense_plan = {"recipe": recipe(epochs), "selection": "holdout", "engine": engine}
    magnitude = {
        "criterion": "magnitude",
        "scope": "global",
        "schedule": "one_shot",
        "gradient_examples": BATCH,
        "epsilon": DECAY,
    }
    plan = {
        "methods": {CONTROL: None, MAGNITUDE: magnitude},
        "count": "total",
        "recipe": recipe(max(1, epochs // 2)),
        "selection": "holdout",
        "engine": engine,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dense, compressed = folder / "dense.safetensors", folder / "compressed.safetensors"
        sparsity = folder / "sparsity.csv"
        start = time.monotonic()
        train_block(
            prepared,
            dense,
            folder / "dense.csv",
            read(TrainingPlan, dense_plan, "training"),
            architecture=ARCHITECTURE,
            seeds=seeds,
            device=device,
        )
        seen = len(seeds) * (epochs + 1) * len(load(prepared).fit_index)
        print(
            f"{len(seeds)} dense networks, {precision}: {seen / (time.monotonic() - start):.0f} "
            "images a second, reading, validation, best epochs and writing counted",
            flush=True,
        )
        compress_block(
            Paths(prepared, dense, compressed, sparsity, folder / "compressed.csv"),
            read(CompressionPlan, plan, "compression"),
            panel=PANEL,
            ratios={CONTROL: ["1"], MAGNITUDE: [RATIO]},
            device=device,
        )
        parts, failures = [], []
        for evaluated in ([], [compressed]):  # the dense networks, then what became of them
            predictions = folder / "predictions.safetensors"
            evaluate_block(prepared, dense, evaluated, predictions, panel=PANEL, device=device)
            found = read_predictions(predictions)
            parts += found[0]
            failures += found[1]
        return measure(parts, read_table(sparsity, "sparsity"), failures)[1]


def recipe(epochs: int) -> dict[str, Any]:
    """Return a recipe that ends with a small learning rate, so that the last epoch is settled."""
    phases = [{"epochs": epochs, "learning_rate": RATE}, {"epochs": 1, "learning_rate": RATE / 10}]
    return {
        "phases": phases,
        "batch_size": BATCH,
        "momentum": MOMENTUM,
        "weight_decay": DECAY,
        "augmentation": list(AUGMENTATION),
    }


def print_differences(networks: pd.DataFrame, epochs: int) -> None:
    """Print means in both precisions and their difference, paired by seed."""
    count = networks["seed"].nunique()
    print(
        f"bfloat16 less float32, {epochs} + 1 epochs, fine-tuned {max(1, epochs // 2)} + 1, paired "
        f"by seed, {100 * PAPER_LEVEL:.0f} % intervals, n = {count}:"
    )
    for quantity in ("accuracy", "alpha"):
        for (method, state), cell in networks.groupby(CELL, sort=False):
            values = cell.pivot(index="seed", columns="precision", values=quantity)
            if (quantity == "alpha" and method == DENSE) or values.isna().all(axis=None):
                continue
            means = values[list(PRECISIONS)].mean()
            paired = (values["bfloat16"] - values["float32"]).dropna()
            found = t_interval(paired.to_numpy(), PAPER_LEVEL)
            print(
                f"  {quantity} of {method}, {state}: bfloat16 {means['bfloat16']:.4f}, float32 "
                f"{means['float32']:.4f}, difference {paired.mean():+.4f} "
                f"({float(found.low):+.4f}..{float(found.high):+.4f})",
                flush=True,
            )
