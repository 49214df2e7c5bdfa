"""Jobs side by side each have a GPU of their own; the devices are names, no GPU is needed."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recall_distortion.system import devices, gpu
from recall_distortion.system.errors import DeviceError

# Takes a device, says what it sees, and holds it until its input ends.
HOLDER = """
import os, sys
from recall_distortion.system import devices
devices.PAUSE = 0.05
print("took", devices.take(1, int(sys.argv[1])), os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


class Holder:
    """A process that takes a device as a job does."""

    def __init__(self, jobs_per_gpu: int, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(jobs_per_gpu)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self, first: str) -> str:
        """Return the rest of the next line that begins so."""
        for line in self.process.stdout:
            if line.startswith(first):
                return line.removeprefix(first).strip()
            assert not line.startswith("took"), line  # it says no more, and holds the device
        raise AssertionError(f"ended without a line {first!r}")

    def took(self) -> str:
        kind, name = self.said("took").split()
        assert kind == "cuda"
        return name

    def end(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(timeout=20) == 0


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[..., Holder]]:
    """Return what starts a process that takes one of some devices."""
    started = []

    def start(visible: str, jobs_per_gpu: int = 1, slurm: str | None = None) -> Holder:
        source = str(Path(devices.__file__).parents[1])
        environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": source, devices.VISIBLE: visible}
        if slurm:
            environment["SLURM_JOB_ID"] = slurm
        started.append(Holder(jobs_per_gpu, environment))
        return started[-1]

    yield start
    for found in started:
        found.process.kill()
        found.process.wait()


def test_jobs_side_by_side_have_a_device_each(holder):
    held = [holder("0,1,2") for _ in range(3)]
    assert sorted(found.took() for found in held) == ["0", "1", "2"]


def test_a_job_too_many_waits_until_one_is_free(holder):
    first, second = holder("0,1"), holder("0,1")
    names = {first.took(): first, second.took(): second}
    waiting = holder("0,1")
    assert waiting.said("Waiting for a GPU") == "; other jobs hold 0, 1"
    names["1"].end()
    assert waiting.took() == "1"


def test_many_jobs_for_few_devices_all_get_one_and_never_two_the_same(tmp_path):
    alone = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from recall_distortion.system import devices\n"
        "devices.PAUSE = 0.05\n"
        "devices.take(1)\n"
        "used = Path(sys.argv[1]) / os.environ['CUDA_VISIBLE_DEVICES']\n"
        "used.touch(exist_ok=False)\n"  # fails if another job is on this device
        "time.sleep(0.2)\n"
        "used.unlink()\n"
    )
    source = str(Path(devices.__file__).parents[1])
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": source, devices.VISIBLE: "0,1"}
    command = [sys.executable, "-c", alone, str(tmp_path)]
    jobs = [subprocess.Popen(command, env=environment) for _ in range(6)]
    try:
        assert [job.wait(timeout=30) for job in jobs] == [0] * 6
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def test_a_killed_job_leaves_its_device_free(holder):
    killed = holder("0")
    assert killed.took() == "0"
    waiting = holder("0")
    waiting.said("Waiting for a GPU")
    killed.process.send_signal(signal.SIGKILL)
    assert waiting.took() == "0"


def test_a_device_is_shared_by_as_many_as_is_said_the_empty_ones_first(holder):
    taken = [holder("0,1", 2).took() for _ in range(4)]
    assert taken == ["0", "1", "0", "1"]
    fifth = holder("0,1", 2)
    assert fifth.said("Waiting for a GPU")


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (1, 3)])
def test_a_job_that_wants_a_device_for_itself_shares_it_with_no_other_study(holder, first, second):
    held = holder("0", first)
    assert held.took() == "0"
    waiting = holder("0", second)
    assert waiting.said("Waiting for a GPU")
    held.end()
    assert waiting.took() == "0"


def test_a_place_that_is_free_again_is_not_given_to_a_job_that_wants_no_other_beside_it(holder):
    first, second = holder("0", 2), holder("0", 2)
    assert [first.took(), second.took()] == ["0", "0"]
    waiting = holder("0", 1)
    assert waiting.said("Waiting for a GPU")
    first.end()
    third = holder("0", 1)  # waits behind it, and says so
    assert third.said("Waiting for a GPU")
    assert select.select([waiting.process.stdout], [], [], 0.5)[0] == []
    second.end()
    assert waiting.took() == "0"


