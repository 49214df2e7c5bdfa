"""How long a training step takes, by network, networks at once, precision: what `auto` rests on.

``python benchmarks/steps.py`` times steps of this project's engine on one core, and with
``--device cuda`` on a GPU: gathering and augmenting a batch, forward, losses, backward, the
optimizer. Images are random, and as large as the studies' (``--only`` takes some of the networks).
Each setting is warmed up, then timed for ``--seconds`` and at least five steps; every repeat takes
all settings in turn. Reported are microseconds a network's step, and images a second in all.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from side_by_side import machine, print_table

from recall_distortion import networks
from recall_distortion.system import processor
from recall_distortion.training import DeviceImages, Engine
from recall_distortion.training.descent import descent
from recall_distortion.training.dropout import Dropout
from recall_distortion.training.objective import Objective, step
from recall_distortion.training.randomness import generator
from recall_distortion.training.recipe import Recipe
from recall_distortion.training.replicates import copy_state

CLASSES, IMAGES = 10, 4096


@dataclass(frozen=True)
class Case:
    """A network, its images' channels and side, the batch, and how images are augmented."""

    network: str
    channels: int
    side: int
    batch: int
    augmentation: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.network}, {self.side} × {self.side}, batch {self.batch}"


CASES = [
    Case("mlp", 1, 8, 64),
    Case("mlp", 1, 28, 64),
    Case("cnn", 1, 8, 64),
    Case("cnn", 1, 28, 128),
    Case("thin_mlp_20x8", 1, 8, 64),
    Case("thin_cnn_10x8", 1, 8, 64),
    Case("lenet300", 1, 28, 64),
    Case("lenet5", 1, 28, 128),
    Case("resnet20", 3, 32, 128, ("flip", "crop")),
    Case("resnet56", 3, 32, 128, ("flip", "crop")),
]


class Running:
    """Networks of a case in training, at once."""

    def __init__(
        self,
        case: Case,
        at_once: int,
        precision: str,
        device: str,
        *,
        fast: bool = True,
        **recipe: Any,
    ) -> None:
        self.case, self.at_once, self.device = case, at_once, device
        rng = np.random.default_rng(0)
        shape = (IMAGES, case.channels, case.side, case.side)
        half = np.full(case.channels, 0.5, np.float32)
        self.images = DeviceImages(
            rng.integers(0, 256, shape, dtype=np.uint8),
            rng.integers(0, CLASSES, IMAGES),
            half,
            half / 2,
            device=device,
            augmentation=case.augmentation,
        )
        network = networks.build(case.network, channels=case.channels, classes=CLASSES)
        network = network.to(device, memory_format=torch.channels_last)
        states = []
        for seed in range(at_once):
            networks.initialize(network, generator(seed, "initialization"))
            states.append(copy_state(network))
        self.stack = Engine(at_once, precision, fast=fast).open(network, states)
        plan = Recipe((), case.batch, 0.9, 5e-4, (), **recipe)
        self.descent = descent(self.stack.parameters, plan)
        self.descent.rate = 0.01
        self.objective = Objective.of(plan)
        self.dropped: Iterator[Any] = itertools.repeat(None)
        if plan.dropout:
            draws = [generator(seed, "dropout") for seed in range(at_once)]
            sizes = [case.batch] * (IMAGES // case.batch)
            dropout = Dropout(plan.dropout, network, self.images.labels.device)
            # As in training, masks of many batches are drawn at once, an epoch after another.
            self.dropped = itertools.chain.from_iterable(
                dropout.draw(draws, sizes) for _ in itertools.count()
            )
        draws = [generator(seed, "order") for seed in range(at_once)]
        orders = [torch.randperm(IMAGES, generator=one) for one in draws]
        self.orders = torch.stack(orders).to(device)
        self.choices = self.images.draw(draws)

    def step(self, number: int) -> None:
        """Make a step on one of the epoch's batches."""
        start = number * self.case.batch % (IMAGES - self.case.batch)
        part = slice(start, start + self.case.batch)
        index = self.orders[:, part]
        chosen = [choice[:, part].flatten(0, 1) for choice in self.choices]
        flat = index.flatten()
        labels = self.images.labels.index_select(0, flat).view_as(index)
        batch = self.images.batch(flat, chosen)
        step(self.stack, self.descent, batch, labels, {}, self.objective, next(self.dropped))

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, at_least: float) -> float:
        """Return the seconds of a step, after a warm-up."""
        for number in range(3):
            self.step(number)
        self.wait()
        start, count = time.perf_counter(), 0
        while count < 5 or time.perf_counter() - start < at_least:
            for _ in range(5):  # a GPU is not waited for after each
                self.step(count)
                count += 1
            self.wait()
        return (time.perf_counter() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4, 10, 30, 60])
    parser.add_argument("--precision", nargs="+", default=["float32"])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="NETWORK", help="leave out the others")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, "there is no GPU that torch can use here\n")
    processor.prepare(1, asked.device)
    cases = [case for case in CASES if not asked.only or case.network in asked.only]
    found: dict[tuple[Case, str, int], list[float]] = {}
    for _ in range(asked.repeats):
        for case in cases:
            for precision in asked.precision:
                for at_once in asked.at_once:
                    running = Running(case, at_once, precision, asked.device)
                    seconds = running.seconds(asked.seconds)
                    found.setdefault((case, precision, at_once), []).append(seconds)
                    del running
    print(machine())
    print(
        f"microseconds of a network's step (images a second in all) by networks at once; median of "
        f"{asked.repeats} repeats"
    )
    rows = []
    for case in cases:
        for precision in asked.precision:
            row = [f"{case}, {precision}"]
            for at_once in asked.at_once:
                seconds = statistics.median(found[case, precision, at_once])
                rate = at_once * case.batch / seconds
                row.append(f"{1e6 * seconds / at_once:.0f} ({rate:,.0f})")
            rows.append(row)
    print_table(("network, images, batch", *map(str, asked.at_once)), rows)


if __name__ == "__main__":
    main()
