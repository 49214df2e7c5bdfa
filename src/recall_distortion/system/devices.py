"""Which GPU a job computes on: one that works, no other job's, held until the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from recall_distortion.system.errors import DeviceError

VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE = 0.5  # seconds between two looks for a free device
#: Seconds after which a GPU that does not answer is one that cannot be used.
PATIENCE = 120.0
_FULL = "out of memory"  # in torch's words
_NO_DRIVER = "Found no NVIDIA driver"  # likewise
#: What was found usable, for the processes that this one starts.
_FOUND = "RECALL_DISTORTION_GPUS"
#: The command that installs a torch which fits this machine's driver.
INSTALL_TORCH = (
    ".venv/bin/uv pip install --torch-backend=auto --reinstall-package torch "
    "--reinstall-package torchvision torch torchvision"
)

# What this process holds: a lock ends with its file, or with the process, however that ends.
_held: list[IO[bytes]] = []


def visible() -> list[str]:
    """Return the names of the NVIDIA GPUs that a process may use, without torch or the driver.

    They are those of ``CUDA_VISIBLE_DEVICES`` (numbers, or names such as ``GPU-8932f937`` and
    ``MIG-...``), up to the first that is none, as CUDA reads it; where it is not set, the numbers
    of the machine's devices.
    """
    named = os.environ.get(VISIBLE)
    if named is None:
        return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
    names = []
    for name in (part.strip() for part in named.split(",")):
        if name in ("", "-1"):
            break
        name = str(int(name)) if name.isdecimal() else name
        if name not in names:
            names.append(name)
    return names


@dataclass(frozen=True)
class Usable:
    """The GPUs that torch can compute on, by name, and a message for each reason that it cannot."""

    names: list[str]
    problems: list[str]


def usable() -> Usable:
    """Return which of the visible GPUs this environment's torch can compute on.

    A process of its own tries each with one sum, so that a driver that is too old, a GPU that torch
    was not built for and one without memory left do not count. One whose memory a job of yours
    fills does: the next job waits for it. Where there is no visible GPU nothing is started. What
    was found is told to the processes that this one starts, which do not try again and are given no
    problems.
    """
    names = visible()
    if not names:
        return Usable([], [])
    if (known := _known()) is not None:
        return Usable(known, [])
    folder = _folder()
    reasons = {
        name: None if reason and _FULL in reason and _limits(folder, name) else reason
        for name, reason in zip(names, _failures(len(names)), strict=True)
    }
    found = [name for name, reason in reasons.items() if reason is None]
    os.environ[_FOUND] = json.dumps([*_here(), found])
    given = os.environ.get(VISIBLE)
    where = "" if given is None else f"{VISIBLE}={given}: "
    problems = [
        where + explain(", ".join(name for name in names if reasons[name] == reason), reason)
        for reason in dict.fromkeys(reasons.values())
        if reason is not None
    ]
    return Usable(found, problems)


def _here() -> list[str | None]:
    """Return what names of GPUs mean: the machine, and the devices that it is to show."""
    return [platform.node(), os.environ.get(VISIBLE)]


def _known() -> list[str] | None:
    """Return the usable GPUs that a process above this one found, if it found them here."""
    if _FOUND not in os.environ:
        return None
    *place, names = json.loads(os.environ[_FOUND])
    return names if place == _here() else None


def _failures(count: int) -> list[str | None]:
    """Return for each of so many GPUs why torch cannot compute on it, or None where it can."""
    command = [sys.executable, "-c", "from recall_distortion.system import gpu; gpu.try_all()"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return [f"it did not answer within {PATIENCE:g} seconds"] * count
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        return [f"trying it failed: {last[0]}"] * count
    reasons: str | list[str | None] = json.loads(done.stdout.strip().splitlines()[-1])
    if isinstance(reasons, str):
        return [reasons] * count
    return (reasons + ["torch does not see it"] * count)[:count]


def explain(name: str, reason: str) -> str:
    """Return what is wrong with a GPU, the driver's version, and what to do."""
    if _NO_DRIVER in reason:
        return (
            f"GPU {name} cannot be used: this machine has no NVIDIA GPU, or no driver for it. "
            f"{_driver()}. Compute on the CPU with --config gpus=0, or have the driver installed"
        )
    if _FULL in reason:
        advice = "Wait for the programs that hold its memory"
    else:
        advice = (
            "If the driver is too old for this torch, or torch was not built for this GPU, update "
            f"the driver or install a build that fits: {INSTALL_TORCH}"
        )
    return (
        f"GPU {name} cannot be used: {reason}. {_driver()}. {advice}; or compute on the CPU with "
        "--config gpus=0"
    )


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "There is no nvidia-smi that answers"
    lines = sorted(set(shown.stdout.strip().splitlines()))
    if shown.returncode or not lines:
        return "nvidia-smi names no GPU"
    return f"nvidia-smi names {'; '.join(lines)} (GPU, driver)"


