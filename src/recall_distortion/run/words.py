"""The commands ``plan`` and ``run``: their words, and what they print."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from recall_distortion.run.jobs import Plan, read_plan
from recall_distortion.system import devices
from recall_distortion.system.errors import SetupError, StudyError
from recall_distortion.system.logs import duration
from recall_distortion.system.processes import hold

_PLAN = """
Print as JSON the jobs of a study that compute networks, for `run` on another machine.

Call it in the folder of the study's checkout. KEY=VALUE overrides a plain value of the study, as
Snakemake's --config does. How many jobs there are, and how long they train on this machine, goes
to the error stream.
"""
_RUN = """
Do the jobs of a plan in one process; torch, NumPy, pandas and safetensors are enough.

PLAN is what `plan` printed. The files are those that the workflow makes, at the same places below
this folder. What is there is not made again, and a job that was broken off goes on. Exit status:
0 everything is made; 1 a job failed; 3 the time was over before the work: call it again.
"""


def plan(words: Sequence[str], prog: str) -> int:
    """Print the plan that the words ask for; return the exit status."""
    parser = _parser(prog, _PLAN)
    parser.add_argument("study", metavar="STUDY", help="a file's name in config/studies")
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help="such as seeds=5")
    parser.add_argument("--untimed", action="store_true", help="do not measure how long they take")
    options = parser.parse_args(words)

    from recall_distortion.configuration import configure
    from recall_distortion.run import planned

    given = dict(text.partition("=")[::2] for text in options.overrides)
    if wrong := [key for key, value in given.items() if not value]:
        raise StudyError(f"{wrong[0]!r} is no KEY=VALUE")
    found = planned.plan(configure(given | {"study": options.study, "gpus": 0}).study)
    print(found.text())
    print(f"{found.study}: {len(found.jobs)} jobs", file=sys.stderr)
    if not options.untimed:
        print(_how_long(found, options.gpus), file=sys.stderr)
    return 0


def run(words: Sequence[str], prog: str) -> int:
    """Do the jobs of the plan that the words name; return the exit status."""
    parser = _parser(prog, _RUN)
    parser.add_argument("plan", metavar="PLAN", help="the file with the plan")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        metavar="N",
        help="break off after so many seconds (default: work to the end)",
    )
    parser.add_argument(
        "--data-root",
        default="data",
        metavar="FOLDER",
        help="where torchvision's data sets lie (default: data)",
    )
    parser.add_argument(
        "--how-long", action="store_true", help="only say how long training takes on this machine"
    )
    options = parser.parse_args(words)
    found = read_plan(options.plan)
    if options.how_long:
        print(_how_long(found, options.gpus))
        return 0

    from recall_distortion.run.work import work

    if not hold(Path(found.results, "run.lock")):
        raise SetupError(f"{found.results}: another process is at work on it. Wait for its end")
    return work(
        found,
        gpus=_usable(options.gpus),
        data_root=options.data_root,
        seconds=options.seconds,
    )


def _parser(prog: str, description: str) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog=prog,
        description=description.strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument(
        "--gpus",
        type=_gpus,
        default="auto",
        metavar="N",
        help="auto, or 0 for the CPU (default: a GPU where torch can use one)",
    )
    return found


def _gpus(text: str) -> int | str:
    """Return a number of GPUs, or ``auto``."""
    if text == "auto" or text.isdecimal():
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f"auto or a number of GPUs from 0 on, not {text!r}")


def _seconds(text: str) -> float:
    """Return a number of seconds."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")
    return found


def _usable(gpus: int | str) -> int:
    """Return how many GPUs may be used, having said why one cannot be."""
    if isinstance(gpus, int):
        return gpus
    found = devices.usable()
    for problem in found.problems:
        print(problem, file=sys.stderr, flush=True)
    return len(found.names)


def _how_long(plan: Plan, gpus: int | str) -> str:
    """Return how long a plan's jobs train on this machine, in words."""
    try:
        from recall_distortion.run.duration import seconds
        from recall_distortion.system import gpu, processor
    except ModuleNotFoundError as error:
        return f"how long they take is not measured: {error.name} is not installed"
    with gpu.taken(_usable(gpus)) as device:
        processor.prepare(1, device, deterministic=plan.deterministic)
        found = seconds(plan, device)
    if found is None:
        return (
            "how long they take is not known before the data are prepared "
            "(`snakemake --cores all prepare_all`)"
        )
    where = "the CPU, one core of it" if device == "cpu" else "this GPU"
    return f"on {where}, training takes {duration(found)}; starting and evaluating come on top"
