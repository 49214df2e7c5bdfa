"""How a job uses its processor: threads, memory that it frees and where it lies, a GPU's sums."""

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


def prepare(threads: int, device: str = "cpu", *, deterministic: bool = False) -> None:
    """Give torch its threads, and let the process keep the memory that it frees.

    Any ``device`` but a CPU is set up by ``prepare_gpu`` and then tried, which raises
    ``DeviceError`` where torch cannot compute on it; a CPU gives the same bits anyway.

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
    if device != "cpu":
        prepare_gpu(deterministic=deterministic)

        from recall_distortion.system import gpu

        gpu.check()


def prepare_gpu(*, deterministic: bool = False) -> None:
    """Let a GPU multiply in full single precision, and give the same bits each time if asked to.

    TF32 would keep 10 bits of a float32; how precise networks are is for a study's ``precision`` to
    say. Where sums are to be ``deterministic``, an operation that has no such way raises
    ``RuntimeError``. Call it before CUDA is used, which reads one of the settings at its start.
    """
    import torch

    # torch's types leave cuDNN's convolutions out.
    for operation in (torch.backends.cuda.matmul, torch.backends.cudnn.conv):  # type: ignore[attr-defined]
        operation.fp32_precision = "ieee"
    if deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


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
