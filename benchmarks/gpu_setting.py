"""What the ways of benchmarks/gpu.py share: data, networks, replicates, a clock."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from recall_distortion import data, networks
from recall_distortion.data import PreparedData
from recall_distortion.training import Phase, Recipe, Run, TrainingImages
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state

ARCHITECTURE = "resnet20"
SIDE, CHANNELS, CLASSES = 32, 3, 10  # of the random images
BATCH, RATE, MOMENTUM, DECAY = 128, 0.1, 0.9, 5e-4
PRECISIONS = ("bfloat16", "float32")  # where time is short, the faster one is measured
AUGMENTATION = ("flip", "crop")
VALIDATED = 16  # images that the engine validates on within what is timed


@dataclass(frozen=True)
class Options:
    """What every process of the benchmark has to know."""

    device: str
    images: int
    steps: int
    prepared: str | None  # a prepared data set's file, or None for random images


@dataclass(frozen=True)
class Rate:
    """Images a second of a way, and the peak memory in GB that it reserved on the GPU."""

    images: float
    memory: float


@functools.cache
def images(options: Options) -> PreparedData:
    """Return the data, cut to so many training images."""
    if options.prepared:
        found = data.load(options.prepared)
        return replace(found, fit_index=found.fit_index[: options.images])
    rng = np.random.default_rng(0)
    count = options.images + VALIDATED
    pixels = rng.integers(0, 256, (count, CHANNELS, SIDE, SIDE), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, count)
    half = np.full(CHANNELS, 0.5, np.float32)
    index = np.arange(count)
    return PreparedData(
        train_images=pixels,
        train_labels=labels,
        fit_index=index[: options.images],
        holdout_index=index[options.images :],
        test_images=pixels[:VALIDATED],
        test_labels=labels[:VALIDATED],
        mean=half,
        std=half / 2,
        class_names=tuple(map(str, range(CLASSES))),
        source="random",
        checksum="",
    )


def part(options: Options, steps: int) -> PreparedData:
    """Return the data cut to so many batches, for which all networks are timed."""
    found = images(options)
    count = min(steps * BATCH, len(found.fit_index))
    return replace(
        found, fit_index=found.fit_index[:count], holdout_index=found.holdout_index[:VALIDATED]
    )


def on_device(found: PreparedData, device: str) -> TrainingImages:
    """Return a data set on the device, augmented."""
    return TrainingImages.of(found, selection="holdout", device=device, augmentation=AUGMENTATION)


def build(found: PreparedData, device: str) -> nn.Module:
    """Return a network for the data, with the channels last as in the workflow's jobs."""
    _, channels, _, _ = found.train_images.shape
    network = networks.build(ARCHITECTURE, channels=channels, classes=len(found.class_names))
    return network.to(device, memory_format=torch.channels_last)


def runs(network: nn.Module, seeds: Sequence[int]) -> list[Run]:
    """Return replicates with their initial weights."""
    found = []
    for seed in seeds:
        networks.initialize(network.cpu(), generator(seed, "initialization"))
        found.append(Run(seed, copy_state(network)))
    return found


def recipe(epochs: int) -> Recipe:
    return Recipe((Phase(epochs, RATE),), BATCH, MOMENTUM, DECAY, AUGMENTATION)


class Clock:
    """Times what is within, and counts the GPU's memory reserved meanwhile."""

    def __init__(self, device: str) -> None:
        self.on_gpu = device == "cuda"
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def start(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()
        self.started = time.monotonic()

    def stop(self, count: int) -> Rate:
        """Return the rate of so many images since the start."""
        if self.on_gpu:
            torch.cuda.synchronize()
        seconds = time.monotonic() - self.started
        return Rate(count / seconds, self.memory())

    def memory(self) -> float:
        return torch.cuda.max_memory_reserved() / 1e9 if self.on_gpu else float("nan")
