"""The dense networks of a block of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from recall_distortion import data, networks
from recall_distortion.errors import TrainingError
from recall_distortion.logs import progress
from recall_distortion.replicates import (
    Block,
    Failure,
    generator,
    save_block,
    software,
    stack,
    write_rows,
)
from recall_distortion.training.images import TrainingImages
from recall_distortion.training.loop import NonFiniteLoss, fit

HISTORY_COLUMNS = (
    "method",
    "ratio",
    "seed",
    "phase",
    "epoch",
    "learning_rate",
    "training_loss",
    "validation_loss",
    "validation_accuracy",
    "selected",
)


def train_block(
    data_path: str | Path,
    weights_path: str | Path,
    history_path: str | Path,
    *,
    architecture: str,
    seeds: Sequence[int],
    recipe: Mapping[str, Any],
    selection: str,
    device: str = "cpu",
) -> None:
    """Train the dense networks of ``seeds`` and write their weights and training history.

    A replicate whose loss is not finite is left out and recorded as a failure; the others go on.
    Raises ``TrainingError`` where every one of them failed.
    """
    prepared = data.load(data_path)
    images = TrainingImages.of(
        prepared, selection=selection, device=device, augmentation=recipe["augmentation"]
    )
    channels, classes = prepared.train_images.shape[1], len(prepared.class_names)
    network = networks.build(architecture, channels=channels, classes=classes)
    network = network.to(device, memory_format=torch.channels_last)
    epochs = sum(phase["epochs"] for phase in recipe["phases"])
    states, trained, failures, history = [], [], [], []
    for number, seed in enumerate(seeds, start=1):
        networks.initialize(network, generator(seed, "initialization"))
        label = f"{architecture} seed {seed} ({number} of {len(seeds)})"
        try:
            fitted = fit(network, images, recipe, seed=seed, report=progress(label, epochs))
        except NonFiniteLoss as error:
            print(f"error: {architecture}: {error}; this replicate is left out", flush=True)
            failures.append(Failure("dense", "1", "training", seed, str(error)))
            continue
        states.append(fitted.state)
        trained.append(seed)
        history += [{"method": "dense", "ratio": "1", **row} for row in fitted.history]
    if not trained:
        raise TrainingError(
            f"{architecture}: no replicate of seeds {seeds[0]} to {seeds[-1]} could be trained; "
            f"the first: {failures[0].reason}. Try a smaller learning rate"
        )
    write_rows(history_path, HISTORY_COLUMNS, history)
    facts = {"device": str(device), "engine": "sequential", **software()}
    save_block(
        weights_path,
        Block(architecture, channels, classes, trained, stack(states), failures, facts),
    )
