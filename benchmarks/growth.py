"""How time and memory grow with replicates, images, the network's size, and networks in a study.

``python benchmarks/growth.py`` trains, prunes, fine-tunes and evaluates on simulated images, one
thread, one setting a process: blocks of 1 to 30 replicates, training sets of 1 to 16 times the
size, networks from the MLP to ResNet-20; and measures recalls and slopes of simulated predictions
of 240 and 2,500 networks. It prints processor seconds, without imports, and the process's peak
memory, with them, and for each series the exponent of its growth, time ~ size ** exponent: over the
whole series by least squares in logarithms, and from the second largest size to the largest. Up to
1 growth is at most linear; ``AT_MOST`` leaves room for a noisy machine.

The size of a network is its multiply-adds an image, because a convolution uses a weight many times;
its parameters stand beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import machine, multiply_adds, print_table

AT_MOST = 1.1  # an exponent up to here is called linear

RECIPE = {
    "phases": [{"epochs": 1, "learning_rate": 0.01}],
    "batch_size": 128,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "augmentation": [],
}
TRAINING = {"recipe": RECIPE, "selection": "holdout"}
METHODS = {
    "control": None,
    "magnitude": {
        "criterion": "magnitude",
        "scope": "global",
        "schedule": "one_shot",
        "gradient_examples": 128,
        "epsilon": 5e-4,
    },
}
COMPRESSION = {"methods": METHODS, "count": "total", **TRAINING}
RATIOS = ("2", "4", "10", "20", "50")
CLASSES = 10
SEEDS = 10  # of each cell of the simulated study
CELLS = 25  # of each of its networks, about
MEASURED_METHODS = ("magnitude", "gradient", "undecayed", "random", "layerwise_magnitude")


@dataclass(frozen=True)
class Cost:
    """What a setting took: processor seconds, and the peak memory of its process in MB."""

    seconds: float
    memory: float


def timed(work: Callable[[], None]) -> Cost:
    """Return what a function takes in this process."""
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):  # the jobs' reports of their progress
        work()
    seconds = time.process_time() - start
    return Cost(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def write_images(folder: Path, count: int, side: int) -> Path:
    """Write a prepared data set of noisy prototypes: so many images to fit, a tenth held out."""
    from recall_distortion import data

    rng = np.random.default_rng(0)
    prototypes = rng.uniform(40, 215, (CLASSES, side, side))

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % CLASSES
        noise = rng.normal(0, 60, (count, side, side))
        return (prototypes[labels] + noise).clip(0, 255).astype(np.uint8), labels

    train_images, train_labels = draw(round(count / 0.9))
    test_images, test_labels = draw(max(count // 4, 2 * CLASSES))
    arrays, prepared = folder / "images.npz", folder / "data.safetensors"
    parts = {"train_images": train_images, "train_labels": train_labels}
    np.savez(arrays, **parts, test_images=test_images, test_labels=test_labels)
    data.prepare(
        "arrays",
        prepared,
        path=str(arrays),
        data_root="",
        holdout=0.1,
        test_fraction=None,
        seed=0,
    )
    return prepared


def study(architecture: str, replicates: int, images: int, side: int) -> Cost:
    """Train a block, prune it at one ratio beside the control, fine-tune and evaluate it."""
    from recall_distortion.compression.blocks import Paths, compress_block
    from recall_distortion.compression.methods import CompressionPlan
    from recall_distortion.evaluation.predictions import evaluate_block
    from recall_distortion.system import processor
    from recall_distortion.training import TrainingPlan, read, train_block
    from recall_distortion.vocabulary import Panel

    processor.prepare(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared = write_images(folder, images, side)
        dense, pruned = folder / "dense", folder / "pruned"
        panel = Panel("simulated", architecture, "simulated")

        def work() -> None:
            train_block(
                prepared,
                dense,
                folder / "history",
                read(TrainingPlan, TRAINING, "training"),
                architecture=architecture,
                seeds=range(replicates),
            )
            compress_block(
                Paths(prepared, dense, pruned, folder / "sparsity", folder / "history"),
                read(CompressionPlan, COMPRESSION, "compression"),
                panel=panel,
                ratios={"control": ["1"], "magnitude": ["2"]},
            )
            for compressed in ([], [pruned]):
                evaluate_block(prepared, dense, compressed, folder / "predictions", panel=panel)

        return timed(work)


def write_predictions(folder: Path, networks: int, images: int) -> list[Path]:
    """Write predictions of a study of so many networks, a file for each of its panels."""
    from recall_distortion.tables import predictions
    from recall_distortion.vocabulary import CONTROL, DENSE, RETRAINED, Panel

    rng = np.random.default_rng(0)
    labels = np.arange(images) % CLASSES
    cells = max(round(networks / SEEDS), 2)
    panels = math.ceil(cells / CELLS)
    paths = []
    pruned = [(method, ratio) for method in MEASURED_METHODS for ratio in RATIOS]
    for panel in range(panels):
        count = cells * (panel + 1) // panels - cells * panel // panels
        parts = []
        for method, ratio in [(DENSE, "1"), (CONTROL, "1"), *pruned][:count]:
            wrong = rng.random((SEEDS, images)) < 0.05 * (1 + labels % 3)
            guessed = rng.integers(0, CLASSES, (SEEDS, images))
            part = predictions.Predictions(
                Panel("simulated", f"network{panel}", "simulated"),
                method,
                ratio,
                DENSE if method == DENSE else RETRAINED,
                list(range(SEEDS)),
                [f"class {index}" for index in range(CLASSES)],
                labels,
                np.where(wrong, guessed, labels),
                {predictions.Trained(): SEEDS},
                rng.exponential(1, (SEEDS, images)).astype(np.float16),
                rng.uniform(1 / CLASSES, 1, (SEEDS, images)).astype(np.float16),
            )
            parts.append(part)
        path = folder / f"{panel}.safetensors"
        predictions.write_predictions(path, parts)
        paths.append(path)
    return paths


def measuring(paths: Sequence[Path]) -> Cost:
    """Measure recalls and slopes of files of predictions."""
    from recall_distortion.inference.jobs.measure import write_measures

    with tempfile.TemporaryDirectory() as name:
        tables = [Path(name) / f"{table}.csv" for table in ("recall", "networks")]
        return timed(lambda: write_measures(paths, [], *tables))


def sizes(architectures: Sequence[str], side: int) -> list[tuple[int, int]]:
    """Return each network's multiply-adds for one image, and its parameters."""
    from recall_distortion import networks

    built = [networks.build(name, channels=1, classes=CLASSES) for name in architectures]
    shape = (1, side, side)
    return [(multiply_adds(network, shape), networks.counts(network).total) for network in built]


