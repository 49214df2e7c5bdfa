"""What a study may use of the machine it runs on: in a container no more than that is given."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

SYSTEM = Path("/")  # where the system's own files lie


def cores(system: Path = SYSTEM) -> int:
    """Return how many cores this process may keep busy: by its affinity and its groups' quotas.

    A quota counts as the next whole number of cores, so that none of it lies idle.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    for folder in _groups(system, "cpu"):
        # The second version of control groups has both numbers in one file, the first has two.
        quota = _numbers(folder / "cpu.max") or [
            *_numbers(folder / "cpu.cfs_quota_us"),
            *_numbers(folder / "cpu.cfs_period_us"),
        ]
        if len(quota) == 2 and min(quota) > 0:
            count = min(count, max(1, math.ceil(quota[0] / quota[1])))
    return count


def memory_mb(system: Path = SYSTEM) -> int | None:
    """Return how many megabytes are left to this process, or None where the system does not say.

    That is what the machine has available, and no group of the process's may take more than its
    limit. What a group holds of files alone does not count, because the system gives it back.
    """
    found = re.search(r"^MemAvailable: *(\d+) kB$", _read(system / "proc/meminfo"), re.MULTILINE)
    left = [1024 * int(found[1])] if found else []
    for folder in _groups(system, "memory"):
        for limit, used, files in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = _numbers(folder / limit), _numbers(folder / used)
            if most and now:
                given_back = re.search(
                    rf"^{files} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE
                )
                left.append(most[0] - now[0] + (int(given_back[1]) if given_back else 0))
    return max(1, min(left) // 10**6) if left else None


def _groups(system: Path, controller: str) -> Iterator[Path]:
    """Return the folders of this process's control groups, from its own to the outermost one.

    A container may show its own group as the outermost, and name groups that it does not show.
    """
    mount = system / "sys/fs/cgroup"
    for line in _read(system / "proc/self/cgroup").splitlines():
        names, path = line.split(":", 2)[1:]
        if names == "":  # the second version
            top = mount if (mount / "cgroup.controllers").exists() else mount / "unified"
        elif controller in names.split(","):
            top = mount / names if (mount / names).exists() else mount / controller
        else:
            continue
        parts = () if ".." in path else Path(path).parts[1:]
        for depth in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:depth])


def _read(path: Path) -> str:
    """Return what a file of the system's says, nothing where there is none."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _numbers(path: Path) -> list[int]:
    """Return a file's numbers, none where it says that there is no limit."""
    words = _read(path).split()
    return [int(word) for word in words] if all(re.fullmatch(r"-?\d+", w) for w in words) else []
