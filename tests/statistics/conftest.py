"""Lets the tests of this folder import the helpers that lie beside them; R is asked once."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

from recall_distortion.inference.mixed.fitters import pymer4

sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session", autouse=True)
def asked_once() -> None:
    """Ask R once a process what it has, and not before each fit: asking takes as long as one."""
    pymer4.check_r_stack = functools.cache(pymer4.check_r_stack)
