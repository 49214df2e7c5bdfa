"""What regularizers and dropout cost: a training step with them to one without.

``python benchmarks/regularizers.py`` times steps on one core, alone and vectorized, with and
without in turn, so that whatever else the machine does slows both alike. Times are those of the
processor; reported are the median, least and largest ratio of the repeats. Of networks that have
compiled loops a step is held against one of these, and against one of the plain modules.
"""

from __future__ import annotations

import argparse
import statistics
import time

from side_by_side import machine, print_table
from steps import CASES, Case, Running

from recall_distortion.networks.sizes import parted
from recall_distortion.system import processor
from recall_distortion.training.engines import FASTER_VECTORIZED
from recall_distortion.training.recipe import Regularizer

#: What is added to a recipe, by the name that is printed.
ADDED = {
    "dropout": {"dropout": 0.5},
    "label smoothing": {"label_smoothing": 0.1},
    "jumpstart, norm": {"regularizers": (Regularizer("jumpstart", 0.001),)},
    "jumpstart, balanced": {
        "regularizers": (Regularizer("jumpstart", 0.1, aggregation="balanced"),)
    },
    "batch norm L1": {"regularizers": (Regularizer("batch_norm_l1", 1e-4),)},
    "adamw": {"optimizer": "adamw"},
}
NETWORKS = ("mlp", "cnn", "lenet5", "resnet20", "thin_mlp_20x8", "thin_cnn_10x8")
COMPILED = ("cnn", "lenet5", "mlp", "thin_mlp_20x8", "thin_cnn_10x8")


def ratios(
    case: Case, at_once: int, name: str, fast: bool, repeats: int, at_least: float
) -> list[float]:
    """Return the ratio of a step with to one without, ``fast`` or not, once for each repeat."""
    without = Running(case, at_once, "float32", "cpu", fast=fast)
    added = Running(case, at_once, "float32", "cpu", **ADDED[name])
    found = []
    for _ in range(repeats):
        taken = []
        for running in (without, added):
            for number in range(2):
                running.step(number)
            began, count = time.process_time(), 0
            while count < 3 or time.process_time() - began < at_least:
                running.step(count)
                count += 1
            taken.append((time.process_time() - began) / count)
        found.append(taken[1] / taken[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--added", nargs="+", choices=ADDED, default=list(ADDED))
    asked = parser.parse_args()
    processor.prepare(1, "cpu")
    rows = []
    for case in {case.network: case for case in reversed(CASES)}.values():
        if case.network not in asked.only:
            continue
        for at_once in dict.fromkeys((1, FASTER_VECTORIZED.get(parted(case.network)[0], 1))):
            for name in asked.added:
                if name == "batch norm L1" and not case.network.startswith("resnet"):
                    continue
                for fast in (False, True) if case.network in COMPILED else (True,):
                    found = ratios(case, at_once, name, fast, asked.repeats, asked.seconds)
                    middle = f"{statistics.median(found):.2f} ({min(found):.2f}..{max(found):.2f})"
                    to = name if fast else f"{name}, to plain modules"
                    rows.append((str(case), str(at_once), to, middle))
    print(machine())
    print_table(("network, images, batch", "at once", "added", "ratio of a step's time"), rows)


if __name__ == "__main__":
    main()