def apart(start: str, job: Callable[..., Any], *arguments: Any) -> Any:
    """Run a job in a new process, spawned or forked from one that has torch."""
    context = multiprocessing.get_context(start)
    if start == "forkserver":
        context.set_forkserver_preload(["recall_distortion.evaluation.predictions"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(job, *arguments).result()


def exponents(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return how values grow with sizes: over the whole series, and between the two largest."""
    x, y = np.log(sizes), np.log(values)
    whole = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return float(whole), float((y[-1] - y[-2]) / (x[-1] - x[-2]))


def show(title: str, labels: Sequence[str], sizes: Sequence[float], costs: Sequence[Cost]) -> None:
    """Print a series and what it says."""
    print(f"\n{title}")
    rows = [
        (label, f"{cost.seconds:.2f}", f"{cost.memory:.0f}")
        for label, cost in zip(labels, costs, strict=True)
    ]
    print_table(("setting", "processor s", "peak MB"), rows)
    if len(sizes) < 2:
        return
    for name in ("seconds", "memory"):
        whole, last = exponents(sizes, [getattr(cost, name) for cost in costs])
        verdict = "at most linear" if max(whole, last) <= AT_MOST else "MORE THAN LINEAR"
        text = f"growth of {name}: exponent {whole:.2f}, at the largest {last:.2f}: {verdict}"
        print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    whole = {"type": int, "nargs": "+"}
    parser.add_argument("--replicates", **whole, default=[1, 5, 30])
    parser.add_argument("--scales", **whole, default=[1, 4, 16], help="of the training images")
    parser.add_argument("--images", type=int, default=1024, help="training images at scale 1")
    architectures = ["mlp", "cnn", "lenet5", "resnet20"]
    parser.add_argument("--architectures", nargs="+", default=architectures)
    parser.add_argument("--networks", **whole, default=[240, 2500], help="in a study to measure")
    parser.add_argument("--test-images", type=int, default=10_000, help="of that study")
    options = parser.parse_args()
    # This process imports no torch: a new process counts its parent's memory as its own at first.
    print(apart("forkserver", machine))
    print(
        "train, prune, fine-tune (the control and one method) and evaluate, one epoch each",
        flush=True,
    )
    for architecture, side in (("cnn", 8), ("lenet5", 28)):
        costs = [
            apart("forkserver", study, architecture, count, options.images, side)
            for count in options.replicates
        ]
        labels = [f"{count} replicates" for count in options.replicates]
        title = f"replicates of {architecture}, {options.images} training images, {side} x {side}"
        show(title, labels, options.replicates, costs)
    images = [scale * options.images for scale in options.scales]
    costs = [apart("forkserver", study, "lenet5", 2, count, 28) for count in images]
    labels = [f"{count} images" for count in images]
    show("training images, 2 replicates of lenet5, 28 x 28", labels, images, costs)
    found = apart("forkserver", sizes, options.architectures, 28)
    costs = [
        apart("forkserver", study, name, 1, options.images, 28) for name in options.architectures
    ]
    labels = [
        f"{name}: {adds} multiply-adds, {parameters} parameters"
        for name, (adds, parameters) in zip(options.architectures, found, strict=True)
    ]
    title = f"networks, 1 replicate, {options.images} training images, 28 x 28"
    show(title, labels, [adds for adds, _ in found], costs)
    costs = []
    for count in options.networks:
        with tempfile.TemporaryDirectory() as name:
            simulated = Path(name), count, options.test_images
            paths = apart("forkserver", write_predictions, *simulated)
            # As in the workflow, measuring does without torch.
            costs.append(apart("spawn", measuring, paths))
    labels = [f"{count} networks" for count in options.networks]
    title = f"measuring a study, {SEEDS} seeds a cell, {options.test_images} test images"
    show(title, labels, options.networks, costs)


if __name__ == "__main__":
    main()
