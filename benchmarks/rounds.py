"""How fast networks are pruned and retrained in rounds, beside training alone.

``python benchmarks/rounds.py`` prunes LeNet-5 by magnitude in 17 rounds down to a fiftieth of its
weights, on one core and random images, and trains the same networks for as many epochs without
rounds. Every repeat takes both in turn, after one that is not timed. Reported are training images a
second and the ratio within a repeat: median, least and largest. Drawing images is not counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from side_by_side import machine, print_table, ratios, spread
from torch import nn

from recall_distortion import networks
from recall_distortion.compression.events import Watch
from recall_distortion.compression.methods import CompressionPlan, Method
from recall_distortion.compression.retraining import Retraining
from recall_distortion.compression.rounds import start, walk_all
from recall_distortion.system import processor
from recall_distortion.training import (
    DeviceImages,
    Engine,
    Phase,
    Recipe,
    Run,
    TrainingImages,
    Unfinished,
    choose,
    fit_runs,
)
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import Block, copy_state, stack

ROUNDS = "in rounds"
ALONE = "without rounds"
RATIOS = ("2", "4", "10", "20", "50")
METHOD = Method("magnitude", "global", "iterative", 128, 0.0)
CLASSES = 10
IMAGE = (28, 28)


def images(count: int) -> TrainingImages:
    """Return random images and labels, a tenth as many of them to choose the best epoch on."""
    drawn = torch.Generator().manual_seed(0)

    def some(number: int) -> DeviceImages:
        pixels = torch.randint(0, 256, (number, 1, 28, 28), dtype=torch.uint8, generator=drawn)
        labels = torch.randint(0, CLASSES, (number,), generator=drawn)
        half = torch.tensor([0.5]).numpy()
        return DeviceImages(pixels.numpy(), labels.numpy(), half, half, device="cpu")

    return TrainingImages(some(count), some(max(count // 10, 1)))


def dense(network: nn.Module, replicates: int) -> Block:
    """Return a block of so many networks of random weights."""
    states = []
    for seed in range(replicates):
        networks.initialize(network, generator(seed, "initialization"))
        states.append(copy_state(network))
    return Block("lenet5", 1, CLASSES, list(range(replicates)), stack(states))


def main() -> None:
    """Measure both ways and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--replicates", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    print(machine())
    processor.prepare(1)
    network = networks.build("lenet5", channels=1, classes=CLASSES)
    network = network.to(memory_format=torch.channels_last)
    recipe = Recipe((Phase(1, 0.01),), 128, 0.9, 5e-4, ())
    plan = CompressionPlan({"rounds": METHOD}, "prunable", recipe, "holdout")
    block, given = dense(network, asked.replicates), images(asked.images)
    engine = choose("lenet5", 28, "cpu", **vars(plan.engine))
    again = Retraining("finetune", recipe)
    watch = Watch(given.validation, CLASSES, Engine())
    chain = start(network, block, plan, {"rounds": RATIOS}, IMAGE, again)[0].chain
    long = replace(recipe, phases=(Phase(len(chain), 0.01),))  # as many epochs
    seconds: dict[str, list[float]] = {ALONE: [], ROUNDS: []}
    for repeat in range(asked.repeats + 1):
        for way, taken in seconds.items():
            with tempfile.TemporaryDirectory() as folder:
                kept = Unfinished(Path(folder) / "unfinished", {})
                began = time.perf_counter()
                if way == ROUNDS:
                    walks = start(network, block, plan, {"rounds": RATIOS}, IMAGE, again)
                    walk_all(network, given, plan, walks, again, engine, kept, watch)
                else:
                    runs = [Run(seed, block.state(seed)) for seed in block.seeds]
                    for _ in fit_runs(
                        network, given, long, runs, engine=engine, stage="training", unfinished=kept
                    ):
                        pass
                if repeat:
                    taken.append(time.perf_counter() - began)
    trained = asked.images * asked.replicates * len(chain)
    print(f"LeNet-5, {len(chain)} rounds of an epoch, {asked.images:,} images, one core")
    print_table(
        ("way", "images a second", "times without rounds"),
        [
            (
                way,
                spread([trained / each for each in taken], "{:.0f}"),
                spread(ratios(seconds[ALONE], taken)),
            )
            for way, taken in seconds.items()
        ],
    )


if __name__ == "__main__":
    main()