def test_a_job_that_waits_holds_up_none_that_may_use_another_device(holder):
    holder("0").took()
    waiting = holder("0")
    assert waiting.said("Waiting for a GPU")
    assert holder("1").took() == "1"
    assert holder("0,2").took() == "2"


@pytest.mark.parametrize(
    "names",
    [
        ["GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-5ebd7b1c-0b37-4b7e-a3a8-fe2c4c8ff6ad"],
        ["MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/0", "MIG-GPU-8932f937/2/0"],
        ["3", "5"],
    ],
)
def test_devices_keep_the_names_that_the_environment_gives_them(holder, names):
    held = [holder(", ".join(names)) for _ in range(2)]
    assert sorted(found.took() for found in held) == sorted(names)


def test_jobs_of_slurm_do_not_wait_for_each_other(holder):
    """Slurm shows each of its jobs a device 0, and they are different ones."""
    held = [holder("0", slurm=job) for job in ("17", "18")]
    assert [found.took() for found in held] == ["0", "0"]
    inside = holder("0", slurm="17")  # a second process of one job of Slurm
    assert inside.said("Waiting for a GPU")


def test_a_removed_lock_file_is_made_anew(holder, tmp_path):
    first = holder("0")
    first.took()
    (lock,) = tmp_path.glob("*/0.0")
    lock.unlink()
    assert holder("0").took() == "0"
    assert lock.exists()


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        (" 1, 0,1", ["1", "0"]),
        ("00,0,01", ["0", "1"]),
        ("GPU-8932f937,", ["GPU-8932f937"]),
    ],
)
def test_the_environment_is_read_as_cuda_reads_it(monkeypatch, value, names):
    monkeypatch.setenv(devices.VISIBLE, value)
    assert devices.visible() == names


def test_without_a_gpu_asked_for_nothing_is_held(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(devices.VISIBLE, "")
    assert devices.take(0) == "cpu"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_gpu_asked_for_where_none_may_be_seen(monkeypatch, value):
    monkeypatch.setenv(devices.VISIBLE, value)
    with pytest.raises(DeviceError, match=r"asks for a GPU, but CUDA_VISIBLE_DEVICES=.*gpus=0"):
        devices.take(1)


def test_locks_in_somebody_elses_folder_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(devices.VISIBLE, "0")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"recall-distortion-gpus-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceError, match="not a folder of yours"):
        devices.take(1)


# A folder whose torch finds the GPUs that the variable GPUS says.
PRETENDED = Path(__file__).resolve().parents[1] / "pretended"
OLD = (
    "The NVIDIA driver on your system is too old (found version 12020). Please update your GPU "
    "driver by downloading and installing a new version.\nSecond line"
)
FULL = "CUDA error: out of memory\nSearch for it in the manual"
ARCHITECTURE = "CUDA error: no kernel image is available for execution on the device"


@pytest.fixture
def shown(tmp_path: Path, monkeypatch) -> Callable[..., devices.Usable]:
    """Return what shows so many GPUs that torch finds as is said, and asks which are usable."""
    shutil.copytree(PRETENDED, tmp_path, dirs_exist_ok=True)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA Tesla, 535.104.05\necho NVIDIA Tesla, 535.104.05\n")
    program.chmod(0o755)
    source = str(Path(devices.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), source]))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    # What is found is kept there, and is to be gone after the test.
    monkeypatch.setenv(devices._FOUND, "")
    monkeypatch.delenv(devices._FOUND)

    def show(names: str, gpus: object) -> devices.Usable:
        monkeypatch.setenv(devices.VISIBLE, names)
        monkeypatch.setenv("GPUS", json.dumps(gpus))
        return devices.usable()

    return show


def test_gpus_that_torch_computes_on_are_usable(shown):
    assert shown("0,GPU-8932f937", [None, None]) == devices.Usable(["0", "GPU-8932f937"], [])


