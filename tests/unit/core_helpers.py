"""Small data sets and recipes for the tests of training, compression and evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import safetensors.numpy

from recall_distortion.compression.methods import (
    CompressionPlan,
    GradualPlan,
    Method,
    RetrainingPlan,
)
from recall_distortion.data import PreparedData, load
from recall_distortion.system import sealed
from recall_distortion.training import Computing, Recipe, TrainingPlan, read

REPOSITORY = Path(__file__).resolve().parents[2]


def write_prepared(
    path: Path,
    *,
    train: int = 96,
    holdout: int = 24,
    test: int = 60,
    classes: int = 4,
    channels: int = 1,
    size: int = 8,
    noise: float = 60.0,
    seed: int = 0,
) -> Path:
    """Write a prepared data set of noisy class prototypes, and return its path."""
    rng = np.random.default_rng(seed)
    prototypes = rng.uniform(40, 215, (classes, channels, size, size))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.permutation(np.arange(count) % classes).astype(np.int64)
        images = prototypes[labels] + rng.normal(0, noise, (count, channels, size, size))
        return images.clip(0, 255).astype(np.uint8), labels

    train_images, train_labels = draw(train)
    test_images, test_labels = draw(test)
    order = rng.permutation(train)
    fit_index = np.sort(order[holdout:]).astype(np.int64)
    scaled = train_images[fit_index] / 255
    tensors = {
        "train_images": train_images,
        "train_labels": train_labels,
        "fit_index": fit_index,
        "holdout_index": np.sort(order[:holdout]).astype(np.int64),
        "test_images": test_images,
        "test_labels": test_labels,
        "mean": scaled.mean((0, 2, 3)).astype(np.float32),
        "std": scaled.std((0, 2, 3)).astype(np.float32),
    }
    metadata = {
        "class_names": [f"class {c}" for c in range(classes)],
        "source": "arrays",
        "checksum": "sha256:0",
        "holdout": 0.25,
        "seed": seed,
    }
    sealed.write(path, tensors, metadata)
    return path


def sealed_file(folder: Path, tensors: dict[str, np.ndarray], metadata: object) -> bytes:
    """Return a whole file that carries its checksum, whatever its metadata say.

    Text among them is written as it is, JSON or not.
    """
    path = folder / "sealed.safetensors"
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    safetensors.numpy.save_file(
        tensors, path, {sealed.CONTENT: text, sealed.KEY: sealed.PLACEHOLDER}
    )
    sealed.seal(path)
    content = path.read_bytes()
    path.unlink()
    return content


def prepared(path: Path, **options: object) -> PreparedData:
    """Return the data set that ``write_prepared`` writes at ``path``."""
    return load(write_prepared(path, **options))


def recipe(*phases: tuple[int, float], **values: object) -> Recipe:
    """Return a recipe as a job reads a study's; a phase is (epochs, learning rate)."""
    plain = {
        "phases": [{"epochs": epochs, "learning_rate": rate} for epochs, rate in phases],
        "batch_size": 16,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "augmentation": [],
    }
    return read(Recipe, plain | values, "recipe")


def training_plan(
    plan: Recipe, *, selection: str = "holdout", engine: dict[str, object] | None = None
) -> TrainingPlan:
    """Return what decides dense networks."""
    return TrainingPlan(plan, selection, read(Computing, engine or {}, "engine"))


def method(criterion: str, **values: object) -> Method:
    """Return a method as a job reads a study's."""
    plain = {
        "criterion": criterion,
        "scope": "global",
        "schedule": "one_shot",
        "gradient_examples": 32,
        "epsilon": 5e-4,
    }
    return read(Method, plain | values, "method")


def compression_plan(
    methods: dict[str, Method | None],
    plan: Recipe,
    *,
    count: str = "prunable",
    selection: str = "holdout",
    engine: dict[str, object] | None = None,
    gradual: GradualPlan | None = None,
    retrainings: dict[str, RetrainingPlan] | None = None,
) -> CompressionPlan:
    """Return what decides a bundle's pruned networks."""
    computing = read(Computing, engine or {}, "engine")
    further = {"gradual": gradual, "retrainings": retrainings or {}}
    return CompressionPlan(methods, count, plan, selection, computing, **further)


def ratios_of(methods: dict[str, Method | None], ratios: list[str]) -> dict[str, list[str]]:
    """Return by method those of some ratios that it runs at: the control at 1, others at others."""
    return {
        name: [ratio for ratio in ratios if (ratio == "1") == (definition is None)]
        for name, definition in methods.items()
    }
