"""From a recipe and seeds to fitted replicates."""

from __future__ import annotations

from recall_distortion.training.blocks import HISTORY_COLUMNS, train_block
from recall_distortion.training.course import Fitted, NonFiniteLoss, Run
from recall_distortion.training.engines import Engine, choose
from recall_distortion.training.images import DeviceImages, TrainingImages
from recall_distortion.training.loop import fit, fit_runs
from recall_distortion.training.plain import read
from recall_distortion.training.recipe import Computing, Phase, Recipe, TrainingPlan
from recall_distortion.training.unfinished import Unfinished

__all__ = [
    "HISTORY_COLUMNS",
    "Computing",
    "DeviceImages",
    "Engine",
    "Fitted",
    "NonFiniteLoss",
    "Phase",
    "Recipe",
    "Run",
    "TrainingImages",
    "TrainingPlan",
    "Unfinished",
    "choose",
    "fit",
    "fit_runs",
    "read",
    "train_block",
]
