"""The browser that all tests of pages share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chromium import ARGUMENTS, CHROMIUM


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running Chromium; whoever asks for it is skipped where there is none."""
    from playwright import sync_api

    with sync_api.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()
