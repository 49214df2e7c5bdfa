"""Cores and memory: the affinity, the quotas and limits of both versions of control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recall_distortion.system import machine

AFFINITY = 16


@pytest.fixture(autouse=True)
def affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(AFFINITY)))


def write(system: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = system / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return system


SECOND = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cgroup.controllers": "cpu memory\n"}
FIRST = {
    "proc/self/cgroup": "9:name=systemd:/d/1\n4:memory:/d/1\n1:cpu,cpuacct:/d/1\n0::/\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
}
INNER = "sys/fs/cgroup/cpu,cpuacct/d/1/cpu.cfs_"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, AFFINITY),
        ({"proc/self/cgroup": "0::/\n"}, AFFINITY),
        (SECOND, AFFINITY),
        (SECOND | {"sys/fs/cgroup/cpu.max": "max 100000\n"}, AFFINITY),
        (SECOND | {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        (SECOND | {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        (SECOND | {"sys/fs/cgroup/cpu.max": "1000 100000\n"}, 1),
        (SECOND | {"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, AFFINITY),
        (SECOND | {"sys/fs/cgroup/cpu.max": ""}, AFFINITY),
        (SECOND | {"sys/fs/cgroup/cpu.max": "words\n"}, AFFINITY),
        (FIRST, AFFINITY),
        (FIRST | {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n"}, AFFINITY),
        (FIRST | {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n"}, 4),
    ],
)
def test_cores_follow_the_quota(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert machine.cores(write(tmp_path, files)) == expected


def test_the_tightest_quota_of_a_group_and_those_around_it_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        SECOND
        | {
            "proc/self/cgroup": "0::/slice/study\n",
            "sys/fs/cgroup/slice/cpu.max": "300000 100000\n",
            "sys/fs/cgroup/slice/study/cpu.max": "max 100000\n",
            "sys/fs/cgroup/slice/other/cpu.max": "100000 100000\n",
        },
    )
    assert machine.cores(tmp_path) == 3
    write(tmp_path, {"sys/fs/cgroup/slice/study/cpu.max": "150000 100000\n"})
    assert machine.cores(tmp_path) == 2


def test_the_first_version_may_show_a_group_or_hide_it(tmp_path: Path) -> None:
    write(tmp_path, FIRST | {f"{INNER}quota_us": "500000\n", f"{INNER}period_us": "100000\n"})
    assert machine.cores(tmp_path) == 5
    # Debian's folder for both controllers, other systems have one for each.
    alone = tmp_path / "alone"
    files = {key.replace("cpu,cpuacct/", "cpu/"): text for key, text in FIRST.items()}
    write(alone, files | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "600000\n"})
    assert machine.cores(alone) == 6


def test_a_group_outside_of_the_container_is_the_outermost_one(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}
    assert machine.cores(write(tmp_path, SECOND | files)) == 1


def test_cores_on_a_machine_without_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores(tmp_path) == 1


MEMORY = {"proc/meminfo": "MemTotal:       24000000 kB\nMemAvailable:   16000000 kB\nFree: 1 kB\n"}
LIMITED = SECOND | MEMORY | {"sys/fs/cgroup/memory.max": "4000000000\n"}
FIRST_LIMITED = {
    **FIRST,
    **MEMORY,
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "3000000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000000\n",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MEMORY, 16384),
        (SECOND | MEMORY | {"sys/fs/cgroup/memory.max": "max\n"}, 16384),
        (LIMITED, 16384),  # what it holds is not told
        (LIMITED | {"sys/fs/cgroup/memory.current": "1000000000\n"}, 3000),
        (
            LIMITED
            | {
                "sys/fs/cgroup/memory.current": "1000000000\n",
                "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 600000000\nfile 3\n",
            },
            3600,
        ),
        (LIMITED | {"sys/fs/cgroup/memory.current": "4000000000\n"}, 1),
        (FIRST_LIMITED, 2500),
        (
            FIRST_LIMITED
            | {
                "sys/fs/cgroup/memory/memory.stat": "inactive_file 7\n"
                "total_inactive_file 200000000\n"
            },
            2700,
        ),
        (
            FIRST_LIMITED | {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
            16384,
        ),
    ],
)
def test_memory_is_what_the_machine_has_within_the_limit(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    assert machine.memory_mb(write(tmp_path, files)) == expected


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux alone has it")
def test_this_machine_has_memory_and_the_cores_of_its_affinity() -> None:
    code = (
        "import os\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from recall_distortion.system import machine\n"
        "print(machine.cores(), machine.memory_mb())\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cores, memory = map(int, found.stdout.split())
    assert cores == 1
    assert memory > 100
