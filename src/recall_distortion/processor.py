"""How a job uses its processor: the threads it was given, and the memory that it frees."""

from __future__ import annotations

import ctypes

# glibc's names and numbers of what mallopt sets (malloc.h).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # bytes; glibc refuses more


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
