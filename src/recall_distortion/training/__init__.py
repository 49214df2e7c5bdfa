"""From a recipe and seeds to fitted replicates."""

from __future__ import annotations

from recall_distortion.training.blocks import HISTORY_COLUMNS, train_block
from recall_distortion.training.images import DeviceImages, TrainingImages
from recall_distortion.training.loop import Fitted, fit

__all__ = [
    "HISTORY_COLUMNS",
    "DeviceImages",
    "Fitted",
    "TrainingImages",
    "fit",
    "train_block",
]
