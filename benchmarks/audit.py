"""How long an audit takes and how much memory, by images, classes and candidates.

``python benchmarks/audit.py`` makes up predictions, writes them as files and audits each setting
in a process of its own, through the command, from reading the files to the page. What importing
pandas, scipy and matplotlib takes in the same process is printed beside it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from side_by_side import machine, print_table, spread


@dataclass(frozen=True)
class Setting:
    """A test set and how models answer it: with classes, or with scores for each class."""

    images: int
    classes: int
    candidates: int
    scores: bool = False

    def __str__(self) -> str:
        kind = "scores" if self.scores else "answers"
        size = f"{self.images:,} images x {self.classes:,} classes"
        return f"{size}, {self.candidates} x {kind}"


SETTINGS = (
    Setting(10_000, 10, 1),
    Setting(10_000, 10, 1, scores=True),
    Setting(100_000, 100, 1),
    Setting(1_000_000, 100, 1),
    Setting(50_000, 1_000, 3),
    Setting(50_000, 1_000, 3, scores=True),
)


def write(setting: Setting, folder: Path) -> list[str]:
    """Write made-up predictions, and return the words of the command that audits them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, setting.classes, setting.images)
    recall = np.linspace(0.6, 0.95, setting.classes)[labels]

    def guess(right: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        return np.where(
            rng.random(setting.images) < right, otherwise, rng.integers(0, setting.classes)
        )

    before = guess(recall, labels)
    models = {"before": before}
    models |= {
        f"after{n}": guess(np.full(setting.images, 0.95), before) for n in range(setting.candidates)
    }
    np.save(folder / "labels.npy", labels)
    for name, predicted in models.items():
        values = predicted
        if setting.scores:
            values = np.full((setting.images, setting.classes), -1, np.float32)
            values[np.arange(setting.images), predicted] = 5
        np.save(folder / f"{name}.npy", values)
    words = ["--labels", str(folder / "labels.npy"), "--before", str(folder / "before.npy")]
    for n in range(setting.candidates):
        words += ["--after", str(folder / f"after{n}.npy")]
    return [*words, "--out", str(folder / "out")]


def measure(words: list[str]) -> None:
    """Print what this process takes to import the libraries and to audit, and its memory."""
    began = time.perf_counter()
    for name in ("pandas", "scipy.stats", "matplotlib.figure"):
        importlib.import_module(name)

    imported = time.perf_counter()
    from recall_distortion import command

    status = command.main(["audit", *words])
    ended = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([imported - began, ended - imported, memory, status]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--largest", type=int, default=10**9, help="images of the largest setting")
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure is not None:
        measure(asked.measure)
        return
    print(machine())
    rows = []
    for setting in SETTINGS:
        if setting.images > asked.largest:
            continue
        with tempfile.TemporaryDirectory() as folder:
            words = write(setting, Path(folder))
            found = []
            for _ in range(asked.repeats):
                command = [sys.executable, __file__, "--measure", *words]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found.append(json.loads(done.stdout.splitlines()[-1]))
        imports, seconds, memory, status = zip(*found, strict=True)
        assert set(status) == {0}
        rows.append(
            (
                str(setting),
                spread(seconds, "{:.2f}"),
                spread(imports, "{:.2f}"),
                f"{max(memory):.0f}",
            )
        )
    print_table(("setting", "audit, s", "imports, s", "memory, MB"), rows)


if __name__ == "__main__":
    main()
