"""A job takes the threads it was given and keeps the memory that it frees."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recall_distortion import processor

FAULTS = """
import resource
import torch
from recall_distortion import processor

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for sizes in ([300_000] * 4, [300_000, 600_000, 900_000, 1_200_000], [1_000_000] * 9):
        for _ in range(50):
            parts = [torch.ones(size) for size in sizes]
            del parts
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

processor.prepare({threads})
faults()
print(torch.get_num_threads(), faults())
"""


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


ADDRESS = """
import ctypes
from recall_distortion import processor
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

    monkeypatch.setattr("recall_distortion.processor.ctypes", Refusing)
    monkeypatch.setattr("os.execv", lambda *arguments: pytest.fail("started again"))
    processor.fix_addresses()
    assert "last digits of lme4's fits may differ" in capsys.readouterr().out
