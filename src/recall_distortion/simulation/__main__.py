"""``python -m recall_distortion.simulation OUT.csv``: run the simulation."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd

from recall_distortion.inference.mixed.fitters.r_stack import check_r_stack
from recall_distortion.simulation import mixed
from recall_distortion.simulation.rows import COLUMNS, Row
from recall_distortion.simulation.scenarios import FAMILIES, Scenario, scenarios
from recall_distortion.system.errors import RecallDistortionError
from recall_distortion.system.files import replacing

DESCRIPTION = """\
Simulate studies whose true slopes are known, and write how the intervals and tests of
recall_distortion do on them: one row per scenario and quantity, with its Monte Carlo standard
error. docs/simulation.md explains the model and what the table shows.
"""
STUDIES = 4000
SEED = 20_221_130
PROGRAM = "python -m recall_distortion.simulation"


def parser(prog: str = PROGRAM) -> argparse.ArgumentParser:
    """Return the command's parser; ``prog`` is what the command is called in its messages."""
    found = argparse.ArgumentParser(prog=prog, description=DESCRIPTION)
    found.add_argument("out", metavar="OUT.csv", type=Path, help="the table to write")
    found.add_argument(
        "--studies",
        type=_whole("--studies", 2),
        default=STUDIES,
        help="studies per scenario: five times as many where recalls are exact, half where halves "
        "of the test set are drawn, a quarter where each study is bootstrapped, a twentieth where "
        "mixed models are fitted (default: %(default)s)",
    )
    found.add_argument(
        "--seed", type=_whole("--seed", 0), default=SEED, help="(default: %(default)s)"
    )
    found.add_argument(
        "--jobs",
        type=_whole("--jobs", 1),
        default=1,
        help="processes; the table does not depend on it (default: %(default)s)",
    )
    found.add_argument(
        "--families",
        nargs="+",
        choices=FAMILIES,
        default=list(FAMILIES),
        metavar="FAMILY",
        help=f"which scenarios, of {', '.join(repr(name) for name in FAMILIES)} (default: all)",
    )
    return found


def _whole(option: str, least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(
                f"{option} is a whole number of {least} or more, not {text!r}"
            )
        return value

    return read


def simulate(chosen: Sequence[Scenario], studies: int, seed: int, jobs: int) -> list[Row]:
    """Return the rows of the scenarios in their order, printing a line as each is done."""
    rows: list[Row] = []
    start = time.monotonic()
    for i, (scenario, found) in enumerate(_results(chosen, studies, seed, jobs), start=1):
        rows += found
        print(
            f"{i}/{len(chosen)} {scenario.family}: {scenario.label}, "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )
    return rows


def _results(
    chosen: Sequence[Scenario], studies: int, seed: int, jobs: int
) -> Iterator[tuple[Scenario, list[Row]]]:
    if jobs == 1:
        for scenario in chosen:
            yield scenario, scenario.run(studies, seed)
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting = [pool.submit(scenario.run, studies, seed) for scenario in chosen]
        for scenario, result in zip(chosen, waiting, strict=True):
            yield scenario, result.result()


def main(arguments: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """Run the command; return its exit status. ``recall-distortion simulate`` is its other name."""
    command = parser(prog)
    options = command.parse_args(arguments)
    if options.out.is_dir() or options.out.suffix != ".csv":
        command.error(f"OUT.csv is the path of a table to write, not {str(options.out)!r}")
    try:
        # Before minutes of work, not after: a folder that cannot be made or written.
        options.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        command.error(f"cannot write {options.out}: {error.strerror or error}")
    chosen = [scenario for scenario in scenarios() if scenario.family in options.families]
    try:
        if mixed.FAMILY in options.families:
            check_r_stack()  # a missing R too is reported before minutes of work
        rows = simulate(chosen, options.studies, options.seed, options.jobs)
        with replacing(options.out) as temporary:
            table = pd.DataFrame(rows, columns=COLUMNS)
            table.to_csv(temporary, index=False, lineterminator="\n")
    except (RecallDistortionError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {len(rows)} rows to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