def take(gpus: int, jobs_per_gpu: int = 1) -> str:
    """Return torch's name of this job's device: ``cpu`` if it asked for no GPU, else ``cuda``.

    A GPU is one that fewer than ``jobs_per_gpu`` processes hold, and fewer than each of those wants
    on it, the emptiest first; where there is none the call waits. GPUs that were found unusable are
    left out. From then on this process sees no other GPU, so call it before CUDA is used. Raises
    ``DeviceError`` where ``CUDA_VISIBLE_DEVICES`` leaves none.

    Processes agree about a device through a lock on a file of this machine's temporary folder.
    Slurm numbers the devices of each of its jobs from 0, so there each job has files of its own.
    """
    if not gpus:
        return "cpu"
    names = _known() or visible()
    if not names and VISIBLE in os.environ:
        raise DeviceError(
            f"this job asks for a GPU, but {VISIBLE}={os.environ[VISIBLE]!r} offers none; unset "
            "it, name devices in it, or compute on the CPU with --config gpus=0"
        )
    # A machine whose devices have no files in /dev, as within Windows, may have one nevertheless.
    os.environ[VISIBLE] = _hold(names or ["0"], jobs_per_gpu)
    print(f"GPU: {VISIBLE}={os.environ[VISIBLE]}", flush=True)
    return "cuda"


def _hold(names: list[str], jobs_per_gpu: int) -> str:
    """Lock one of a device's places and return the device's name."""
    folder = _folder()
    # Of those that wait for the same devices one looks for a free one, the others sleep behind it.
    queue = hashlib.sha256(",".join(sorted(names)).encode()).hexdigest()[:16]
    with open(folder / f"queue-{queue}", "ab") as first, open(folder / "look", "ab") as look:
        told = False
        if not _lock(first):
            time.sleep(PAUSE)  # another job may just be taking one of several free devices
            if not _lock(first):
                told = _tell(names)
                fcntl.flock(first, fcntl.LOCK_EX)
        while True:
            # One process at a time, so that what it counts stays true while it takes a place.
            fcntl.flock(look, fcntl.LOCK_EX)
            for name in _emptiest_first(folder, names, jobs_per_gpu):
                if _take_place(folder, name, jobs_per_gpu):
                    return name
            fcntl.flock(look, fcntl.LOCK_UN)
            told = told or _tell(names)
            time.sleep(PAUSE)


def _tell(names: list[str]) -> bool:
    print(f"Waiting for a GPU; other jobs hold {', '.join(names)}", flush=True)
    return True


def _emptiest_first(folder: Path, names: list[str], jobs_per_gpu: int) -> list[str]:
    """Return the devices that this job may share with those that are there."""
    held = {name: _limits(folder, name) for name in names}
    free = [name for name in names if len(held[name]) < min([jobs_per_gpu, *held[name]])]
    return sorted(free, key=lambda name: len(held[name]))


def _limits(folder: Path, name: str) -> list[int]:
    """Return the ``jobs_per_gpu`` of each process that holds a place of a device."""
    found = []
    for path in folder.glob(f"{_stem(name)}.*"):
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            if not _lock(file):
                found.append(int(file.read() or 1))
    return found


def _take_place(folder: Path, name: str, jobs_per_gpu: int) -> bool:
    """Return whether this process holds the lock of one of a device's places now."""
    for place in range(jobs_per_gpu):
        path = folder / f"{_stem(name)}.{place}"
        file = open(path, "ab")  # noqa: SIM115  it stays open as long as the device is held
        # Who cleans the temporary folder may have removed it, and then its lock means nothing.
        with contextlib.suppress(FileNotFoundError):
            if _lock(file) and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                # Others read it as long as the lock is held.
                file.truncate(0)
                file.write(str(jobs_per_gpu).encode())
                file.flush()
                _held.append(file)
                return True
        file.close()
    return False


def _stem(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", "_", name)


def _lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folder() -> Path:
    """Return the folder of this user's locks, which nobody else can write to."""
    folder = Path(tempfile.gettempdir()) / f"recall-distortion-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise DeviceError(f"{folder} is not a folder of yours; remove it, or set TMPDIR elsewhere")
    if job := os.environ.get("SLURM_JOB_ID"):
        folder /= re.sub(r"\W", "_", job)
        folder.mkdir(exist_ok=True)
    return folder
