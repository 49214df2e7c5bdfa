"""How long populations take and how much memory, by networks, images and classes.

``python benchmarks/populations.py`` makes up the labels of dense, control and compressed networks
and measures in a process of its own what a study does with one cell: votes, modal labels, what
differs by every rule for ties, vote distances, 999 exchanges of method and control, and counts at
half as many networks. Networks are those of all three populations together.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
from side_by_side import machine, print_table, spread


@dataclass(frozen=True)
class Setting:
    """Three populations of as many networks each, on images of so many classes."""

    networks: int
    images: int
    classes: int

    def __str__(self) -> str:
        return f"{self.networks} networks x {self.images:,} images x {self.classes:,} classes"


SETTINGS = (Setting(60, 10_000, 10), Setting(300, 50_000, 1_000))


def labels(setting: Setting) -> list[np.ndarray]:
    """Return the labels of three populations; few images are hard, and compression makes more so.

    A network errs on hard images, mostly by naming the same other class.
    """
    rng = np.random.default_rng(0)
    networks, shape = setting.networks // 3, setting.images
    own = rng.integers(0, setting.classes, shape)
    other = (own + rng.integers(1, setting.classes, shape)) % setting.classes
    hard = rng.beta(0.15, 2, shape)
    kind = np.uint8 if setting.classes <= 256 else np.int16
    found = []
    for more in (1, 1, 2):
        population = np.empty((networks, shape), kind)
        for row in population:
            wrong = np.where(
                rng.random(shape) < 0.7, other, rng.integers(0, setting.classes, shape)
            )
            row[:] = np.where(rng.random(shape) < more * hard, wrong, own)
        found.append(population)
    return found


def measure(setting: Setting) -> dict[str, float]:
    """Return the seconds that one cell takes, and the process's peak memory in GB."""
    from recall_distortion.measures import populations

    dense, control, compressed = labels(setting)
    start = time.perf_counter()
    votes = [populations.Votes.of(part, setting.classes) for part in (dense, control, compressed)]
    for other in votes[1:]:
        populations.Differing.of(votes[0], other)
        populations.vote_distance(votes[0], other)
    populations.exchanged(votes[0], compressed, control)
    half = len(dense) // 2
    orders = [np.random.default_rng(seed).permutation(len(dense)) for seed in range(100)]
    subsets = [(order[:half], order[half : 2 * half]) for order in orders]
    populations.differing_at(dense, compressed, subsets)
    seconds = time.perf_counter() - start
    return {"s": seconds, "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def main() -> None:
    """Measure every setting in fresh processes and print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", type=int, nargs=3, metavar=("NETWORKS", "IMAGES", "CLASSES"))
    parser.add_argument("--here", action="store_true", help="measure in this process, print JSON")
    given = parser.parse_args()
    settings = (Setting(*given.only),) if given.only else SETTINGS
    if given.here:
        print(json.dumps(measure(settings[0])))
        return
    rows = []
    for setting in settings:
        sizes = [str(setting.networks), str(setting.images), str(setting.classes)]
        command = [sys.executable, __file__, "--here", "--only", *sizes]
        found = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(given.repeats)
        ]
        memory = max(one["GB"] for one in found)
        rows.append((str(setting), spread([one["s"] for one in found]), f"{memory:.2f}"))
    # Only now: a new process begins with the peak memory of this one, which has no torch yet.
    print(machine())
    print_table(("one cell", "s", "GB"), rows)


if __name__ == "__main__":
    main()
