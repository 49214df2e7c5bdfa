"""What the benchmarks of ways to do the same thing share: processes that start together, tables.

Every condition is measured once in each repeat, one after the other, so that a drift of the machine
hits all of them, and ratios are taken within a repeat.
"""

from __future__ import annotations

import copy
import platform
import statistics
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from recall_distortion.system.machine import cores

if TYPE_CHECKING:
    from torch import nn  # what measures memory must not import torch by way of this module

#: Untimed preparation, then a yield; what is timed, then a yield; an untimed end with a result.
Job = Callable[..., Generator[None, None, Any]]


def machine() -> str:
    """Return one line on the processor, the GPU and torch."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{cores()} cores of {_processor()}, {gpu}, torch {torch.__version__}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Return the median of values, with the smallest and the largest."""
    numbers = (statistics.median(values), min(values), max(values))
    return "{} ({}..{})".format(*(form.format(number) for number in numbers))


def ratios(values: Sequence[float], basis: Sequence[float]) -> list[float]:
    """Return the ratio within each repeat."""
    return [value / base for value, base in zip(values, basis, strict=True)]


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text in columns, the first aligned left and the others right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *others = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        others = [text.strip().rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first, *others]).rstrip())


def multiply_adds(network: nn.Module, shape: Sequence[int]) -> int:
    """Return the multiply-adds of one image's forward pass in convolutions and linear layers."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    # Without numbers: shapes are enough.
    shapes = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        shapes(torch.zeros(1, *shape, device="meta"))
    return counted.get_total_flops() // 2


@dataclass(frozen=True)
class Together:
    """What jobs that started together took, from the first start to the last end, and returned."""

    seconds: float
    values: list[Any]


class Workers:
    """New processes that stay until the end and run jobs, all starting at the same moment."""

    def __init__(self, count: int) -> None:
        # Spawned, not forked: a job of the workflow is a new Python too.
        context = get_context("spawn")
        self._connections: list[Connection] = []
        self._processes = []
        for _ in range(count):
            here, there = context.Pipe()
            # Not daemons, which may not start the loader's workers.
            process = context.Process(target=_serve, args=(there,))
            process.start()
            there.close()
            self._connections.append(here)
            self._processes.append(process)
        for connection in self._connections:
            _received(connection)  # none is still importing while others are timed

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            connection.close()  # which ends the process at its next look
        for process in self._processes:
            process.join()

    def run(self, job: Job, arguments: Sequence[tuple[Any, ...]], first: int = 0) -> Together:
        """Run a job with each of the arguments, in as many processes from the first, and wait."""
        connections = self._connections[first : first + len(arguments)]
        for connection, own in zip(connections, arguments, strict=True):
            connection.send((job, own))
        for connection in connections:
            _received(connection)
        for connection in connections:
            connection.send("go")
        found = [_received(connection) for connection in connections]
        starts, ends, values = zip(*found, strict=True)
        return Together(max(ends) - min(starts), list(values))


def _received(connection: Connection) -> Any:
    error, value = connection.recv()
    if error:
        raise RuntimeError(f"a process of the benchmark failed:\n{error}")
    return value


def _serve(connection: Connection) -> None:
    connection.send((None, None))
    while True:
        try:
            job, arguments = connection.recv()
        except EOFError:
            return
        try:
            work = job(*arguments)
            next(work)
            connection.send((None, None))
            connection.recv()
            start = time.monotonic()  # one clock for all processes
            next(work)
            end = time.monotonic()
            connection.send((None, (start, end, _rest(work))))
        except EOFError:
            return
        except Exception:
            connection.send((traceback.format_exc(), None))


def _rest(work: Generator[None, None, Any]) -> Any:
    try:
        next(work)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a job yields twice: before and after what is timed")
