"""How a job uses its processor: its threads, the memory that it frees, where its memory lies."""

from __future__ import annotations

import ctypes
import os
import sys

# glibc's names and numbers of what mallopt sets (malloc.h).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # bytes; glibc refuses more

# Linux's names and numbers of what personality asks and sets (sys/personality.h).
_ASK = 0xFFFFFFFF
_ADDR_NO_RANDOMIZE = 0x0040000
_STARTED_AGAIN = "RECALL_DISTORTION_FIXED_ADDRESSES"  # so that no system makes a loop of it


def prepare(threads: int) -> None:
    """Give torch its threads, and let the process keep the memory that it frees.

    A training step makes and frees tensors of a few megabytes. glibc gives such memory back to the
    system each time, and the page faults when it is asked for again take a fifth of a small
    network's time (docs/performance.md). Other C libraries are left as they are.
    """
    import torch  # only jobs that compute pay for it

    torch.set_num_threads(threads)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


def fix_addresses() -> None:
    """Start this process again with its memory at fixed addresses; call it before anything else.

    Linux puts a program's memory elsewhere at every start. lme4's sparse factorization (CHOLMOD)
    then eliminates a model's random effects now in one order and now in another, sums are rounded
    differently, and the search for the maximum ends up to 1e-5 apart. Where the system does not
    allow it, as in some containers, a line says so and the process goes on.
    """
    personality = getattr(ctypes.CDLL(None), "personality", None)
    if personality is None or os.environ.get(_STARTED_AGAIN) == str(os.getpid()):
        return
    personality.argtypes = [ctypes.c_ulong]
    now = personality(_ASK)
    if now >= 0 and now & _ADDR_NO_RANDOMIZE:
        return
    if now < 0 or personality(now | _ADDR_NO_RANDOMIZE) < 0:
        print(
            "the system does not fix addresses: last digits of lme4's fits may differ", flush=True
        )
        return
    sys.stdout.flush()
    os.environ[_STARTED_AGAIN] = str(os.getpid())  # exec keeps it
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
