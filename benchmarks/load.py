"""How a large study fares in what follows training: measuring, inference, figures and report.

``python benchmarks/load.py`` simulates the predictions of three studies: 2,500 networks x 10
classes, half as many, and 300 networks x 100 classes. Each goes through what the workflow runs from
measuring on, one job at a time and each in a process of its own. It prints the seconds and the peak
memory of each, imports included, the page's size, and how both grow from half the first study to
the whole: time ~ networks ** exponent, where 2 would be quadratic. Nothing is kept, unless
``--keep FOLDER`` names where to look at the pages of the simulated studies.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from inference import ENGINES, RATIOS, combine, figures, fit, page, tests
from side_by_side import machine, print_table

from recall_distortion.columns import SPARSITY_COLUMNS
from recall_distortion.study.models import NETWORKS_PER_FIT

METHODS = ("magnitude", "undecayed")
PRUNABLE = 50_000  # weights of each simulated network
CELLS = 2 + len(METHODS) * len(RATIOS)  # of a panel, the dense networks and the control among them


@dataclass(frozen=True)
class Size:
    """How large a study is: its networks, the dense ones among them, over all panels."""

    networks: int
    classes: int
    seeds: int

    @property
    def panels(self) -> int:
        """How many (dataset, architecture), each with all cells and seeds."""
        return max(round(self.networks / (CELLS * self.seeds)), 1)

    def __str__(self) -> str:
        made = self.panels * CELLS * self.seeds
        return f"{made} networks x {self.classes} classes ({self.panels} panels)"


def write_predictions(folder: Path, size: Size, images: int) -> list[tuple[str, str]]:
    """Write a study's files of predictions and its sparsities; return its panels.

    Classes differ in difficulty, alike for all networks; pruning makes the hard ones harder.
    """
    import torch

    from recall_distortion.replicates import save_tensors

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(size.classes), images)
    seeds = list(range(size.seeds))
    panels, sparsity = [], []
    pruned = [(method, f"{ratio:g}") for method in METHODS for ratio in RATIOS]
    for panel in range(size.panels):
        name = ("simulated", f"network{panel}")
        difficulty = rng.uniform(0.05, 0.3, size.classes)
        tensors = {"labels": torch.from_numpy(labels)}
        keys = {}
        for method, ratio in [("dense", "1"), ("control", "1"), *pruned]:
            states = ["dense"] if method == "dense" else ["finetuned"]
            if method in METHODS:
                states = ["pruned", "finetuned"]
                kept = round(PRUNABLE / float(ratio))
                row = (ratio, kept / PRUNABLE, kept, PRUNABLE, PRUNABLE)
                sparsity += [(*name, method, ratio, seed, *row) for seed in seeds]
            for state in states:
                harder = 1 + 0.01 * float(ratio) * (3 if state == "pruned" else 1)
                own = rng.normal(0, 0.02, (size.seeds, size.classes))
                rate = np.clip(difficulty * harder + own, 0.01, 0.9)[:, labels]
                wrong = rng.random(rate.shape) < rate
                guessed = (labels + rng.integers(1, size.classes, rate.shape)) % size.classes
                predicted = np.where(wrong, guessed, labels).astype(np.int16)
                key = f"{method}/{ratio}/{state}"
                tensors[f"{key}/predicted"] = torch.from_numpy(predicted)
                keys[key] = seeds
        metadata = {
            "dataset": name[0],
            "architecture": name[1],
            "class_names": [f"class {index}" for index in range(size.classes)],
            "seeds": keys,
            "failures": [],
        }
        save_tensors(folder / f"{panel}.safetensors", tensors, metadata)
        panels.append(name)
    pd.DataFrame(sparsity, columns=SPARSITY_COLUMNS).to_csv(folder / "simulated.csv", index=False)
    return panels


def measuring(folder: Path) -> None:
    from recall_distortion.measurement import measure

    names = ("recall", "alpha", "crossfit", "intercepts", "sparsity", "engines", "failures")
    files = sorted(folder.glob("*.safetensors"), key=lambda path: int(path.stem))
    measure(files, [folder / "simulated.csv"], {name: folder / f"{name}.csv" for name in names})


def measured(job: Callable[..., None], *arguments: Any) -> tuple[float, float]:
    """Run a job; return its seconds and the peak memory of its process in MB."""
    start = time.perf_counter()
    job(*arguments)
    seconds = time.perf_counter() - start
    # Not getrusage's, which a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    return seconds, int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def apart(job: Callable[..., Any], *arguments: Any) -> Any:
    """Run a job in a process of its own and return what it returns."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(job, *arguments).result()


def study(size: Size, images: int, keep: Path | None) -> dict[str, tuple[float, float]]:
    """Take a simulated study through every step; return seconds and memory of each, and print.

    ``keep`` is the folder that gets its page.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        panels = apart(write_predictions, folder, size, images)
        found = {"measure": apart(measured, measuring, folder)}
        found["infer_tests"] = apart(measured, tests, folder)
        for engine in ENGINES:
            jobs = range(0, len(panels), NETWORKS_PER_FIT)
            costs = [apart(measured, fit, folder, panels, start, engine) for start in jobs]
            # All jobs' seconds, and the memory of the largest.
            found[f"infer_fit {engine}"] = (
                sum(seconds for seconds, _ in costs),
                max(memory for _, memory in costs),
            )
        for label, job in (("infer", combine), ("figures", figures), ("report", page)):
            found[label] = apart(measured, job, folder)
        rows = [(step, f"{cost[0]:.1f}", f"{cost[1]:.0f}") for step, cost in found.items()]
        print(f"\n{size}, {images} test images a class")
        print_table(("step", "seconds", "peak MB"), rows)
        page_size = (folder / "report.html").stat().st_size / 1e6
        recall_size = (folder / "recall.csv").stat().st_size / 1e6
        print(f"report.html: {page_size:.1f} MB; recall.csv: {recall_size:.1f} MB", flush=True)
        if keep:
            keep.mkdir(parents=True, exist_ok=True)
            target = keep / f"{size.networks}-networks-{size.classes}-classes.html"
            shutil.copyfile(folder / "report.html", target)
    return found


def growth(small: tuple[float, float], large: tuple[float, float], factor: float) -> list[str]:
    """Return the exponents of the growth of seconds and memory by a factor of size."""
    pairs = zip(small, large, strict=True)
    return [f"{math.log(after / before) / math.log(factor):.2f}" for before, after in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--many", type=int, default=2500, help="networks of the first study")
    parser.add_argument("--few", type=int, default=300, help="networks of that with many classes")
    parser.add_argument("--classes", type=int, nargs=2, default=(10, 100))
    parser.add_argument("--seeds", type=int, nargs=2, default=(26, 5), help="of each cell")
    parser.add_argument("--images", type=int, default=100, help="test images a class")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the pages are to go")
    options = parser.parse_args()
    print(machine())
    sizes = [Size(options.many // part, options.classes[0], options.seeds[0]) for part in (2, 1)]
    half, whole = (study(size, options.images, options.keep) for size in sizes)
    factor = sizes[1].panels / sizes[0].panels
    if factor > 1:
        print(f"\ngrowth with networks, by {factor:.3g}: exponents")
        rows = [(step, *growth(half[step], whole[step], factor)) for step in whole]
        print_table(("step", "of seconds", "of memory"), rows)
    study(Size(options.few, options.classes[1], options.seeds[1]), options.images, options.keep)


if __name__ == "__main__":
    main()
