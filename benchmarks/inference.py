"""How long inference and the report take on the tables of a simulated study of some size.

``python benchmarks/inference.py --panels 8 --seeds 30 --classes 10`` simulates a study of that many
networks (each with a control and two methods at five ratios: 11 x seeds models beside the dense
ones), then runs what the workflow runs after measuring, every job in a process of its own and two
at a time, and prints the seconds and the peak memory of each. Nothing is kept.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from recall_distortion.columns import SPARSITY_COLUMNS
from recall_distortion.study.models import NETWORKS_PER_FIT

ARCHITECTURES = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
PARAMETERS = (269_722, 464_154, 658_586, 853_018, 1_727_962)
RATIOS = (2.0, 4.0, 10.0, 20.0, 50.0)
ENGINES = ("pymer4", "statsmodels")
TESTS = (
    "intervals",
    "tests",
    "pooled",
    "effects",
    "equal_sparsity",
    "seeds_needed",
    "tradeoff",
    "influence",
    "published",
)


def simulated(folder: Path, panels: int, seeds: int, classes: int, images: int) -> list[tuple]:
    """Write the tables of measuring; return the panels."""
    from recall_distortion.inference.simulate import Cell, Design, study

    found, tables = [], {"recall": [], "alpha": [], "crossfit": []}
    sparsity = []
    for panel in range(panels):
        data, place = divmod(panel, len(ARCHITECTURES))
        names = f"cifar{10 * 10**data}", ARCHITECTURES[place]
        cells = [Cell("control", 1.0, 0.9, 0.05, agreement=0.5)]
        for method in ("magnitude", "undecayed"):
            for step, ratio in enumerate(RATIOS):
                spread = 0.05 * 2**step
                cells.append(Cell(method, ratio, 0.92 + 0.03 * step**2, spread, agreement=0.4))
                sparsity += [
                    (
                        *names,
                        method,
                        ratio,
                        seed,
                        ratio,
                        1 / ratio,
                        100,
                        100 * ratio,
                        PARAMETERS[place],
                    )
                    for seed in range(seeds)
                ]
        design = Design(
            tuple(cells),
            seeds=seeds,
            classes=classes,
            images=images,
            accuracy=0.85 - 0.01 * panel,
            dataset=names[0],
            architecture=names[1],
        )
        for name, table in study(design, panel).items():
            tables[name].append(table)
        found.append(names)
    for name, parts in tables.items():
        pd.concat(parts).to_csv(folder / f"{name}.csv", index=False)
    pd.DataFrame(sparsity, columns=SPARSITY_COLUMNS).to_csv(folder / "sparsity.csv", index=False)
    return found


def tests(folder: Path) -> None:
    from recall_distortion.inference.tables import write_tests

    inputs = [folder / f"{name}.csv" for name in ("recall", "alpha", "crossfit", "sparsity")]
    write_tests(*inputs, {name: folder / f"{name}.csv" for name in TESTS}, 0.99)


def fit(folder: Path, panels: list[tuple], start: int, engine: str) -> None:
    from recall_distortion.inference.tables import write_fits

    part = panels[start : start + NETWORKS_PER_FIT]
    inputs = [folder / f"{name}.csv" for name in ("recall", "alpha", "sparsity")]
    stem = folder / f"{start}-{engine}"
    write_fits(
        *inputs,
        part,
        engine,
        f"{stem}.coefficients",
        f"{stem}.fit",
        across=start + len(part) == len(panels),
    )


def combine(folder: Path) -> None:
    from recall_distortion.inference.tables import write_mixed_models

    write_mixed_models(
        sorted(folder.glob("*.coefficients")),
        sorted(folder.glob("*.fit")),
        folder / "mixed_models.csv",
        folder / "mixed_model_fits.csv",
    )


def page(folder: Path) -> None:
    from recall_distortion.report import build_report

    build_report(
        folder, folder / "report.html", study={"name": "simulated"}, figures=folder / "figures"
    )


def figures(folder: Path) -> None:
    from recall_distortion.report import write_figures

    write_figures(folder, folder / "figures")


def measured(job: Callable[..., None], *arguments: Any) -> tuple[str, float, float]:
    """Run a job; return its name, its seconds, imports included, and its peak memory in GB."""
    start = time.perf_counter()
    job(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    name = " ".join(
        [
            job.__name__,
            *(str(argument) for argument in arguments[1:] if not isinstance(argument, list)),
        ]
    )
    return name, time.perf_counter() - start, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panels", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--images", type=int, default=200, help="test images a class")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        panels = simulated(folder, options.panels, options.seeds, options.classes, options.images)
        rows = len(pd.read_csv(folder / "recall.csv", usecols=["seed"]))
        print(f"{options.panels * 11 * options.seeds} models, {rows} rows of recall.csv")
        stages = [
            [
                (tests, folder),
                *(
                    (fit, folder, panels, start, engine)
                    for start in range(0, len(panels), NETWORKS_PER_FIT)
                    for engine in ENGINES
                ),
            ],
            [(combine, folder), (figures, folder)],
            [(page, folder)],
        ]
        whole = time.perf_counter()
        for stage in stages:
            with ProcessPoolExecutor(
                2, mp_context=get_context("spawn"), max_tasks_per_child=1
            ) as pool:
                for job in [pool.submit(measured, *work) for work in stage]:
                    print("{:40s} {:6.1f} s {:5.2f} GB".format(*job.result()), flush=True)
        print(f"inference and report: {time.perf_counter() - whole:.1f} s, two jobs at a time")


if __name__ == "__main__":
    main()
