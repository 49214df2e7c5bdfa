"""How long inference and the report take on the tables of a simulated study of some size.

``python benchmarks/inference.py --panels 8 --seeds 30 --classes 10`` simulates a study of that many
architectures (each with a control and two methods at five ratios: 11 x seeds networks beside the
dense ones), then runs what the workflow runs after measuring, every job in a process of its own and
two at a time, and prints the seconds and the peak memory of each. Nothing is kept.
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

from recall_distortion.study.naming import NETWORKS_PER_FIT
from recall_distortion.vocabulary import PYMER4, RESEED, STATSMODELS, Panel

# A family of networks: each one's depth and parameters.
ARCHITECTURES = {
    "resnet20": (20, 269_722),
    "resnet32": (32, 464_154),
    "resnet44": (44, 658_586),
    "resnet56": (56, 853_018),
    "resnet110": (110, 1_727_962),
}
RATIOS = (2.0, 4.0, 10.0, 20.0, 50.0)
FITTERS = (PYMER4, STATSMODELS)
MEASURED = ("recall", "networks")
ESTIMATED = ("estimates", "tests", "published")
FITTED = ("mixed_models", "mixed_model_fits")


def simulated(folder: Path, panels: int, seeds: int, classes: int, images: int) -> list[tuple]:
    """Write the tables of measuring; return the panels."""
    from recall_distortion.simulation import Design, study
    from recall_distortion.tables.files import write_table

    found, tables = [], {name: [] for name in MEASURED}
    for panel in range(panels):
        data, place = divmod(panel, len(ARCHITECTURES))
        names = Panel(f"cifar{10 * 10**data}", list(ARCHITECTURES)[place], "simulated")
        design = Design(
            tuple(_cells()),
            seeds=seeds,
            classes=classes,
            images=images,
            accuracy=0.85 - 0.01 * panel,
            **names._asdict(),
        )
        of_panel = study(design, panel)
        parameters = ARCHITECTURES[names.architecture][1]
        of_panel["networks"] = _with_sparsities(of_panel["networks"], parameters)
        for name, table in of_panel.items():
            tables[name].append(table)
        found.append(names)
    for name, parts in tables.items():
        write_table(folder / f"{name}.csv", name, pd.concat(parts))
    return found


def _cells() -> list[Any]:
    from recall_distortion.simulation import Cell

    cells = [Cell("control", 1.0, 0.9, 0.05, agreement=0.5)]
    for method in ("magnitude", "undecayed"):
        for step, ratio in enumerate(RATIOS):
            spread = 0.05 * 2**step
            cells.append(Cell(method, ratio, 0.92 + 0.03 * step**2, spread, agreement=0.4))
    return cells


def _with_sparsities(networks: pd.DataFrame, parameters: int) -> pd.DataFrame:
    """Return the networks with their parameters, and with the sparsities that were asked for."""
    prunable = (100 * networks["ratio"]).where(networks["ratio"] > 1)
    return networks.assign(
        realised_ratio=prunable / 100,
        kept_fraction=100 / prunable,
        kept_prunable=prunable * 0 + 100,
        prunable=prunable,
        total=pd.Series(parameters, networks.index).where(networks["method"] != RESEED),
    )


def tests(folder: Path) -> None:
    from recall_distortion.inference.jobs.estimate import write_estimates

    families = {name: ("resnet", depth) for name, (depth, _) in ARCHITECTURES.items()}
    outputs = {name: folder / f"{name}.csv" for name in ESTIMATED}
    inputs = (folder / f"{name}.csv" for name in MEASURED)
    write_estimates(*inputs, outputs, architectures=families)


def fit(folder: Path, panels: list[tuple], start: int, fitter: str) -> None:
    from recall_distortion.inference.jobs.fit import write_fits

    part = panels[start : start + NETWORKS_PER_FIT]
    stem = folder / f"{start}-{fitter}"
    write_fits(
        *(folder / f"{name}.csv" for name in MEASURED),
        part,
        fitter,
        f"{stem}.coefficients",
        f"{stem}.fit",
        over_panels=start + len(part) == len(panels),
    )


def combine(folder: Path) -> None:
    from recall_distortion.inference.jobs.fit import write_mixed_models

    write_mixed_models(
        sorted(folder.glob("*.coefficients")),
        sorted(folder.glob("*.fit")),
        *(folder / f"{name}.csv" for name in FITTED),
    )


def summarize(folder: Path) -> None:
    from recall_distortion.inference.jobs.summarize import write_summary

    names = (*MEASURED, "estimates", "tests", *FITTED, "published", "summary")
    write_summary(*(folder / f"{name}.csv" for name in names))


def page(folder: Path) -> None:
    from recall_distortion.report import build_report

    build_report(
        folder, folder / "report.html", study={"name": "simulated"}, figures=folder / "figures"
    )


def figures(folder: Path) -> None:
    from recall_distortion.report.figures import write_figures

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
        print(f"{options.panels * 11 * options.seeds} networks, {rows} rows of recall.csv")
        stages = [
            [
                (tests, folder),
                *(
                    (fit, folder, panels, start, fitter)
                    for start in range(0, len(panels), NETWORKS_PER_FIT)
                    for fitter in FITTERS
                ),
            ],
            [(combine, folder)],
            [(summarize, folder), (figures, folder)],
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