@pytest.mark.parametrize(
    ("gpus", "usable", "said"),
    [
        (OLD, [], [["GPU 0, 1, 2", "too old (found version 12020)", devices.INSTALL_TORCH]]),
        ([None, ARCHITECTURE, None], ["0", "2"], [["GPU 1 ", "no kernel image"]]),
        ([FULL, None, None], ["1", "2"], [["GPU 0 ", "out of memory", "Wait for the programs"]]),
        ([None, FULL, ARCHITECTURE], ["0"], [["GPU 1 ", "memory"], ["GPU 2 ", "no kernel"]]),
        ([None], ["0"], [["GPU 1, 2 ", "torch does not see it"]]),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_not_counted_and_one_message_says_why(
    shown, gpus, usable, said
):
    found = shown("0,1,2", gpus)
    assert found.names == usable
    assert len(found.problems) == len(said)
    for problem, words in zip(found.problems, said, strict=True):
        for word in [*words, "gpus=0", "NVIDIA Tesla, 535.104.05 (GPU, driver)"]:
            assert word in problem
        assert "torch 2.15.0+cu132 says" in problem or "does not see" in problem
        assert "\n" not in problem
        assert problem.count("535.104.05") == 1


def test_what_was_found_holds_for_the_processes_of_this_one_and_for_these_devices_alone(shown):
    assert shown("0,1", [None, ARCHITECTURE]).names == ["0"]
    # Not tried again, and not told again.
    assert shown("0,1", [ARCHITECTURE, ARCHITECTURE]) == devices.Usable(["0"], [])
    assert shown("1", [None]).names == ["1"]


def test_a_job_takes_none_that_was_found_unusable(shown, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert shown("0,1", [ARCHITECTURE, None]).names == ["1"]
    assert devices.take(1) == "cuda"
    assert os.environ[devices.VISIBLE] == "1"


def test_torch_that_cannot_be_imported_and_a_gpu_that_hangs_are_no_usable_gpus(
    shown, monkeypatch, tmp_path
):
    monkeypatch.setattr(devices, "PATIENCE", 1.0)
    for content, reason in (
        ("import time; time.sleep(60)", "did not answer within 1 seconds"),
        ("raise ImportError('libcudart.so.13: cannot open')", "ImportError: libcudart.so.13"),
        ("import os; os._exit(3)", "status 3"),
    ):
        (tmp_path / "torch" / "__init__.py").write_text(content)
        found = shown("0", [None])
        monkeypatch.delenv(devices._FOUND)
        assert found.names == []
        assert reason in found.problems[0]


def test_where_there_is_no_gpu_nothing_is_tried(monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a process was started"))
    assert devices.usable() == devices.Usable([], [])


def test_a_job_whose_gpu_fails_says_so_in_one_message(monkeypatch):
    """Here where torch finds no driver, or where the only device named is none."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU that works")
    monkeypatch.setenv(devices.VISIBLE, "0")
    with pytest.raises(
        DeviceError, match=r"GPU 0 cannot be used: (this machine has no|torch 2\.).*gpus=0"
    ):
        gpu.check()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 8.00 GiB.\nSecond line"),
        ("AcceleratorError", "CUDA error: out of memory\nSearch for it"),
        (None, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
def test_memory_that_runs_out_within_a_job_is_one_message(monkeypatch, tmp_path, kind, message):
    import torch

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(devices.VISIBLE, "0")
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (2**30, 80 * 2**30))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda: 72 * 2**30)
    error = RuntimeError(message) if kind is None else getattr(torch, kind)(message)
    with pytest.raises(DeviceError) as found, gpu.taken(1):
        raise error
    for word in ("GPU 0 has no memory left", "1.0 of 80.0 GiB", "holds 72.0", "at_once", "gpus=0"):
        assert word in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "message",
    ["Expected all tensors to be on the same device", "CUDA error: device-side assert triggered"],
)
def test_a_mistake_of_the_program_keeps_its_traceback(monkeypatch, tmp_path, message):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(devices.VISIBLE, "0")
    with pytest.raises(RuntimeError, match=message), gpu.taken(1):
        raise RuntimeError(message)


def test_a_gpu_that_a_job_of_yours_fills_counts(shown, holder, monkeypatch, tmp_path):
    """The next job waits for it, as for any that is taken."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert holder("1").took() == "1"
    assert shown("0,1", [FULL, FULL]).names == ["1"]


def test_a_gpu_that_is_held_does_not_count_where_this_torch_cannot_use_it(shown, holder):
    """Another checkout's torch may fit it."""
    assert holder("0").took() == "0"
    found = shown("0", [ARCHITECTURE])
    assert found.names == []
    assert "no kernel image" in found.problems[0]


def test_a_gpu_too_full_to_say_how_full_has_its_message_too(monkeypatch, tmp_path):
    def nothing():
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(devices.VISIBLE, "0")
    monkeypatch.setattr("torch.cuda.mem_get_info", nothing)
    with pytest.raises(DeviceError, match=r"GPU 0 has no memory left\. Compute"), gpu.taken(1):
        nothing()
