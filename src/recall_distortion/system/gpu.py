"""Whether torch can compute on a GPU, and one message that says why where it cannot.

torch is imported by the functions that need it: half of the package does without.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import warnings
from collections.abc import Iterator

from recall_distortion.system import devices
from recall_distortion.system.errors import DeviceError


@contextlib.contextmanager
def taken(gpus: int, jobs_per_gpu: int = 1) -> Iterator[str]:
    """Yield the device that ``devices.take`` gives, which this process holds until it ends.

    Running out of a GPU's memory in the block becomes one ``DeviceError``; any other error is left
    as it is. Call it once: a second call waits for the first one's device.
    """
    device = devices.take(gpus, jobs_per_gpu)
    try:
        yield device
    except RuntimeError as error:  # torch.OutOfMemoryError, and what CUDA's libraries say of it
        if device == "cpu" or not re.search("out of memory|ALLOC_FAILED", str(error)):
            raise
        raise DeviceError(
            f"GPU {_name()} has no memory left{_memory()}. Compute fewer networks at once (jobs: "
            "at_once of the study), let fewer jobs share a GPU (--config jobs_per_gpu=1), wait for "
            "other programs that use it, or compute on the CPU with --config gpus=0"
        ) from error


def _memory() -> str:
    import torch

    try:
        own = torch.cuda.memory_reserved() / 2**30
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info())
    except RuntimeError:  # not even enough to ask
        return ""
    return f": {free:.1f} of {total:.1f} GiB are free, and this job holds {own:.1f}"


def check() -> None:
    """Compute on this job's GPU; raises ``DeviceError`` that says what is wrong and what to do."""
    reason = _failure("cuda")
    if reason is not None:
        raise DeviceError(devices.explain(_name(), reason))


def try_all() -> None:
    """Print as JSON why torch cannot compute on any GPU, or a list of a reason or null for each."""
    import torch

    count = torch.cuda.device_count()
    found = [_failure(f"cuda:{number}") for number in range(count)] if count else _failure("cuda")
    print(json.dumps(found), flush=True)


def _failure(device: str) -> str | None:
    """Return why torch cannot compute a sum on a device, in torch's words, or None where it can."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the errors say the same
        try:
            torch.ones(1, device=device).add_(1).item()
        # A build of torch without CUDA says so by an AssertionError.
        except (RuntimeError, AssertionError) as error:
            return f"torch {torch.__version__} says: {_first_line(error)}"
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _name() -> str:
    return os.environ.get(devices.VISIBLE, "0")
