"""Fused residual units without a GPU: interpreted they are the plain network, and they compile.

Triton decides whether it interprets when it is imported, so both have a process of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from core_helpers import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton"),
]

# What Triton 3.6's interpreter says of a loop's end with NumPy 2.4.
_FOREIGN = "TypeError: only 0-dimensional arrays can be converted to Python scalars"

HERE = Path(__file__).parent / "interpreted"


def run(command, **variables):
    places = [str(REPOSITORY / "src"), str(HERE), str(HERE.parent)]
    variables |= {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], env=os.environ | variables, capture_output=True, text=True
    )
    if _FOREIGN in done.stdout:
        pytest.skip("this Triton's interpreter does not know this NumPy")
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_interpreted():
    parts = [str(HERE / f"{part}.py") for part in ("units", "resnets", "passes")]
    said = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", *parts], TRITON_INTERPRET="1")
    assert "passed" in said


def test_kernels_compile_for_gpus_that_are_not_there(tmp_path):
    """Their types fit, and their shared memory; Triton's own part of CUDA's compiler is used."""
    capabilities = ("80", "90", "100")
    found = run(
        [str(HERE / "ahead_of_time.py"), *capabilities],
        TRITON_CACHE_DIR=str(tmp_path),
        TRITON_INTERPRET="0",
    )
    for capability in capabilities:
        assert found.count(f"bytes of code for {capability}\n") >= 8
