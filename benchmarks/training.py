"""How fast LeNet-5 is trained on this processor: the usual loop, and this project's, side by side.

``python benchmarks/training.py`` trains by the published recipe's batch size, learning rate,
momentum and decay in six ways, with the same cores, epochs and initial weights:

- the usual loop: torchvision's data set with its transforms image by image, a shuffling DataLoader
  with as many workers as cores, ``nn.Conv2d`` and ``F.max_pool2d``, ``torch.optim.SGD`` with as
  many threads as cores;
- the same network and optimizer over tensors in memory;
- the same, a process a core with one thread each, every process a network of its own;
- this project's engine, a process a core with one thread each, as Snakemake runs its jobs: one
  network after another, the same in bfloat16, and ten networks vectorized.

Images a second are training images of all cores together. Every way evaluates the hold-out after
each epoch and keeps the best epoch's weights, which is counted; starting Python, reading the data
and predicting the test set are not. One repeat measures all ways one after the other, and ratios
are within a repeat. The share of the peak is that of multiply-adds x 2 operations x 3 (forward, and
backward to weights and to inputs) in what all cores together reach in products of 1024 x 1024
matrices in single precision, measured in the same repeats. Operations are counted from the shapes
of the layers, padding included, so the share is a little too high for convolutions.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from side_by_side import (
    Workers,
    machine,
    multiply_adds,
    print_table,
    ratios,
    spread,
)
from torch import Tensor, nn

from recall_distortion import data, networks
from recall_distortion.data import PreparedData
from recall_distortion.system import processor
from recall_distortion.system.errors import DataError
from recall_distortion.system.machine import cores
from recall_distortion.training import Engine, Phase, Recipe, Run, TrainingImages, fit_runs
from recall_distortion.training.randomness import generator
from recall_distortion.training.replicates import copy_state

BATCH, RATE, MOMENTUM, DECAY = 128, 0.01, 0.9, 5e-4  # the recipe of the studies of LeNet-5
EVALUATED = 1024  # images at once
SIDE = 1024  # of the matrices whose product gives the peak

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]


class LeNet5(nn.Module):
    """The network of ``networks.lenet`` as it is usually written."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.classifier = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.classifier(x)


