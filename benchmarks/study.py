"""How long the whole study `digits` takes, job by job, in this version and in others beside it.

``python benchmarks/study.py`` copies what a study needs into a temporary folder and computes it
there from nothing: 30 seeds of two networks, all methods and ratios, tables, mixed models through R
and statsmodels, report. ``--beside FOLDER`` does the same with another checkout of the project, in
turn with this one, in every repeat; ratios are within a repeat. Snakemake's start is counted. The
table of jobs is that of the last repeat, from Snakemake's own measurement of each rule.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from side_by_side import machine, print_table, ratios, spread

from recall_distortion.system.machine import cores

REPOSITORY = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "config", "profiles", "src", "workflow")


def copy(checkout: Path, folder: Path) -> None:
    """Copy what a study needs of a checkout, and none of its results."""
    for part in PARTS:
        if (checkout / part).is_dir():
            shutil.copytree(checkout / part, folder / part)
        elif (checkout / part).exists():
            shutil.copy(checkout / part, folder / part)


def run(folder: Path, study: str, count: int) -> float:
    """Compute a study from nothing and return the seconds that it took."""
    for former in ("results", ".snakemake"):
        shutil.rmtree(folder / former, ignore_errors=True)
    command = ["snakemake", "--cores", str(count)]
    command += ["--config", f"study={study}"]
    # The checkout's own source, wherever the package of this environment is installed from.
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    start = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"Snakemake failed in {folder}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return time.monotonic() - start


def jobs(folder: Path) -> list[tuple[str, int, float, float, float]]:
    """Return for each rule its jobs, their seconds, processor seconds, and the largest memory.

    Memory is in MB. Snakemake looks at a job every few seconds: those of short ones are not known.
    """
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for benchmarks in folder.glob("results/*/benchmarks"):
        for path in sorted(file for file in benchmarks.rglob("*") if file.is_file()):
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file, delimiter="\t"))
            found[path.relative_to(benchmarks).parts[0].removesuffix(".txt")] += rows

    def numbers(rows: list[dict[str, str]], column: str) -> list[float]:
        return [float(row[column]) for row in rows if row[column] not in ("-", "NA", "")]

    return [
        (
            rule,
            len(rows),
            sum(numbers(rows, "s")),
            sum(numbers(rows, "cpu_time")),
            max(numbers(rows, "max_rss"), default=float("nan")),
        )
        for rule, rows in sorted(found.items())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", default="digits")
    parser.add_argument("--cores", type=int, default=cores())
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--beside", type=Path, action="append", default=[], metavar="FOLDER")
    asked = parser.parse_args()
    checkouts = {"this version": REPOSITORY}
    for path in asked.beside:
        if not (path / "Snakefile").is_file():
            parser.error(f"{path} is no checkout of this project: it has no Snakefile")
        checkouts[str(path)] = path
    print(machine())
    print(
        f"the study {asked.study} from nothing, {asked.cores} cores, {asked.repeats} repeats; "
        "median (smallest..largest)"
    )
    seconds: dict[str, list[float]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as temporary:
        folders = {name: Path(temporary) / str(number) for number, name in enumerate(checkouts)}
        for name, folder in folders.items():
            folder.mkdir()
            copy(checkouts[name], folder)
        for _ in range(asked.repeats):
            for name, folder in folders.items():
                seconds[name].append(run(folder, asked.study, asked.cores))
        basis = seconds["this version"]
        print_table(
            ("version", "seconds", "times this version"),
            [
                (name, spread(own, "{:.1f}"), spread(ratios(own, basis)))
                for name, own in seconds.items()
            ],
        )
        for name, folder in folders.items():
            print()
            print_table(
                (f"rule, {name}", "jobs", "seconds", "processor seconds", "largest job, MB"),
                [
                    (rule, str(count), f"{wall:.1f}", f"{processor:.1f}", f"{memory:.0f}")
                    for rule, count, wall, processor, memory in jobs(folder)
                ],
            )


if __name__ == "__main__":
    main()
