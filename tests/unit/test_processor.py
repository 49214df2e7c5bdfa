"""A job takes the threads it was given and keeps the memory that it frees."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from recall_distortion.system import processor

FAULTS = """
import resource
import torch
from recall_distortion.system import processor

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for sizes in ([300_000] * 4, [300_000, 600_000, 900_000, 1_200_000], [1_000_000] * 9):
        for _ in range(50):
            parts = [torch.ones(size) for size in sizes]
            del parts
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

processor.prepare({threads})
faults()
# The kept memory may grow a last time, but not in every round.
print(torch.get_num_threads(), min(faults() for _ in range(3)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what glibc does is asked for")
def test_memory_that_is_freed_and_asked_for_again_costs_no_page_faults():
    found = subprocess.run(
        [sys.executable, "-c", FAULTS.format(threads=2)],
        capture_output=True,
        text=True,
        check=True,
    )
    given, faults = map(int, found.stdout.split())
    assert given == 2
    # Given back to the system each time it is up to 50 x 13,000 faults of pages of 4 kB.
    assert faults < 2000


SETTINGS = """
import json, os, sys, warnings
warnings.simplefilter("error")
import torch
from recall_distortion.system import gpu, processor

def settings():
    return {
        "products": torch.backends.cuda.matmul.fp32_precision,
        "convolutions": torch.backends.cudnn.conv.fp32_precision,
        "on a CPU": torch.backends.mkldnn.conv.fp32_precision,
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn": torch.backends.cudnn.deterministic,
        "search": torch.backends.cudnn.benchmark,
        "workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }

torch.backends.cudnn.benchmark = True
before = settings()
gpu.check = lambda: print("tried", file=sys.stderr)
processor.prepare(1, sys.argv[1], deterministic=sys.argv[2] == "True")
assert not torch.cuda.is_initialized()
print(json.dumps([before, settings()]))
"""
FULL = {"products": "ieee", "convolutions": "ieee"}
EXACT = {"algorithms": True, "cudnn": True, "search": False, "workspace": ":4096:8"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "deterministic", "changed"),
    [
        ("cpu", False, {}),
        ("cpu", True, {}),
        ("cuda", False, FULL),
        ("cuda", True, FULL | EXACT),
    ],
)
def test_a_gpu_is_precise_and_exact_where_asked_and_a_cpu_is_left_as_it_is(
    device, deterministic, changed
):
    """In a process of its own, whose settings end with it; nothing of it needs a GPU."""
    environment = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS, device, str(deterministic)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    # Without the call TF32 is on in convolutions and the rest is off, so each has to be set.
    assert before["convolutions"] == "tf32"
    assert before["search"]
    assert not before["algorithms"]
    assert not before["cudnn"]
    assert before["workspace"] is None
    assert after == before | changed
    assert done.stderr == ("tried\n" if device == "cuda" else "")


ADDRESS = """
import ctypes
from recall_distortion.system import processor
processor.fix_addresses()
print(ctypes.cast(ctypes.CDLL(None).malloc, ctypes.c_void_p).value, flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux can be asked for it")
def test_memory_lies_at_the_same_addresses_in_every_process():
    command = [sys.executable, "-c", ADDRESS]
    printed = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(3)
    ]
    if "the system does not fix addresses" in printed[0][0]:
        pytest.skip(printed[0][0])
    assert all(len(lines) == 1 for lines in printed)
    assert printed[0] == printed[1] == printed[2]


def test_where_the_system_refuses_the_process_goes_on(monkeypatch, capsys):
    class Refusing:
        @staticmethod
        def CDLL(name):
            return Refusing

        @staticmethod
        def personality(flags):
            return -1

        c_ulong = None

    monkeypatch.setattr("recall_distortion.system.processor.ctypes", Refusing)
    monkeypatch.setattr("os.execv", lambda *arguments: pytest.fail("started again"))
    processor.fix_addresses()
    assert "last digits of lme4's fits may differ" in capsys.readouterr().out