@dataclass(frozen=True)
class Options:
    """What every process of the benchmark has to know."""

    dataset: str
    data_root: str
    prepared: str
    cores: int
    epochs: int
    images: int | None

    def load(self) -> PreparedData:
        """Return the data, cut to the first images if so asked."""
        found = data.load(self.prepared)
        if self.images is None:
            return found
        held_out = max(self.images // 9, 1)  # a tenth of all, as without a cut
        return replace(
            found,
            fit_index=found.fit_index[: self.images],
            holdout_index=found.holdout_index[:held_out],
            test_images=found.test_images[: self.images],
            test_labels=found.test_labels[: self.images],
        )


def initial(seed: int) -> dict[str, Tensor]:
    """Return the weights with which a seed's network begins, whatever the way."""
    network = networks.build("lenet5", channels=1, classes=10)
    networks.initialize(network, generator(seed, "initialization"))
    return copy_state(network)


def fit_usual(network: nn.Module, fit: Batches, held_out: Batches, epochs: int) -> None:
    """Train a network as it is usually done, and give it the weights of its best epoch."""
    optimizer = torch.optim.SGD(
        network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, nesterov=True
    )
    lowest, best = float("inf"), network.state_dict()
    for _ in range(epochs):
        network.train()
        for images, labels in fit():
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            loss = sum(
                F.cross_entropy(network(images), labels, reduction="sum").item()
                for images, labels in held_out()
            )
        if loss < lowest:
            lowest, best = loss, copy.deepcopy(network.state_dict())
    network.load_state_dict(best)


def accuracy(network: nn.Module, found: PreparedData) -> float:
    """Return a network's accuracy on the test set."""
    images, labels = normalized(found.test_images, found), torch.from_numpy(found.test_labels)
    network.eval()
    with torch.no_grad():
        parts = zip(images.split(EVALUATED), labels.split(EVALUATED), strict=True)
        correct = sum((network(x).argmax(1) == y).sum().item() for x, y in parts)
    return correct / len(labels)


def normalized(images: object, found: PreparedData) -> Tensor:
    """Return bytes [N, C, H, W] as normalized floats."""
    mean, std = (torch.from_numpy(value)[:, None, None] for value in (found.mean, found.std))
    return torch.from_numpy(images).float().div_(255).sub_(mean).div_(std)


def loader(options: Options, seeds: Sequence[int]) -> Generator[None, None, list[float]]:
    """Train by the usual loop."""
    from torch.utils.data import DataLoader, Subset
    from torchvision import datasets, transforms

    torch.set_num_threads(options.cores)
    (seed,) = seeds
    torch.manual_seed(seed)
    found = options.load()
    network = LeNet5()
    network.load_state_dict(initial(seed))
    kind = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[options.dataset]
    steps = [
        transforms.ToTensor(),
        transforms.Normalize(found.mean.tolist(), found.std.tolist()),
    ]
    images = kind(options.data_root, train=True, transform=transforms.Compose(steps))
    # Forked, as usual on Linux; this process was spawned, and its own children would be.
    kept = {
        "num_workers": options.cores,
        "persistent_workers": True,
        "multiprocessing_context": "fork",
    }
    fit = DataLoader(
        Subset(images, found.fit_index.tolist()), batch_size=BATCH, shuffle=True, **kept
    )
    held_out = DataLoader(
        Subset(images, found.holdout_index.tolist()), batch_size=EVALUATED, **kept
    )
    # torch.optim.SGD imports torch's compiler when it is first used, and the workers start.
    warm = copy.deepcopy(network)
    fit_usual(warm, lambda: [next(iter(fit))], lambda: [next(iter(held_out))], 1)
    yield
    fit_usual(network, lambda: fit, lambda: held_out, options.epochs)
    yield
    return [accuracy(network, found)]


def memory(
    options: Options, seeds: Sequence[int], threads: int
) -> Generator[None, None, list[float]]:
    """Train the usual network by the usual optimizer over tensors in memory."""
    torch.set_num_threads(threads)
    (seed,) = seeds
    torch.manual_seed(seed)
    found = options.load()
    network = LeNet5()
    network.load_state_dict(initial(seed))
    images, labels = normalized(found.train_images, found), torch.from_numpy(found.train_labels)
    fit_index, held_out_index = map(torch.from_numpy, (found.fit_index, found.holdout_index))

    def fit() -> Iterable[tuple[Tensor, Tensor]]:
        order = fit_index[torch.randperm(len(fit_index))]
        return ((images[index], labels[index]) for index in order.split(BATCH))

    def held_out() -> Iterable[tuple[Tensor, Tensor]]:
        return ((images[index], labels[index]) for index in held_out_index.split(EVALUATED))

    warm = copy.deepcopy(network)
    fit_usual(warm, lambda: [next(iter(fit()))], held_out, 1)
    yield
    fit_usual(network, fit, held_out, options.epochs)
    yield
    return [accuracy(network, found)]


def engine(
    options: Options, seeds: Sequence[int], precision: str
) -> Generator[None, None, list[float]]:
    """Train by this project's engine, all seeds at once."""
    processor.prepare(1)
    found = options.load()
    network = networks.build("lenet5", channels=1, classes=10)
    network = network.to(memory_format=torch.channels_last)
    runs = [Run(seed, initial(seed)) for seed in seeds]

    def fit(images: TrainingImages, epochs: int) -> list[dict[str, Tensor]]:
        recipe = Recipe((Phase(epochs, RATE),), BATCH, MOMENTUM, DECAY, ())
        way = Engine(len(runs), precision)
        return [run.state for run in fit_runs(network, images, recipe, runs, engine=way)]

    few = replace(found, fit_index=found.fit_index[:BATCH])
    fit(TrainingImages.of(few, selection="holdout", device="cpu"), 1)
    images = TrainingImages.of(found, selection="holdout", device="cpu")
    yield
    states = fit(images, options.epochs)
    yield
    reached = []
    for state in states:
        network.load_state_dict(state)
        reached.append(accuracy(network, found))
    return reached


def products(precision: str, seconds: float) -> Generator[None, None, int]:
    """Return how many matrix products one thread computes in some seconds."""
    torch.set_num_threads(1)
    a, b = (torch.randn(SIDE, SIDE).to(getattr(torch, precision)) for _ in range(2))
    out = a @ b
    count = 0
    yield
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        torch.mm(a, b, out=out)
        count += 1
    yield
    return count


@dataclass(frozen=True)
class Way:
    """A way to train: in how many processes, and by which job with which arguments."""

    name: str
    group: str  # the processes it runs in
    processes: int
    job: Callable[..., Generator[None, None, list[float]]]
    arguments: tuple[object, ...] = ()
    each: int = 1  # networks of a process

    @property
    def networks(self) -> int:
        """Return how many networks are trained in a repeat."""
        return self.processes * self.each


def ways(count: int) -> list[Way]:
    """Return the ways to train on so many cores; the first is what the others are held against."""
    return [
        Way("usual loop", "plain", 1, loader),
        Way("tensors in memory", "plain", 1, memory, (count,)),
        Way("tensors in memory, a process a core", "plain", count, memory, (1,)),
        Way("this project", "engine", count, engine, ("float32",)),
        Way("this project, bfloat16", "engine", count, engine, ("bfloat16",)),
        Way("this project, 10 vectorized", "engine", count, engine, ("float32",), 10),
    ]


def data_root() -> str:
    """Return where the tests and the workflow look for torchvision's data sets."""
    repository = Path(__file__).resolve().parents[1]
    configured = yaml.safe_load((repository / "config" / "config.yaml").read_text())["data_root"]
    return os.environ.get("RECALL_DISTORTION_DATA") or str(repository / configured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=("fashion_mnist", "mnist"), default="fashion_mnist")
    parser.add_argument("--data-root", default=data_root(), help="torchvision's data root")
    parser.add_argument("--cores", type=int, default=cores())
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, help="train and test on so many images only")
    parser.add_argument("--peak-seconds", type=float, default=1.0, help="of matrix products")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "data.safetensors"
        split = {"path": None, "holdout": 0.1, "test_fraction": None, "seed": 0}
        try:
            data.prepare(
                asked.dataset, prepared, data_root=asked.data_root, download=False, **split
            )
        except DataError as error:
            parser.error(str(error))
        options = Options(
            asked.dataset, asked.data_root, str(prepared), asked.cores, asked.epochs, asked.images
        )
        compare(options, asked.repeats, asked.peak_seconds)


