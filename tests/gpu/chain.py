"""Train, prune, fine-tune and predict on a device as the workflow's jobs do, in a process alone.

python chain.py FOLDER DEVICE NETWORK CHANNELS SIZE AT_ONCE {float32,bfloat16}
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from core_helpers import (
    compression_plan,
    method,
    ratios_of,
    recipe,
    training_plan,
    write_prepared,
)

from recall_distortion.compression.blocks import Paths, compress_block
from recall_distortion.evaluation.predictions import evaluate_block
from recall_distortion.system import processor
from recall_distortion.training import train_block
from recall_distortion.vocabulary import Panel


def main(folder: Path, device: str, name: str, shape: tuple[int, int], engine: dict) -> None:
    """Leave dense.safetensors, compressed.safetensors and predictions.safetensors."""
    processor.prepare(1, device, deterministic=True)
    data = write_prepared(folder / "data.safetensors", channels=shape[0], size=shape[1])
    dense, compressed = folder / "dense.safetensors", folder / "compressed.safetensors"
    plan = recipe((3, 0.05), augmentation=["flip", "crop"])
    history = folder / "history.csv"
    dense_plan = training_plan(plan, engine=engine)
    train_block(data, dense, history, dense_plan, architecture=name, seeds=[0, 1, 2], device=device)
    methods = {"control": None, "mine": method("regularized_gradient")}
    compress_block(
        Paths(data, dense, compressed, folder / "sparsity.csv", history),
        compression_plan(methods, plan, engine=engine),
        panel=Panel("small", name, "usual"),
        ratios=ratios_of(methods, ["1", "2"]),
        device=device,
    )
    predictions = folder / "predictions.safetensors"
    evaluate_block(
        data, dense, [compressed], predictions, panel=Panel("small", name, "usual"), device=device
    )


if __name__ == "__main__":
    place, on, network, channels, size, at_once, precision = sys.argv[1:]
    asked = {"engine": "vectorized", "at_once": int(at_once), "precision": precision}
    main(Path(place), on, network, (int(channels), int(size)), asked)
