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
from inference import FITTERS, RATIOS, combine, figures, fit, page, summarize, tests
from side_by_side import machine, print_table

from recall_distortion.study.naming import NETWORKS_PER_FIT
from recall_distortion.tables.predictions import Predictions, Trained
from recall_distortion.tables.schema import COLUMNS
from recall_distortion.vocabulary import (
    COMPRESSED,
    CONTROL,
    DENSE,
    RETRAINED,
    Panel,
    format_ratio,
)

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


def write_studys_predictions(folder: Path, size: Size, images: int) -> list[Panel]:
    """Write a study's files of predictions and its sparsities; return its panels.

    Classes differ in difficulty, alike for all networks; pruning makes the hard ones harder.
    """
    from recall_distortion.tables.predictions import write_predictions

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(size.classes), images)
    seeds = list(range(size.seeds))
    panels, sparsity = [], []
    for panel in range(size.panels):
        name = Panel("simulated", f"network{panel}", "simulated")
        difficulty = rng.uniform(0.05, 0.3, size.classes)
        parts = [_part(name, *cell, seeds, labels, difficulty, rng) for cell in _cells()]
        write_predictions(folder / f"{panel}.safetensors", parts)
        for method, ratio, state in _cells():
            if state == COMPRESSED:
                kept = round(PRUNABLE / float(ratio))
                row = (ratio, kept / PRUNABLE, kept, PRUNABLE, PRUNABLE)
                sparsity += [(*name, method, ratio, seed, *row) for seed in seeds]
        panels.append(name)
    columns = COLUMNS["sparsity"]
    pd.DataFrame(sparsity, columns=columns).to_csv(folder / "simulated.csv", index=False)
    return panels


def _cells() -> list[tuple[str, str, str]]:
    """Return method, ratio and state of every cell of a panel."""
    pruned = [
        (method, format_ratio(ratio), state)
        for method in METHODS
        for ratio in RATIOS
        for state in (COMPRESSED, RETRAINED)
    ]
    return [(DENSE, "1", DENSE), (CONTROL, "1", RETRAINED), *pruned]


def _part(
    name: Panel,
    method: str,
    ratio: str,
    state: str,
    seeds: list[int],
    labels: np.ndarray,
    difficulty: np.ndarray,
    rng: np.random.Generator,
) -> Predictions:
    harder = 1 + 0.01 * float(ratio) * (3 if state == COMPRESSED else 1)
    own = rng.normal(0, 0.02, (len(seeds), len(difficulty)))
    rate = np.clip(difficulty * harder + own, 0.01, 0.9)[:, labels]
    wrong = rng.random(rate.shape) < rate
    guessed = (labels + rng.integers(1, len(difficulty), rate.shape)) % len(difficulty)
    names = [f"class {index}" for index in range(len(difficulty))]
    predicted = np.where(wrong, guessed, labels)
    made = {Trained(): len(seeds)}
    return Predictions(name, method, ratio, state, seeds, names, labels, predicted, made)


def measuring(folder: Path) -> None:
    from recall_distortion.inference.jobs.measure import write_measures

    files = sorted(folder.glob("*.safetensors"), key=lambda path: int(path.stem))
    tables = (folder / f"{name}.csv" for name in ("recall", "networks"))
    write_measures(files, [folder / "simulated.csv"], *tables)


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
        panels = apart(write_studys_predictions, folder, size, images)
        found = {"measure": apart(measured, measuring, folder)}
        found["estimate"] = apart(measured, tests, folder)
        for fitter in FITTERS:
            jobs = range(0, len(panels), NETWORKS_PER_FIT)
            costs = [apart(measured, fit, folder, panels, start, fitter) for start in jobs]
            # All jobs' seconds, and the memory of the largest.
            found[f"fit {fitter}"] = (
                sum(seconds for seconds, _ in costs),
                max(memory for _, memory in costs),
            )
        last = {"compare_fits": combine, "summarize": summarize, "figures": figures, "report": page}
        for label, job in last.items():
            found[label] = apart(measured, job, folder)
        rows = [(step, f"{cost[0]:.2f}", f"{cost[1]:.0f}") for step, cost in found.items()]
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