def compare(options: Options, repeats: int, peak_seconds: float) -> None:
    """Measure every way in every repeat, and print the table."""
    count = options.cores
    images = len(options.load().fit_index)
    print(machine())
    print(
        f"LeNet-5 on {options.dataset}: {images} training images, {options.epochs} epochs, batch "
        f"{BATCH}, {count} cores used, {repeats} repeats; median (smallest..largest)"
    )
    rates: dict[str, list[float]] = {way.name: [] for way in ways(count)}
    accuracies: dict[str, list[float]] = {way.name: [] for way in ways(count)}
    peaks: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    with Workers(2 * count) as workers:
        # The engine's processes keep freed memory, so the others have processes of their own.
        first = {"plain": 0, "engine": count}
        for repeat in range(repeats):
            for precision, found in peaks.items():
                timed = workers.run(products, [(precision, peak_seconds)] * count)
                found.append(sum(timed.values) * 2 * SIDE**3 / timed.seconds)
            for way in ways(count):
                seeds = range(repeat * way.networks, (repeat + 1) * way.networks)
                parts = (seeds[k :: way.processes] for k in range(way.processes))
                arguments = [(options, part, *way.arguments) for part in parts]
                timed = workers.run(way.job, arguments, first[way.group])
                rates[way.name].append(way.networks * images * options.epochs / timed.seconds)
                accuracies[way.name] += chain.from_iterable(timed.values)
    operations = 2 * 3 * multiply_adds(LeNet5(), (1, 28, 28))
    basis = rates[ways(count)[0].name]
    rows = []
    for way in ways(count):
        own_rates, own_accuracies = rates[way.name], accuracies[way.name]
        shares = ratios([rate * operations for rate in own_rates], peaks["float32"])
        deviation = statistics.stdev(own_accuracies) if len(own_accuracies) > 1 else float("nan")
        rows.append(
            (
                way.name,
                spread(own_rates, "{:.0f}"),
                spread(ratios(own_rates, basis)),
                f"{100 * statistics.median(shares):.1f} %",
                f"{statistics.mean(own_accuracies):.4f} ± {deviation:.4f} "
                f"(n = {len(own_accuracies)})",
            )
        )
    print_table(
        (
            "way",
            "images a second",
            "times the usual loop",
            "of the peak",
            "accuracy, mean ± SD",
        ),
        rows,
    )
    reached = ", ".join(
        f"{precision} {spread([value / 1e9 for value in found], '{:.0f}')}"
        for precision, found in peaks.items()
    )
    print(f"peak, products of {SIDE} x {SIDE} matrices on all cores, GFLOP/s: {reached}")
    print(f"operations of a training step: {operations / 1e6:.2f} million an image")


if __name__ == "__main__":
    main()
