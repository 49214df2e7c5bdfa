"""A real browser for tests of pages, and why they are skipped where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

DRIVER = subprocess.run(
    [sys.executable, "-m", "playwright", "--version"], capture_output=True, text=True, check=False
)
#: The ``pytestmark`` of tests that open a page.
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium on the PATH; install it or name it in CHROMIUM"
    ),
    pytest.mark.skipif(
        DRIVER.returncode != 0,
        reason="playwright is not installed or does not start (it needs libatomic1): "
        f"{DRIVER.stderr.strip()}",
    ),
]
