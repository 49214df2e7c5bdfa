"""Images of small data sets, for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from core_helpers import prepared

from recall_distortion.data import PreparedData
from recall_distortion.training import (
    TrainingImages,
)


def prepared_colored(path: Path) -> PreparedData:
    return prepared(path, channels=3, train=48, holdout=16)


def masks_of_all(network: torch.nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return masks of every parameter, biases and batch norm's among them, of two thirds each."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=rng) < 2 / 3
        for name, value in network.named_parameters()
    }


def images_of(data, **options) -> TrainingImages:
    return TrainingImages.of(data, **{"selection": "holdout", "device": "cpu"} | options)


def normalized(data, images: np.ndarray) -> torch.Tensor:
    """Return images scaled to 0..1 and normalized per channel, computed in double precision."""
    mean, std = (v.astype(float)[:, None, None] for v in (data.mean, data.std))
    return torch.from_numpy(((images / 255 - mean) / std).astype(np.float32))
